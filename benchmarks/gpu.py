"""What a GPU makes of it, beside PyTorch: one command, at most 8 minutes on one H100.

    pip install -e '.[cuda,bench]'
    python benchmarks/gpu.py --data folder:cifar10-jpeg --json results/benchmarks/gpu.json

Parts, each in a process of its own, so that one that fails costs its own rows alone:

    speed       training images a second of five networks, batches of 128 to 1,024: our program;
                PyTorch eager and compiled, channels last under bfloat16 autocast
    operations  pooling and a 3x3 convolution, forward and backward, in XLA's form and in ours
    population  64 small candidates of one shape as one program, beside one by one
    candidate   8 epochs of one network on --data
    sweep       dse sweep squeeze_ratio.yaml on digits, with one worker and with four

Share of peak: six operations for each multiply-add and image, over the bfloat16 peak that the
vendor states. The file is written after every row; rows for which no time is left are counted.
It needs no network: without --data the candidate is trained on digits. `--reduced` runs all of
it on a CPU, in one process, by the forms of an accelerator (DSE_FORMS), and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.training_step import (  # noqa: E402
    NETWORKS,
    architecture_for,
    program_of,
    torch_step_of,
)

PEAK_BF16 = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12}
"""Operations a second of dense bfloat16 products, from NVIDIA's data sheets (SXM)."""

SMALL = {"base_e": 8, "incr_e": 8, "norm": "batch"}

Row = dict[str, Any]


@dataclass(frozen=True)
class Sizes:
    """How much is measured.

    Attributes:
        networks: metaparameters and image shape by name.
        batches: images in a batch; all networks with the first, then with the next.
        compiled: of those, the batches that PyTorch compiles for; it takes longest.
        steps: of one call of our program.
        least_s: seconds of a round.
        small: how many small candidates, their network, images and batch.
        candidate: metaparameters of the one that is trained to its end.
        epochs: of it.
        space: YAML of the space of the sweep; empty for squeeze_ratio.yaml.
        workers: of the sweeps.
        budget_s: no row is begun later.
    """

    networks: dict[str, tuple[dict[str, Any], tuple[int, int, int]]] = field(
        default_factory=lambda: {name: (meta, shape) for name, (meta, shape, _) in NETWORKS.items()}
    )
    batches: tuple[int, ...] = (1024, 128, 512, 256)
    compiled: tuple[int, ...] = (1024,)
    steps: int = 16
    least_s: float = 0.5
    small: tuple[int, dict[str, Any], tuple[int, int, int], int] = (64, SMALL, (32, 32, 3), 128)
    candidate: dict[str, Any] = field(
        default_factory=lambda: {"base_e": 64, "incr_e": 64, "norm": "batch", "bypass": "simple"}
    )
    epochs: int = 8
    space: str = ""
    workers: tuple[int, ...] = (1, 4)
    sweep_words: tuple[str, ...] = ()
    budget_s: float = 460.0


_TINY = {"base_e": 4, "incr_e": 4, "fire_modules": 1, "norm": "batch"}
REDUCED = Sizes(
    networks={"tiny": (_TINY, (8, 8, 1))},
    batches=(16,),
    compiled=(),
    steps=2,
    least_s=0.01,
    small=(3, _TINY, (8, 8, 1), 8),
    candidate=_TINY,
    epochs=1,
    space=f"schema: 1\nfamily: squeezenet\nmetaparameters: {json.dumps(_TINY)}\n",
    workers=(1,),
    sweep_words=("--epochs", "1"),
)


def seconds_of(run: Callable[[], None], wait: Callable[[], None], least_s: float) -> float:
    """Seconds of a call: the median of three rounds of at least so many seconds, warmed up."""
    for _ in range(2):
        run()
    wait()
    started = time.perf_counter()
    run()
    wait()
    count = max(1, round(least_s / (time.perf_counter() - started)))
    rounds = []
    for _ in range(3):
        started = time.perf_counter()
        for _ in range(count):
            run()
        wait()
        rounds.append((time.perf_counter() - started) / count)
    return median(rounds)


