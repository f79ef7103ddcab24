"""`dse compress`: a weights file as a small `.dsz` file."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dse.cli.compress_options import check_front, check_layers, check_options, make_plan
from dse.cli.compress_views import alexnet_bytes, show_compressed
from dse.cli.options import ImageSize, JsonFlag, PlotsDirectory, TrainImages
from dse.cli.tables import note, print_json
from dse.errors import ConfigError, UsageError, WeightsError
from dse.text import percent

if TYPE_CHECKING:
    from dse.architecture import Architecture
    from dse.compress.compress import CompressionPlan, Stage
    from dse.compress.tuner import Tuner
    from dse.data import Dataset
    from dse.training import Recipe
    from dse.weights.metadata import WeightsMetadata

EXAMPLES = """
\b
Examples:
  dse compress squeezenet.safetensors --out squeezenet.dsz --lossless
  dse compress squeezenet.safetensors --out squeezenet.dsz --target 470kB
  dse compress results/STUDY/weights/KEY-seed0.safetensors --out small.dsz --data digits \
--density 0.4 --bits 4
  dse compress results/STUDY/weights/KEY-seed0.safetensors --out small.dsz --data digits --front

A .dsz file serves wherever a weights file does: dse evaluate, predict, describe, decompress.
"""

EPOCHS = 10

MAX_LOSS_OF_FRONT = 0.005
"""What the file that a front ends in may lose, unless --max-loss says otherwise."""


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
    front: Annotated[
        bool,
        typer.Option(
            "--front",
            help="Search densities and prices (of a bit in the file: the higher, the fewer values "
            "a layer has), draw accuracy against bytes, and write the smallest file surely "
            "within --max-loss (0.5% unless given); takes --data.",
        ),
    ] = False,
    trainings: Annotated[
        int | None,
        typer.Option(
            "--trainings",
            metavar="N",
            min=0,
            help="With --front: settings whose values are trained. Default: 8.",
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
            help="The images of the study, to train on between the stages and to score: digits, "
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
    plots: PlotsDirectory = Path("plots"),
    as_json: JsonFlag = False,
) -> None:
    """Compress a weights file: fewer weights, shared values, entropy coding.

    Sizes are those of files on disk, with tables and all that it takes to decode them. With
    --data the network is trained on between the stages, and an interrupted command goes on
    where it stopped; without, the stages go by the weights alone.
    """
    from dse.architecture import cost
    from dse.cli.progress import DataProgress
    from dse.compress.baselines import baselines_bytes, float32_bytes
    from dse.compress.compress import compress_network
    from dse.weights.dsz import SUFFIX, write_content
    from dse.weights.metadata import described_architecture
    from dse.weights.safetensors import flat, load_weights, read_metadata

    plan = make_plan(
        lossless, target, bits, max_loss, density_texts or (), coder, floats, front=front
    )
    training = {
        "--epochs": epochs,
        "--seed": seed,
        "--image-size": image_size,
        "--train-images": train_images,
    }
    check_options(plan, data, training)
    check_front(front, plan, trainings, data)
    if out.suffix.lower() != SUFFIX:
        raise UsageError(f"--out is {out}, but a compressed file's name ends in {SUFFIX}")
    if out.exists() and weights.exists() and out.samefile(weights):
        raise UsageError(f"--out is {out}, the file to be compressed; it would be overwritten")
    architecture = described_architecture(weights, read_metadata(weights))
    params, statistics, metadata = load_weights(weights, architecture)
    arrays = flat(params, statistics)
    check_layers(plan, arrays)
    images = _images(data, image_size, train_images, metadata, arrays) if data else None
    float32, others = float32_bytes(arrays), baselines_bytes(arrays)
    if images is None and not plan.lossless:
        note("note: accuracy is not measured; give the images of the study with --data")
    facts = {
        "weights": str(weights),
        "out": str(out),
        "candidate": metadata.candidate.key,
        "params_count": cost(architecture).params_count,
        "float32_bytes": float32,
        "baselines_bytes": others,
        "alexnet_bytes": alexnet_bytes(metadata),
    }
    with _tuner(images, architecture, out, epochs or EPOCHS, seed or 0) as tuner:
        if front:
            assert images is not None
            facts |= {"data": images[0].name, "epochs": epochs or EPOCHS, "seed": seed or 0}
            _front(arrays, metadata, plan, tuner, trainings, facts, out, plots, as_json)
            return
        with DataProgress() as progress:
            compressed = compress_network(
                arrays, metadata, plan, tuner, on_stage=_say, on_progress=progress
            )
        write_content(out, compressed.content)
    document = {
        **facts,
        "plan": plan.to_dict(),
        "stages": [asdict(stage) for stage in compressed.stages],
        "file_bytes": len(compressed.content),
    }
    if as_json:
        print_json(document)
    else:
        show_compressed(document)


def _front(
    arrays: Mapping[str, Any],
    metadata: WeightsMetadata,
    plan: CompressionPlan,
    tuner: Tuner,
    trainings: int | None,
    facts: dict[str, Any],
    out: Path,
    plots: Path,
    as_json: bool,
) -> None:
    """Search, write the chosen file, the table and the images, and print them."""
    from dse.cli.compress_front import front_document, show_front, write_front
    from dse.compress.front import TRAININGS, search_front
    from dse.weights.dsz import write_content

    max_loss = MAX_LOSS_OF_FRONT if plan.max_loss is None else plan.max_loss
    found = search_front(
        arrays,
        metadata,
        plan,
        tuner,
        max_loss=max_loss,
        trainings=TRAININGS if trainings is None else trainings,
        on_stage=_say,
    )
    document = front_document(
        found, facts | {"max_loss": max_loss, "command": shlex.join(["dse", *sys.argv[1:]])}
    )
    table_path, images = write_front(document, out, plots)
    if found.chosen is not None:
        write_content(out, found.settings[found.chosen].content)
    if as_json:
        print_json(document)
    else:
        show_front(document, table_path, images)
    if found.chosen is None:
        raise WeightsError(
            f"none of {len(found.settings)} settings is surely (95%) within {max_loss:.2%} of the "
            f"accuracy before, so {out} was not written; allow more with --max-loss, or train "
            "longer with --epochs"
        )


def _images(
    data: str,
    image_size: int | None,
    train_images: int | None,
    metadata: WeightsMetadata,
    arrays: Mapping[str, Any],
) -> tuple[Dataset, Recipe]:
    """The images to train on, which have to be those of the weights, and the recipe.

    Others would be scaled otherwise, and might hold for validation what was trained on.
    """
    from dse.cli.data import described, prepared
    from dse.compress.pipeline import are_folded
    from dse.data import parse_data
    from dse.training import default_recipe, recipe_from_dict
    from dse.weights.preprocessing import trained_preprocessing

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
            f"--data {data}: {len(dataset.train):,} training images of {dataset.input_shape} in "
            f"{len(dataset.classes)} classes are not those that the weights were trained on; give "
            "the same images, split and size as their study had"
        )
    try:
        return dataset, recipe_from_dict(json.loads(extra["recipe"]))
    except (KeyError, ValueError, ConfigError):  # weights of somewhere else
        return dataset, default_recipe(spec.source, dataset.input_shape, len(dataset.train))


@contextlib.contextmanager
def _tuner(
    images: tuple[Dataset, Recipe] | None,
    architecture: Architecture,
    out: Path,
    epochs: int,
    seed: int,
) -> Iterator[Tuner]:
    """What trains between the stages; what it has reached is kept beside the file to the end."""
    from dse.compress.tuner import ImageTuner, NoImages
    from dse.data.spec import cache_root
    from dse.files import locked
    from dse.training.xla import use_compile_cache

    if images is None:
        yield NoImages()
        return
    directory = out.with_name(f".{out.name}.training")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WeightsError(f"{directory}: cannot be made: {error.strerror or error}") from error
    busy = WeightsError(f"{directory} is in use by another dse process that writes {out}")
    use_compile_cache(cache_root() / "compiled")
    with locked(directory / ".lock", busy):
        if _kept(directory):
            note(f"going on with what is kept in {directory}")
        tuner = ImageTuner(
            architecture,
            *images,
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
            if _kept(directory):
                note(
                    f"what was trained is kept in {directory}; the same command goes on from there"
                )
            raise
        shutil.rmtree(directory, ignore_errors=True)


def _kept(directory: Path) -> bool:
    """Whether a training left something there."""
    return any(path.suffix == ".safetensors" for path in directory.iterdir())


def _say(stage: Stage) -> None:
    if stage.validation_accuracy is not None:
        note(
            f"{stage.name}: {stage.file_bytes:,} bytes, {percent(stage.validation_accuracy)} right "
            f"in validation{'' if stage.kept else '; too much is lost, so this is taken back'}"
        )
