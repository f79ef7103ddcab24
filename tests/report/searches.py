"""The table and the answer of a search, made up from a closed-form surface."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from tests.report.rows import HEADER, row

SEARCH_HEADER = [*HEADER, "stage", "curve", "ended_s"]
LADDER = (1, 3, 9)


def search_row(
    candidate: str,
    seed: int,
    curve: dict[int, float],
    *,
    stage: str = "search",
    ended_s: float | str = "",
    status: str = "",
    params_count: int = 1000,
    **varied: Any,
) -> list[object]:
    """One row of a search; finished where its curve reaches the last rung, failed without one."""
    accuracy = curve[max(curve)] if curve else None
    cells = row(candidate, seed, accuracy, params_count=params_count, **varied)
    values = dict(zip(HEADER, cells, strict=True))
    values["test_accuracy"] = ""
    values["epochs"] = max(curve, default=0)
    if curve and max(curve) < LADDER[-1]:
        values |= {"status": "stopped", "reason": "others of its size are better at this rung"}
    values |= {"status": status} if status else {}
    text = " ".join(f"{epochs}:{value:.4f}" for epochs, value in curve.items())
    return [*values.values(), stage, text, ended_s]


def small_search() -> list[list[object]]:
    """Six candidates: two on the front (one with two seeds), dominated, stopped twice, reused."""
    return [
        search_row("a", 0, {1: 0.5, 3: 0.6, 9: 0.70}, ended_s=10, squeeze_ratio=0.125),
        search_row("b", 0, {1: 0.4}, ended_s=12, params_count=2000, squeeze_ratio=0.25),
        search_row(
            "c", 0, {1: 0.6, 3: 0.7, 9: 0.80}, ended_s=30, params_count=10_000, squeeze_ratio=0.5
        ),
        search_row("d", 0, {1: 0.5, 3: 0.6}, ended_s=31, params_count=20_000, squeeze_ratio=1),
        search_row(
            "e", 0, {9: 0.75}, stage="reused", params_count=50_000, squeeze_ratio=0.5, bypass="x"
        ),
        search_row(
            "a",
            1,
            {1: 0.5, 3: 0.6, 9: 0.74},
            stage="finals",
            ended_s=50,
            squeeze_ratio=0.125,
        ),
    ]


def big_search(count: int = 150, *, seed: int = 3) -> list[list[object]]:
    """A search whose accuracy grows with log size, with the share of 3x3 and with a bypass.

    `squeeze_ratio` says nothing at equal size. Two thirds are stopped at each rung; the four
    most accurate of the smaller half get two more seeds.
    """
    random = np.random.default_rng(seed)
    ratios, bypasses = (0.125, 0.25, 0.5, 0.75, 1.0), ("none", "simple", "complex")
    drawn = []
    for index in range(count):
        ratio, bypass = ratios[random.integers(5)], bypasses[random.integers(3)]
        size = round(3000 * 10 ** (1.6 * random.random()) * (0.6 + ratio))
        gain = 0.04 * (bypass != "none")
        final = 0.42 + 0.19 * (math.log10(size) - 3.4) + gain + random.normal(0, 0.008)
        shape = {1: 0.62, 3: 0.82, 9: 1.0}
        curve = {e: min(0.99, final * share) for e, share in shape.items()}
        drawn.append((f"{index:012x}", ratio, bypass, size, curve))
    rank = {key: random.random() + (bypass == "none") for key, _, bypass, _, _ in drawn}
    order = sorted(rank, key=rank.__getitem__)
    rungs = {
        key: 3 if at < count // 4 else 2 if at < count // 2 else 1 for at, key in enumerate(order)
    }
    rows, clock = [], 0.0
    for key, ratio, bypass, size, curve in drawn:
        reached = dict(list(curve.items())[: rungs[key]])
        clock += 3.0 * max(reached)
        is_reused = rungs[key] == 3 and int(key, 16) % 9 == 0
        rows.append(
            search_row(
                key,
                0,
                reached,
                stage="reused" if is_reused else "search",
                ended_s=0 if is_reused else clock,
                params_count=size,
                squeeze_ratio=ratio,
                bypass=bypass,
            )
        )
    finished = [d for d in drawn if rungs[d[0]] == 3 and d[3] < 30_000]
    for key, ratio, bypass, size, curve in sorted(finished, key=lambda d: -d[4][9])[:4]:
        for replicate in (1, 2):
            clock += 27
            noisy = {e: value + float(random.normal(0, 0.006)) for e, value in curve.items()}
            rows.append(
                search_row(
                    key,
                    replicate,
                    noisy,
                    stage="finals",
                    ended_s=clock,
                    params_count=size,
                    squeeze_ratio=ratio,
                    bypass=bypass,
                )
            )
    return rows


FOUND: dict[str, Any] = {
    "candidate": "a",
    "metaparameters": {"base_e": 16, "squeeze_ratio": 0.125, "bypass": "none"},
    "params_count": 1000,
    "macs": 90_000,
    "weight_bytes": 4000,
    "peak_activation_bytes": 512,
    "times_fewer": 128.5,
    "difference": 0.012,
    "difference_low": 0.001,
    "validation_accuracy": 0.722,
    "validation_low": 0.70,
    "validation_high": 0.744,
    "test_accuracy": 0.715,
    "test_low": 0.70,
    "test_high": 0.73,
    "seeds_count": 2,
}
ANSWER: dict[str, Any] = {
    "schema": 1,
    "study": "small",
    "found": True,
    "reference": {
        "name": "alexnet",
        "params_count": 128_500,
        "validation_accuracy": 0.71,
        "seeds_count": 5,
        "low": 0.702,
        "high": 0.718,
        "test_accuracy": 0.705,
    },
    "margin": 0.0,
    "confidence": 0.95,
    "answer": FOUND,
    "nearest": None,
    "finalists": [
        {
            "candidate": "a",
            "params_count": 1000,
            "difference": 0.012,
            "difference_low": 0.001,
            "seeds_count": 2,
            "verdict": "qualifies",
        }
    ],
    "cost": {
        "wall_s": 50.0,
        "epochs": 32,
        "trained_epochs_stopped": 4,
        "trials": 6,
        "finished": 4,
        "stopped": 2,
        "failed": 0,
    },
}


def answer(**changes: Any) -> dict[str, Any]:
    """`ANSWER` with parts changed: `answer(margin=0.01, answer__params_count=-1)`."""
    document = copy.deepcopy(ANSWER)
    for name, value in changes.items():
        *path, last = name.split("__")
        part = document
        for key in path:
            part = part[key]
        part[last] = value
    return document


def not_found() -> dict[str, Any]:
    """A search in which nothing qualified."""
    nearest = FOUND | {"difference": -0.01, "difference_low": -0.02}
    return answer(found=False, answer=None, nearest=nearest)
