"""How much of the front each sampler misses, in simulated studies (no training).

    python benchmarks/samplers.py            about 5 min on one busy core, most of it for gp
    python benchmarks/samplers.py --time     how long asks and promotions take, about 10 min
    python benchmarks/samplers.py --answers  how small an answer is found, about 5 min

Over the shipped space `squeezenet.yaml` with exact sizes of real networks and an accuracy that
is a formula with noise (`tests/search/samplers/surface.py`): the share of the whole space's
hypervolume over (log parameters, true accuracy) that is missed after 30, 60 and 120 asks, in
percent, mean and standard error over 20 seeds. Optuna's TPE has the limit as rejections, which
are not counted as asks; what it repeats is.

`--answers` has a search look for the smallest candidate of a given accuracy on the surfaces of
`benchmarks/surface.py` (one seed's noise, full fidelity): how many times more parameters than the
smallest there is the smallest has that was sampled and truly is as accurate; median over the
seeds; and the hypervolume missed, as above.

`--time` asks for 10,000 of 24,192 candidates one after the other, each with all before it
measured, and promotes among 10,000 candidates; milliseconds of this machine as it is.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import optuna

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.methods import Judge, asked_in_full
from benchmarks.surface import EASY, FULL_EPOCHS, HARD, make_surface
from dse.search.rungs import Ladder, Standings, next_promotion
from dse.search.samplers import SAMPLERS, History
from tests.search.samplers.surface import (
    NOISE,
    accuracy,
    feasible,
    grid,
    regret,
    simulate,
    squeezenet_domains,
    squeezenet_pool,
)

ASKS, SEEDS = (30, 60, 120), 20
ANSWER_ASKS, ANSWER_LEVELS = (8, 16, 24), (0.6, 0.85)
CLAIM_NEEDS = 0.01  # above the level, for a claim: some 2,500 images to confirm it
TIMED_ASKS, TIMED_PROMOTIONS = 10_000, 100


def random_after_the_smallest(seed: int) -> np.ndarray:
    pool = squeezenet_pool()
    smallest = np.argmin(pool.costs["params_count"])
    rows = simulate(SAMPLERS["random"], pool, asks=ASKS[-1], seed=seed, costs=("params_count",))
    return np.append(smallest, rows)


def of_optuna(seed: int) -> np.ndarray:
    pool = squeezenet_pool()
    measured = accuracy(pool) + np.random.default_rng([seed, 1]).normal(0, NOISE, len(pool))
    logs = np.log(pool.costs["params_count"])
    row_of = {tuple(levels): row for row, levels in enumerate(pool.levels.tolist())}
    counts = pool.levels.max(axis=0) + 1
    study = optuna.create_study(
        directions=["minimize", "maximize"], sampler=optuna.samplers.TPESampler(seed=seed)
    )
    rows: list[int] = []
    while len(rows) < ASKS[-1]:
        trial = study.ask()
        levels = tuple(
            trial.suggest_categorical(name, list(range(count)))
            if name in ("pools", "bypass")
            else trial.suggest_int(name, 0, int(count) - 1)
            for name, count in zip(pool.varying, counts, strict=True)
        )
        if levels not in row_of:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        rows.append(row_of[levels])
        study.tell(trial, (logs[rows[-1]], measured[rows[-1]]))
    return np.array(rows)


def of_sampler(name: str) -> Callable[[int], np.ndarray]:
    return lambda seed: simulate(
        SAMPLERS[name], squeezenet_pool(), asks=ASKS[-1], seed=seed, costs=("params_count",)
    )


def ask_times_s(name: str, costs: tuple[str, ...]) -> list[float]:
    """Seconds of each of `TIMED_ASKS` asks."""
    pool = feasible(grid(squeezenet_domains(fine=True)), 2_000_000)
    sizes, truth = pool.sizes(*costs), accuracy(pool)
    asked, spent_s = np.empty(0, dtype=np.intp), []
    for ask in range(TIMED_ASKS):
        history = History(asked, truth[asked], np.zeros(ask, dtype=np.intp))
        began = time.perf_counter()
        index = SAMPLERS[name].ask(pool, history, sizes, np.random.default_rng(ask))
        spent_s.append(time.perf_counter() - began)
        asked = np.append(asked, index)
    return spent_s


def promotion_times_s(objectives: int) -> list[float]:
    """Seconds of `TIMED_PROMOTIONS` calls of `next_promotion` among as many candidates."""
    spent_s = []
    for seed in range(TIMED_PROMOTIONS):
        rng = np.random.default_rng(seed)
        accuracies = rng.random((TIMED_ASKS, 4))
        for rung, count in enumerate((3333, 1111, 370), 1):
            accuracies[count:, rung] = np.nan
        sizes = np.exp(rng.random((TIMED_ASKS, objectives)) * 5)
        standings = Standings(sizes, accuracies, np.ones(TIMED_ASKS, dtype=np.bool_))
        began = time.perf_counter()
        next_promotion(Ladder.of_epochs(1, 3, 9, 27), standings)
        spent_s.append(time.perf_counter() - began)
    return spent_s


def print_times() -> None:
    print(f"{'ms':44}{'median':>8}{'95%':>8}{'most':>8}")
    for costs in (("params_count",), ("params_count", "macs")):
        times = {
            f"{name}, {costs}": ask_times_s(name, costs) for name in ("tpe", "nsga2", "random")
        }
        times[f"next_promotion, {len(costs)} sizes"] = promotion_times_s(len(costs))
        for what, spent_s in times.items():
            cells = np.quantile(spent_s, [0.5, 0.95, 1.0]) * 1000
            print(f"{what:44}" + "".join(f"{cell:8.1f}" for cell in cells), flush=True)


def print_answers() -> None:
    print(f"{'times the smallest size':44}" + "".join(f"{f'{n} asks':>10}" for n in ANSWER_ASKS))
    for difficulty in (EASY, HARD):
        surface = make_surface(difficulty)
        true, judge = surface.expected([FULL_EPOCHS])[:, 0], Judge(surface)
        for share in ANSWER_LEVELS:
            level, smallest = surface.wanted(share)
            for name in ("tpe", "gp", "level"):
                times, missed = [], []
                for seed in range(SEEDS):
                    measured = surface.measured([FULL_EPOCHS], seed)[:, 0]
                    aim = level, level + CLAIM_NEEDS
                    asked = asked_in_full(surface, SAMPLERS[name], seed, ANSWER_ASKS[-1], aim)
                    found = np.where(true[asked] >= level, surface.params_counts[asked], np.inf)
                    times.append([found[:n].min() / smallest for n in ANSWER_ASKS])
                    shares = [judge.share(asked[:n], measured[asked[:n]]) for n in ANSWER_ASKS]
                    missed.append([1 - share for share in shares])
                cells = np.median(times, axis=0), 100 * np.mean(missed, axis=0)
                what = f"{difficulty.name}, {level:.1%} ({smallest:,} parameters), {name}"
                for words, row, form in (
                    (what, cells[0], "10.2f"),
                    ("  % missed", cells[1], "10.1f"),
                ):
                    print(f"{words:44}" + "".join(f"{cell:{form}}" for cell in row), flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time", action="store_true", help="how long asks take, instead")
    parser.add_argument("--answers", action="store_true", help="how small answers are, instead")
    options = parser.parse_args(arguments)
    if options.time or options.answers:
        (print_times if options.time else print_answers)()
        return
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    studies: dict[str, Callable[[int], np.ndarray]] = {
        "random": of_sampler("random"),
        "random, smallest first": random_after_the_smallest,
        "nsga2": of_sampler("nsga2"),
        "tpe": of_sampler("tpe"),
        "Optuna's TPE": of_optuna,
        "gp": of_sampler("gp"),
    }
    print(f"{'':24}" + "".join(f"{f'{count} asks':>14}" for count in ASKS) + "      repeated")
    for name, study in studies.items():
        asked = [study(seed) for seed in range(SEEDS)]
        missed = [[100 * regret(squeezenet_pool(), rows[:n]) for n in ASKS] for rows in asked]
        means, errors = np.mean(missed, axis=0), np.std(missed, axis=0, ddof=1) / SEEDS**0.5
        repeated = np.mean([ASKS[-1] - len(set(rows[: ASKS[-1]].tolist())) for rows in asked])
        cells = [f"{mean:.1f} ± {error:.1f}" for mean, error in zip(means, errors, strict=True)]
        print(
            f"{name:24}" + "".join(f"{cell:>14}" for cell in cells) + f"{repeated:14.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
