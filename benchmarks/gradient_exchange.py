"""What two processes send to train one network together, beside what `dse describe` predicts.

    python benchmarks/gradient_exchange.py --json results/benchmarks/gradient_exchange.json

Two processes of one thread on this machine, joined by `jax.distributed` and gloo, train each
network by its usual program with a batch of 32, half of it each. Measured per step: bytes that a
process sends (what the kernel counts on its gloo connections, `ss -ti`, over steps after the
first), and milliseconds, beside those of one process with the same batch and with half of it. A
step's exchange takes what is left of it beyond that of half a batch.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

BATCH, STEPS = 32, 8

NETWORKS: dict[str, dict[str, Any]] = {
    "small": {"base_e": 16, "incr_e": 16, "fire_modules": 2},
    "medium": {"base_e": 64, "incr_e": 64, "fire_modules": 2},
    "large": {"base_e": 128, "incr_e": 128, "fire_modules": 4},
}


def images(steps: int, batch: int) -> Any:
    """So many steps' worth of random images of 32x32."""
    from dse.data import Dataset, Split

    draws = np.random.default_rng(0)

    def split(count: int) -> Split:
        pixels = draws.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        return Split(pixels, draws.integers(0, 10, count).astype(np.int32))

    return Dataset(
        name="random",
        directory=Path("nowhere"),
        classes=tuple("0123456789"),
        input_shape=(32, 32, 3),
        train=split(steps * batch),
        validation=split(10),
        test=split(10),
        mean=(0.5,) * 3,
        std=(0.25,) * 3,
        fingerprint="0" * 32,
        warnings=(),
    )


def sent_bytes() -> int:
    """Payload that this process has sent on its connections on this machine so far."""
    text = subprocess.run(
        ["ss", "-tinpH", "state", "established"], capture_output=True, text=True, check=True
    ).stdout
    own = re.findall(rf"pid={os.getpid()},[^\n]*\n([^\n]*)", text)
    return sum(int(found) for line in own for found in re.findall(r"bytes_sent:(\d+)", line))


def serve(name: str, rank: int, count: int, port: int, batch: int) -> None:
    """One process: epochs of a few steps each; prints seconds and bytes of each epoch."""
    import jax

    if count > 1:
        jax.distributed.initialize(f"127.0.0.1:{port}", count, rank)
    from dse.architecture import build, cost, make_candidate
    from dse.training import Recipe
    from dse.training.trainer import Seed, Trainer

    candidate = make_candidate("squeezenet", NETWORKS[name])
    architecture = build(candidate, (32, 32, 3), 10)
    recipe = Recipe(batch_size=batch, epochs=6, learning_rate=0.01)
    trainer = Trainer(architecture, images(STEPS, batch), recipe, devices_count=count)
    before, rows, started = sent_bytes() if count > 1 else 0, [], time.perf_counter()
    for _ in trainer.epochs(trainer.begin(Seed()), Seed(), recipe.epochs):
        now, seconds = sent_bytes() if count > 1 else 0, time.perf_counter() - started
        rows.append({"s": seconds / STEPS, "bytes": (now - before) / STEPS})
        before, started = now, time.perf_counter()
    params_count = cost(architecture).params_count
    print(json.dumps({"params_count": params_count, "epochs": rows[1:]}), flush=True)
    os._exit(0)


def run(name: str, count: int, batch: int) -> dict[str, Any]:
    """The first process's medians."""
    from dse.execution.local import worker_environment

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = worker_environment(0) | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    processes = [
        subprocess.Popen(
            [sys.executable, __file__, "--serve", name, *map(str, (rank, count, port, batch))],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(count)
    ]
    texts = [process.communicate(timeout=400)[0] for process in processes]
    found = json.loads(next(line for line in texts[0].splitlines() if line.startswith("{")))
    return {
        "params_count": found["params_count"],
        "step_ms": 1000 * median(row["s"] for row in found["epochs"]),
        "sent_bytes": median(row["bytes"] for row in found["epochs"]),
    }


def measured(name: str) -> dict[str, Any]:
    """One network: prediction and measurement."""
    from dse.deployment.footprint import VALUE_BYTES
    from dse.deployment.link import all_reduce_bytes

    together, alone, half = run(name, 2, BATCH), run(name, 1, BATCH), run(name, 1, BATCH // 2)
    predicted_bytes = all_reduce_bytes(VALUE_BYTES * together["params_count"], 2)
    return {
        "network": name,
        "params_count": together["params_count"],
        "predicted_bytes": predicted_bytes,
        "sent_bytes": together["sent_bytes"],
        "ratio": together["sent_bytes"] / predicted_bytes,
        "step_ms": together["step_ms"],
        "alone_ms": alone["step_ms"],
        "half_batch_ms": half["step_ms"],
        "exchange_ms": together["step_ms"] - half["step_ms"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(NETWORKS))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        name, *numbers = options.serve
        serve(name, *map(int, numbers))
        return
    from benchmarks.machine import command_line, machine, write_json

    document: dict[str, Any] = {"command": command_line(), "machine": machine("jax")}
    document["rows"] = []
    for name in options.only or NETWORKS:
        document["rows"].append(measured(name))
        print(document["rows"][-1], flush=True)
        if options.json:
            write_json(options.json, document)


if __name__ == "__main__":
    main()
