"""How far a run is: what is done, the best so far, and how long the rest will take, in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from dse.architecture.objectives import ALL_OBJECTIVES
from dse.execution.job import Ended, EpochDone, Event, Job, Started
from dse.search.state import SearchState
from dse.search.time_left import TimeLeft
from dse.stats.pareto import hypervolume
from dse.study.trial import SEARCH
from dse.text import counted, duration


class SweepStatus:
    """Follows the events of a sweep.

    Args:
        pending: jobs that are to be trained, in their order.
        recorded_count: jobs that were trained before.
        epochs: of each.
        time_left: of the trainings.

    Attributes:
        done, count: jobs that are over, and all of them.
    """

    def __init__(
        self, pending: Sequence[Job], recorded_count: int, *, epochs: int, time_left: TimeLeft
    ) -> None:
        self.done, self.count = recorded_count, recorded_count + len(pending)
        self._epochs, self._time_left = epochs, time_left
        time_left.begin(pending)

    def follow(self, event: Event) -> None:
        """Take note of an event."""
        if isinstance(event, Started):
            self._time_left.started(event.job)
        elif isinstance(event, EpochDone):
            self._time_left.progressed(event.job, event.epochs / self._epochs)
        elif isinstance(event, Ended):
            self._time_left.ended(event.job, event.measurement)
            self.done += 1

    def left_s(self) -> float:
        """Seconds that the rest will take; NaN while it is not known, and at the end."""
        return math.nan if self.done == self.count else self._time_left.seconds()

    def left(self) -> str:
        """The time left in words; empty while it is not known, and at the end."""
        seconds = self.left_s()
        return "" if math.isnan(seconds) else f"about {duration(max(1.0, seconds))} left"

    def text(self) -> str:
        """One line: done, time left."""
        left = self.left()
        return f"{self.done} of {self.count} done" + (f", {left}" if left else "")


class SearchStatus:
    """What the state of a search says of it.

    Args:
        state: of the search; it follows the record.
    """

    def __init__(self, state: SearchState) -> None:
        self.state = state

    def text(self) -> str:
        """One line: trials, best, hypervolume, what is left."""
        state = self.state
        full, running = state.search.recipe.epochs, state.running
        trials = list(state.record.trials.values())
        counts = Counter(
            "failed" if t.is_failed else "done" if t.epochs >= full else "stopped" for t in trials
        )
        parts = [
            f"{counts['done']} done",
            f"{len(running)} running",
            f"{counts['stopped'] - sum(t.key in running for t in trials)} paused",
        ]
        if counts["failed"]:
            parts.append(f"{counts['failed']} failed")
        best = state.best()
        if best is not None:
            name = state.search.objectives[0]
            size = ALL_OBJECTIVES[name].text(best.costs[name])
            parts.append(f"best {size} at {state.full_accuracy(best):.1%}")
        parts.append(f"hypervolume {_hypervolume(state):.1f}")
        return ", ".join([*parts, self.left()])

    def left(self) -> str:
        """What is left of the budget, in words."""
        state = self.state
        budget = state.search.budget
        if budget.kind == "time":
            return f"{duration(max(0.0, budget.amount - state.clock()))} left"
        if budget.kind == "epochs":
            left = max(0, int(budget.amount) - state.record.spent_epochs)
            return f"{counted(left, 'epoch')} left"
        searched = state.record.searched
        sampled = sum(trial.stage == SEARCH for trial in searched)
        left = min(int(budget.amount) - sampled, len(state.pool) - len(searched))
        return f"{counted(max(0, left), 'candidate')} to sample"


def _hypervolume(state: SearchState) -> float:
    """Of (log10 size, points) over what was trained to full fidelity, as the figure has it."""
    trials = state.full()
    if not trials:
        return 0.0
    sizes = state.sizes(trials)
    accuracies = [state.full_accuracy(trial) for trial in trials]
    points = np.column_stack([np.log10(sizes), -100 * np.array(accuracies)])
    chance = -100.0 / len(state.dataset.classes)
    worst = np.log10(sizes.max(axis=0) * 1.1)
    return hypervolume(points, [*worst, chance])
