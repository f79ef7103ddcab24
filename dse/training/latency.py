"""How long one image takes on this machine: one CPU thread, warm, in a process of its own.

    python -m dse.training.latency     reads a network as JSON, prints its latency as JSON

XLA reads its number of threads once, when it starts, so a process that has run anything
before cannot be held to one thread: the measurement gets its own. Importing this module
imports no JAX.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dse.architecture import Candidate, build, make_candidate
from dse.errors import TrainingError
from dse.training.xla import one_thread

WARM_UP_RUNS = 3
"""Runs that do not count: the first compiles, the next fill caches."""

LEAST_RUNS, MOST_RUNS, ENOUGH_S = 20, 200, 3.0


@dataclass(frozen=True)
class Latency:
    """Seconds for one image through one network, float32, one CPU thread.

    Attributes:
        median_s: half of the warm runs were faster.
        p95_s: 95% of them took at most this (nearest rank).
        runs_count: warm runs that were timed.
    """

    median_s: float
    p95_s: float
    runs_count: int


def measure_latency(candidate: Candidate, input_shape: Sequence[int], classes: int) -> Latency:
    """Measure a network in a process of its own; takes a few seconds.

    Args:
        candidate: what to build.
        input_shape: (height, width, channels) of the image.
        classes: number of classes.

    Raises:
        TrainingError: that process failed, with the last line that it wrote.
    """
    job = {
        "family": candidate.family,
        "metaparameters": candidate.metaparameters,
        "input_shape": list(input_shape),
        "classes_count": classes,
    }
    done = subprocess.run(
        [sys.executable, "-P", "-m", "dse.training.latency"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        env=one_thread(os.environ) | {"JAX_PLATFORMS": "cpu"},
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise TrainingError(f"the latency of {candidate.key} cannot be measured: {last}")
    return Latency(**json.loads(done.stdout.splitlines()[-1]))


def time_runs(
    run: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter
) -> Latency:
    """Time a call until `ENOUGH_S` seconds and `LEAST_RUNS` runs, at most `MOST_RUNS`.

    The first `WARM_UP_RUNS` runs do not count, in time or number.
    """
    for _ in range(WARM_UP_RUNS):
        run()
    times: list[float] = []
    while len(times) < LEAST_RUNS or (len(times) < MOST_RUNS and sum(times) < ENOUGH_S):
        start = clock()
        run()
        times.append(clock() - start)
    return Latency(quantile(times, 0.5), quantile(times, 0.95), len(times))


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed (nearest rank).

    >>> quantile([4, 1, 3, 2], 0.5), quantile([4, 1, 3, 2], 0.95)
    (2, 4)
    """
    return sorted(values)[max(math.ceil(share * len(values)), 1) - 1]


def main() -> None:
    """Measure the network on standard input: from the call until its scores are there."""
    import jax
    import jax.numpy as jnp

    from dse.networks import build_network

    job: dict[str, Any] = json.load(sys.stdin)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in job["metaparameters"].items()}
    height, width, channels = job["input_shape"]
    candidate = make_candidate(job["family"], values)
    network = build_network(build(candidate, (height, width, channels), job["classes_count"]))
    params, statistics = network.init(jax.random.key(0))
    image = jax.random.normal(jax.random.key(1), (1, height, width, channels), jnp.float32)
    scores = jax.jit(lambda p, s, x: network.apply(p, s, x, train=False)[0])
    found = time_runs(lambda: scores(params, statistics, image).block_until_ready())
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
