"""`dse compress`: a weights file as a small `.dsz` file."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from dse.cli.compress_options import check_layers, check_options, make_plan
from dse.cli.compress_views import show_compressed, show_front
from dse.cli.options import (
    Address,
    Artifacts,
    Duplicates,
    ExecutorName,
    GpusPerWorker,
    ImageSize,
    JsonFlag,
    PlotsDirectory,
    TrainImages,
    WorkersCount,
)
from dse.cli.running import (
    check_output,
    check_plots,
    command_text,
    keeping_programs,
    make_executor,
)
from dse.cli.tables import note, print_json
from dse.errors import UsageError, WeightsError
from dse.text import percent

if TYPE_CHECKING:
    from dse.architecture import Architecture
    from dse.compress.front import CompressionFront
    from dse.compress.tuner import Tuner
    from dse.data import Dataset
    from dse.study.compression_front import Stage
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
            help="Search densities and rate-distortion lambdas (the larger, the fewer values a "
            "layer has), draw accuracy against bytes, and write the smallest file within "
            "--max-loss (0.5% unless given) at 95% confidence; takes --data.",
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
            help="The images of the study, to train with between the stages and to score: digits, "
            "folder:PATH, cifar10.",
        ),
    ] = None,
    image_size: ImageSize = None,
    train_images: TrainImages = None,
    duplicates: Duplicates = "warn",
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
    workers: WorkersCount = None,
    executor_name: ExecutorName = "local",
    address: Address = "",
    gpus_per_worker: GpusPerWorker = None,
    artifacts: Artifacts = "",
    plots: PlotsDirectory = Path("plots"),
    as_json: JsonFlag = False,
) -> None:
    """Compress a weights file: fewer weights, shared values, entropy coding.

    Sizes are those of files on disk, with tables and all that it takes to decode them. With
    --data the network is trained between the stages, and an interrupted command resumes where
    it stopped; without, the stages go by the weights alone.
    """
    from dse.architecture import cost
    from dse.cli.display import DataProgress
    from dse.cli.running import described, prepared
    from dse.compress.front import TRAININGS, search_front
    from dse.compress.stages import baselines_bytes, compress_network, float32_bytes
    from dse.compress.tuner import NoImages, image_tuner, recipe_of_weights
    from dse.data import parse_data
    from dse.data.given import as_trained
    from dse.execution import Setup
    from dse.search.tuning import runner_on
    from dse.weights.dsz import SUFFIX, write_content
    from dse.weights.safetensors import flat, load_weights, read_network

    plan = make_plan(
        lossless, target, bits, max_loss, density_texts or (), coder, floats, front=front
    )
    training = {
        "--epochs": epochs,
        "--seed": seed,
        "--image-size": image_size,
        "--train-images": train_images,
        "--duplicates": None if duplicates == "warn" else duplicates,
    }
    fronts = {
        "--trainings": trainings,
        "--workers": workers,
        "--executor": None if executor_name == "local" else executor_name,
        "--address": address or None,
        "--gpus-per-worker": gpus_per_worker,
        "--artifacts": artifacts or None,
    }
    check_options(plan, data, training, fronts, front=front)
    if out.suffix.lower() != SUFFIX:
        raise UsageError(f"--out is {out}, but a compressed file's name ends in {SUFFIX}")
    if out.exists() and weights.exists() and out.samefile(weights):
        raise UsageError(f"--out is {out}, the file to be compressed; it would be overwritten")
    check_output(out)
    runner_in = None
    if front:
        check_plots(plots, out.stem)
        executor = make_executor(executor_name, address, workers, gpus_per_worker, artifacts)
    metadata, architecture = read_network(weights)
    params, statistics, _ = load_weights(weights, architecture)
    arrays = flat(params, statistics)
    check_layers(plan, arrays)
    facts: dict[str, Any] = {
        "weights": str(weights),
        "out": str(out),
        "candidate": metadata.candidate.key,
        "params_count": cost(architecture).params_count,
        "float32_bytes": float32_bytes(arrays),
        "baselines_bytes": baselines_bytes(arrays),
        "alexnet_bytes": _alexnet_bytes(metadata),
    }
    with contextlib.ExitStack() as stack:
        tuner: Tuner = NoImages()
        if data is not None:
            asked = parse_data(
                data, image_size=image_size, train_limit=train_images, duplicates=duplicates
            )
            spec = as_trained(asked, metadata)
            dataset = prepared(spec, described(spec))
            recipe = recipe_of_weights(data, spec.source, dataset, metadata, arrays)
            effort = {"epochs": epochs or EPOCHS, "seed": seed or 0}
            facts |= {"data": dataset.name, **effort}
            if front:
                setup = Setup(dataset.fingerprint, recipe, effort["seed"], scores_test=False)
                runner_in = partial(runner_on, keeping_programs(executor), setup, dataset)
                facts |= _in_int8(weights, architecture, dataset)
            tuner = stack.enter_context(
                image_tuner(
                    metadata.candidate,
                    dataset,
                    recipe,
                    out,
                    **effort,
                    relative="init" in metadata.extra,
                    runner_in=runner_in,
                    say=note,
                )
            )
        elif not plan.lossless:
            note("note: accuracy is not measured; give the images of the study with --data")
        if front:
            max_loss_share = MAX_LOSS_OF_FRONT if plan.max_loss is None else plan.max_loss
            found = search_front(
                arrays,
                metadata,
                plan,
                tuner,
                max_loss=max_loss_share,
                trainings=TRAININGS if trainings is None else trainings,
                on_stage=_say,
            )
            facts |= {"max_loss": max_loss_share}
            _finish_front(found, facts, out, plots, as_json)
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
        show_compressed(document, compressed.stages)


def _in_int8(weights: Path, architecture: Architecture, dataset: Dataset) -> dict[str, Any]:
    """Flash and accuracy of the network as it came, in integer arithmetic."""
    from dse.deployment.chip import chip_memory
    from dse.inference.accuracy import int8_accuracy

    memory, images = chip_memory(architecture), dataset.validation
    found = int8_accuracy(weights, dataset.train.images, images.images, images.labels)
    if memory is None or found is None:
        return {}
    return {
        "int8_flash_bytes": memory.flash_bytes,
        "int8_accuracy": found.int8,
        "int8_difference": found.difference,
    }


def _finish_front(
    found: CompressionFront, facts: dict[str, Any], out: Path, plots: Path, as_json: bool
) -> None:
    """Write the chosen file, the table and the figures, and print them."""
    from dse.report.figures.compression_front import plot_compression
    from dse.study.compression_front import SUFFIX, CompressionTable, write_compression_table
    from dse.weights.dsz import write_content

    table = CompressionTable(
        **facts,
        command=command_text(),
        given=found.given,
        densities=found.densities,
        settings=found.settings,
    )
    table_path = out.with_name(out.stem + SUFFIX)
    write_compression_table(table_path, table)
    if found.chosen is not None:
        write_content(out, found.contents[found.chosen])
    figures = [plots / f"{table_path.stem}{suffix}" for suffix in (".png", ".svg")]
    plot_compression(table, figures)
    if as_json:
        print_json(table.to_dict())
    else:
        show_front(table, table_path, figures)
    if found.chosen is None:
        raise WeightsError(
            f"none of {len(found.settings)} settings is within {table.max_loss:.2%} of the "
            f"accuracy before at 95% confidence, so {out} was not written; allow more with "
            "--max-loss, or train longer with --epochs"
        )


def _alexnet_bytes(metadata: WeightsMetadata) -> int | None:
    """Float32 bytes of the AlexNet that suits these images; None where none does."""
    from dse.architecture import build, cost, make_candidate
    from dse.errors import ArchitectureError

    alexnet = make_candidate("alexnet", {})
    try:
        return cost(build(alexnet, metadata.input_shape, len(metadata.classes))).weight_bytes
    except ArchitectureError:
        return None


def _say(stage: Stage) -> None:
    if stage.validation_accuracy is not None:
        note(
            f"{stage.name}: {stage.file_bytes:,} bytes, validation accuracy "
            f"{percent(stage.validation_accuracy)}"
            f"{'' if stage.kept else '; too much is lost, so this is taken back'}"
        )
