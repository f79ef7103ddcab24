"""`dse search`: the smallest candidate of a space that reaches a reference's accuracy."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dse.cli.data import described, prepared
from dse.cli.options import (
    DataText,
    ImageSize,
    JsonFlag,
    PlotsDirectory,
    ResultsDirectory,
    SettingTexts,
    StudySeed,
    TrainImages,
    WorkersCount,
)
from dse.cli.search_views import show_answer, show_search_plan
from dse.cli.sweep import data_recipe, end_like_ctrl_c, study_name
from dse.cli.sweep_views import check_plots_directory
from dse.cli.tables import note
from dse.errors import UsageError
from dse.text import counted, percent

if TYPE_CHECKING:
    from dse.architecture import Candidate
    from dse.data import DataDescription, Dataset
    from dse.search.reference import Reference, ReferencePlan
    from dse.search.rungs import Ladder
    from dse.search.search import Search, SearchResult
    from dse.space.pool import Pool
    from dse.training import Recipe

EXAMPLES = """
\b
Examples:
  dse search squeezenet.yaml --reference alexnet
  dse search squeezenet.yaml --data folder:images --reference alexnet --budget 60m
  dse search squeezenet.yaml --reference 0.95 --objective params_count --objective macs
  dse search squeezenet.yaml --reference alexnet --reuse squeeze_ratio-digits

