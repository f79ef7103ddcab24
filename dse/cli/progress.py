"""Progress of a sweep: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from dse.cli.tables import note
from dse.cli.time_left import TimeLeft
from dse.execution.job import Ended, EpochDone, Event, Job, Started, WorkerLost
from dse.search.sweep import Begun
from dse.text import duration, percent, values_text

SAY_EVERY_S = 10.0
"""Without a terminal the preparation of images says how far it is this often."""

SAID_COMPILE_S = 0.5
"""A compilation of less, out of the cache, is not worth a word."""


class SweepProgress:
    """Follows the events of a sweep and says how far it is, on standard error.

    Args:
        varying: the metaparameters that name a candidate.
        epochs: of each job.
        seeds: of each candidate; a job is named by its seed where there are several.
        time_left: of the trainings.
        name: of a candidate where nothing varies; its key unless that is given.
    """

    def __init__(
        self,
        varying: Sequence[str],
        *,
        epochs: int,
        seeds: int,
        time_left: TimeLeft,
        name: str = "",
    ) -> None:
        self._fixed_name = name
        self._varying, self._epochs, self._seeds = varying, epochs, seeds
        self._time_left = time_left
        self._count = self._done = 0
        self._begun = False
        self._display = _LiveDisplay() if sys.stderr.isatty() else None

    def __enter__(self) -> SweepProgress:
        if self._display:
            self._display.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._display:
            self._display.stop()

    def __call__(self, event: Begun | Event) -> None:
        """Take note of an event and show it."""
        if isinstance(event, Begun):
            self._begin(event)
        elif isinstance(event, Started):
            self._time_left.started(event.job)
            self._show(event.worker, event.job, 0, None)
        elif isinstance(event, EpochDone):
            self._time_left.progressed(event.job, event.epochs / self._epochs)
            self._show(event.worker, event.job, event.epochs, event.loss)
        elif isinstance(event, Ended):
            self._end(event)
        elif isinstance(event, WorkerLost):
            job = f"; {self._name(event.job)} starts again" if event.job else ""
            self._say(f"worker {event.worker} died ({event.status}){job}")

    def interrupted(self, directory: Path) -> None:
        """Say what an interrupted sweep keeps."""
        if self._begun:
            self._say(f"{self._done} of {self._count} done and kept in {directory}")
            self._say("the same command goes on from here")

    def _begin(self, event: Begun) -> None:
        self._begun, self._done = True, len(event.recorded)
        self._count = self._done + len(event.pending)
        self._time_left.begin(event.pending)
        if event.recorded:
            self._say(f"{self._done} of {self._count} in the record")
        if self._display and event.pending:
            self._display.begin(self._done, self._count)

    def _end(self, event: Ended) -> None:
        measured = event.measurement
        self._time_left.ended(event.job, measured)
        self._done += 1
        if measured.status == "failed":
            text = f"failed: {measured.reason}"
        else:
            text = (
                f"{percent(measured.validation_accuracy)} right in validation, "
                f"{measured.train_s:.1f} s, {measured.images_per_s:,.0f} images/s"
            )
            if measured.compile_s >= SAID_COMPILE_S:
                text += f", compiled in {measured.compile_s:.1f} s"
        left = self._left()
        self._say(
            f"[{self._done}/{self._count}] {self._name(event.job)}: {text}"
            + (f"; {left}" if left else "")
        )
        if self._display:
            self._display.end(event.worker, self._done, left)

    def _show(self, worker: int, job: Job, epochs: int, loss: float | None) -> None:
        if self._display:
            text = f"{self._name(job)}  " + ("compiling" if loss is None else f"loss {loss:.3f}")
            self._display.show(worker, text, epochs, self._epochs)
            self._display.left(self._left())

    def _left(self) -> str:
        """The time left in words; empty while it is not known, and at the end."""
        seconds = self._time_left.seconds()
        if self._done == self._count or math.isnan(seconds):
            return ""
        return f"about {duration(max(1.0, seconds))} left"

    def _name(self, job: Job) -> str:
        name = values_text(job.candidate.metaparameters, self._varying)
        seed = f", seed {job.replicate}" if self._seeds > 1 else ""
        return (name or self._fixed_name or job.candidate.key) + seed

    def _say(self, line: str) -> None:
        if self._display:
            self._display.say(line)
        else:
            note(line)


class _LiveDisplay:
    """One line a running candidate, one for the whole."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._running: dict[int, Any] = {}
        self._whole: Any = None

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def begin(self, done: int, count: int) -> None:
        self._whole = self._progress.add_task(
            "whole sweep", completed=done, total=count, unit="starting"
        )

    def show(self, worker: int, text: str, epochs: int, total: int) -> None:
        if worker not in self._running:
            self._running[worker] = self._progress.add_task("", total=total, unit="epochs")
        self._progress.update(
            self._running[worker], description=text, completed=epochs, visible=True
        )

    def end(self, worker: int, done: int, left: str) -> None:
        self._progress.update(self._running[worker], visible=False)
        self._progress.update(self._whole, completed=done)
        self.left(left)

    def left(self, text: str) -> None:
        self._progress.update(self._whole, unit=text)

    def say(self, line: str) -> None:
        self._progress.console.print(line, highlight=False, markup=False, soft_wrap=True)


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
        if self._display is None:
            from rich.console import Console
            from rich.progress import Progress

            self._display = Progress(console=Console(stderr=True), transient=True)
            self._task = self._display.add_task(stage)
            self._display.start()
        self._display.update(self._task, description=stage, completed=done, total=total or None)
        if 0 < total <= done:  # what is printed next has the line to itself
            self._display.stop()
            self._display = None
