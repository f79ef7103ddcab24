"""Rungs: who is trained on, and who is stopped, when size and accuracy both count.

Fidelity is a ladder of epochs. Sizes are known before training, so a candidate is judged at
its rung against those of its size or smaller. Members of a rung's front are promoted first,
of them the one that adds most hypervolume to those promoted before it; then whoever has the
least *shortfall*, the distance of its accuracy below the best of its size or smaller. Whenever
a worker is free, the highest rung that has a place left promotes, or a new candidate is sampled.
Nobody waits for a rung to fill, and a candidate that was passed over may be promoted later.

Source: asynchronous successive halving (Li et al. 2020, "A system for massively parallel
    hyperparameter tuning", algorithm 2) with the ranking by accuracy replaced by one by
    fronts, as in Schmucker et al. 2021 (MO-ASHA), who rank by nondomination depth.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from dse.architecture.objectives import ALL_OBJECTIVES
from dse.errors import LadderError, ObjectiveError
from dse.stats.pareto import front, most_wanted
from dse.study.fidelity import Fidelity
from dse.text import counted

Floats = NDArray[np.float64]
Rows = NDArray[np.intp]

SHARE_POWER = 0.6
"""Of the ratio of two rungs' epochs; 0.5 to 1 were compared, see docs/decisions/0011."""


@dataclass(frozen=True)
class Ladder:
    """The fidelity at each rung, rising; the last is the full one.

    Raises:
        LadderError: no rung, or rungs that do not rise.
    """

    fidelities: tuple[Fidelity, ...]

    def __post_init__(self) -> None:
        if not self.fidelities or any(low >= high for low, high in pairwise(self.fidelities)):
            rungs = ", ".join(map(str, self.fidelities))
            raise LadderError(f"the rungs of a ladder must rise, but are [{rungs}]")

    @staticmethod
    def of_epochs(*epochs: int) -> Ladder:
        """The ladder of these epochs, with all images at their own size."""
        return Ladder(tuple(map(Fidelity, epochs)))

    @property
    def epochs(self) -> tuple[int, ...]:
        """Epochs at each rung."""
        return tuple(fidelity.epochs for fidelity in self.fidelities)

    @property
    def full(self) -> Fidelity:
        """The highest rung."""
        return self.fidelities[-1]

    def share(self, rung: int) -> float:
        """Share of a rung's candidates that is promoted; about half where epochs treble.

        Were it the ratio of epochs itself, all rungs would cost the same, which suits random
        asks; a sampler that learns asks fewer bad candidates, so more of them go on.
        """
        return (self.fidelities[rung].cost / self.fidelities[rung + 1].cost) ** SHARE_POWER


@dataclass(frozen=True)
class Standings:
    """What is known of all candidates that were sampled so far.

    Attributes:
        sizes: float array (candidate, cost_objectives), above 0.
        accuracies: float array (candidate, rung), NaN where not measured; a candidate that
            is measured at a rung is measured at all below.
        is_open: bool array (candidate,): may be promoted, so neither running nor failed.

    Raises:
        ObjectiveError: shapes that do not match.
    """

    sizes: Floats
    accuracies: Floats
    is_open: NDArray[np.bool_]

    def __post_init__(self) -> None:
        shapes = (self.sizes.shape, self.accuracies.shape, self.is_open.shape)
        if [len(shape) for shape in shapes] != [2, 2, 1] or len({s[0] for s in shapes}) != 1:
            raise ObjectiveError(
                "sizes (candidate, objective), accuracies (candidate, rung) and is_open "
                f"(candidate,) must have one candidate a row, but their shapes are {shapes}"
            )


