"""`dse compress`: a weights file as a small `.dsz` file."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dse.cli.options import ImageSize, JsonFlag, TrainImages
from dse.cli.tables import note, percent, print_facts, print_json, print_table, size_text
from dse.errors import UsageError

if TYPE_CHECKING:
    from dse.architecture import Architecture
    from dse.data import Dataset
    from dse.metadata import WeightsMetadata
    from dse.training import Recipe
    from dse.training.compress import CompressionPlan, Stage
    from dse.training.tuner import Tuner

EXAMPLES = """
\b
Examples:
  dse compress squeezenet.safetensors --out squeezenet.dsz --lossless
  dse compress squeezenet.safetensors --out squeezenet.dsz --target 470kB
  dse compress results/STUDY/weights/KEY-seed0.safetensors --out small.dsz --data digits \
--density 0.4 --bits 4

A .dsz file serves wherever a weights file does: dse evaluate, predict, describe, decompress.
"""

_UNITS = {"kb": 10**3, "mb": 10**6, "kib": 2**10, "mib": 2**20, "b": 1, "": 1}


def command(
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS", help="A weights file, .safetensors or .dsz.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The file to write, such as x.dsz.")
    ],
    lossless: Annotated[
        bool, typer.Option("--lossless", help="Keep every weight as it is, to the bit.")
    ] = False,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="SIZE",
            help="Most that the file may take, such as 470kB (1 kB = 1,000 bytes): each layer's "
            "values trade squared error against coded bits until it fits.",
        ),
    ] = None,
    bits: Annotated[
        float | None,
        typer.Option(
            "--bits",
            metavar="N",
            help="Share 2^N values in each layer, by k-means; 5.5 is 45 values. Default: 6.",
        ),
    ] = None,
    max_loss: Annotated[
        str | None,
        typer.Option(
            "--max-loss",
            metavar="SHARE",
            help="Go as far as the validation accuracy allows, such as 0.5%; takes --data.",
        ),
    ] = None,
    density_texts: Annotated[
        list[str] | None,
        typer.Option(
            "--density",
            metavar="SHARE",
            help="Share of all weights to keep, such as 0.33, or of one layer: "
            "fire2/expand3x3=0.5. Repeatable.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            "--data",
            metavar="SPEC",
            help="The pictures of the study, to train on between the stages and to score: digits, "
            "folder:PATH, cifar10.",
        ),
    ] = None,
    image_size: ImageSize = None,
    train_images: TrainImages = None,
    epochs: Annotated[
        int, typer.Option("--epochs", metavar="N", min=1, help="Of training in each stage.")
    ] = 10,
    coder: Annotated[
        Literal["ans", "huffman"], typer.Option("--coder", help="How numbers become bits.")
    ] = "ans",
    floats: Annotated[
        Literal["16", "32"],
        typer.Option("--floats", help="Bits of codebooks, biases and norms (lossless: 32)."),
    ] = "16",
    seed: Annotated[
        int, typer.Option("--seed", metavar="N", min=0, help="Source of all random draws.")
    ] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Compress a weights file: fewer weights, shared values, entropy coding.

    Sizes are those of files on disk, with tables and all that it takes to decode them. With
    --data the network is trained on between the stages, and an interrupted command goes on
    where it stopped; without, the stages go by the weights alone.
    """
    from dse.compression import write_content
    from dse.compression.baselines import baselines_bytes, float32_bytes
    from dse.metadata import described_architecture
    from dse.networks import load_weights, read_metadata
    from dse.networks.weights import flat
    from dse.training.compress import compress_network

    plan = _plan(lossless, target, bits, max_loss, density_texts or (), coder, floats)
    if plan.max_loss is not None and data is None:
        raise UsageError("--max-loss has to measure accuracy, so it takes --data")
    if out.suffix.lower() != ".dsz":
        raise UsageError(f"--out is {out}, but a compressed file's name ends in .dsz")
    if out.exists() and weights.exists() and out.samefile(weights):
        raise UsageError(f"--out is {out}, the file to be compressed; it would be overwritten")
    architecture = described_architecture(weights, read_metadata(weights))
    params, statistics, metadata = load_weights(weights, architecture)
    arrays = flat(params, statistics)
    _check_layers(plan, arrays)
    tuner, directory = _tuner(
        _pictures(data, image_size, train_images, metadata, lossless),
        architecture,
        out,
        epochs,
        seed,
    )
    compressed = compress_network(arrays, metadata, plan, tuner, on_stage=_say)
    write_content(out, compressed.content)
    if directory:
        shutil.rmtree(directory, ignore_errors=True)
    document = {
        "weights": str(weights),
        "out": str(out),
        "candidate": metadata.candidate.key,
        "params_count": sum(a.size for path, a in arrays.items()),
        "plan": plan.to_plain(),
        "float32_bytes": float32_bytes(arrays),
        "baselines_bytes": baselines_bytes(arrays),
        "stages": [asdict(stage) for stage in compressed.stages],
        "file_bytes": len(compressed.content),
        "alexnet_bytes": _alexnet_bytes(metadata),
    }
    if as_json:
        print_json(document)
    else:
        _print(document)