def device_of_jax() -> tuple[str, str]:
    """(kind, platform) of the device that JAX uses."""
    import jax

    return jax.devices()[0].device_kind, jax.default_backend()


def peak_of(kind: str) -> float | None:
    """Of a device that is known."""
    return next((peak for name, peak in PEAK_BF16.items() if name in kind), None)


def call_of(compiled: Any, state: Any, *rest: Any) -> tuple[Callable[[], None], Callable[[], None]]:
    """A call that goes on from where the last one ended, and what waits for it."""
    import jax

    held = [state, None]

    def run() -> None:
        held[0], held[1] = compiled(held[0], *rest)

    return run, lambda: jax.block_until_ready(held[1])


def speed_dse(sizes: Sizes) -> Iterator[Row]:
    """Rows of our program, images already on the device."""
    import jax

    from dse.architecture import cost

    peak = peak_of(device_of_jax()[0])
    for batch in sizes.batches:
        for name, (metaparameters, shape) in sizes.networks.items():
            architecture = architecture_for(metaparameters, shape)
            program, (state, *rest) = program_of(architecture, batch, sizes.steps)
            rest = jax.device_put(rest)
            started = time.perf_counter()
            compiled = program.lower(state, *rest).compile()
            compile_s = time.perf_counter() - started
            call_s = seconds_of(*call_of(compiled, state, *rest), sizes.least_s)
            rate = batch * sizes.steps / call_s
            operations = 6 * cost(architecture).macs * rate
            yield {
                "network": name,
                "batch": batch,
                "side": "dse",
                "images_per_s": rate,
                "compile_s": compile_s,
                "share_of_peak": operations / peak if peak else None,
            }