Interrupt it whenever you like: the same command goes on where it stopped.
"""


def command(
    space_name: Annotated[
        str,
        typer.Argument(metavar="SPACE", help="A search space: a path or a name of `dse spaces`."),
    ],
    data: DataText = "digits",
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            metavar="WHAT",
            help="What to reach: alexnet, another preset, or an accuracy such as 0.803.",
        ),
    ] = "alexnet",
    budget: Annotated[
        str,
        typer.Option(
            "--budget",
            metavar="AMOUNT",
            help="What search and finals may spend: 60m, 1.5h, 500epochs; or 40trials, the "
            "candidates to ask for.",
        ),
    ] = "8trials",
    margin: Annotated[
        str,
        typer.Option(
            "--margin",
            metavar="SHARE",
            help="How far below the reference still counts as its level: 0.005 or 0.5%.",
        ),
    ] = "0",
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
    sampler: Annotated[
        str | None,
        typer.Option(
            "--sampler",
            metavar="NAME",
            help="tpe, nsga2, gp or random; default: gp where every candidate is trained in full "
            "and the space has numbers, else tpe.",
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
            "--reuse", metavar="STUDY", help="Bring in a study's finished trials; repeatable."
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
            help="Fewest epochs after which a candidate may be stopped, as many as --epochs for "
            "never; default: as few as hold 100 optimizer steps and take, with compilation, less "
            "than 40% of a full training.",
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
    study: Annotated[
        str | None,
        typer.Option(
            "--study", metavar="NAME", help="Name of the study; default: SPACE-DATA-search."
        ),
    ] = None,
    study_seed: StudySeed = 0,
    workers: WorkersCount = None,
    results: ResultsDirectory = Path("results"),
    plots: PlotsDirectory = Path("plots"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show space, rungs and time; train nothing.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Find the fewest parameters at a reference's accuracy; report it with its uncertainty."""
    from dse.config import apply_settings, find_space, load_space
    from dse.data import parse_data
    from dse.execution.local import default_workers
    from dse.search.budget import parse_budget
    from dse.search.reference import ReferencePlan, parse_reference, reference_recipe
    from dse.search.reuse import check_reusable
    from dse.search.samplers import default_sampler, make_sampler
    from dse.search.search import Search
    from dse.space.pool import make_pool
    from dse.training import check_fits, recipe_from_texts

    space = apply_settings(load_space(find_space(space_name)), settings or ())
    chosen = _objectives(objectives)
    wanted = parse_reference(reference)
    allowed, accepted, sure = parse_budget(budget), _margin(margin), _confidence(confidence)
    changes = [*([f"epochs={epochs}"] if epochs else []), *(recipe_texts or ())]
    spec = parse_data(data, image_size=image_size, train_limit=train_images)
    description = described(spec)
    pool = make_pool(space, description.input_shape, len(description.classes), seed=study_seed)
    if sampler is not None:
        make_sampler(sampler, pool)

    def planned(input_shape: tuple[int, int, int], train_count: int) -> Search:
        recipe = data_recipe(spec, input_shape, train_count, changes)
        ladder = _ladder(recipe, train_count, first_rung, pool)
        return Search(
            name=study_name(f"{space.name}-{description.name}-search" if study is None else study),
            pool=pool,
            recipe=recipe,
            ladder=ladder,
            budget=allowed,
            sampler=sampler or default_sampler(pool, rungs_count=len(ladder.epochs)),
            objectives=chosen,
            study_seed=study_seed,
            margin=accepted,
            confidence=sure,
            finalists=finalists,
            seeds=seeds,
        )

    def opponent(input_shape: tuple[int, int, int], train_count: int) -> ReferencePlan | None:
        if isinstance(wanted, float):
            return None
        recipe = reference_recipe(wanted, spec.source, input_shape, train_count)
        return ReferencePlan(
            reference,
            wanted,
            recipe_from_texts(recipe, reference_texts or (), option="--reference-recipe"),
            seeds=reference_seeds,
            study_seed=study_seed,
        )

    workers_count = workers or default_workers()
    search = planned(description.input_shape, description.train_count)
    check_fits(
        search.recipe,
        description.name,
        input_shape=description.input_shape,
        train_count=description.train_count,
    )
    plan = opponent(description.input_shape, description.train_count)
    reused = [results / name if (results / name).is_dir() else Path(name) for name in reuse or ()]
    if dry_run:
        recorded = _recorded(search, description, results, reused)
        show_search_plan(search, plan, description, workers_count, recorded, as_json)
        return
    dataset = prepared(spec, description)
    # Broken images are left out by now, and the recipe follows the number of the others.
    search = planned(dataset.input_shape, len(dataset.train))
    plan = opponent(dataset.input_shape, len(dataset.train))
    # Whatever is refused is refused before hours go into a reference.
    check_plots_directory(plots)
    _recorded(search, dataset, results, reused)
    check_reusable(reused, search.definition(dataset))
    end_like_ctrl_c()
    held = _reference(wanted, reference, plan, dataset, results, workers_count)
    result = _run(search, held, dataset, workers_count, results, reused)
    show_answer(search, result, plots, as_json)


def _recorded(
    search: Search, data: Dataset | DataDescription, results: Path, reused: Sequence[Path]
) -> int:
    """Trials in the record, once study and budget are found to be possible ones."""
    from dse.search.search import check_budget, count_recorded

    count = count_recorded(search, data, results=results)
    if not count and not reused:
        check_budget(search)
    return count


def _objectives(names: Sequence[str] | None) -> tuple[str, ...]:
    from dse.architecture import ALL_OBJECTIVES
    from dse.text import nearest

    known = [*ALL_OBJECTIVES]
    chosen = tuple(dict.fromkeys(names or ("params_count",)))
    for name in chosen:
        if name not in known:
            raise UsageError(f"--objective {name}: no such cost{nearest(name, known)}")
    return chosen


