"""How long one image takes on this machine: one CPU thread, warm, in a process of its own.

    python -m dse.training.latency     reads a network as JSON, prints its latency as JSON

XLA reads its number of threads once, when it starts, so a process that has run anything
before cannot be held to one thread: the measurement gets its own. Importing this module
imports no JAX.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from dse.architecture import Candidate, build, make_candidate
from dse.deployment.timing import Latency, time_runs
from dse.errors import TrainingError
from dse.training.xla import one_thread


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