def speed_torch(sizes: Sizes) -> Iterator[Row]:
    """Rows of PyTorch: eager, and compiled where the sizes say so."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    for batch in sizes.batches:
        for name, (metaparameters, shape) in sizes.networks.items():
            architecture = architecture_for(metaparameters, shape)
            for is_compiled in (False, True)[: 1 + (batch in sizes.compiled)]:
                side = "torch compiled" if is_compiled else "torch"
                row: Row = {"network": name, "batch": batch, "side": side}
                try:
                    step = torch_step_of(
                        architecture, batch, is_bf16=True, device=device, is_compiled=is_compiled
                    )
                    row["images_per_s"] = batch / seconds_of(*step, sizes.least_s)
                except Exception as error:  # the compiler of PyTorch is theirs
                    row["failed"] = f"{type(error).__name__}: {error}"[:300]
                yield row


def operations(sizes: Sizes) -> Iterator[Row]:
    """Pooling and convolution, forward and backward, in both forms."""
    import jax
    import jax.numpy as jnp

    from dse.networks import ops

    batch, dtype = max(sizes.batches), ops.compute_dtype()
    side, channels = (32, 64) if batch > 100 else (8, 4)
    x = jnp.ones((batch, side, side, channels), dtype)
    kernel = jnp.ones((3, 3, channels, channels), dtype)
    cases: dict[str, Callable[..., Any]] = {
        "max_pool": lambda form: lambda x, k: ops.max_pool(x, window=3, stride=2, cpu_form=form),
        "conv2d": lambda form: lambda x, k: ops.conv2d(x, k, padding=1, cpu_form=form),
    }
    for name, make in cases.items():
        for form in (False, True):
            function = make(form)

            def total(x: Any, k: Any, function: Any = function) -> Any:
                return function(x, k).astype(jnp.float32).sum()

            gradient = jax.jit(jax.grad(total, (0, 1)))
            call_s = seconds_of(
                lambda gradient=gradient: jax.block_until_ready(gradient(x, kernel)),
                lambda: None,
                sizes.least_s,
            )
            yield {"operation": name, "form": "ours" if form else "XLA", "ms": 1e3 * call_s}


def population(sizes: Sizes) -> Iterator[Row]:
    """Candidates of one shape on the same batches: one by one, and as one program.

    As one program with XLA's convolutions, which then are grouped ones, and with products.
    """
    from functools import partial
    from unittest.mock import patch

    import jax
    import jax.numpy as jnp

    from dse.networks import ops

    count, metaparameters, shape, batch = sizes.small
    architecture = architecture_for(metaparameters, shape)
    made = [program_of(architecture, batch, sizes.steps, seed=seed) for seed in range(count)]
    program, (_, *rest) = made[0]
    states = [arguments[0] for _, arguments in made]
    rest = jax.device_put(rest)
    images_count = count * batch * sizes.steps
    copied = [jax.tree.map(jnp.copy, state) for state in states]  # a call gives up its state
    compiled = program.lower(states[0], *rest).compile()
    last = [float(compiled(state, *rest)[1][-1]) for state in copied]
    one_s = seconds_of(*call_of(compiled, states[0], *rest), sizes.least_s)
    yield {
        "side": "dse, one by one",
        "images_per_s": images_count / (count * one_s),
        "losses": last,
    }
    forms: dict[str, dict[str, Any]] = {
        "dse, one program, XLA's convolutions": {},
        "dse, one program, products": {
            "conv2d": partial(ops.conv2d, cpu_form=True),
            "max_pool": partial(ops.max_pool, cpu_form=True),
        },
    }
    for side, replaced in forms.items():
        states = [program_of(architecture, batch, 1, seed=seed)[1][0] for seed in range(count)]
        together = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)
        with patch.dict(vars(ops), replaced):
            program, _ = program_of(architecture, batch, sizes.steps)
            packed = jax.jit(jax.vmap(program.__wrapped__, (0, None, None, None)))
            compiled = packed.lower(together, *rest).compile()
        losses = compiled(together, *rest)[1][:, -1]
        call_s = seconds_of(*call_of(compiled, together, *rest), sizes.least_s)
        yield {
            "side": side,
            "images_per_s": images_count / call_s,
            "losses": [float(loss) for loss in losses],
        }


def population_torch(sizes: Sizes) -> Iterator[Row]:
    """PyTorch trains the same candidates one by one: as fast as one of them."""
    _, metaparameters, shape, batch = sizes.small
    one = Sizes(
        networks={"small": (metaparameters, shape)},
        batches=(batch,),
        compiled=(batch,) if sizes.compiled else (),
        least_s=sizes.least_s,
    )
    for row in speed_torch(one):
        yield {name: value for name, value in row.items() if name not in ("network", "batch")} | {
            "side": f"{row['side']}, one by one"
        }


def candidate(sizes: Sizes, data: str) -> Iterator[Row]:
    """One network trained from start to end by the recipe of its images."""
    from dataclasses import replace

    from dse.architecture import build, make_candidate
    from dse.data import parse_data, prepare_data
    from dse.training import default_recipe
    from dse.training.trainer import Seed, Trainer

    spec = parse_data(data)
    dataset = prepare_data(spec)
    network = make_candidate("squeezenet", sizes.candidate)
    recipe = default_recipe(spec.source, dataset.input_shape, len(dataset.train))
    recipe = replace(recipe, epochs=sizes.epochs)
    architecture = build(network, dataset.input_shape, len(dataset.classes))
    found = Trainer(architecture, dataset, recipe).train(Seed()).measurement
    yield {
        "data": dataset.name,
        "epochs": recipe.epochs,
        "train_s": found.train_s,
        "compile_s": found.compile_s,
        "images_per_s": found.images_per_s,
        "validation_accuracy": found.validation_accuracy,
        "test_accuracy": found.test_accuracy,
    }


def sweep(sizes: Sizes) -> Iterator[Row]:
    """Wall time of the command, nothing compiled before."""
    for workers in sizes.workers:
        with tempfile.TemporaryDirectory() as folder:
            space = "squeeze_ratio.yaml"
            if sizes.space:
                space = f"{folder}/tiny.yaml"
                Path(space).write_text(sizes.space, encoding="utf-8")
            words = [space, "--workers", str(workers), "--results", folder, *sizes.sweep_words]
            started = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-m", "dse.cli.main", "sweep", *words, "--plots", folder],
                env=os.environ | {"PYTHONPATH": str(ROOT), "DSE_CACHE": f"{folder}/cache"},
                capture_output=True,
                text=True,
                check=False,
            )
            row: Row = {"workers": workers, "wall_s": time.perf_counter() - started}
        if done.returncode:
            row = {"workers": workers, "failed": done.stderr[-300:]}
        yield row


# In the order of their value: time may run out.
PARTS: dict[str, tuple[str, Callable[..., Iterator[Row]]]] = {
    "population": ("population", population),
    "population torch": ("population", population_torch),
    "candidate": ("candidate", candidate),
    "operations": ("operations", operations),
    "sweep": ("sweep", sweep),
    "speed": ("speed", speed_dse),
    "speed torch": ("speed", speed_torch),
}


def rows_of(part: str, sizes: Sizes, data: str, deadline: float) -> Iterator[Row]:
    """The rows of a part, until the deadline (`time.time`)."""
    _, function = PARTS[part]
    rows = function(sizes, data) if part == "candidate" else function(sizes)
    while time.time() < deadline:
        try:
            yield next(rows)
        except StopIteration:
            return
    yield {"failed": "no time was left for the rows that follow"}


def text_of(row: Row) -> str:
    """A row as it is printed."""

    def shown(name: str, value: Any) -> str:
        if not isinstance(value, float):
            return str(value)
        return f"{value:.1%}" if "share" in name or "accuracy" in name else f"{value:,.2f}"

    said = {name: shown(name, value) for name, value in row.items() if name != "losses"}
    return "  ".join(f"{name} {value}" for name, value in said.items())


def ratios(parts: dict[str, list[Row]]) -> list[Row]:
    """Our images a second over those of PyTorch's fastest, for each network and batch."""
    found: dict[tuple[str, int], dict[str, float]] = {}
    for row in parts.get("speed", []):
        if "images_per_s" in row:
            sides = found.setdefault((row["network"], row["batch"]), {})
            sides[row["side"]] = row["images_per_s"]
    rows = []
    for (network, batch), sides in found.items():
        others = [rate for side, rate in sides.items() if side != "dse"]
        if "dse" in sides and others:
            rows.append(
                {"network": network, "batch": batch, "to_torch": sides["dse"] / max(others)}
            )
    return rows


