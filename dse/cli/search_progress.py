"""Progress of a search: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.architecture.objectives import ALL_OBJECTIVES
from dse.cli.tables import note
from dse.execution.job import Ended, EpochDone, Job, Started, WorkerLost
from dse.search.search import Opened, SearchEvent, StageBegun
from dse.search.stages import answer_so_far
from dse.stats.pareto import hypervolume
from dse.text import counted, duration, percent, values_text

if TYPE_CHECKING:
    from dse.search.search import Search
    from dse.search.state import SearchState

SAY_EVERY_S = 20.0
"""Without a terminal the state of the whole search is said this often."""

_STAGES = {
    "search": "searching",
    "finals": "finals: more seeds for the candidates around the reference",
    "test": "the answer's test images, once",
}


class SearchProgress:
    """Follows the events of a search and says how far it is, on standard error.

    Args:
        search: what is looked for.
        varying: the metaparameters that name a candidate.
    """

    def __init__(self, search: Search, varying: Sequence[str]) -> None:
        self._search, self._varying = search, varying
        self._known: SearchState | None = None
        self._said_at = time.monotonic()
        self._display = _Display() if sys.stderr.isatty() else None

    def __enter__(self) -> SearchProgress:
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

    def __call__(self, event: SearchEvent) -> None:
        """Take note of an event and show it."""
        if isinstance(event, Opened):
            self._open(event)
        elif isinstance(event, StageBegun):
            self._say(_STAGES[event.name])
        elif isinstance(event, Started):
            self._show(event.worker, event.job, 0, None)
        elif isinstance(event, EpochDone):
            self._show(event.worker, event.job, event.epochs, event.loss)
        elif isinstance(event, Ended):
            self._end(event)
        elif isinstance(event, WorkerLost):
            job = f"; {self._name(event.job)} goes on elsewhere" if event.job else ""
            self._say(f"worker {event.worker} died ({event.status}){job}")
        self._show_state(is_due=isinstance(event, Ended))

    def interrupted(self, directory: Path) -> None:
        """Say what an interrupted search keeps, with the best so far."""
        if self._known is None:
            return
        known, name = self._known, self._search.objectives[0]
        self._say(f"{self.state()}; all of it is kept in {directory}")
        answer, best = answer_so_far(self._search, known), known.best(self._search.margin)
        if answer is not None:
            size = ALL_OBJECTIVES[name].text(answer.costs[name])
            self._say(f"the answer so far: {size} ({answer.candidate.key}, claimed before)")
        if best is not None and (answer is None or best.costs[name] < answer.costs[name]):
            accuracy = known.selection_accuracy(best, self._search.recipe.epochs)
            self._say(
                f"best so far, not yet confirmed: {ALL_OBJECTIVES[name].text(best.costs[name])}, "
                f"{percent(accuracy)} right ({self._reached()})"
            )
        elif answer is None:
            self._say(f"nothing trained in full is level yet with {self._reached()}")
        self._say("the same command goes on from here")

    def state(self) -> str:
        """One line: trials, best, hypervolume, time left."""
        known = self._known
        assert known is not None
        full = self._search.recipe.epochs
        trials = list(known.record.trials.values())
        counts = Counter(
            "failed" if t.is_failed else "done" if t.epochs >= full else "stopped" for t in trials
        )
        parts = [
            f"{counts['done']} done",
            f"{len(known.running)} running",
            f"{counts['stopped'] - sum(t.key in known.running for t in trials)} stopped so far",
        ]
        if counts["failed"]:
            parts.append(f"{counts['failed']} failed")
        best = known.best(self._search.margin)
        if best is not None:
            accuracy = known.selection_accuracy(best, full)
            name = self._search.objectives[0]
            parts.append(f"best {ALL_OBJECTIVES[name].text(best.costs[name])} at {accuracy:.1%}")
        parts.append(f"hypervolume {self._hypervolume():.1f}")
        return ", ".join([*parts, *self._left()])

    def _hypervolume(self) -> float:
        """Of (log10 size, points) over what was trained in full, as the image has it."""
        known = self._known
        assert known is not None
        trials = known.full()
        if not trials:
            return 0.0
        sizes = known.sizes(trials)
        accuracies = [known.selection_accuracy(t, self._search.recipe.epochs) for t in trials]
        points = np.column_stack([np.log10(sizes), -100 * np.array(accuracies)])
        chance = -100.0 / len(known.dataset.classes)
        worst = np.log10(sizes.max(axis=0) * 1.1)
        return hypervolume(points, [*worst, chance])

    def _left(self) -> list[str]:
        known, budget = self._known, self._search.budget
        assert known is not None
        if budget.kind == "time":
            return [f"{duration(max(0.0, budget.amount - known.clock()))} left"]
        if budget.kind == "epochs":
            left = max(0, int(budget.amount) - known.record.spent_epochs)
            return [f"{counted(left, 'epoch')} left"]
        searched = known.record.searched
        asked = sum(trial.stage == "search" for trial in searched)
        left = min(int(budget.amount) - asked, len(known.pool) - len(searched))
        return [f"{counted(max(0, left), 'candidate')} to ask for"]

    def _reached(self) -> str:
        """The reference and what it has right where the accuracies of the search are from."""
        known = self._known
        assert known is not None
        text = f"the reference, {percent(known.reference_selection_accuracy())}"
        if self._search.margin:
            text += f" less {100 * self._search.margin:g} points"
        if known.reference.replicates:
            text += f", on the {int((~known.confirmation).sum()):,} images that steer the search"
        return text

    def _open(self, event: Opened) -> None:
        self._known = event.known
        if event.recorded_count:
            asked = sum(trial.stage == "search" for trial in event.known.record.searched)
            trials = counted(event.recorded_count, "trial")
            self._say(
                f"{trials} in the record, {counted(asked, 'candidate')} asked for; going on from "
                "there"
            )
        if event.reused_count:
            trials = counted(event.reused_count, "finished trial")
            self._say(f"{trials} brought in from other studies")
        for line in event.left_out:
            self._say(f"note: {line}")

    def _end(self, event: Ended) -> None:
        measured, job = event.measurement, event.job
        if measured.status == "failed":
            text = f"failed: {measured.reason}"
        elif job.task == "test":
            text = f"{percent(measured.test_accuracy)} right in test"
        else:
            text = (
                f"{percent(measured.validation_accuracy)} right in validation after "
                f"{counted(measured.epochs, 'epoch')}"
            )
        self._say(f"{self._name(job)}: {text}")
        if self._display:
            self._display.end(event.worker)

    def _show(self, worker: int, job: Job, epochs: int, loss: float | None) -> None:
        if self._display:
            doing = "starting" if loss is None else f"loss {loss:.3f}"
            total = job.epochs or self._search.recipe.epochs
            self._display.show(worker, f"{self._name(job)}  {doing}", epochs, total)

    def _show_state(self, *, is_due: bool) -> None:
        if self._known is None:
            return
        if self._display:
            self._display.state(self.state())
        elif is_due and time.monotonic() - self._said_at > SAY_EVERY_S:
            self._said_at = time.monotonic()
            note(self.state())

    def _name(self, job: Job) -> str:
        name = values_text(job.candidate.metaparameters, self._varying) or job.candidate.key
        return name + (f", seed {job.replicate}" if job.replicate else "")

    def _say(self, line: str) -> None:
        if self._display:
            self._display.say(line)
        else:
            note(line)


class _Display:
    """One line a running candidate, one for the whole."""

    def __init__(self) -> None:
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
            TextColumn("{task.description}", table_column=name),
            console=console,
            expand=True,
        )
        self._running: dict[int, Any] = {}
        self._state = Progress(TextColumn("{task.description}"), console=console)
        self._state_task = self._state.add_task("")
        self._live = Live(
            Group(self._progress, self._state),
            console=console,
            transient=True,
            refresh_per_second=4,
        )

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        self._live.stop()

    def show(self, worker: int, text: str, epochs: int, total: int) -> None:
        if worker not in self._running:
            self._running[worker] = self._progress.add_task("", total=total)
        self._progress.update(
            self._running[worker], description=text, completed=epochs, total=total, visible=True
        )

    def end(self, worker: int) -> None:
        if worker in self._running:
            self._progress.update(self._running[worker], visible=False)

    def state(self, text: str) -> None:
        self._state.update(self._state_task, description=text)

    def say(self, line: str) -> None:
        self._live.console.print(line, highlight=False, markup=False, soft_wrap=True)
