"""From a weights file to the file of another runtime."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from dse.architecture import build
from dse.data.classes import weights_classes
from dse.deployment.chip import ChipMemory, chip_memory
from dse.deployment.devices import Device, find_devices
from dse.errors import ExportError, UsageError, WeightsError
from dse.export.c import c_files, plan_program
from dse.export.images import calibration_images
from dse.export.litert import litert_model
from dse.export.onnx import onnx_model
from dse.export.packages import need
from dse.export.pytorch import pytorch_files
from dse.files import replacing
from dse.inference.accuracy import CALIBRATION_COUNT
from dse.inference.calibrate import METHOD, Method, calibrate
from dse.inference.graph import read_graph
from dse.inference.int8 import quantize
from dse.study.paths import WEIGHTS_FOLDER
from dse.weights.dsz import SUFFIX as DSZ_SUFFIX
from dse.weights.safetensors import SUFFIX

if TYPE_CHECKING:
    from dse.compress.aware import Finetuned

Format = Literal["onnx", "tflite", "c", "pytorch", "stablehlo"]
SUFFIXES: dict[str, Format] = {
    ".onnx": "onnx",
    ".tflite": "tflite",
    ".c": "c",
    ".py": "pytorch",
    ".stablehlo": "stablehlo",
}

Files = dict[Path, bytes]


@dataclass(frozen=True)
class Exported:
    """Files that were written.

    Attributes:
        paths: the files, the one that was asked for first.
        format: of them.
        candidate: key of the network's candidate.
        params_count: kernel and bias values that they hold.
        precision: `float32` or `int8`.
        file_bytes: size of the first.
        calibration_count: images that int8 was calibrated on; 0 in float32.
        memory: flash and RAM of the C program; None of other formats.
        finetuned: what fine-tuning for int8 gave; None where none was asked for.
    """

    paths: tuple[Path, ...]
    format: str
    candidate: str
    params_count: int
    precision: str
    file_bytes: int
    calibration_count: int
    memory: ChipMemory | None = None
    finetuned: Finetuned | None = None


def export_weights(
    weights: Path,
    out: Path,
    *,
    format: Format | None = None,
    int8: bool = False,
    calibrate_on: str | None = None,
    calibration_count: int = CALIBRATION_COUNT,
    method: Method = METHOD,
    finetune_epochs: int = 0,
    with_preprocessing: bool = False,
    compress_weights: bool = False,
    classes_file: Path | None = None,
    device: str | None = None,
    force: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Exported:
    """Write a network in the format of another runtime.

    Args:
        weights: a safetensors or `.dsz` file.
        out: the file to write.
        format: None goes by the suffix of `out`.
        int8: integer arithmetic instead of float32; C has no other.
        calibrate_on: images that int8 takes its ranges from: `folder:PATH`, `digits`, `cifar10`.
        calibration_count: how many of its training images.
        method: how the ranges follow from them; see `calibrate`.
        finetune_epochs: train the network so long for int8, on the images of `calibrate_on`,
            which have to be those that it was trained on; what is more accurate in int8 on
            their validation images is written.
        with_preprocessing: the file takes uint8 pixels and scales them itself; C always does.
        compress_weights: let the C program hold kernels in codes where that is smaller, and
            decode them as it runs; the scores stay the same.
        classes_file: a CSV file with the columns index, wnid and name: the class names that the
            file carries; None takes those of the weights.
        device: name of a chip whose flash and RAM the C program has to fit.
        force: replace files that are there.
        say: told of each epoch of fine-tuning, in words.

    Raises:
        ExportError: no such format, a chip that is too small, an operator that the format
            cannot hold, a package that is missing, or `out` exists or cannot be written.
        WeightsError: the weights cannot be read.
        DataError: the calibration images cannot be read.
    """
    format = format or _format_of(out)
    int8 = int8 or format == "c"
    with_preprocessing = with_preprocessing or format == "c"
    if int8 and format in ("pytorch", "stablehlo"):
        raise UsageError(f"{format} has no int8 form here; onnx, tflite and c have")
    if int8 and calibrate_on is None:
        raise UsageError(
            f"{'C is int8, which' if format == 'c' else 'int8'} takes images to calibrate on: "
            "--calibrate folder:PATH"
        )
    if finetune_epochs and not int8:
        raise UsageError("--finetune is of --int8, which was not given")
    if calibrate_on is not None and not int8:
        raise UsageError("--calibrate is of --int8, which was not given")
    if out.exists() and not force:
        raise ExportError(f"{out} exists; --force replaces it, or choose another --out")
    if device is not None and format != "c":
        raise UsageError(f"--device is of C, whose flash and RAM are known, not of {format}")
    if compress_weights and format != "c":
        raise UsageError(f"--compress-weights is of C, which decodes them, not of {format}")
    chip = None if device is None else find_devices([device])[0]
    graph = read_graph(weights, with_preprocessing=with_preprocessing)
    if chip is not None and not compress_weights:
        described, shape = graph.metadata, graph.metadata.input_shape
        memory = chip_memory(build(described.candidate, shape, len(described.classes)))
        if memory is not None:  # else quantization names the operator
            _check_device(memory, chip)
    if classes_file is not None:
        named = weights_classes(weights, graph.metadata, classes_file)
        metadata = replace(graph.metadata, classes=named.names, class_ids=named.ids)
        graph = replace(graph, metadata=metadata)
    network, program, finetuned, images = (
        None,
        None,
        None,
        np.empty((0, *graph.metadata.input_shape), np.uint8),
    )
    if calibrate_on is not None:
        images = calibration_images(calibrate_on, graph.metadata.preprocessing, calibration_count)
        ranges = calibrate(graph, images, method)
        if finetune_epochs:
            from dse.compress.aware import finetune_int8  # imports JAX

            graph, finetuned = finetune_int8(
                weights, graph, ranges, calibrate_on, epochs=finetune_epochs, say=say
            )
        network = quantize(graph, ranges)
    if format == "onnx":
        files = {out: onnx_model(graph, network)}
    elif format == "tflite":
        files = {out: litert_model(graph, network)}
    elif format == "pytorch":
        files = pytorch_files(graph, out)
    elif format == "stablehlo":
        need("jax", "flatbuffers")
        from dse.export.stablehlo import stablehlo_module  # imports JAX

        files = {out: stablehlo_module(graph)}
    else:
        assert network is not None
        program = plan_program(network, compress_weights=compress_weights)
        if chip is not None and compress_weights:
            _check_device(program.memory, chip)
        files = c_files(program, out, images[0])
    _write(files, force=force)
    return Exported(
        tuple(files),
        format,
        graph.metadata.candidate.key,
        graph.params_count,
        "int8" if int8 else "float32",
        out.stat().st_size,
        len(images),
        program.memory if program else None,
        finetuned,
    )


def find_weights(name: str, results: Path) -> Path:
    """The weights file that a name stands for.

    Args:
        name: the file, or STUDY/CANDIDATE: of that candidate the file of the lowest seed.
        results: where the studies are.

    Raises:
        WeightsError: the study has no weights of that candidate, or of several that begin so.
    """
    path = Path(name)
    study, slash, key = name.rpartition("/")
    if path.suffix.lower() in (SUFFIX, DSZ_SUFFIX) or path.exists() or not slash:
        return path
    folder = results / study / WEIGHTS_FOLDER
    files = {
        (file.name.rpartition("-seed")[0], int(seed)): file
        for file in folder.glob(f"*-seed*{SUFFIX}")
        if (seed := file.stem.rpartition("-seed")[2]).isdecimal() and file.name.startswith(key)
    }
    keys = sorted({candidate for candidate, _ in files})
    if len(keys) != 1:
        found = f"those of {', '.join(keys)}" if keys else "none"
        raise WeightsError(
            f"{name}: neither a weights file nor a candidate with weights: {folder} has {found} "
            f"that begin with {key}"
        )
    return files[min(files)]


def _check_device(memory: ChipMemory, device: Device) -> None:
    """Refuse a chip whose flash or RAM is too small, by how much."""
    pairs = [("RAM", memory.ram_bytes, device.ram_bytes)]
    if device.flash_bytes is not None:
        pairs.insert(0, ("flash", memory.flash_bytes, device.flash_bytes))
    over = [
        f"{name} {has:,} bytes, {takes - has:,} less than the {takes:,} that the network takes"
        for name, takes, has in pairs
        if takes > has
    ]
    if over:
        raise ExportError(f"{device.name} is too small: {'; '.join(over)}")


def _write(files: Files, *, force: bool) -> None:
    """Write files, all or none of them."""
    taken = [path for path in files if path.exists()]
    if taken and not force:
        raise ExportError(f"{taken[0]} exists; --force replaces it, or choose another --out")
    with contextlib.ExitStack() as stack:
        for path, content in files.items():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(replacing(path)).write(content)
            except OSError as error:
                raise ExportError(
                    f"{path}: cannot be written: {error.strerror or error}"
                ) from error


def _format_of(out: Path) -> Format:
    if out.suffix.lower() in SUFFIXES:
        return SUFFIXES[out.suffix.lower()]
    raise ExportError(
        f"{out}: no format goes with {out.suffix or 'no suffix'!r}; --format is one of "
        f"{', '.join(SUFFIXES.values())}"
    )
