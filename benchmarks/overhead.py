"""What the tool itself takes: starts of commands, enumeration, asking and telling, memory.

    python benchmarks/overhead.py --json results/benchmarks/overhead.json

Commands are started in turns, the median of 7 starts each. A space of 1,000,000 candidates is
listed with exact parameters and a limit, 5 times. A search of 10,000 trials runs with a closed
form in place of training (each candidate 1 epoch, the record in SQLite as always), and its last
hundred asks and tells are shown, with the most memory that its process had.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

COMMANDS = (
    ["--help"],
    ["sweep", "--help"],
    ["spaces"],
    ["check", "squeeze_ratio.yaml"],
    ["describe", "squeezenet_v1.0"],
    ["studies"],
)
STARTS, LISTINGS, TRIALS, LAST = 7, 5, 10_000, 100


def starts_s() -> dict[str, list[float]]:
    """Seconds from start to end of each command, in turns."""
    found: dict[str, list[float]] = {" ".join(["dse", *words]): [] for words in COMMANDS}
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for start in range(STARTS + 1):
        for words, times in zip(COMMANDS, found.values(), strict=True):
            began = time.perf_counter()
            subprocess.run(
                [sys.executable, "-P", "-m", "dse.cli.main", *words],
                env=environment,
                stdout=subprocess.DEVNULL,
                check=True,
            )
            if start:  # the first one compiles Python
                times.append(time.perf_counter() - began)
    return found


def million() -> Any:
    """A space of a million candidates with a limit on their parameters."""
    from dse.space import Categorical, FloatRange, IntRange, Limit, SearchSpace

    return SearchSpace(
        "million",
        "squeezenet",
        {
            "base_e": IntRange(16, 16 + 49 * 4, step=4),
            "incr_e": IntRange(4, 4 + 19 * 4, step=4),
            "freq": Categorical((1, 2, 3, 4, 5)),
            "pct_3x3": FloatRange(0.04, 0.8, step=0.04),
            "squeeze_ratio": FloatRange(0.1, 1.0, step=0.1),
        },
        limits={"params_count": Limit(max=2_000_000)},
    )


def listing() -> dict[str, Any]:
    """Seconds to list the million, and how many are within the limit."""
    from dse.space.enumerate import make_pool

    space = million()
    times = []
    for _ in range(LISTINGS):
        began = time.perf_counter()
        pool = make_pool(space, (32, 32, 3), 10)
        times.append(time.perf_counter() - began)
    return {"candidates": space.size, "feasible": len(pool), "seconds": times}


def ask_and_tell() -> dict[str, Any]:
    """Seconds of the last asks and tells of a search of `TRIALS` trials, and memory."""
    from dse.config import load_space, shipped_spaces
    from dse.execution.job import Ended
    from dse.search.budget import parse_budget
    from dse.search.engine import run
    from dse.search.plan import Search
    from dse.search.reference import Reference
    from dse.search.rungs import Ladder
    from dse.space import IntRange
    from dse.space.enumerate import make_pool
    from dse.study.measurement import Measurement
    from dse.training import Recipe
    from tests.fakes.closed_form import answer
    from tests.search.searching import InProcess, dataset

    asks: list[float] = []
    tells: list[float] = []

    class Timed(InProcess):
        """Measures what the search does between two trainings."""

        def serve(self, source: Any, **_: Any) -> Iterator[Any]:
            while True:
                began = time.perf_counter()
                job = source.next_job("", frozenset())
                if job is None:
                    return
                asks.append(time.perf_counter() - began)
                measured = Measurement(**answer(self.setup.to_dict(), job.to_dict()))
                began = time.perf_counter()
                yield Ended(job, 0, measured)
                tells.append(time.perf_counter() - began)

    shipped = load_space(dict(shipped_spaces())["squeezenet"])
    # Every width instead of every eighth: more than 10,000 candidates.
    space = replace(shipped, domains=shipped.domains | {"base_e": IntRange(8, 32)})
    pool = make_pool(space, (8, 8, 1), 10)
    recipe = Recipe(epochs=1, batch_size=10, crop_px=0, flip=False)
    trials = min(TRIALS, len(pool))
    with tempfile.TemporaryDirectory() as folder:
        search = Search(
            "overhead",
            pool,
            recipe,
            Ladder.of_epochs(1),
            parse_budget(f"{trials}trials"),
            finalists=1,
        )
        run(
            search,
            dataset(Path(folder)),
            Timed(1),
            results=Path(folder),
            reference=Reference("0.99", accuracy=0.99),
        )
    return {
        "trials": trials,
        "feasible": len(pool),
        "asks_s": asks[trials - LAST : trials],
        "tells_s": tells[trials - LAST : trials],
        "memory_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    from benchmarks.machine import command_line, machine, write_json

    document: dict[str, Any] = {
        "command": command_line(),
        "machine": machine("jax", "optuna", "numpy", "typer"),
        "starts_s": starts_s(),
    }
    for command, times in document["starts_s"].items():
        print(f"{command:36}{np.median(times):8.2f} s", flush=True)
    listed = document["listing"] = listing()
    print(
        f"{listed['candidates']:,} candidates listed, {listed['feasible']:,} feasible: "
        f"{np.median(listed['seconds']):.2f} s",
        flush=True,
    )
    search = document["search"] = ask_and_tell()
    print(f"trials {search['trials'] - LAST + 1:,} to {search['trials']:,}, ms:", flush=True)
    both = np.add(search["asks_s"], search["tells_s"])
    for name, values in (("ask", search["asks_s"]), ("tell", search["tells_s"]), ("both", both)):
        median, high, most = 1000 * np.quantile(values, [0.5, 0.95, 1])
        print(f"  {name:6} median {median:6.1f}   95% {high:6.1f}   most {most:6.1f}")
    print(f"memory of the driver: {search['memory_bytes'] / 1e6:,.0f} MB at most")
    if options.json:
        write_json(options.json, document)


if __name__ == "__main__":
    main()