def _ladder(recipe: Recipe, train_count: int, first: int | None, pool: Pool) -> Ladder:
    import numpy as np

    from dse.search.estimate import worthwhile
    from dse.search.rungs import first_rung, make_ladder

    if first is not None and first > recipe.epochs:
        raise UsageError(
            f"--first-rung {first}: must be at most the epochs of a full training, "
            f"which are {recipe.epochs}"
        )
    least = first_rung(recipe.epochs, train_count // recipe.batch_size)
    ladder = make_ladder(recipe.epochs, first=first or least)
    if first is not None:
        return ladder
    middling_macs = float(np.median(pool.costs["macs"]))
    return worthwhile(ladder, middling_macs, recipe, train_count)


def _share(text: str) -> float:
    """The number that a fraction or a percentage says; -1 for none."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return -1.0


def _margin(text: str) -> float:
    value = _share(text)
    if not 0 <= value < 1:
        raise UsageError(
            f"--margin {text}: must be a fraction from 0 to below 1, or percent: 0.005 or 0.5%"
        )
    return value


def _confidence(text: str) -> float:
    value = _share(text)
    if not 0.5 <= value < 1:
        raise UsageError(
            f"--confidence {text}: must be a fraction from 0.5 to below 1, or percent: 0.95 or 95%"
        )
    return value


def _reference(
    wanted: Candidate | float,
    name: str,
    plan: ReferencePlan | None,
    dataset: Dataset,
    results: Path,
    workers_count: int,
) -> Reference:
    """The number, the network as it was measured before, or the network trained now."""
    from dse.cli.progress import SweepProgress
    from dse.cli.time_left import TimeLeft
    from dse.data.spec import cache_root
    from dse.search.estimate import COMPILE_S
    from dse.search.reference import Reference, held_reference, measure_reference

    if isinstance(wanted, float):
        return Reference(name, accuracy=wanted)
    assert plan is not None
    held = held_reference(plan, dataset, results)
    if held is None:
        note(
            f"reference {name}: {counted(plan.seeds, 'seed')} of "
            f"{counted(plan.recipe.epochs, 'epoch')}; measured once for these images and this "
            "recipe"
        )
        progress = SweepProgress(
            (),
            epochs=plan.recipe.epochs,
            seeds=plan.seeds,
            time_left=TimeLeft(lambda job: 1.0, compile_s=COMPILE_S, workers_count=workers_count),
            name=f"reference {name}",
        )
        directory = plan.directory(results, dataset.name, dataset.fingerprint)
        with progress:
            try:
                held = measure_reference(
                    plan,
                    dataset,
                    results=results,
                    workers_count=workers_count,
                    compile_cache=cache_root() / "compiled",
                    command=shlex.join(["dse", *sys.argv[1:]]),
                    on_event=progress,
                )
            except KeyboardInterrupt:
                progress.interrupted(directory)
                raise
    assert held.costs is not None
    note(
        f"reference {name}: {held.costs['params_count']:,} parameters, "
        f"{percent(held.validation_accuracy)} right in validation, mean of "
        f"{counted(len(held.replicates), 'seed')} ({held.path})"
    )
    return held


def _run(
    search: Search,
    reference: Reference,
    dataset: Dataset,
    workers_count: int,
    results: Path,
    reuse: Sequence[Path],
) -> SearchResult:
    from dse.cli.search_progress import SearchProgress
    from dse.data.spec import cache_root
    from dse.search.search import run_search

    pool = search.pool
    of = f" of {pool.space_count:,}" if pool.space_count else ""
    drawn = "" if pool.is_whole else " (drawn from the space)"
    note(
        f"study {search.name}: {counted(len(pool), 'feasible candidate')}{of}{drawn}, budget "
        f"{search.budget}, rungs of {', '.join(map(str, search.ladder.epochs))} epochs of "
        f"{len(dataset.train):,} images ({dataset.name}), {counted(workers_count, 'worker')}"
    )
    progress = SearchProgress(search, pool.varying)
    with progress:
        try:
            return run_search(
                search,
                reference,
                dataset,
                results=results,
                workers_count=workers_count,
                reuse=reuse,
                compile_cache=cache_root() / "compiled",
                command=shlex.join(["dse", *sys.argv[1:]]),
                on_event=progress,
            )
        except KeyboardInterrupt:
            progress.interrupted(results / search.name)
            raise
