"""How long training will take, roughly: a line through measured training times.

The constants are medians of one single-thread worker on a 2-core x86-64 server; another
machine may be several times slower or faster, so the numbers are good for ordering work and
for a first idea. While a sweep runs, its own times correct them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from dse.architecture import Candidate, Cost
from dse.execution.job import Job
from dse.search.rungs import Ladder
from dse.training import Recipe

TRAIN_S_PER_MAC = 4e-11
"""Seconds for a multiply-accumulate of the forward pass, backward pass included."""

TRAIN_S_PER_IMAGE = 1.5e-4
COMPILE_S = 5.0
START_S = 6.0
"""A worker's own start: imports and data."""

WORTHWHILE_SHARE = 0.4
"""Of the time of a full training, compilation included: where a rung takes more, stopping there
saves less than it costs (about half of a rung's candidates go on); see docs/decisions/0023."""


def train_s(macs: float, recipe: Recipe, train_count: int) -> float:
    """Seconds to train one candidate once on one worker, compilation aside."""
    images = recipe.epochs * train_count
    return images * (TRAIN_S_PER_IMAGE + TRAIN_S_PER_MAC * macs)


def job_s(macs: float, recipe: Recipe, *, train_count: int, scored_count: int) -> float:
    """Seconds until a worker has trained and scored one candidate once, if nothing disturbs it."""
    images = recipe.epochs * train_count + scored_count
    return COMPILE_S + images * (TRAIN_S_PER_IMAGE + TRAIN_S_PER_MAC * macs)


def sweep_s(
    jobs: Sequence[Job],
    costs: Mapping[Candidate, Cost],
    recipe: Recipe,
    *,
    train_count: int,
    workers_count: int,
) -> float:
    """Seconds for all jobs on `workers_count` workers."""
    if not jobs:
        return 0.0
    training = sum(train_s(costs[job.candidate].macs, recipe, train_count) for job in jobs)
    compilation = COMPILE_S * len({job.candidate for job in jobs})
    return START_S + (training + compilation) / min(workers_count, len(jobs))


def worthwhile(ladder: Ladder, macs: float, recipe: Recipe, train_count: int) -> Ladder:
    """The rungs that take at most `WORTHWHILE_SHARE` of the time of a training to full fidelity.

    Args:
        ladder: up to the recipe's epochs.
        macs: of a median candidate.
        recipe: of all candidates.
        train_count: of training images.
    """

    def time_s(epochs: int) -> float:
        return COMPILE_S + train_s(macs, replace(recipe, epochs=epochs), train_count)

    *below, top = ladder.epochs
    most_s = WORTHWHILE_SHARE * time_s(top)
    return Ladder.of_epochs(*(epochs for epochs in below if time_s(epochs) <= most_s), top)
