"""What the benchmark of the rungs compares: each spends epochs on a surface, step by step."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.surface import FULL_EPOCHS, Floats, Surface
from dse.search.rungs import Ladder, Standings, next_promotion, top_up
from dse.search.samplers import History, Sampler
from dse.search.stages import SAMPLING_SHARE
from dse.stats.pareto import front, hypervolume

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Trace:
    """How the front that a method found grew.

    Attributes:
        epochs: int array (step,), spent when a candidate got its measurement in full.
        shares: float array (step,), hypervolume of the found front as a share of the
            exhaustive front's, both with true accuracies.
        spent: epochs when the method ended.
        counts: candidates that were trained to each rung.
        in_full: int array (candidate,), those measured in full.
    """

    epochs: NDArray[np.int64]
    shares: Floats
    spent: int
    counts: tuple[int, ...]
    in_full: Ints = field(default_factory=lambda: np.empty(0, dtype=np.intp))

    def reached(self, share: float) -> int | None:
        """Epochs after which the share is reached and kept to the end; None where it is not."""
        below = np.flatnonzero(self.shares < share)
        first = 0 if not len(below) else int(below[-1]) + 1
        return int(self.epochs[first]) if first < len(self.epochs) else None


class Judge:
    """Hypervolume of what a method believes to be its front, with true accuracies.

    Objectives are log10 of the parameters and accuracy; the reference point is the largest
    size and the lowest true accuracy of all candidates.
    """

    def __init__(self, surface: Surface) -> None:
        decades = np.log10(surface.params_counts)
        self._decades = decades
        self._points = np.column_stack([decades, -surface.expected([FULL_EPOCHS])[:, 0]])
        self._reference = self._points.max(axis=0)
        self._exhaustive = hypervolume(self._points, self._reference)

    def share(self, indices: Ints, measured: Floats) -> float:
        """Share of the exhaustive hypervolume.

        Args:
            indices: int array (candidate,), those measured in full.
            measured: float array (candidate,), what was measured, with its noise.
        """
        found = indices[front(np.column_stack([self._decades[indices], -measured]))]
        return hypervolume(self._points[found], self._reference) / self._exhaustive


def run_ours(
    surface: Surface,
    seed: int,
    budget: int,
    *,
    ladder: Ladder,
    sampler: Sampler,
    aim: tuple[float, float] | None = None,
) -> Trace:
    """The search with one worker, as its driver does it: promote whom the rungs say, else ask.

    After `SAMPLING_SHARE` of the budget nothing is asked; the fronts are trained on to the top.
    A ladder of one rung is the same search without stopping.
    """
    pool, measured = surface.pool, surface.measured(ladder.epochs, seed)
    sizes = pool.costs["params_count"][:, None].astype(np.float64)
    rungs = np.full(len(pool), -1)
    accuracies = np.full((len(pool), len(ladder.epochs)), np.nan)
    asked, spent, judge = np.empty(0, dtype=np.intp), 0, Judge(surface)
    steps: list[tuple[int, float]] = []
    while True:
        standings = Standings(sizes[asked], accuracies[asked], np.ones(len(asked), dtype=np.bool_))
        row = next_promotion(ladder, standings)
        if row is None and spent + ladder.epochs[0] <= SAMPLING_SHARE * budget:
            highest = rungs[asked]
            history = History(asked, accuracies[asked, highest], highest, aim=aim)
            rng = np.random.default_rng([seed, len(asked)])
            new = sampler.ask(pool, history, sizes, rng)
            if new is not None:
                asked, row = np.append(asked, new), len(asked)
        if row is None:
            row = top_up(ladder, standings)
        if row is None:
            break
        index = asked[row]
        rung = rungs[index] + 1
        epochs = ladder.epochs[rung] - (ladder.epochs[rung - 1] if rung else 0)
        if spent + epochs > budget:
            break
        rungs[index], spent = rung, spent + epochs
        accuracies[index, rung] = measured[index, rung]
        if rung == len(ladder.epochs) - 1:
            top = np.flatnonzero(rungs == rung)
            steps.append((spent, judge.share(top, measured[top, rung])))
    counts = tuple(int((rungs >= rung).sum()) for rung in range(len(ladder.epochs)))
    in_full = np.flatnonzero(rungs == len(ladder.epochs) - 1)
    return replace(_trace(steps, spent, counts), in_full=in_full)


def asked_in_full(
    surface: Surface, sampler: Sampler, seed: int, count: int, aim: tuple[float, float]
) -> Ints:
    """The first candidates that a sampler asks for, each measured in full before the next.

    Args:
        surface: what is measured.
        sampler: who asks.
        seed: of noise and asks.
        count: of asks.
        aim: see `History`.
    """
    measured = surface.measured([FULL_EPOCHS], seed)[:, 0]
    sizes = surface.params_counts[:, None].astype(float)
    asked = np.empty(0, dtype=np.intp)
    for ask in range(count):
        history = History(asked, measured[asked], np.zeros(ask, dtype=np.intp), aim=aim)
        index = sampler.ask(surface.pool, history, sizes, np.random.default_rng([seed, ask]))
        assert index is not None, "the pool has candidates left"
        asked = np.append(asked, index)
    return asked


def run_optuna(surface: Surface, seed: int, budget: int) -> tuple[Trace, Trace]:
    """Optuna's TPE with two objectives, every trial in full.

    It is told numbers as numbers (their rank), and candidates beyond the limits cost nothing.

    Returns:
        Two views of one run: as it is, and with repeated candidates answered from a record
        at no cost (Optuna keeps none).
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    measured = surface.measured([FULL_EPOCHS], seed)[:, 0]
    pool = surface.pool
    place = {tuple(levels): index for index, levels in enumerate(pool.levels.tolist())}
    choices = dict(zip(pool.varying, map(tuple, pool.choices), strict=True))
    judge, seen, trained_count = Judge(surface), [], 0
    paid: list[tuple[int, float]] = []
    free: list[tuple[int, float]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(
            directions=["minimize", "maximize"], sampler=optuna.samplers.TPESampler(seed=seed)
        )
        while trained_count * FULL_EPOCHS < budget:
            trial = study.ask()
            index = place.get(
                tuple(_suggested(trial, name, values) for name, values in choices.items())
            )
            if index is None:  # beyond a limit, or a duplicate: costs nothing
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
                continue
            accuracy = float(measured[index])
            study.tell(trial, [math.log10(surface.params_counts[index]), accuracy])
            trained_count += 1
            if index not in seen:
                seen.append(index)
                known = np.array(seen, dtype=np.intp)
                share = judge.share(known, measured[known])
                paid.append((trained_count * FULL_EPOCHS, share))
                free.append((len(seen) * FULL_EPOCHS, share))
    return (
        _trace(paid, trained_count * FULL_EPOCHS, (trained_count,)),
        _trace(free, len(seen) * FULL_EPOCHS, (len(seen),)),
    )


def _suggested(trial: object, name: str, values: tuple[object, ...]) -> int:
    if isinstance(values[0], str):
        return values.index(trial.suggest_categorical(name, list(values)))  # type: ignore[attr-defined]
    return int(trial.suggest_int(name, 0, len(values) - 1))  # type: ignore[attr-defined]


def _trace(steps: list[tuple[int, float]], spent: int, counts: tuple[int, ...]) -> Trace:
    epochs = np.array([step[0] for step in steps], dtype=np.int64)
    return Trace(epochs, np.array([step[1] for step in steps]), spent, counts)
