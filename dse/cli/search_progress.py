"""Progress of a search: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from pathlib import Path

from dse.architecture.objectives import ALL_OBJECTIVES
from dse.cli.display import Display
from dse.execution.job import Ended, EpochDone, Job, Started, WorkerLost
from dse.search import Search
from dse.search.engine import RunEvent, SearchStarted, StageStarted
from dse.search.state import SearchState
from dse.search.status import SearchStatus
from dse.study.trial import SEARCH
from dse.text import counted, percent, values_text

SAY_EVERY_S = 20.0
"""Without a terminal the state of the whole search is said this often."""

_STAGES = {
    "search": "searching; accuracies are {selection}",
    "finals": "finals: more seeds for the candidates around the reference",
    "test": "the answer's test images, once",
}


class SearchProgress:
    """Follows the events of a search and says how far it is, on standard error.

    Args:
        search: what is looked for.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._state: SearchState | None = None
        self._status: SearchStatus | None = None
        self._stage, self._counts, self._said_at = "", "", time.monotonic()
        self.display = Display(self.doing)

    def __call__(self, event: RunEvent) -> None:
        """Take note of an event and show it."""
        say = self.display.say
        if isinstance(event, SearchStarted):
            self._start(event)
        elif isinstance(event, StageStarted):
            self._stage = event.name
            words = self._state.selection_words if self._state else ""
            say(_STAGES[event.name].format(selection=words))
        elif isinstance(event, Started):
            self._show(event.worker, event.job, 0, "starting")
        elif isinstance(event, EpochDone):
            self._show(event.worker, event.job, event.epochs, f"loss {event.loss:.3f}")
        elif isinstance(event, Ended):
            say(f"{self._name(event.job)}: {self._result(event)}")
            self.display.end(event.worker)
        elif isinstance(event, WorkerLost):
            job = f"; {self._name(event.job)} starts again" if event.job else ""
            say(f"worker {event.worker} died ({event.status}){job}")
        if self._state is None:
            return
        assert self._status is not None
        if self.display.is_live:
            self.display.state(self._status.text())
        else:
            ended = sum(bool(trial.rungs) for trial in self._state.record.trials.values())
            self._counts = f"{ended:,} measured, {len(self._state.running)} running"
            if isinstance(event, Ended) and time.monotonic() - self._said_at > SAY_EVERY_S:
                self._said_at = time.monotonic()
                say(self._status.text())

    def doing(self) -> str:
        """One line: the stage, what is done, and the time left; from any thread."""
        if self._status is None or not self._counts:
            return ""
        return f"{self._stage}: {self._counts}, {self._status.left()}"

    def interrupted(self, directory: Path) -> None:
        """Say what an interrupted search keeps, with the best so far."""
        if self._state is None or self._status is None:
            return
        state, name, say = self._state, self._search.objectives[0], self.display.say
        say(f"{self._status.text()}; all of it is kept in {directory}")
        answer, best = state.smallest_claim(), state.best()
        if answer is not None:
            size = ALL_OBJECTIVES[name].text(answer.costs[name])
            say(f"the answer so far: {size} ({answer.candidate.key}, claimed before)")
        if best is not None and (answer is None or best.costs[name] < answer.costs[name]):
            size = ALL_OBJECTIVES[name].text(best.costs[name])
            say(
                f"best so far, not yet confirmed: {size}, selection "
                f"accuracy {percent(state.full_accuracy(best))} ({self._reached(state)})"
            )
        elif answer is None:
            say(
                f"no candidate that was trained to full fidelity reaches {self._reached(state)} yet"
            )
        say("the same command resumes")

    def _reached(self, state: SearchState) -> str:
        """The reference and its accuracy where the accuracies of the search are from."""
        if state.reference_trial is None and state.reference_seeds:
            return "any accuracy"
        text = f"the reference, {percent(state.reference_selection_accuracy())}"
        if self._search.margin:
            text += f" less {100 * self._search.margin:g} points"
        if state.reference.replicates:
            text += f", on the {int((~state.confirmation).sum()):,} images of the selection split"
        return text

    def _start(self, event: SearchStarted) -> None:
        self._status, self._state = event.status, event.status.state
        if event.recorded_count:
            sampled = sum(trial.stage == SEARCH for trial in self._state.record.searched)
            trials = counted(event.recorded_count, "trial")
            self.display.say(
                f"{trials} in the record, {counted(sampled, 'candidate')} sampled; resuming"
            )
        if event.imported.count:
            trials = counted(event.imported.count, "finished trial")
            self.display.say(f"{trials} imported from other studies")
        for line in event.imported.left_out:
            self.display.say(f"note: {line}")

    def _result(self, event: Ended) -> str:
        measured = event.measurement
        if measured.status == "failed":
            return f"failed: {measured.reason}"
        if event.job.task == "test":
            return f"test accuracy {percent(measured.test_accuracy)}"
        return f"{self._accuracy(event)} after {counted(measured.epochs, 'epoch')}"

    def _accuracy(self, event: Ended) -> str:
        """Of a candidate of the search on the selection images, else on the confirmation split."""
        state, job = self._state, event.job
        assert state is not None
        trial = state.record.trials.get(job.key)
        if not job.replicate and trial is not None:
            return f"accuracy {percent(state.selection_accuracy(trial, max(trial.rungs)))}"
        correct = state.correct(event.measurement)[state.confirmation]
        return f"confirmation accuracy {percent(float(correct.mean()))}"

    def _show(self, worker: int, job: Job, epochs: int, doing: str) -> None:
        if self.display.is_live:
            total = (job.fidelity or self._search.ladder.full).epochs
            self.display.show(worker, f"{self._name(job)}  {doing}", epochs, total)

    def _name(self, job: Job) -> str:
        name = values_text(job.candidate.metaparameters, self._search.pool.varying)
        name = name or job.candidate.key
        return f"{name}, seed {job.replicate}" if job.replicate else name
