"""How long training takes here, and what of a budget the search leaves to the finals."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import median
from typing import Any

from dse.search.budget import SEARCH_SHARE, Budget
from dse.search.estimate import COMPILE_S, train_s
from dse.search.forecast import END_S, fold_times
from dse.search.state import SearchState

SLACK = 1.1
"""What is reserved for the finals, over what they would take at the pace measured so far."""


class Pace:
    """How long training takes here: the estimate, corrected by what was measured."""

    def __init__(self, state: SearchState) -> None:
        self._state, self._recipe = state, state.search.recipe
        self._train_count = len(state.dataset.train)
        self._times = fold_times(state.search.folds)

    @property
    def is_measured(self) -> bool:
        """Whether anything was trained yet."""
        return bool(self._factors())

    def epochs_s(self, macs: float, epochs: int) -> float:
        """Seconds for so many epochs of a network, compilation included."""
        return self._compile_s() + self._factor() * self._estimated_s(macs, epochs)

    def searched_s(self, macs: Any, epochs: int) -> Any:
        """Seconds for so many epochs of a candidate of the search, which may be cross-validated.

        Args:
            macs: of one network, or an array of many.
            epochs: passes over the training images.
        """
        return self._compile_s() + self._times * self._factor() * self._estimated_s(macs, epochs)

    def _factor(self) -> float:
        factors = self._factors()
        return median(factors) if factors else 1.0

    def _compile_s(self) -> float:
        trials = list(self._state.record.trials.values())[-20:]
        measured = [t.latest.compile_s for t in trials if t.latest and t.latest.compile_s]
        return max([COMPILE_S, *measured])

    def _estimated_s(self, macs: Any, epochs: int) -> Any:
        return train_s(macs, replace(self._recipe, epochs=epochs), self._train_count)

    def _factors(self) -> list[float]:
        return [
            latest.train_s
            / self._estimated_s(trial.costs["macs"], latest.epochs)
            / (1.0 if trial.replicate else self._times)
            for trial in list(self._state.record.trials.values())[-20:]
            if (latest := trial.latest) and latest.epochs and latest.train_s
        ]


def search_part(state: SearchState, pace: Pace, workers_count: int) -> float:
    """What the search may spend of a budget of time (seconds) or epochs.

    At most `SEARCH_SHARE`; less where the fresh seeds of one finalist, and of a reference that
    the search chooses itself, need more than the rest, for without them nothing can be claimed.
    A budget too small for those seeds behind one candidate at full fidelity (two, where one of
    them is the reference) cannot end in a claim however it is shared out: there the share
    stands, unless the candidates are there already. What runs with smaller budgets spent, finals
    included, is spent: what is shared out is the rest.

    Args:
        state: of the candidates begun so far the one with the most MACs stands for the finalist.
        pace: of training here.
        workers_count: how many train side by side.
    """
    search = state.search
    epochs, before = search.recipe.epochs, state.spent_before()
    amount = search.budget.amount - before
    part = SEARCH_SHARE * amount
    trainings = _missing_count(state)
    least = 2 if state.reference_seeds else 1  # the best, and one that is smaller
    if search.budget.kind == "trials":  # finals take what they take
        return part
    if search.budget.kind == "epochs":
        searched, finals = float(least * epochs), float(epochs * trainings)
        spent = float(state.record.spent_epochs)
    else:
        macs = [float(trial.costs["macs"]) for trial in state.record.searched if trial.rungs]
        if not macs:
            return before + part
        full = pace.epochs_s(max(macs), epochs)
        # Twice, as there is a compilation for each rung, and not every candidate is promoted.
        searched = 2 * pace.searched_s(max(macs), epochs) * math.ceil(least / workers_count)
        finals = SLACK * full * math.ceil(trainings / workers_count)
        spent = state.clock() - full  # a training may end later than was thought
    rest = usable(search.budget) - before - finals
    is_there = rest >= 0 and len(state.full()) >= least and before + rest >= spent
    is_enough = rest >= searched or is_there
    return before + (min(part, rest) if is_enough else part)


def _missing_count(state: SearchState) -> int:
    """Fresh trainings that a first claim still takes: of the reference and of one finalist."""
    record, seeds, reference = state.record, state.search.seeds, state.reference_trial
    if len(record.trials) == len(record.searched):  # none yet
        return seeds + state.reference_seeds
    others = [t for t in state.full() if reference is None or t.key != reference.key]
    have = max((len(state.finished(state.fresh(trial))) for trial in others), default=0)
    of_reference = len(state.reference_missing) if reference else state.reference_seeds
    return seeds - have + of_reference


def usable(budget: Budget) -> float:
    """A budget less what of its time the end of a search takes: test images, tables, plots."""
    if budget.kind != "time":
        return budget.amount
    return budget.amount - min(END_S, 0.1 * budget.amount)
