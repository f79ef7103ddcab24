"""`dse shrink`: one small network for somebody's photos."""

from __future__ import annotations

import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dse.cli.options import (
    Address,
    Artifacts,
    Duplicates,
    EpochsCount,
    ExecutorName,
    GpusPerWorker,
    ImageSize,
    JsonFlag,
    RecipeTexts,
    ResultsDirectory,
    StudySeed,
    WorkersCount,
)
from dse.cli.running import (
    check_output,
    classes_text,
    command_text,
    compile_cache,
    described,
    end_like_ctrl_c,
    following,
    keeping_programs,
    make_executor,
    note_seen,
    prepared,
)
from dse.cli.tables import note, print_json, print_table
from dse.errors import UsageError
from dse.text import interval_text, percent

if TYPE_CHECKING:
    from dse.data import DataDescription, Dataset
    from dse.search import Sweep
    from dse.search.shrink import Demand, ShrinkReport

EXAMPLES = """
\b
Examples:
  dse import squeezenet_v1.0
  dse shrink photos --init squeezenet_v1.0.safetensors
  dse shrink photos --accuracy 92% --budget 30m --out pets.dsz
  dse shrink photos --max-bytes 150kB
  dse shrink photos --device STM32F746 --image-size 64

Interrupt it whenever you like: the same command resumes where it stopped.
"""

DEFAULT_INIT = Path("squeezenet_v1.0.safetensors")


def command(
    photos: Annotated[
        str,
        typer.Argument(
            metavar="PHOTOS",
            help="A folder with one folder of photos per class; or digits, cifar10.",
        ),
    ],
    accuracy: Annotated[
        str | None,
        typer.Option(
            "--accuracy",
            metavar="SHARE",
            help="Find the smallest file with this validation accuracy, such as 0.92 or 92%.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="NAME",
            help="best: find the smallest file within 3 points of the network before it is made "
            "small (default, unless a size is given).",
        ),
    ] = None,
    max_bytes: Annotated[
        str | None,
        typer.Option(
            "--max-bytes",
            metavar="SIZE",
            help="Most that the file may take, such as 250kB; without --accuracy the most accurate "
            "of these is taken.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="NAME", help="On which it has to fit as int8, such as STM32F746."
        ),
    ] = None,
    init: Annotated[
        Path | None,
        typer.Option(
            "--init",
            metavar="WEIGHTS",
            help="Weights to start from, of any classes; default: squeezenet_v1.0.safetensors, "
            "which dse import squeezenet_v1.0 makes.",
        ),
    ] = None,
    budget: Annotated[
        str, typer.Option("--budget", metavar="TIME", help="How long it may take: 90s, 20m, 1.5h.")
    ] = "20m",
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="The file to write; default: PHOTOS.dsz."),
    ] = None,
    image_size: ImageSize = None,
    epochs: EpochsCount = None,
    recipe_texts: RecipeTexts = None,
    duplicates: Duplicates = "warn",
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="NAME", help="Name of the study; default: PHOTOS-shrink."),
    ] = None,
    study_seed: StudySeed = 0,
    workers: WorkersCount = None,
    executor_name: ExecutorName = "local",
    address: Address = "",
    gpus_per_worker: GpusPerWorker = None,
    artifacts: Artifacts = "",
    results: ResultsDirectory = Path("results"),
    as_json: JsonFlag = False,
) -> None:
    """Make one small network of your photos: train, make it small, choose, and measure.

    It starts from given weights, trains them on the photos, takes filters and weights away and
    shares values as long as there is time, and writes the file that you asked for with the
    accuracy that it has on test images.
    """
    from dse.cli.progress import SweepProgress
    from dse.data.given import images_for
    from dse.report.networks import network_space
    from dse.search.budget import parse_budget
    from dse.search.plan import check_study_name, plan_sweep
    from dse.search.shrink import check_demand, shrink
    from dse.search.single import as_training
    from dse.weights.dsz import SUFFIX

    started = time.monotonic()
    demand, time_limit = make_demand(accuracy, reference, max_bytes, device), parse_budget(budget)
    check_demand(demand, reference, time_limit)
    if init is None and not DEFAULT_INIT.exists():
        raise UsageError(
            f"there are no weights to start from: dse import squeezenet_v1.0 makes {DEFAULT_INIT} "
            "here; or give others with --init"
        )
    spec, given = images_for(
        f"folder:{photos}" if Path(photos).is_dir() else photos,
        init or DEFAULT_INIT,
        image_size,
        None,
        duplicates,
        note,
    )
    assert given is not None
    description = described(spec)
    out = out or Path(f"{description.name}{SUFFIX}")
    if out.suffix.lower() != SUFFIX:
        raise UsageError(f"--out is {out}, but a compressed file's name ends in {SUFFIX}")
    check_output(out)
    space = network_space("", given, (), results)

    def planned(data: Dataset | DataDescription) -> Sweep:
        plan = plan_sweep(
            space,
            spec,
            data,
            recipe=recipe_texts or (),
            epochs=epochs,
            study_seed=study_seed,
            given=given,
        )
        return as_training(plan, data, check_study_name(study or f"{data.name}-shrink"))

    planned(description)
    dataset = prepared(spec, description)
    plan = planned(dataset)
    executor = make_executor(executor_name, address, workers, gpus_per_worker, artifacts)
    end_like_ctrl_c()
    cost = next(iter(plan.costs.values()))
    progress = SweepProgress(
        (),
        epochs=plan.recipe.epochs,
        seeds=1,
        name="parent",
    )
    note(f"classes {classes_text(dataset)}")
    note(
        f"study {plan.name}: {cost.params_count:,} parameters, to be made small within "
        f"{time_limit}; {len(dataset.train):,} training images"
    )
    with following(progress, results / plan.name) as on_event:
        report = shrink(
            plan,
            dataset,
            keeping_programs(executor),
            demand,
            time_limit,
            out=out,
            results=results,
            compile_cache=compile_cache(),
            command=command_text(),
            started=started,
            on_event=on_event,
            say=progress.display.say,
        )
    if as_json:
        print_json(report.to_dict())
    else:
        _show(report)
    note_seen(given, dataset)


def make_demand(
    accuracy: str | None, reference: str | None, max_bytes: str | None, device: str | None
) -> Demand:
    """What the options ask for.

    Raises:
        UsageError: a value that an option cannot have.
        ConfigError: an unknown device.
    """
    from dse.cli.compress_options import bytes_of, share_of
    from dse.deployment.devices import find_devices
    from dse.search.shrink import Demand

    return Demand(
        accuracy=None if accuracy is None else share_of("--accuracy", accuracy),
        is_near_parent=reference == "best",
        max_bytes=None if max_bytes is None else bytes_of("--max-bytes", max_bytes),
        device=None if device is None else find_devices([device])[0],
    )


def _show(report: ShrinkReport) -> None:
    print_table(
        ["file", "bytes", "parameters", "nonzero\nweights", "validation\naccuracy", "chosen"],
        [
            [
                point.file,
                f"{point.file_bytes:,}",
                f"{point.params_count:,}",
                f"{point.nonzero_count:,}",
                percent(point.validation_accuracy) + interval_text(point.low, point.high),
                "*" if point.file == report.chosen.file else "",
            ]
            for point in report.points
            if point.on_front or point.file == report.chosen.file
        ],
        right=("bytes", "parameters", "nonzero\nweights"),
    )
    typer.echo()
    typer.echo(textwrap.fill(report.text, 88, break_long_words=False, break_on_hyphens=False))