def main() -> None:
    """Run the parts, print their rows, write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=list(PARTS))
    parser.add_argument("--data", default="digits")
    parser.add_argument("--reduced", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = REDUCED if options.reduced else Sizes()
    if options.serve:
        names, deadline = options.serve
        for part in names.split(","):
            if part == "speed":
                print(json.dumps({"device": device_of_jax()}), flush=True)
            for row in rows_of(part, sizes, options.data, float(deadline)):
                print(json.dumps({"part": part, **row}), flush=True)
        return
    from benchmarks.machine import command_line, machine, write_json

    environment = dict(os.environ)
    if options.reduced:
        environment["DSE_FORMS"] = "accelerator"
    document: dict[str, Any] = {"command": command_line(), "machine": machine("jax", "flax")}
    document["parts"] = parts = {}
    deadline = time.time() + sizes.budget_s
    wanted = options.only or list(PARTS)
    for names in [",".join(wanted)] if options.reduced else wanted:
        words = ["--serve", names, str(deadline), "--data", options.data]
        with subprocess.Popen(
            [sys.executable, __file__, *words, *["--reduced"] * options.reduced],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                if not line.startswith("{"):
                    continue  # what a library prints
                row = json.loads(line)
                if "device" in row:
                    document["device"] = row["device"]
                else:
                    part = row.pop("part")
                    parts.setdefault(PARTS[part][0], []).append(row)
                    print(f"{part:18}{text_of(row)}", flush=True)
                if options.json:
                    write_json(options.json, document)
        if status := process.returncode:
            name = PARTS[names.split(",")[-1]][0]
            parts.setdefault(name, []).append({"failed": f"{names}: status {status}"})
            print(f"{names:18}failed with status {status}", flush=True)
    document["ratios"] = ratios(parts)
    for row in document["ratios"]:
        print(f"{'ratio':18}{text_of(row)}")
    if options.json:
        write_json(options.json, document)


if __name__ == "__main__":
    main()