def _plan(
    lossless: bool,
    target: str | None,
    bits: float | None,
    max_loss: str | None,
    density_texts: Sequence[str],
    coder: Literal["ans", "huffman"],
    floats: Literal["16", "32"],
) -> CompressionPlan:
    from dse.training.compress import CompressionPlan

    given = {
        "--max-loss": max_loss,
        "--target": target,
        "--bits": bits,
        "--density": density_texts or None,
    }
    named = [name for name, value in given.items() if value is not None]
    if lossless and named:
        raise UsageError(f"--lossless changes nothing, so it goes without {' and '.join(named)}")
    if max_loss is not None and len(named) > 1:
        raise UsageError(f"--max-loss decides itself, so it goes without {' and '.join(named[1:])}")
    if target is not None and bits is not None:
        raise UsageError("--target finds the values itself, so it goes without --bits")
    if bits is not None and not 0 < bits <= 14:
        raise UsageError(f"--bits {bits:g}: must be above 0 and at most 14")
    density, densities = _densities(density_texts)
    return CompressionPlan(
        lossless=lossless,
        density=density,
        densities=densities,
        bits=None if target or max_loss else 6.0 if bits is None else bits,
        target_bytes=None if target is None else _bytes(target),
        max_loss=None if max_loss is None else _share("--max-loss", max_loss),
        float_bits=16 if floats == "16" else 32,
        coder=coder,
    )


def _densities(texts: Sequence[str]) -> tuple[float | None, dict[str, float]]:
    """The share of all weights, and those of single kernels by path."""
    density, densities = None, {}
    for text in texts:
        layer, equals, share_text = text.rpartition("=")
        share = _share("--density", share_text, text)
        if equals:
            densities[f"{layer}/kernel"] = share
        else:
            density = share
    return density, densities


def _share(option: str, text: str, whole: str = "") -> float:
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(
            f"{option} {whole or text}: must be a share from 0 to 1 or percent: 0.33 or 33%"
        )
    return share


