"""What an executor costs: seconds per job that does nothing, local processes against Ray.

    python -m benchmarks.executors --jobs 10000 --json results/benchmarks/executors.json

Workers answer at once (`tests/fakes/worker.py`), so that what is left is the executor's own. Of
each executor: seconds until the first job ended, milliseconds per job after that, and how much the
driver's memory grew between the first tenth of the jobs and the last. Then `--sweeps` times in
turns a sweep of squeeze_ratio.yaml on digits with real workers: seconds from the first trial that
is taken to the last that ends, and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.machine import command_line, machine, write_json
from dse.data.spec import cache_root
from dse.execution import local
from dse.execution.executor import Executor
from dse.execution.job import Ended, Job, Setup, Started
from dse.execution.local import LocalExecutor
from tests import fakes
from tests.execution.test_serve import job
from tests.search.searching import RECIPE


def fake_workers() -> None:
    """Start workers that train nothing."""
    local.WORKER_COMMAND = fakes.WORKER


@dataclass
class Jobs:
    """So many jobs, each made when it is asked for."""

    count: int
    given: int = 0

    def next_job(self, compiled: str, elsewhere: Set[str]) -> Job | None:
        """The next."""
        if self.given == self.count:
            return None
        self.given += 1
        return job(self.given % 16, replicate=self.given // 16)

    def is_over(self) -> bool:
        """Never: it ends by itself."""
        return False


def measured(executor: Executor, jobs_count: int) -> dict[str, Any]:
    """Serve so many jobs."""
    setup = Setup("f" * 32, RECIPE, scores_test=False)
    started, ended_s, memory = time.monotonic(), [], []
    with tempfile.TemporaryDirectory() as folder:
        artifacts = {f"{kind}/{setup.key}": Path(folder) for kind in ("weights", "checkpoints")}
        with executor.session(setup, artifacts, Path(folder, "logs")) as session:
            for event in session.serve(Jobs(jobs_count)):
                if isinstance(event, Ended):
                    ended_s.append(time.monotonic() - started)
                    memory.append(_resident_bytes())
    tenth = jobs_count // 10
    return {
        "jobs_count": len(ended_s),
        "start_s": round(ended_s[0], 2),
        "per_job_ms": round(1000 * (ended_s[-1] - ended_s[0]) / (len(ended_s) - 1), 3),
        "memory_growth_bytes": memory[-1] - memory[tenth],
    }


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def sweep_s(executor: Executor, epochs: int) -> float:
    """Seconds of a digits sweep between the first job that is taken and the last that ends."""
    from dse.config import find_space, load_space
    from dse.data import parse_data, prepare_data
    from dse.search import plan_sweep, run

    moments = []
    spec = parse_data("digits")
    data = prepare_data(spec)
    plan = plan_sweep(
        load_space(find_space("squeeze_ratio.yaml")), spec, data, seeds=2, epochs=epochs
    )
    with tempfile.TemporaryDirectory() as folder:
        run(
            plan,
            data,
            executor,
            results=Path(folder),
            command="benchmark",
            on_event=lambda event: (
                moments.append(time.monotonic()) if isinstance(event, Started | Ended) else None
            ),
        )
    return moments[-1] - moments[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--sweeps", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    real_worker = local.WORKER_COMMAND
    fake_workers()
    os.environ["RAY_AUTH_MODE"] = "token"
    import ray

    from dse.execution.ray import connect

    document: dict[str, Any] = {"command": command_line(), "machine": machine("ray", "jax")}

    def note(name: str, found: Any) -> None:
        document[name] = found
        print(name, json.dumps(found), flush=True)
        if options.json:
            write_json(options.json, document)

    note("local", measured(LocalExecutor(options.workers), options.jobs))
    here = str(Path(__file__).parents[1])
    common: dict[str, Any] = {
        "address": "local",
        "num_cpus": options.workers,
        "include_dashboard": False,
        "object_store_memory": 200 << 20,
        "log_to_driver": False,
    }
    ray.init(
        **common,
        runtime_env={
            "worker_process_setup_hook": fake_workers,
            "env_vars": {"PYTHONPATH": here},
        },
    )
    note("ray", measured(connect(workers_count=options.workers), options.jobs))
    ray.shutdown()
    local.WORKER_COMMAND = real_worker
    compiled = cache_root() / "compiled"
    compiled.mkdir(parents=True, exist_ok=True)
    ray.init(**common, runtime_env={"env_vars": {"PYTHONPATH": here}})
    sweeps: dict[str, list[float]] = {"local": [], "ray": []}
    for turn in range(options.sweeps + 1):
        sides = {"local": LocalExecutor(options.workers, compiled)}
        for name, executor in (sides | {"ray": connect(workers_count=options.workers)}).items():
            seconds = sweep_s(executor, options.epochs)
            if turn:  # the first compiles
                sweeps[name].append(round(seconds, 2))
        if turn:
            ratio = median(sweeps["ray"]) / median(sweeps["local"])
            note("sweep", {"seconds": sweeps, "ratio": round(ratio, 3)})
    ray.shutdown()
    note("load", os.getloadavg())


if __name__ == "__main__":
    main()
