"""`dse search`: the smallest candidate of a space that reaches a reference's accuracy."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dse.cli.options import (
    Address,
    Artifacts,
    DataText,
    DevicesPerWorker,
    Duplicates,
    ExecutorName,
    GpusPerWorker,
    ImageSize,
    InitWeights,
    JsonFlag,
    PlotsDirectory,
    ResultsDirectory,
    SettingTexts,
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
from dse.cli.search_views import show_answer, show_search_plan
from dse.cli.tables import note
from dse.text import counted, percent

if TYPE_CHECKING:
    from dse.data import DataDescription, Dataset
    from dse.execution.executor import Executor
    from dse.search import BestReference, Reference, ReferencePlan, Search, SearchPlan

FEW_IMAGES = 2_000
"""Training images below which weights that were trained elsewhere are worth naming."""

EXAMPLES = """
\b
Examples:
  dse search --data folder:photos
  dse search squeezenet.yaml --reference alexnet
  dse search squeezenet.yaml --data folder:photos --reference alexnet --budget 60m
  dse search squeezenet.yaml --reference 0.95 --objective params_count --objective macs
  dse search squeezenet.yaml --data folder:photos --device STM32F746 --precision int8
  dse search squeezenet.yaml --reference alexnet --reuse squeeze_ratio-digits

