"""The deployment sheet, measured: files, memory and latency of a network in each runtime.

Neither depends on the values of weights, so random ones stand in for them.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from dse.architecture import Architecture
from dse.deployment.chip import ChipMemory, chip_memory
from dse.deployment.timing import Latency, time_runs
from dse.errors import ExportError
from dse.export.c import Program, c_files
from dse.export.litert import litert_model
from dse.export.onnx import onnx_model
from dse.export.packages import need
from dse.export.runtimes import Runtime, open_c, open_litert, open_onnx
from dse.inference.calibrate import calibrate
from dse.inference.graph import make_graph
from dse.inference.int8 import Int8Graph, quantize
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import trained_preprocessing

MOST_ARENA_BYTES = 2**28
_IMAGES_COUNT = 8
"""Images that the C program gets at once, so that its start does not count."""


@dataclass(frozen=True)
class MicroArena:
    """What tflite-micro takes of RAM for an int8 `.tflite`, by its own report.

    Attributes:
        activations_bytes: maps; more than the computed peak where it copies the parts of a join
            or gives an addition memory of its own.
        filters_bytes: multiplier and shift of each filter, and what kernels prepare.
        tensors_bytes: a description of each tensor.
        operators_bytes: a description of each operator.
        rest_bytes: the interpreter and its allocator.
    """

    activations_bytes: int
    filters_bytes: int
    tensors_bytes: int
    operators_bytes: int
    rest_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of the arena."""
        return sum(vars(self).values())


@dataclass(frozen=True)
class RuntimeMeasurement:
    """One file in one runtime on this machine; one image, one thread."""

    runtime: str
    precision: str
    file_bytes: int
    latency: Latency


@dataclass(frozen=True)
class MeasuredSheet:
    """What was measured of a network.

    Attributes:
        chip: flash and RAM of the C program; None where there is no int8 form.
        micro_arena: None where there is no int8 form, or tflite-micro is not installed.
        runtimes: of each file and runtime.
    """

    chip: ChipMemory | None
    micro_arena: MicroArena | None
    runtimes: tuple[RuntimeMeasurement, ...]


def measure_sheet(architecture: Architecture) -> MeasuredSheet:
    """Export a network with random weights and run it; takes some seconds per runtime.

    Raises:
        ExportError: a package that writes or runs a file is missing.
    """
    need("onnx", "tflite", "flatbuffers", "onnxruntime", "ai_edge_litert")
    graph = make_graph(
        architecture,
        _random_arrays(architecture),
        _stand_in_metadata(architecture),
        with_preprocessing=True,
    )
    images = np.random.default_rng(0).integers(
        0, 256, (_IMAGES_COUNT, *architecture.input_shape), np.uint8
    )
    chip, arena, found = chip_memory(architecture), None, []
    with tempfile.TemporaryDirectory(prefix="dse-sheet-") as folder:
        path = Path(folder) / "network"

        def timed(runtime: Runtime, precision: str, file_bytes: int, count: int = 1) -> None:
            latency = time_runs(lambda: runtime.run(images[:count]))
            each = Latency(latency.median_s / count, latency.p95_s / count, latency.runs_count)
            found.append(RuntimeMeasurement(runtime.name, precision, file_bytes, each))

        networks: list[tuple[str, Int8Graph | None]] = [("float32", None)]
        if chip is not None:
            networks.append(("int8", quantize(graph, calibrate(graph, images[:2], "minmax"))))
        for precision, network in networks:
            files: tuple[tuple[Callable[..., Runtime], bytes], ...] = (
                (open_onnx, onnx_model(graph, network)),
                (open_litert, litert_model(graph, network)),
            )
            for opened, content in files:
                timed(opened(path, content, threads=1), precision, len(content))
            if network is None:
                continue
            arena = micro_arena(files[1][1], 2 * chip.ram_bytes) if chip else None
            written = c_files(Program(network), path.with_suffix(".c"), images[0])
            for file, content in written.items():
                file.write_bytes(content)
            source = next(iter(written))
            flash_bytes = chip.flash_bytes if chip else 0
            timed(open_c(source, written[source]), precision, flash_bytes, _IMAGES_COUNT)
    return MeasuredSheet(chip, arena, tuple(found))


def micro_arena(model: bytes, activation_bytes: int) -> MicroArena | None:
    """The arena that tflite-micro takes of a `.tflite`; None where it is not installed.

    Args:
        model: int8, with preprocessing.
        activation_bytes: about what maps take; the arena that it may choose from is larger.

    Raises:
        ExportError: it refuses the file.
    """
    if find_spec("tflite_micro") is None:
        return None
    # Its report is written by C++, so it needs a process of its own.
    code = (
        "import sys; from tflite_micro.python.tflite_micro import runtime; "
        "runtime.Interpreter.from_bytes(sys.stdin.buffer.read(), "
        "arena_size=int(sys.argv[1])).print_allocations()"
    )
    size = min(2 * activation_bytes + 2**22, MOST_ARENA_BYTES)
    done = subprocess.run(
        [sys.executable, "-c", code, str(size)], input=model, capture_output=True, check=False
    )
    report = (done.stdout + done.stderr).decode("utf-8", "replace")
    parts = dict(re.findall(r"'(.+)' used (\d+) bytes", report))
    whole = dict(re.findall(r"allocation (total|head) (\d+) bytes", report))
    if done.returncode or not whole:
        last = (report.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise ExportError(f"tflite-micro refuses the network: {last}")
    activations, filters = int(whole["head"]), int(parts.pop("Persistent buffer data", 0))
    operators = int(parts.pop("NodeAndRegistration struct", 0))
    tensors = sum(map(int, parts.values()))
    rest = int(whole["total"]) - activations - filters - operators - tensors
    return MicroArena(activations, filters, tensors, operators, rest)


def _random_arrays(architecture: Architecture) -> dict[str, np.ndarray]:
    """Every array by path, drawn so that maps keep their scale."""
    draw = np.random.default_rng(0)
    arrays = {}
    for p in architecture.parameters:
        if p.kind == "kernel":
            values = draw.normal(0, np.sqrt(2 / np.prod(p.shape[:-1])), p.shape)
        else:
            values = np.full(p.shape, float(p.kind in ("scale", "variance")))
        arrays[p.path] = values.astype(np.float32)
    return arrays


def _stand_in_metadata(architecture: Architecture) -> WeightsMetadata:
    channels = architecture.input_shape[2]
    return WeightsMetadata(
        family=architecture.family,
        metaparameters=dict(architecture.metaparameters),
        input_shape=architecture.input_shape,
        classes=tuple(f"class {number}" for number in range(architecture.classes_count)),
        preprocessing=trained_preprocessing(
            architecture.input_shape, (0.5,) * channels, (0.25,) * channels
        ),
    )
