"""`dse compress`: a weights file as a small `.dsz` file."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dse.cli.compress_views import alexnet_bytes, show_compressed
from dse.cli.options import ImageSize, JsonFlag, TrainImages
from dse.cli.tables import note, percent, print_json
from dse.errors import ConfigError, UsageError, WeightsError

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

EPOCHS = 10

MAX_LOSS = 0.2
"""Of all pictures; whoever writes more has most likely forgotten a %."""

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
        int | None,
        typer.Option(
            "--epochs", metavar="N", min=1, help="Of training in each stage. Default: 10."
        ),
    ] = None,
    coder: Annotated[
        Literal["ans", "huffman"], typer.Option("--coder", help="How numbers become bits.")
    ] = "ans",
    floats: Annotated[
        Literal["16", "32"] | None,
        typer.Option("--floats", help="Bits of codebooks, biases and norms. Default: 16."),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            "--seed", metavar="N", min=0, help="Source of training's random draws. Default: 0."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Compress a weights file: fewer weights, shared values, entropy coding.

    Sizes are those of files on disk, with tables and all that it takes to decode them. With
    --data the network is trained on between the stages, and an interrupted command goes on
    where it stopped; without, the stages go by the weights alone.
    """
    from dse.architecture import cost
    from dse.compression import SUFFIX, write_content
    from dse.compression.baselines import baselines_bytes, float32_bytes
    from dse.metadata import described_architecture
    from dse.networks import load_weights, read_metadata
    from dse.networks.weights import flat
    from dse.training.compress import compress_network

    plan = _plan(lossless, target, bits, max_loss, density_texts or (), coder, floats)
    training = {
        "--epochs": epochs,
        "--seed": seed,
        "--image-size": image_size,
        "--train-images": train_images,
    }
    _check_options(plan, data, training)
    if out.suffix.lower() != SUFFIX:
        raise UsageError(f"--out is {out}, but a compressed file's name ends in {SUFFIX}")
    if out.exists() and weights.exists() and out.samefile(weights):
        raise UsageError(f"--out is {out}, the file to be compressed; it would be overwritten")
    architecture = described_architecture(weights, read_metadata(weights))
    params, statistics, metadata = load_weights(weights, architecture)
    arrays = flat(params, statistics)
    _check_layers(plan, arrays)
    pictures = _pictures(data, image_size, train_images, metadata, arrays) if data else None
    float32, others = float32_bytes(arrays), baselines_bytes(arrays)
    if pictures is None and not plan.lossless:
        note("note: accuracy is not measured; give the pictures of the study with --data")
    with _tuner(pictures, architecture, out, epochs or EPOCHS, seed or 0) as tuner:
        compressed = compress_network(arrays, metadata, plan, tuner, on_stage=_say)
        write_content(out, compressed.content)
    document = {
        "weights": str(weights),
        "out": str(out),
        "candidate": metadata.candidate.key,
        "params_count": cost(architecture).params_count,
        "plan": plan.to_plain(),
        "float32_bytes": float32,
        "baselines_bytes": others,
        "stages": [asdict(stage) for stage in compressed.stages],
        "file_bytes": len(compressed.content),
        "alexnet_bytes": alexnet_bytes(metadata),
    }
    if as_json:
        print_json(document)
    else:
        show_compressed(document)


def _check_options(plan: CompressionPlan, data: str | None, training: Mapping[str, object]) -> None:
    """Refuse options that would do nothing, and a measure without pictures."""
    if plan.lossless and data is not None:
        raise UsageError("--lossless changes nothing, so it goes without --data")
    idle = [name for name, value in training.items() if value is not None]
    if data is None and idle:
        raise UsageError(f"{' and '.join(idle)}: of training, which takes pictures: give --data")
    if data is None and plan.max_loss is not None:
        raise UsageError("--max-loss has to measure accuracy, so it takes --data")


