"""A live display of running candidates on a terminal; plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from dse.cli.tables import note
from dse.text import inert

SILENT_S = 25.0
"""Without a terminal what is being done is said after so long a silence."""

SAY_EVERY_S = 10.0
"""Without a terminal the preparation of images says how far it is this often."""


class Display:
    """One line per running candidate and one for the whole, on standard error.

    Use it as a context manager. Without a terminal only what is said is shown, and after a
    silence what `doing` gives, which is called from another thread.

    Args:
        doing: what is being done and how long it will take; empty for nothing to say.
    """

    def __init__(self, doing: Callable[[], str] = str) -> None:
        self._doing, self._said_at = doing, time.monotonic()
        self._over = threading.Event()
        self.is_live = sys.stderr.isatty()
        self._live: Any = None
        self._running: dict[int, Any] = {}
        if not self.is_live:
            return
        from rich.console import Console, Group
        from rich.live import Live
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
        from rich.table import Column

        console = Console(stderr=True)
        # The name of a candidate may be longer than the line: it comes last, and is cut.
        name = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        self._progress = Progress(
            BarColumn(bar_width=12),
            MofNCompleteColumn(),
            TextColumn("epochs"),
            TextColumn("{task.description}", markup=False, table_column=name),
            console=console,
            expand=True,
        )
        self._state = Progress(TextColumn("{task.description}", markup=False), console=console)
        self._state_task = self._state.add_task("")
        self._live = Live(
            Group(self._progress, self._state),
            console=console,
            transient=True,
            refresh_per_second=4,
        )

    def __enter__(self) -> Display:
        if self._live:
            self._live.start()
        else:
            self._said_at = time.monotonic()
            threading.Thread(target=self._break_silence, daemon=True).start()
        return self

    def _break_silence(self) -> None:
        while not self._over.wait(1.0):
            if time.monotonic() - self._said_at > SILENT_S and (text := self._doing()):
                self.say(text)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        if self._live:
            self._live.stop()

    def show(self, worker: int, text: str, epochs: int, total: int) -> None:
        """What a worker is doing: so many epochs of all."""
        if not self._live:
            return
        if worker not in self._running:
            self._running[worker] = self._progress.add_task("", total=total)
        self._progress.update(
            self._running[worker],
            description=inert(text),
            completed=epochs,
            total=total,
            visible=True,
        )

    def end(self, worker: int) -> None:
        """A worker has nothing to do."""
        if worker in self._running:
            self._progress.update(self._running[worker], visible=False)

    def state(self, text: str) -> None:
        """The line of the whole."""
        if self._live:
            self._state.update(self._state_task, description=inert(text))

    def say(self, line: str) -> None:
        """A line that stays."""
        self._said_at = time.monotonic()
        if self._live:
            self._live.console.print(
                inert(line, keep_lines=True), highlight=False, markup=False, soft_wrap=True
            )
        else:
            note(line)


class DataProgress:
    """Says what the preparation of images is doing, on standard error.

    Use it as a context manager and call it with (stage, done, total).
    """

    def __init__(self) -> None:
        self._display: Any = None
        self._task: Any = None
        self._stage = ""
        self._said_at = 0.0

    def __enter__(self) -> DataProgress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._display:
            self._display.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Take note of the progress: `total` is 0 where it is not known."""
        if sys.stderr.isatty():
            self._draw(stage, done, total)
        elif stage != self._stage or time.monotonic() - self._said_at > SAY_EVERY_S:
            self._said_at = time.monotonic()
            note(f"{stage}: {done:,}" + (f" of {total:,}" if total else ""))
        self._stage = stage

    def _draw(self, stage: str, done: int, total: int) -> None:
        from rich.markup import escape

        if self._display is None:
            from rich.console import Console
            from rich.progress import Progress

            self._display = Progress(console=Console(stderr=True), transient=True)
            self._task = self._display.add_task(stage)
            self._display.start()
        self._display.update(
            self._task, description=escape(inert(stage)), completed=done, total=total or None
        )
        if 0 < total <= done:  # what is printed next has the line to itself
            self._display.stop()
            self._display = None
