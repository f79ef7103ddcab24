"""What an executor costs: seconds per job that does nothing, local processes against Ray.

    python -m benchmarks.executors --jobs 10000 --workers 2

Workers answer at once (`tests/fakes/worker.py`), so that what is left is the executor's own. Prints
one JSON document: seconds until the first job ended, milliseconds per job after that, and how much
the driver's memory grew between the first tenth of the jobs and the last.
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
from typing import Any

from dse.execution import local
from dse.execution.executor import Executor
from dse.execution.job import Ended, Job, Setup
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    fake_workers()
    os.environ["RAY_AUTH_MODE"] = "token"
    import ray

    from dse.execution.ray import connect

    found = {"local": measured(LocalExecutor(options.workers), options.jobs)}
    here = str(Path(__file__).parents[1])
    ray.init(
        address="local",
        num_cpus=options.workers,
        include_dashboard=False,
        object_store_memory=200 << 20,
        log_to_driver=False,
        runtime_env={
            "worker_process_setup_hook": fake_workers,
            "env_vars": {"PYTHONPATH": here},
        },
    )
    found["ray"] = measured(connect(workers_count=options.workers), options.jobs)
    ray.shutdown()
    found["machine"] = {"cores": os.cpu_count(), "load": os.getloadavg()}
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
