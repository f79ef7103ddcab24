"""Epochs that a search needs for 98% of the exhaustive front's hypervolume, against Optuna.

    python benchmarks/rungs.py --json results/benchmarks/rungs.json
    python benchmarks/rungs.py --answers    how small answers are, about 10 min

No training: accuracies come from the closed forms in `benchmarks/surface.py`. The found front
is made of the candidates measured in full that no other measured one dominates; it is judged
by their true accuracies, so lucky noise does not count. What counts are the epochs spent when
the share is at least 98% and stays there to the end of the run. A run that does not get there
is counted with all its epochs, marked "+": it needs more than that.

Optuna's TPE trains every trial in full and asks for the same candidates again and again, so it
is counted twice: every trial paid for, and repeated ones answered from a record at no cost.
Ours is the search with its samplers and rungs, one worker; without stopping it is the same
search on one rung.

`--answers` has searches aim at the accuracies of `benchmarks/samplers.py --answers` and says how
many times as many parameters the smallest has that was trained in full and truly is accurate
enough, by the epochs spent.
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
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.methods import Trace, run_optuna, run_ours
from benchmarks.samplers import ANSWER_LEVELS, CLAIM_NEEDS
from benchmarks.surface import EASY, FULL_EPOCHS, HARD, Surface, make_surface
from dse.search.rungs import Ladder, make_ladder
from dse.search.samplers import DEFAULT_SAMPLER, SAMPLERS

SHARE = 0.98
ANSWER_BUDGETS = (216, 432, 864)  # 8, 16 and 32 trainings in full
SHARES_AT = (500, 1000, 2000, 4000)
OURS = f"{DEFAULT_SAMPLER} with rungs"
OPTUNA = ("optuna tpe, every trial paid", "optuna tpe, repeats free")
Row = dict[str, Any]


def ours(surface: Surface, seed: int, budget: int) -> dict[str, Trace]:
    """The search with rungs and without."""
    found = {}
    for name in (DEFAULT_SAMPLER, "random"):
        sampler = SAMPLERS[name]
        for label, ladder in (
            ("with rungs", make_ladder(FULL_EPOCHS)),
            ("without stopping", Ladder.of_epochs(FULL_EPOCHS)),
        ):
            found[f"{name} {label}"] = run_ours(
                surface, seed, budget, ladder=ladder, sampler=sampler
            )
    return found


def gp(surface: Surface, seed: int, budget: int) -> dict[str, Trace]:
    """The Gaussian process, every trial in full."""
    ladder = Ladder.of_epochs(FULL_EPOCHS)
    trace = run_ours(surface, seed, budget, ladder=ladder, sampler=SAMPLERS["gp"])
    return {"gp without stopping": trace}


def print_answers(seeds: Sequence[int]) -> None:
    """Medians over seeds; the share of the hypervolume that is missed, in percent, below."""
    searches = [
        (name, make_ladder(FULL_EPOCHS, first=first))
        for name, first in (("tpe", 1), ("tpe", 9), ("level", 9), ("level", FULL_EPOCHS))
    ]
    print(f"{'times the smallest size':52}" + "".join(f"{n:>10}" for n in ANSWER_BUDGETS))
    for difficulty in (EASY, HARD):
        surface = make_surface(difficulty)
        true = surface.expected([FULL_EPOCHS])[:, 0]
        for share in ANSWER_LEVELS:
            level, fewest = surface.wanted(share)
            sizes = np.where(true >= level, surface.params_counts, np.inf)
            for name, ladder in searches:
                times, missed = [], []
                for budget in ANSWER_BUDGETS:
                    traces = [
                        run_ours(
                            surface,
                            seed,
                            budget,
                            ladder=ladder,
                            sampler=SAMPLERS[name],
                            aim=(level, level + CLAIM_NEEDS),
                        )
                        for seed in seeds
                    ]
                    smallest = [sizes[trace.in_full].min() for trace in traces]
                    times.append(statistics.median(smallest) / fewest)
                    missed.append(statistics.mean(100 - 100 * t.shares[-1] for t in traces))
                rungs = ", ".join(map(str, ladder.epochs))
                what = f"{difficulty.name}, {level:.1%} ({fewest:,}), {name} {rungs}"
                print(f"{what:52}" + "".join(f"{cell:10.2f}" for cell in times))
                print(
                    f"{'  % missed':52}" + "".join(f"{cell:10.1f}" for cell in missed), flush=True
                )


def optuna_s(surface: Surface, seed: int, budget: int) -> dict[str, Trace]:
    """Optuna's, counted in both ways."""
    return dict(zip(OPTUNA, run_optuna(surface, seed, budget), strict=True))


GROUPS: dict[str, Callable[[Surface, int, int], dict[str, Trace]]] = {
    "ours": ours,
    "gp": gp,
    "optuna": optuna_s,
}