def make_ladder(epochs: int, *, factor: int = 3, first: int | None = None) -> Ladder:
    """The ladder below `epochs`: divided by `factor` again and again, rounded half up.

    Rungs of fewer than `first` epochs are left out: 27 gives 1, 3, 9, 27 and 20 gives
    1, 2, 7, 20; 27 from 2 on gives 3, 9, 27.

    Args:
        epochs: full fidelity.
        factor: about how many times more epochs each rung has; at least 2.
        first: fewest epochs of a rung; None is 1.

    Raises:
        LadderError: `1 <= first <= epochs` or `factor >= 2` does not hold.
    """
    least = 1 if first is None else first
    if not 1 <= least <= epochs or factor < 2:
        raise LadderError(
            "`1 <= first <= epochs` and `factor >= 2` must hold, but got "
            f"(first={least}, epochs={epochs}, factor={factor})"
        )
    rungs = [epochs]
    divisor = factor
    while (below := (2 * epochs + divisor) // (2 * divisor)) >= least and below < rungs[0]:
        rungs.insert(0, below)
        divisor *= factor
    return Ladder.of_epochs(*rungs)


LEAST_STEPS = 100
"""Optimizer steps before the lowest rung: earlier, batch norms have not settled."""


def first_rung(recipe_epochs: int, steps_per_epoch: int) -> int:
    """Fewest epochs that hold `LEAST_STEPS` optimizer steps, at most `recipe_epochs`."""
    return min(recipe_epochs, -(-LEAST_STEPS // max(1, steps_per_epoch)))


def shortfalls(sizes: Floats, accuracies: Floats) -> Floats:
    """How far each accuracy lies below the best among candidates of that size or smaller.

    Args:
        sizes: float array (candidate, objective); smaller in all of them counts as smaller.
        accuracies: float array (candidate,), a fraction, no NaN.

    Returns:
        Float array (candidate,), at least 0; 0 where none of its size or smaller is better.
        One size takes one sort, more take a pass for each member of the front.
    """
    best = accuracies.copy()
    if sizes.shape[1] == 1:
        order = np.lexsort((-accuracies, sizes[:, 0]))
        best[order] = np.maximum.accumulate(accuracies[order])
        return best - accuracies
    # The best of what is no larger is always on the front: whoever beats it is no larger too.
    for member in front(np.column_stack([sizes, -accuracies])):
        covered = (sizes >= sizes[member]).all(axis=1)
        best[covered] = np.maximum(best[covered], accuracies[member])
    return best - accuracies


def next_promotion(ladder: Ladder, standings: Standings) -> int | None:
    """Who is promoted to its next rung, when a worker is free.

    From the highest rung that has a place left: the open member of its front that adds most to
    those promoted before it. Of one size that is hypervolume over (log size, accuracy); of
    several the distance in log sizes, as hypervolume would take too long. Where all of the
    front went on, the open candidate with the least shortfall.

    Returns:
        Its row, or None: sample a new candidate.

    Raises:
        ObjectiveError: the standings have another number of rungs than the ladder.
    """
    for rung, rows in _rungs(ladder, standings):
        is_promoted = _is_promoted(standings, rows, rung)
        if is_promoted.sum() >= math.floor(len(rows) * ladder.share(rung) + 1e-9):
            continue
        place = most_wanted(standings.sizes[rows], standings.accuracies[rows, rung], is_promoted)
        if place is not None:
            return int(rows[place])
        if not is_promoted.all():
            short = shortfalls(standings.sizes[rows], standings.accuracies[rows, rung])
            return int(rows[np.argmin(np.where(is_promoted, np.inf, short))])
    return None


def top_up(ladder: Ladder, standings: Standings) -> int | None:
    """Who is promoted in the last phase of a search, in which no candidate is sampled.

    Every open member of a rung's front is promoted, highest rung first, however large the
    front is, so that what the rungs found ends at full fidelity.

    Returns:
        Its row, or None: every front was promoted (or is running), the phase is over.

    Raises:
        ObjectiveError: the standings have another number of rungs than the ladder.
    """
    for rung, rows in _rungs(ladder, standings):
        is_promoted = _is_promoted(standings, rows, rung)
        place = most_wanted(standings.sizes[rows], standings.accuracies[rows, rung], is_promoted)
        if place is not None:
            return int(rows[place])
    return None


def stop_reason(
    ladder: Ladder,
    standings: Standings,
    row: int,
    *,
    objectives: tuple[str, ...] = ("params_count",),
) -> str:
    """Why this candidate was not trained on, in one line with numbers, for the record.

    Args:
        ladder: the rungs.
        standings: as they are now.
        row: a candidate.
        objectives: name of each column of `standings.sizes`.

    Raises:
        ObjectiveError: the names and the columns of the sizes differ in number.
    """
    if len(objectives) != standings.sizes.shape[1]:
        raise ObjectiveError(
            f"there are {standings.sizes.shape[1]} sizes a candidate, "
            f"but {len(objectives)} names: {', '.join(objectives)}"
        )
    reached = np.flatnonzero(np.isfinite(standings.accuracies[row]))
    if not len(reached):
        return "no accuracy was measured"
    rung = int(reached[-1])
    epochs = ladder.epochs[rung]
    at = f"at {counted(epochs, 'epoch')}"
    if rung == len(ladder.epochs) - 1:
        return f"trained to full fidelity: {counted(epochs, 'epoch')}"
    rows = np.flatnonzero(np.isfinite(standings.accuracies[:, rung]))
    accuracies = standings.accuracies[rows, rung]
    own = standings.accuracies[row, rung]
    no_larger = (standings.sizes[rows] <= standings.sizes[row]).all(axis=1)
    better = rows[no_larger & (accuracies > own)]
    if not len(better):
        return (
            f"{at} none of its size or smaller was better, but its turn to be trained on "
            f"did not come: {_described(standings, row, rung, objectives)}, "
            f"one of {len(rows):,} candidates there"
        )
    best = int(better[np.argmax(standings.accuracies[better, rung])])
    return (
        f"{at} {len(better):,} of its size or smaller {'were' if len(better) > 1 else 'was'} "
        f"better: the best {_described(standings, best, rung, objectives)} "
        f"against {_described(standings, row, rung, objectives)}"
    )


def _rungs(ladder: Ladder, standings: Standings) -> Iterator[tuple[int, Rows]]:
    """Each rung below the top, highest first, and its candidates."""
    if standings.accuracies.shape[1] != len(ladder.epochs):
        raise ObjectiveError(
            f"the ladder has {len(ladder.epochs)} rungs, "
            f"but the standings {standings.accuracies.shape[1]}"
        )
    for rung in range(len(ladder.epochs) - 2, -1, -1):
        rows = np.flatnonzero(np.isfinite(standings.accuracies[:, rung]))
        if len(rows):
            yield rung, rows


def _is_promoted(standings: Standings, rows: Rows, rung: int) -> NDArray[np.bool_]:
    """Which of a rung's candidates went on: measured above, running there, or failed there."""
    return np.isfinite(standings.accuracies[rows, rung + 1]) | ~standings.is_open[rows]


def _described(standings: Standings, row: int, rung: int, objectives: tuple[str, ...]) -> str:
    values = zip(objectives, standings.sizes[row], strict=True)
    sizes = ", ".join(ALL_OBJECTIVES[name].text(value) for name, value in values)
    return f"{standings.accuracies[row, rung]:.2%} with {sizes}"
