"""Epochs that the rungs need for 98% of the exhaustive front, against Optuna without stopping.

    python benchmarks/rungs.py [--seeds 20] [--first-seed 0] [--json FILE] [--budget EPOCHS]

No training: accuracies come from the closed forms in `benchmarks/surface.py`. The found front
is made of the candidates measured in full that no other measured one dominates; it is judged
by their true accuracies, so lucky noise does not count. A method that does not keep 98% by
the end of its budget is counted with its budget, which is a lower bound ("+").
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.methods import Trace, run_optuna, run_rungs, uniform
from benchmarks.surface import EASY, FULL_EPOCHS, HARD, Surface, make_surface
from dse.search.rungs import Ladder, make_ladder

SHARE = 0.98
METHODS: dict[str, Callable[[Surface, int, int], dict[str, Trace]]] = {
    "rungs": lambda surface, seed, budget: {
        "rungs, random": run_rungs(
            surface, seed, budget, ladder=make_ladder(FULL_EPOCHS), sampler=uniform
        )
    },
    "full": lambda surface, seed, budget: {
        "no stopping, random": run_rungs(
            surface, seed, budget, ladder=Ladder((FULL_EPOCHS,)), sampler=uniform
        )
    },
    "optuna": lambda surface, seed, budget: dict(
        zip(
            ("optuna tpe", "optuna tpe, repeats free"),
            run_optuna(surface, seed, budget),
            strict=True,
        )
    ),
}


def measure(surface: Surface, seeds: Sequence[int], budget: int) -> dict[str, object]:
    """Every method on every seed of one surface, as plain data."""
    found: dict[str, list[Trace]] = {}
    for seed in seeds:
        for run in METHODS.values():
            for name, trace in run(surface, seed, budget).items():
                found.setdefault(name, []).append(trace)
    return {name: _plain(traces) for name, traces in found.items()}


def _plain(traces: Sequence[Trace]) -> dict[str, object]:
    reached = [trace.reached(SHARE) for trace in traces]
    counted = [trace.spent if at is None else at for at, trace in zip(reached, traces, strict=True)]
    return {
        "median_epochs": statistics.median(counted),
        "reached_count": sum(at is not None for at in reached),
        "epochs": counted,
        "reached": [at is not None for at in reached],
        "share_at": {
            str(epochs): round(statistics.mean(_share_at(trace, epochs) for trace in traces), 4)
            for epochs in (1000, 2000, 4000, 6000)
        },
        "trained_to_each_rung": [list(trace.counts) for trace in traces],
    }


def _share_at(trace: Trace, epochs: int) -> float:
    until = trace.shares[trace.epochs <= epochs]
    return float(until[-1]) if len(until) else 0.0


def _print(name: str, methods: dict[str, dict[str, object]], seeds_count: int) -> None:
    print(f"\n{name}: epochs to {SHARE:.0%} of the exhaustive front's hypervolume")
    ours = methods["rungs, random"]["median_epochs"]
    is_ours_known = methods["rungs, random"]["reached_count"] > seeds_count // 2
    print(
        f"{'method':26} {'median':>8} {'reached':>8} {'rungs/it':>9}  share at 1000 … 6000 epochs"
    )
    for method, row in methods.items():
        mark = " " if row["reached_count"] > seeds_count // 2 else "+"
        shares = " ".join(f"{share:.4f}" for share in row["share_at"].values())
        ratio = f"{ours / row['median_epochs']:.2f}" if is_ours_known else "unknown"
        ratio = "<" + ratio if is_ours_known and mark == "+" else ratio
        print(
            f"{method:26} {row['median_epochs']:7.0f}{mark} {row['reached_count']:4}/{seeds_count}"
            f" {ratio:>9}  {shares}"
        )
        print(f"{'':26} {' '.join(str(epochs) for epochs in row['epochs'])}", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0, help="0 reports; 100 is for tuning")
    parser.add_argument("--budget", type=int, default=6_480, help="epochs for each method")
    parser.add_argument("--json", type=Path, help="write the result to this file too")
    options = parser.parse_args(arguments)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    result: dict[str, object] = {
        "share": SHARE,
        "seeds": list(seeds),
        "budget_epochs": options.budget,
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("numpy", "optuna")},
        "surfaces": {},
    }
    for difficulty in (EASY, HARD):
        methods = measure(make_surface(difficulty), seeds, options.budget)
        result["surfaces"][difficulty.name] = methods
        _print(difficulty.name, methods, options.seeds)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
