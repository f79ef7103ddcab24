"""How much of the front each sampler misses, in simulated studies (no training).

    python -m benchmarks.samplers            about 5 min on one busy core, most of it for gp

Over the shipped space `squeezenet.yaml` with exact sizes of real networks and an accuracy that
is a formula with noise (`tests/search/samplers/surface.py`): the share of the whole space's
hypervolume over (log parameters, true accuracy) that is missed after 30, 60 and 120 asks, in
percent, mean and standard error over 20 seeds. Optuna's TPE has the limit as rejections, which
are not counted as asks; what it repeats is.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import optuna

from dse.search.samplers import SAMPLERS
from tests.search.samplers.surface import (
    NOISE,
    accuracy,
    regret,
    simulate,
    squeezenet_pool,
)

ASKS, SEEDS = (30, 60, 120), 20


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


def main() -> None:
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