def _bytes(text: str) -> int:
    number = text.rstrip("kKmMiIbB ")
    unit = text[len(number) :].strip().lower()
    try:
        size = round(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        size = 0
    if size < 1:
        raise UsageError(
            f"--target {text}: must be a size such as 470kB, 0.5MB or 470000 (1 kB = 1,000 bytes)"
        )
    return size


def _check_layers(plan: CompressionPlan, arrays: dict[str, Any]) -> None:
    from dse.architecture import nearest
    from dse.compression.pipeline import kernels_of

    layers = [path.removesuffix("/kernel") for path in kernels_of(arrays)]
    for path in plan.densities:
        layer = path.removesuffix("/kernel")
        if layer not in layers:
            raise UsageError(f"--density {layer}=…: no such layer{nearest(layer, layers)}")


def _pictures(
    data: str | None,
    image_size: int | None,
    train_images: int | None,
    metadata: WeightsMetadata,
    lossless: bool,
) -> tuple[Dataset, Recipe] | None:
    """The pictures to train on, which have to be those of the weights, and the recipe."""
    from dse.cli.data import described, prepared
    from dse.data import parse_data
    from dse.training import default_recipe, recipe_from_plain

    if data is None:
        return None
    if lossless:
        raise UsageError("--lossless changes nothing, so it goes without --data")
    spec = parse_data(data, image_size=image_size, train_limit=train_images)
    dataset = prepared(spec, described(spec))
    if dataset.input_shape != metadata.input_shape or dataset.classes != metadata.classes:
        raise UsageError(
            f"--data {data}: pictures {dataset.input_shape} of {len(dataset.classes)} classes, but "
            f"the weights are of {metadata.input_shape} and {len(metadata.classes)}; give the "
            "pictures that they were trained on"
        )
    if "recipe" in metadata.extra:
        return dataset, recipe_from_plain(json.loads(metadata.extra["recipe"]))
    return dataset, default_recipe(spec.source, dataset.input_shape, len(dataset.train))


def _tuner(
    pictures: tuple[Dataset, Recipe] | None,
    architecture: Architecture,
    out: Path,
    epochs: int,
    seed: int,
) -> tuple[Tuner, Path | None]:
    """What trains between the stages, and where it keeps what it has reached, till the end."""
    from dse.training.tuner import NoPictures, PictureTuner

    if pictures is None:
        return NoPictures(), None
    directory = out.with_name(f".{out.name}.training")
    directory.mkdir(parents=True, exist_ok=True)
    dataset, recipe = pictures
    tuner = PictureTuner(
        architecture,
        dataset,
        recipe,
        epochs=epochs,
        seed=seed,
        directory=directory,
        on_epoch=lambda stage, done, total, loss: note(
            f"{stage}: epoch {done} of {total}, loss {loss:.4f}"
        ),
    )
    return tuner, directory


def _say(stage: Stage) -> None:
    if stage.validation_accuracy is not None:
        note(
            f"{stage.name}: {stage.file_bytes:,} bytes, {percent(stage.validation_accuracy)} right "
            f"in validation{'' if stage.kept else '; too much is lost, so this is taken back'}"
        )


def _alexnet_bytes(metadata: WeightsMetadata) -> int | None:
    """Float32 bytes of the AlexNet that suits these pictures; None where none does."""
    from dse.architecture import build, cost, make_candidate
    from dse.errors import ArchitectureError

    try:
        architecture = build(
            make_candidate("alexnet", {}), metadata.input_shape, len(metadata.classes)
        )
    except ArchitectureError:
        return None
    return cost(architecture).weight_bytes


def _print(document: dict[str, Any]) -> None:
    float32, size = document["float32_bytes"], document["file_bytes"]
    rows: list[tuple[object, ...]] = [("float32", None, float32, 1.0, None, None)]
    rows += [
        (name, None, count, float32 / count, None, None)
        for name, count in document["baselines_bytes"].items()
    ]
    rows += [
        (
            f"dsz, {stage['name']}" + ("" if stage["kept"] else " (taken back)"),
            stage["nonzero_count"],
            stage["file_bytes"],
            float32 / stage["file_bytes"],
            stage["validation_accuracy"],
            stage["test_accuracy"],
        )
        for stage in document["stages"]
    ]
    print_table(
        ("what", "nonzero\nweights", "bytes", "times\nsmaller", "validation\naccuracy", "test"),
        [
            (*row[:3], f"{row[3]:.1f}", percent(row[4]), percent(row[5]))  # type: ignore[arg-type]
            for row in rows
        ],
        right=("nonzero\nweights", "bytes", "times\nsmaller", "validation\naccuracy", "test"),
    )
    alexnet = document["alexnet_bytes"]
    print_facts(
        {
            "wrote": f"{document['out']}: {size:,} bytes ({size_text(size)})",
            "bits a weight": f"{8 * size / document['params_count']:.2f}",
            "times smaller": f"{float32 / size:.1f} than its own float32"
            + (f", {alexnet / size:,.0f} than AlexNet's {size_text(alexnet)}" if alexnet else ""),
        }
    )
