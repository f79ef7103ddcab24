"""Training speed beside PyTorch's: the same networks, cores and threads, in one run.

    pip install -e '.[bench]'
    python benchmarks/training_step.py --json results/benchmarks/training_step.json

Each side trains in as many processes as there are cores, one thread each, with the malloc
settings of our workers: batches of random images, forward, backward, SGD with Nesterov
momentum and weight decay (no augmentation on either side). PyTorch 2 eager, channels last, in
float32 and under bfloat16 autocast. The sides take turns, so that what else the machine does
hits both; the medians over the rounds are compared. Images a second of all processes together.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SIDES = ("dse", "torch", "torch-bf16")

# name: (metaparameters, shape of an image, batch size)
NETWORKS: dict[str, tuple[dict[str, Any], tuple[int, int, int], int]] = {
    "reference": ({"base_e": 128, "incr_e": 128}, (32, 32, 3), 128),
    "quarter": ({"base_e": 32, "incr_e": 32}, (32, 32, 3), 128),
    "reference, batch norm": ({"base_e": 128, "incr_e": 128, "norm": "batch"}, (32, 32, 3), 128),
    "quarter, batch norm": ({"base_e": 32, "incr_e": 32, "norm": "batch"}, (32, 32, 3), 128),
    "digits": ({"base_e": 16, "incr_e": 16, "norm": "batch"}, (8, 8, 1), 32),
}
ROUND_S = 3.0
SCAN_STEPS = {"digits": 40}  # of one call of our program; an epoch's worth


def architecture_of(name: str) -> Any:
    metaparameters, shape, _ = NETWORKS[name]
    return architecture_for(metaparameters, shape)


def architecture_for(metaparameters: dict[str, Any], shape: tuple[int, int, int]) -> Any:
    """A network without dropout, of ten classes."""
    from dse.architecture import build, make_candidate

    return build(make_candidate("squeezenet", metaparameters | {"dropout": 0.0}), shape, 10)


def our_program(name: str) -> tuple[Any, tuple[Any, ...]]:
    """The training program, not yet compiled, and its arguments: state, images, labels, key."""
    batch = NETWORKS[name][2]
    return program_of(architecture_of(name), batch, SCAN_STEPS.get(name, 4))


def program_of(
    architecture: Any, batch: int, steps: int, *, seed: int = 0
) -> tuple[Any, tuple[Any, ...]]:
    """The same for any network; the seed is that of its initial weights."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from dse.networks import build_network
    from dse.training import Recipe
    from dse.training.optimizers import make_optimizer
    from dse.training.parametrization import AllParameters
    from dse.training.scaling import InputScaling
    from dse.training.step import TrainState, make_packings, make_train_program

    shape = architecture.input_shape
    recipe = Recipe(batch_size=batch, learning_rate=0.01, crop_px=0, flip=False)
    network = build_network(architecture)
    optimizer = make_optimizer(recipe, 1000)
    scaling = InputScaling((0.5,) * shape[2], (0.25,) * shape[2])
    params, statistics = network.init(jax.random.key(seed))
    packings = make_packings(recipe, params, statistics)
    program = make_train_program(
        network, recipe, optimizer, scaling, AllParameters(), packings, 1000
    )
    packed = jax.tree.map(jnp.asarray, packings.trained.pack(params))
    statistics = jax.tree.map(jnp.asarray, packings.statistics.pack(statistics))
    state = TrainState(packed, statistics, optimizer.init(packed), jnp.int32(0))
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (steps, batch, *shape), dtype=np.uint8)
    labels = rng.integers(0, 10, (steps, batch), dtype=np.int32)
    return program, (state, images, labels, jax.random.key(1))


def our_step(name: str) -> tuple[Callable[[], None], int]:
    """A call of the training program, and the images it trains on."""
    program, arguments = our_program(name)
    return calls_of(program.lower(*arguments).compile(), arguments)


def calls_of(compiled: Any, arguments: tuple[Any, ...]) -> tuple[Callable[[], None], int]:
    """A call of the compiled program, and the images it trains on."""
    import jax

    state, images, labels, key = arguments
    held = [state]

    def run() -> None:
        held[0], losses = compiled(held[0], images, labels, key)
        jax.block_until_ready(losses)

    return run, images.shape[0] * images.shape[1]


def torch_step(name: str, *, is_bf16: bool) -> tuple[Callable[[], None], int]:
    """A training step of PyTorch's on one thread, and the images it trains on."""
    import torch

    torch.set_num_threads(1)
    batch = NETWORKS[name][2]
    return torch_step_of(architecture_of(name), batch, is_bf16=is_bf16)[0], batch