Interrupt it whenever you like: the same command resumes where it stopped.
"""


def command(
    space_name: Annotated[
        str | None,
        typer.Argument(
            metavar="[SPACE]",
            help="A search space: a path or a name of `dse spaces`; default: all widths, shares, "
            "places of pools and bypasses of a SqueezeNet for images of this size.",
        ),
    ] = None,
    data: DataText = "digits",
    init: InitWeights = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="WHAT",
            help="What to reach: best (the most accurate network that the search finds), alexnet, "
            "another preset, or an accuracy such as 0.803; default: best for a folder, else "
            "alexnet.",
        ),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            "--budget",
            metavar="AMOUNT",
            help="How long you wait at most, all in all: 60m, 1.5h; or what search and finals may "
            "spend: 500epochs; or 40trials, the candidates to sample. Default: minutes, as the "
            "forecast says; --dry-run shows it.",
        ),
    ] = None,
    reference_apart: Annotated[
        bool,
        typer.Option("--reference-apart", help="Train a reference network outside of the budget."),
    ] = False,
    margin: Annotated[
        str | None,
        typer.Option(
            "--margin",
            metavar="SHARE",
            help="How far below the reference is still non-inferior: 0.005 or 0.5%. Default: 0; "
            "for the reference best what the confirmation images can resolve, from 1% to 5%.",
        ),
    ] = None,
    confidence: Annotated[
        str,
        typer.Option("--confidence", metavar="SHARE", help="Of the claim: 0.95 or 95%."),
    ] = "0.95",
    objectives: Annotated[
        list[str] | None,
        typer.Option(
            "--objective",
            metavar="COST",
            help="What is to be small: params_count (the default), macs, weight_bytes, "
            "peak_activation_bytes or the measured latency_s; repeatable, the first is what the "
            "answer is smallest in.",
        ),
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="A chip of `dse describe` that every candidate has to fit, with its flash and RAM "
            "in --precision.",
        ),
    ] = None,
    precision: Annotated[
        Literal["int8", "fp16", "fp32"],
        typer.Option("--precision", help="That the network will have on the --device."),
    ] = "int8",
    sampler: Annotated[
        str | None,
        typer.Option(
            "--sampler",
            metavar="NAME",
            help="tpe, nsga2, gp, level or random; default: level (gp that aims at the reference) "
            "where the space has numbers, else tpe.",
        ),
    ] = None,
    finalists: Annotated[
        int,
        typer.Option("--finalists", metavar="N", min=1, max=50, help="Candidates in the finals."),
    ] = 3,
    seeds: Annotated[
        int,
        typer.Option(
            "--seeds", metavar="N", min=3, max=100, help="Fresh seeds of each finalist; at least 3."
        ),
    ] = 3,
    reuse: Annotated[
        list[str] | None,
        typer.Option(
            "--reuse", metavar="STUDY", help="Import a study's finished trials; repeatable."
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option("--epochs", metavar="N", min=1, help="Full fidelity: the highest rung."),
    ] = None,
    first_rung: Annotated[
        int | None,
        typer.Option(
            "--first-rung",
            metavar="N",
            min=1,
            help="Fewest epochs after which a candidate may be paused, as many as --epochs for "
            "never; default: a third of --epochs, once only, where that holds 100 optimizer steps "
            "and takes, with compilation, less than 40% of a full training.",
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds",
            metavar="N",
            min=0,
            max=5,
            help="Choose candidates by cross-validation on the training images, with N of 5 folds "
            "held out in turn, and keep all validation images for the confirmation; 0: by half of "
            "the validation images. Default: as many as hold 500 images where fewer than 1,000 "
            "are for validation.",
        ),
    ] = None,
    recipe_texts: Annotated[
        list[str] | None,
        typer.Option(
            "--recipe", metavar="KEY=VALUE", help="Change the candidates' recipe; repeatable."
        ),
    ] = None,
    reference_texts: Annotated[
        list[str] | None,
        typer.Option(
            "--reference-recipe",
            metavar="KEY=VALUE",
            help="Change the reference's recipe; repeatable.",
        ),
    ] = None,
    reference_seeds: Annotated[
        int,
        typer.Option(
            "--reference-seeds", metavar="N", min=1, max=100, help="Trainings of the reference."
        ),
    ] = 3,
    settings: SettingTexts = None,
    image_size: ImageSize = None,
    train_images: TrainImages = None,
    duplicates: Duplicates = "warn",
    study: Annotated[
        str | None,
        typer.Option(
            "--study", metavar="NAME", help="Name of the study; default: SPACE-DATA-search."
        ),
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show space, rungs and time; train nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Find the fewest parameters at a reference's accuracy; report it with its uncertainty."""
    started = time.monotonic()
    from dse.cli.search_progress import SearchProgress
    from dse.config import apply_settings, find_space, load_space
    from dse.data.given import images_for
    from dse.search import SearchOptions, plan_search, run
    from dse.search.engine import under_former_name
    from dse.search.reuse import reusable_trials
    from dse.search.verdicts import few_images_note
    from dse.space.whole import whole_space
    from dse.training import check_fits

    spec, given = images_for(data, init, image_size, train_images, duplicates, note)
    named = None if space_name is None else load_space(find_space(space_name))
    description = described(spec)
    space = apply_settings(named or whole_space(description.input_shape), settings or ())
    options = SearchOptions(
        reference=reference,
        budget=budget,
        margin=margin,
        confidence=confidence,
        objectives=objectives or (),
        sampler=sampler,
        finalists=finalists,
        seeds=seeds,
        epochs=epochs,
        first_rung=first_rung,
        folds=0 if reuse and folds is None else folds,
        recipe=recipe_texts or (),
        reference_recipe=reference_texts or (),
        reference_seeds=reference_seeds,
        study=study,
        study_seed=study_seed,
        given=given,
        device=device,
        precision=precision,
    )
    executor = make_executor(
        executor_name, address, workers, gpus_per_worker, artifacts, devices_per_worker
    )
    workers_count = executor.workers_count
    plan = plan_search(
        space, spec, description, options, workers_count=workers_count, results=results
    )
    check_fits(
        plan.search.recipe,
        description.name,
        input_shape=description.input_shape,
        train_count=description.train_count,
    )
    reused = [results / name if (results / name).is_dir() else Path(name) for name in reuse or ()]
    if dry_run:
        recorded_count = _recorded_count(plan.search, description, results, storage_url, reused)
        show_search_plan(plan, description, workers_count, recorded_count, as_json)
        return
    dataset = prepared(spec, description)
    # Broken images are left out by now, and the recipe follows the number of the others.
    pool = plan.search.pool
    plan = plan_search(
        space, spec, dataset, options, pool=pool, workers_count=workers_count, results=results
    )
    is_named = study or storage_url
    search = plan.search if is_named else under_former_name(plan.search, dataset, results)
    # Whatever is refused is refused before hours go into a reference.
    check_plots(plots, search.name)
    _recorded_count(search, dataset, results, storage_url, reused)
    reusable_trials(reused, search.definition(dataset))
    end_like_ctrl_c()
    executor = keeping_programs(executor)
    confirming = len(dataset.validation) - (0 if search.folds else len(dataset.validation) // 2)
    if said := few_images_note(confirming, search.margin, search.confidence):
        note(f"note: {said}")
    if given is None and spec.source == "folder" and len(dataset.train) < FEW_IMAGES:
        note(
            f"note: {len(dataset.train):,} training images are few to learn from scratch; networks "
            "that start from published weights usually reach more: dse shrink, or --init"
        )
    _say_if_short(plan, search, dataset, results, storage_url, is_apart=reference_apart)
    waited = time.monotonic()
    found = _reference(plan.reference, dataset, results, storage_url, executor)
    if reference_apart:
        started += time.monotonic() - waited
    of = f" of {pool.space_count:,}" if pool.space_count else ""
    drawn = "" if pool.is_whole else " (drawn from the space)"
    note(f"classes {classes_text(dataset)}")
    note(
        f"study {search.name}: {counted(len(pool), 'feasible candidate')}{of}{drawn}, budget "
        f"{search.budget}, rungs of {', '.join(map(str, search.ladder.fidelities))} epochs of "
        f"{len(dataset.train):,} images ({dataset.name}), {counted(workers_count, 'worker')}"
    )
    progress = SearchProgress(search)
    with following(progress, results / search.name, tensorboard) as on_event:
        result = run(
            search,
            dataset,
            executor,
            results=results,
            reference=found,
            reuse=reused,
            storage_url=storage_url,
            command=command_text(),
            on_event=on_event,
            started=started,
        )
    show_answer(search, result, dataset, plots, as_json)
    note_seen(given, dataset)


def _say_if_short(
    plan: SearchPlan,
    search: Search,
    dataset: Dataset,
    results: Path,
    storage_url: str,
    *,
    is_apart: bool,
) -> None:
    """Say beforehand where a budget is too short for a claim; refuse what reaches to nothing."""
    from dse.search import ReferencePlan
    from dse.search.engine import count_recorded
    from dse.search.reference import held_reference

    expected, reference = plan.forecast, plan.reference
    is_held = isinstance(reference, ReferencePlan) and held_reference(reference, dataset, results)
    if is_held or is_apart:
        expected = replace(expected, reference_s=0.0)
    if count_recorded(search, dataset, results=results, storage_url=storage_url):
        return  # what is measured says more
    if said := expected.check(search.budget, reference.name):
        note(f"note: {said}")


def _recorded_count(
    search: Search,
    data: Dataset | DataDescription,
    results: Path,
    storage_url: str,
    reused: Sequence[Path],
) -> int:
    """Trials in the record, once study and budget are found to be possible ones."""
    from dse.search.engine import count_recorded

    count = count_recorded(search, data, results=results, storage_url=storage_url)
    if not count and not reused:
        search.check_budget()
    return count


def _reference(
    plan: Reference | ReferencePlan | BestReference,
    dataset: Dataset,
    results: Path,
    storage_url: str,
    executor: Executor,
) -> Reference | BestReference:
    """What the answer is compared with, trained where it is not known; says what it is."""
    from dse.cli.progress import SweepProgress
    from dse.search import Reference, ReferencePlan, find_reference

    if not isinstance(plan, ReferencePlan):
        return plan
    seeds, epochs = counted(plan.seeds, "seed"), counted(plan.recipe.epochs, "epoch")
    progress = SweepProgress(
        (),
        epochs=plan.recipe.epochs,
        seeds=plan.seeds,
        name=f"reference {plan.name}",
        intro=f"reference {plan.name}: {seeds} of {epochs}; measured once for these images and "
        "this recipe",
    )
    with following(
        progress, plan.directory(results, dataset.name, dataset.fingerprint)
    ) as on_event:
        found = find_reference(
            plan,
            dataset,
            executor,
            results=results,
            storage_url=storage_url,
            command=command_text(),
            on_event=on_event,
        )
    assert isinstance(found, Reference)
    assert found.costs is not None
    note(
        f"reference {plan.name}: {found.costs['params_count']:,} parameters, validation accuracy "
        f"{percent(found.validation_accuracy)}, mean of "
        f"{counted(len(found.replicates), 'seed')} ({found.path})"
    )
    return found