def plain(trace: Trace) -> Row:
    """One run as the document has it."""
    return {
        "reached": trace.reached(SHARE),
        "spent": trace.spent,
        "share_at": {str(epochs): _share_at(trace, epochs) for epochs in SHARES_AT},
        "last_share": round(float(trace.shares[-1]), 4) if len(trace.shares) else 0.0,
        "trained_to_each_rung": list(trace.counts),
    }


def compared(mine: Sequence[Row], other: Sequence[Row]) -> Row:
    """Ratios of epochs, seed by seed; of a bound the ratio is one too (`is_bound`).

    A seed counts as at most a quarter only where ours got there: then Optuna's epochs, or the
    epochs at which it was given up, are at least four times ours.
    """
    ratios = [counted(a) / counted(b) for a, b in zip(mine, other, strict=True)]
    known = [a["reached"] is not None for a in mine]
    return {
        "ratios": [round(ratio, 3) for ratio in ratios],
        "is_bound": [row["reached"] is None for row in other],
        "median_ratio": round(statistics.median(ratios), 3),
        "at_most_a_quarter": sum(k and r <= 0.25 for k, r in zip(known, ratios, strict=True)),
    }


def counted(row: Row) -> int:
    """Epochs to the share, or all that were spent without getting there."""
    return int(row["spent"] if row["reached"] is None else row["reached"])


def _share_at(trace: Trace, epochs: int) -> float:
    until = trace.shares[trace.epochs <= epochs]
    return round(float(until[-1]), 4) if len(until) else 0.0


def _print(surface: str, methods: dict[str, list[Row]]) -> None:
    print(f"\n{surface}: epochs to {SHARE:.0%} of the exhaustive front's hypervolume")
    print(f"{'':30} {'median':>8} {'reached':>8}  share at {SHARES_AT} epochs")
    for name, rows in methods.items():
        count = sum(row["reached"] is not None for row in rows)
        mark = " " if count > len(rows) // 2 else "+"
        shares = [statistics.mean(r["share_at"][str(at)] for r in rows) for at in SHARES_AT]
        median = statistics.median(map(counted, rows))
        print(
            f"{name:30} {median:7.0f}{mark} {count:5}/{len(rows)}  "
            + " ".join(f"{share:.4f}" for share in shares)
        )
        print(
            " " * 31 + " ".join(f"{counted(row)}{'' if row['reached'] else '+'}" for row in rows),
            flush=True,
        )
    for name in OPTUNA:
        if name in methods and OURS in methods:
            found = compared(methods[OURS], methods[name])
            print(
                f"{OURS} / {name}: median {found['median_ratio']}, at most a quarter on "
                f"{found['at_most_a_quarter']} of {len(methods[OURS])} seeds, "
                f"{sum(found['is_bound'])} of them bounds"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20, help="number of seeds")
    parser.add_argument("--first-seed", type=int, default=0, help="0 reports; 100 is for tuning")
    parser.add_argument("--budget", type=int, default=7_200, help="epochs of a search of ours")
    parser.add_argument("--optuna-budget", type=int, default=16_200, help="epochs of Optuna's")
    parser.add_argument("--only", choices=GROUPS, help="run one group; the others stay in FILE")
    parser.add_argument("--answers", action="store_true", help="how small answers are, instead")
    parser.add_argument("--json", type=Path, help="write the result to this file too")
    options = parser.parse_args(arguments)
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    if options.answers:
        return print_answers(seeds)
    budgets = {"ours": options.budget, "gp": options.budget, "optuna": options.optuna_budget}
    heading: Row = {
        "share": SHARE,
        "seeds": list(seeds),
        "budgets_epochs": {},
        "machine": f"{platform.machine()}, {platform.system()}, Python {platform.python_version()}",
        "versions": {name: version(name) for name in ("numpy", "optuna")},
    }
    result = _begun(options.json, heading) if options.only else heading | {"surfaces": {}}
    for group in [options.only] if options.only else GROUPS:
        result["budgets_epochs"][group] = budgets[group]
    for difficulty in (EASY, HARD):
        surface = make_surface(difficulty)
        methods = result["surfaces"].setdefault(difficulty.name, {})
        for group in [options.only] if options.only else GROUPS:
            runs = [GROUPS[group](surface, seed, budgets[group]) for seed in seeds]
            methods.update({name: [plain(run[name]) for run in runs] for name in runs[0]})
        _print(difficulty.name, methods)
        result.setdefault("ratios", {})[difficulty.name] = {
            name: compared(methods[OURS], methods[name])
            for name in OPTUNA
            if name in methods and OURS in methods
        }
        if options.json:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _begun(path: Path | None, heading: Row) -> Row:
    """What a file holds of the same comparison, or nothing yet."""
    if path is None or not path.is_file():
        return heading | {"surfaces": {}}
    found: Row = json.loads(path.read_text(encoding="utf-8"))
    if any(found.get(name) != heading[name] for name in ("share", "seeds", "versions")):
        raise SystemExit(f"{path} is of other seeds or versions: run both sides anew")
    return found


if __name__ == "__main__":
    main()