def torch_step_of(
    architecture: Any, batch: int, *, is_bf16: bool, device: str = "cpu", is_compiled: bool = False
) -> tuple[Callable[[], None], Callable[[], None]]:
    """A training step of PyTorch's for any network, and what waits until it is done."""
    import torch

    from benchmarks.torch_networks import make_optimizer, params_count, torch_network
    from dse.architecture import cost

    height, width, channels = architecture.input_shape
    network = torch_network(architecture).to(device)
    assert params_count(network) == cost(architecture).params_count
    optimizer = make_optimizer(network, learning_rate=0.01, momentum=0.9, weight_decay=5e-4)
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(
        0, 256, (batch, channels, height, width), dtype=torch.uint8, generator=generator
    ).to(device, memory_format=torch.channels_last)
    labels = torch.randint(0, 10, (batch,), generator=generator).to(device)
    loss_of = torch.nn.CrossEntropyLoss()
    network.train()

    def loss_now() -> Any:
        with torch.autocast(device, dtype=torch.bfloat16, enabled=is_bf16):
            values = (images.float() / 255.0 - 0.5) / 0.25
            return loss_of(network(values).float(), labels)

    forward = torch.compile(loss_now) if is_compiled else loss_now

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        forward().backward()
        optimizer.step()

    return run, torch.cuda.synchronize if device == "cuda" else lambda: None


def serve(side: str, name: str) -> None:
    """A process of one side: says `ready`, then for each line in the seconds of so many calls."""
    makers = {
        "dse": lambda: our_step(name),
        "torch": lambda: torch_step(name, is_bf16=False),
        "torch-bf16": lambda: torch_step(name, is_bf16=True),
    }
    run, images_count = makers[side]()
    for _ in range(2):
        run()
    started = time.perf_counter()
    run()
    print(json.dumps([images_count, time.perf_counter() - started]), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        for _ in range(int(line)):
            run()
        print(time.perf_counter() - started, flush=True)


class Side:
    """The processes of one side, which run at the same time and only when told to."""

    def __init__(self, side: str, name: str, processes_count: int) -> None:
        from dse.execution.local import worker_environment

        self.processes = [
            subprocess.Popen(
                [sys.executable, __file__, "--serve", side, name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                env=worker_environment(index) | {"PYTHONPATH": str(ROOT)},
            )
            for index in range(processes_count)
        ]
        firsts = [json.loads(self._line(process)) for process in self.processes]
        self.images_count = int(firsts[0][0])
        self.calls = max(1, round(ROUND_S / max(seconds for _, seconds in firsts)))

    def _line(self, process: subprocess.Popen[str]) -> str:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise SystemExit(f"a process ended with {process.wait()}")
        return line

    def images_per_s(self) -> float:
        """Of all processes in one round."""
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write(f"{self.calls}\n")
            process.stdin.flush()
        seconds = [float(self._line(process)) for process in self.processes]
        return sum(self.calls * self.images_count / s for s in seconds)

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.kill()
            process.wait()


def measure(name: str, rounds: int, processes_count: int) -> dict[str, Any]:
    """All sides on one network, in turns."""
    from dse.architecture import cost

    sides = {side: Side(side, name, processes_count) for side in SIDES}
    try:
        found: dict[str, list[float]] = {side: [] for side in SIDES}
        for _ in range(rounds):
            for side, processes in sides.items():
                found[side].append(processes.images_per_s())
    finally:
        for processes in sides.values():
            processes.close()
    costs = cost(architecture_of(name))
    medians = {side: median(values) for side, values in found.items()}
    return {
        "network": name,
        "params_count": costs.params_count,
        "macs": costs.macs,
        "batch_size": NETWORKS[name][2],
        "images_per_s": found,
        "median_images_per_s": medians,
        "ratio_to_torch": medians["dse"] / medians["torch"],
        "ratio_to_torch_bf16": medians["dse"] / medians["torch-bf16"],
        # The ratio within each round: what else the machine does is most alike there.
        "ratios_to_torch": [a / b for a, b in zip(found["dse"], found["torch"], strict=True)],
    }


def parsed_options(description: str, *, rounds: int) -> argparse.Namespace:
    """Options of a benchmark of networks, with so many rounds unless told."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--only", action="append", choices=list(NETWORKS))
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Measure and print a table."""
    options = parsed_options(__doc__.splitlines()[0], rounds=7)
    if options.serve:
        serve(*options.serve)
        return
    from benchmarks.machine import command_line, machine, write_json

    rows = []
    print(
        f"{'network':24}{'parameters':>12}{'dse':>9}{'torch':>9}{'bf16':>9}{'ratio':>8}", flush=True
    )
    for name in options.only or NETWORKS:
        row = measure(name, options.rounds, options.processes)
        rows.append(row)
        found = row["median_images_per_s"]
        print(
            f"{name:24}{row['params_count']:12,}"
            + "".join(f"{found[side]:9,.0f}" for side in SIDES)
            + f"{row['ratio_to_torch']:8.2f}",
            flush=True,
        )
    if options.json:
        document = {
            "command": command_line(),
            "machine": machine("jax", "flax", "torch"),
            "processes": options.processes,
            "threads_a_process": 1,
            "rounds": options.rounds,
            "rows": rows,
        }
        write_json(options.json, document)


if __name__ == "__main__":
    main()
