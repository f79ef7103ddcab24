"""What a search will take, before anything is trained: the plan of its budget, and the default.

Rough, as all of `dse.search.estimate` is; while the search runs, measured speeds take its place
(`dse.search.pace`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from dse.architecture import build, cost
from dse.data import DataDescription, Dataset
from dse.data.folds import FOLDS
from dse.errors import ArchitectureError, StudyError
from dse.search.budget import SEARCH_SHARE, Budget
from dse.search.estimate import START_S, train_s
from dse.search.reference import BestReference, Reference, ReferencePlan
from dse.space.enumerate import Pool
from dse.text import counted, duration
from dse.training import Recipe

COMPILE_S = 12.0
"""Of a network, with every core at work. `dse.search.estimate` has another, by which rungs are
chosen: rungs are part of what a study is, and stay."""

STEP_S = 8e-3
"""Of a step, beyond its images: the optimizer, and many small operations. Without it 500 steps of
16 images of 64 pixels were forecast at a quarter of what they take."""

END_S = 10.0
"""Test images, tables and plots at the end."""

DEFAULT_CANDIDATES = 16
"""Median candidates that the default budget trains to full fidelity."""

_MINUTES = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
"""Default budgets; more than an hour is for the user to say."""


def fold_times(folds: int) -> float:
    """How many times longer cross-validation trains than one training; it compiles once."""
    return folds * (FOLDS - 1) / FOLDS if folds else 1.0


@dataclass(frozen=True)
class PlannedStage:
    """A stage of a search: its name, what it does, and about how many seconds it takes."""

    name: str
    what: str
    seconds: float


@dataclass(frozen=True)
class Forecast:
    """Seconds that parts of a search take on so many workers.

    Attributes:
        workers_count: trainings side by side.
        full_s: a median candidate to full fidelity.
        least_s: the one with the fewest MACs.
        seeds: fresh trainings of one finalist, and of a reference that the search chooses.
        reference_s: the reference, where it is a network to be trained first.
        folds_s: a median candidate with all its folds, where it is cross-validated.
        candidates: without which there is nothing to claim.
    """

    workers_count: int
    full_s: float
    least_s: float
    seeds: int
    reference_s: float = 0.0
    folds_s: float = 0.0
    candidates: int = 1

    @property
    def searched_s(self) -> float:
        """A median candidate of the search."""
        return self.folds_s or self.full_s

    @property
    def finals_s(self) -> float:
        """Without these trainings nothing can be claimed."""
        return self.full_s * math.ceil(self.seeds / self.workers_count)

    @property
    def claim_s(self) -> float:
        """The least that a claim takes: one candidate, its finals and the reference.

        Two candidates, where the better one is the reference.
        """
        return START_S + self.reference_s + self._least_search_s + self.finals_s + END_S

    @property
    def _least_search_s(self) -> float:
        return self.searched_s * math.ceil(self.candidates / self.workers_count)

    def default_budget(self) -> Budget:
        """For so many median candidates, their finals and the reference, in whole minutes."""
        search_s = self.searched_s * math.ceil(DEFAULT_CANDIDATES / self.workers_count)
        wanted_s = START_S + self.reference_s + search_s + self.finals_s + END_S
        minutes = next((m for m in _MINUTES if 60 * m >= wanted_s), _MINUTES[-1])
        return Budget("time", 60.0 * minutes)

    def candidates_within(self, budget: Budget) -> float:
        """Median candidates that the search trains in its part of a budget of time."""
        search = next(stage for stage in self.stages(budget) if stage.name == "search")
        return search.seconds * self.workers_count / self.searched_s

    def stages(self, budget: Budget) -> list[PlannedStage]:
        """What the time goes to."""
        start_s = START_S + self.reference_s + END_S
        full = f"{self.searched_s:,.0f} s for a median candidate to full fidelity"
        if budget.kind == "time":
            left_s = budget.amount - start_s
            search_s = min(SEARCH_SHARE * left_s, left_s - self.finals_s)
            if search_s < self._least_search_s:
                search_s = SEARCH_SHARE * left_s
            search_s = max(search_s, 0.0)
            finals_s = max(left_s - search_s, 0.0)
        else:
            full_count = budget.amount
            if budget.kind == "epochs":
                full_count *= SEARCH_SHARE
            search_s = full_count * self.searched_s / self.workers_count
            finals_s = self.finals_s
        reference = [PlannedStage("reference", "trained first", self.reference_s)]
        return [
            PlannedStage("start", "images, workers", START_S),
            *(reference if self.reference_s else []),
            PlannedStage("search", full, search_s),
            PlannedStage("finals", f"{counted(self.seeds, 'training')} at least", finals_s),
            PlannedStage("end", "test images, tables, plots", END_S),
        ]

    def check(self, budget: Budget, reference_name: str) -> str:
        """What to say of a budget of time beforehand; empty where it is enough for a claim.

        Raises:
            StudyError: it is less than one training, or than the reference takes.
        """
        if budget.kind != "time":
            return ""
        enough = Budget("time", 60.0 * math.ceil(self.claim_s / 60))
        if self.reference_s > budget.amount:
            raise StudyError(
                f"the reference {reference_name} takes about {duration(self.reference_s)} to "
                f"train, more than the budget of {budget}: give --reference best (a network of "
                f"the search itself), --budget {enough}, or --reference-apart, which trains it "
                "outside of the budget"
            )
        if (one_s := START_S + self.least_s) > budget.amount:
            raise StudyError(
                f"the budget of {budget} is too small: to start and train one network takes about "
                f"{duration(one_s)}, a claim {duration(self.claim_s)}: give --budget {enough}, or "
                "take fewer --epochs or a smaller --image-size"
            )
        if self.claim_s > budget.amount:
            return (
                f"a claim takes about {duration(self.claim_s)} here, more than the budget of "
                f"{budget}: expect none, or give --budget {enough}"
            )
        return ""


def forecast(
    pool: Pool,
    recipe: Recipe,
    data: Dataset | DataDescription,
    reference: Reference | ReferencePlan | BestReference,
    *,
    seeds: int,
    workers_count: int,
    folds: int = 0,
) -> Forecast:
    """Forecast a search.

    Args:
        pool: its candidates.
        recipe: theirs.
        data: the images.
        reference: a plan of one is to be trained first.
        seeds: fresh trainings of a finalist.
        workers_count: trainings side by side.
        folds: that a candidate of the search is trained without, one after the other.
    """
    count = data.train_count if isinstance(data, DataDescription) else len(data.train)

    def seconds(macs: float, of: Recipe, times: float = 1.0) -> float:
        steps_s = STEP_S * of.epochs * (count // of.batch_size)
        return COMPILE_S + times * (train_s(macs, of, count) + steps_s)

    macs = pool.costs["macs"]
    median_macs = float(np.median(macs))
    reference_s = 0.0
    if isinstance(reference, ReferencePlan):
        try:
            built = build(reference.candidate, data.input_shape, len(data.classes))
        except ArchitectureError:  # told where it is trained
            pass
        else:
            rounds = math.ceil(reference.seeds / workers_count)
            reference_s = START_S + rounds * seconds(cost(built).macs, reference.recipe)
    own = reference.seeds if isinstance(reference, BestReference) else 0
    return Forecast(
        workers_count,
        seconds(median_macs, recipe),
        seconds(float(np.min(macs)), recipe) - COMPILE_S,
        seeds + own,
        reference_s,
        seconds(median_macs, recipe, fold_times(folds)),
        2 if own else 1,
    )