def _plan(
    lossless: bool,
    target: str | None,
    bits: float | None,
    max_loss: str | None,
    density_texts: Sequence[str],
    coder: Literal["ans", "huffman"],
    floats: Literal["16", "32"] | None,
) -> CompressionPlan:
    from dse.training.compress import CompressionPlan

    given = {
        "--max-loss": max_loss,
        "--target": target,
        "--bits": bits,
        "--density": density_texts or None,
        "--floats": floats if lossless else None,
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
        max_loss=None if max_loss is None else _loss(max_loss),
        float_bits=32 if floats == "32" else 16,
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
        elif density is None:
            density = share
        else:
            raise UsageError(f"--density {text}: one share of all weights was given already")
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


def _loss(text: str) -> float:
    loss = _share("--max-loss", text)
    if loss > MAX_LOSS:
        raise UsageError(
            f"--max-loss {text} is {loss:.0%} of all pictures; must be at most {MAX_LOSS:.0%}: "
            "half a point is 0.5% or 0.005"
        )
    return loss


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
    data: str,
    image_size: int | None,
    train_images: int | None,
    metadata: WeightsMetadata,
    arrays: Mapping[str, Any],
) -> tuple[Dataset, Recipe]:
    """The pictures to train on, which have to be those of the weights, and the recipe.

    Others would be scaled otherwise, and might hold for validation what was trained on.
    """
    from dse.cli.data import described, prepared
    from dse.compression.pipeline import are_folded
    from dse.data import parse_data
    from dse.preprocessing import trained_preprocessing
    from dse.training import default_recipe, recipe_from_plain

    if are_folded(arrays):
        raise UsageError(
            f"--data {data}: the norms of these weights were folded when they were compressed, so "
            "they cannot be trained on; give the weights file that the .dsz was made of"
        )
    spec = parse_data(data, image_size=image_size, train_limit=train_images)
    dataset = prepared(spec, described(spec))
    extra = metadata.extra
    rule = trained_preprocessing(dataset.input_shape, dataset.mean, dataset.std)
    same = dataset.classes == metadata.classes and rule == metadata.preprocessing
    if not same or extra.get("data_fingerprint", dataset.fingerprint) != dataset.fingerprint:
        raise UsageError(
            f"--data {data}: {len(dataset.train):,} training pictures of {dataset.input_shape} in "
            f"{len(dataset.classes)} classes are not those that the weights were trained on; give "
            "the same pictures, split and size as their study had"
        )
    try:
        return dataset, recipe_from_plain(json.loads(extra["recipe"]))
    except (KeyError, ValueError, ConfigError):  # weights of somewhere else
        return dataset, default_recipe(spec.source, dataset.input_shape, len(dataset.train))


@contextlib.contextmanager
def _tuner(
    pictures: tuple[Dataset, Recipe] | None,
    architecture: Architecture,
    out: Path,
    epochs: int,
    seed: int,
) -> Iterator[Tuner]:
    """What trains between the stages; what it has reached is kept beside the file to the end."""
    from dse.files import locked
    from dse.training.tuner import NoPictures, PictureTuner

    if pictures is None:
        yield NoPictures()
        return
    directory = out.with_name(f".{out.name}.training")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"{directory}: cannot be made: {error.strerror or error}") from error
    busy = WeightsError(f"{directory} is in use by another dse process that writes {out}")
    with locked(directory / ".lock", busy):
        tuner = PictureTuner(
            architecture,
            *pictures,
            epochs=epochs,
            seed=seed,
            directory=directory,
            on_epoch=lambda stage, done, total, loss: note(
                f"{stage}: epoch {done} of {total}, loss {loss:.4f}"
            ),
        )
        try:
            yield tuner
        except KeyboardInterrupt:
            note(f"what was trained is kept in {directory}; the same command goes on from there")
            raise
        shutil.rmtree(directory, ignore_errors=True)


def _say(stage: Stage) -> None:
    if stage.validation_accuracy is not None:
        note(
            f"{stage.name}: {stage.file_bytes:,} bytes, {percent(stage.validation_accuracy)} right "
            f"in validation{'' if stage.kept else '; too much is lost, so this is taken back'}"
        )
