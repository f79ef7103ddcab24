"""`dse sweep`: train every candidate of a finite space, and draw accuracy against size."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dse.cli.options import (
    Address,
    Artifacts,
    DataText,
    DevicesPerWorker,
    Duplicates,
    EpochsCount,
    ExecutorName,
    GpusPerWorker,
    ImageSize,
    InitWeights,
    JsonFlag,
    PlotsDirectory,
    RecipeTexts,
    ResultsDirectory,
    SettingTexts,
    SpaceName,
    StorageUrl,
    StudySeed,
    TensorBoardDirectory,
    TrainImages,
    WorkersCount,
)
from dse.cli.running import (
    check_plots,
    classes_text,
    command_text,
    described,
    end_like_ctrl_c,
    following,
    keeping_programs,
    make_executor,
    note_seen,
    prepared,
)
from dse.cli.sweep_views import note_refused, show_plan, show_result
from dse.cli.tables import note
from dse.text import counted

if TYPE_CHECKING:
    from dse.data import Dataset
    from dse.search import Sweep

EXAMPLES = """
\b
Examples:
  dse sweep squeeze_ratio.yaml --seeds 3
  dse sweep squeeze_ratio.yaml --data folder:images --epochs 10 --dry-run
  dse sweep pct_3x3.yaml --set base_e=32 --recipe learning_rate=0.05

Interrupt it whenever you like: the same command resumes where it stopped.
"""


def command(
    space_name: SpaceName,
    data: DataText = "digits",
    init: InitWeights = None,
    seeds: Annotated[
        int,
        typer.Option("--seeds", metavar="N", min=1, max=1000, help="Train each candidate N times."),
    ] = 1,
    epochs: EpochsCount = None,
    recipe_texts: RecipeTexts = None,
    settings: SettingTexts = None,
    image_size: ImageSize = None,
    train_images: TrainImages = None,
    duplicates: Duplicates = "warn",
    study: Annotated[
        str | None,
        typer.Option("--study", metavar="NAME", help="Name of the study; default: SPACE-DATA."),
    ] = None,
    study_seed: StudySeed = 0,
    workers: WorkersCount = None,
    devices_per_worker: DevicesPerWorker = 1,
    executor_name: ExecutorName = "local",
    address: Address = "",
    gpus_per_worker: GpusPerWorker = None,
    artifacts: Artifacts = "",
    tensorboard: TensorBoardDirectory = None,
    results: ResultsDirectory = Path("results"),
    storage_url: StorageUrl = "",
    plots: PlotsDirectory = Path("plots"),
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Train recorded failures again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show candidates, sizes and time; train nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Train every candidate of a finite SPACE; print the table and draw the plot.

    They are taken in the order by which all workers end at about the same time: long ones
    first, and what fits behind them. The table is in the order of the space.
    """
    from dse.cli.progress import SweepProgress
    from dse.config import apply_settings, find_space, load_space
    from dse.data import DataDescription
    from dse.data.given import images_for
    from dse.search import plan_sweep
    from dse.search.engine import pending_jobs, run, under_former_name
    from dse.training import check_fits

    space = apply_settings(load_space(find_space(space_name)), settings or ())
    spec, given = images_for(data, init, image_size, train_images, duplicates, note)
    description = described(spec)

    def planned(data: Dataset | DataDescription) -> Sweep:
        return plan_sweep(
            space,
            spec,
            data,
            seeds=seeds,
            recipe=recipe_texts or (),
            epochs=epochs,
            study=study,
            study_seed=study_seed,
            given=given,
        )

    sweep = planned(description)
    executor = make_executor(
        executor_name, address, workers, gpus_per_worker, artifacts, devices_per_worker
    )
    workers_count = executor.workers_count
    if dry_run:
        check_fits(
            sweep.recipe,
            description.name,
            input_shape=description.input_shape,
            train_count=description.train_count,
        )
        pending = pending_jobs(
            sweep,
            description,
            results=results,
            retry_failed=retry_failed,
            storage_url=storage_url,
        )
        show_plan(sweep, pending, description, workers_count, as_json)
        return
    dataset = prepared(spec, description)
    # Broken images are left out by now, and the recipe follows the number of the others.
    sweep = planned(dataset)
    if study is None and not storage_url:
        sweep = under_former_name(sweep, dataset, results)
    check_plots(plots, sweep.name)
    end_like_ctrl_c()
    executor = keeping_programs(executor)
    count = len(dataset.train)
    progress = SweepProgress(
        sweep.space.varying,
        epochs=sweep.recipe.epochs,
        seeds=seeds,
    )
    note_refused(sweep)
    note(f"classes {classes_text(dataset)}")
    note(
        f"study {sweep.name}: {counted(len(sweep.survey.feasible), 'candidate')} x "
        f"{counted(seeds, 'seed')}, {counted(sweep.recipe.epochs, 'epoch')} of {count:,} "
        f"images ({dataset.name}), {counted(min(workers_count, len(sweep.jobs)), 'worker')}"
    )
    with following(progress, results / sweep.name, tensorboard) as on_event:
        result = run(
            sweep,
            dataset,
            executor,
            results=results,
            retry_failed=retry_failed,
            storage_url=storage_url,
            command=command_text(),
            on_event=on_event,
        )
    show_result(sweep, result, dataset, plots, as_json)
    note_seen(given, dataset)
    if not result.finished_count:
        raise typer.Exit(1)
