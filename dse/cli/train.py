"""`dse train`: train one network on images, from scratch or from given weights."""

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
    RecipeTexts,
    ResultsDirectory,
    SettingTexts,
    StudySeed,
    TensorBoardDirectory,
    TrainImages,
    WorkersCount,
)
from dse.cli.running import (
    check_output,
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
from dse.cli.tables import note, print_facts, print_json, print_table
from dse.errors import UsageError
from dse.text import counted, interval_text, percent

if TYPE_CHECKING:
    from dse.data import Dataset
    from dse.search import RunResult, Sweep

EXAMPLES = """
\b
Examples:
  dse train --init squeezenet.safetensors --data folder:photos
  dse train squeezenet_v1.1 --data folder:photos --init squeezenet.safetensors --seeds 3
  dse train squeezenet_v1.0 --data cifar10 --set base_e=32 --out small.safetensors

Interrupt it whenever you like: the same command resumes where it stopped.
"""


def command(
    network: Annotated[
        str,
        typer.Argument(
            metavar="[NETWORK]",
            help="A preset (squeezenet_v1.0), a study's candidate (STUDY/CANDIDATE), a weights "
            "file, or a space with one candidate; default: the network of --init.",
        ),
    ] = "",
    data: DataText = "digits",
    init: InitWeights = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            "--teacher",
            metavar="WEIGHTS",
            help="Learn from the scores of this network too: trained on the same classes, for "
            "images of the same size.",
        ),
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", metavar="N", min=1, max=1000, help="Train it N times.")
    ] = 1,
    epochs: EpochsCount = None,
    recipe_texts: RecipeTexts = None,
    settings: SettingTexts = None,
    image_size: ImageSize = None,
    train_images: TrainImages = None,
    duplicates: Duplicates = "warn",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="WEIGHTS",
            help="Copy the weights of the seed with the highest validation accuracy here.",
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(
            "--study", metavar="NAME", help="Name of the study; default: NETWORK-DATA-train."
        ),
    ] = None,
    study_seed: StudySeed = 0,
    workers: WorkersCount = None,
    executor_name: ExecutorName = "local",
    address: Address = "",
    gpus_per_worker: GpusPerWorker = None,
    artifacts: Artifacts = "",
    devices_per_worker: DevicesPerWorker = 1,
    tensorboard: TensorBoardDirectory = None,
    results: ResultsDirectory = Path("results"),
    as_json: JsonFlag = False,
) -> None:
    """Train one NETWORK and keep its weights; print its accuracy on validation and test images.

    With --init the network starts from given weights: it inherits every layer that fits,
    narrower ones by their most important channels, gets a new last layer, and images are fed to
    it as the weights say.
    """
    from dse.cli.progress import SweepProgress
    from dse.data import DataDescription
    from dse.data.given import images_for
    from dse.report.networks import network_space
    from dse.search import run
    from dse.search.plan import plan_sweep
    from dse.search.single import as_training
    from dse.weights.given import read_given

    if out is not None:
        if out.suffix.lower() != ".safetensors":
            raise UsageError(f"--out is {out}, but the name of a weights file ends in .safetensors")
        check_output(out)
    spec, given = images_for(data, init, image_size, train_images, duplicates, note)
    teaching = None if teacher is None else read_given(teacher, "--teacher")
    space = network_space(network, given, settings or (), results)
    description = described(spec)

    def planned(data: Dataset | DataDescription) -> Sweep:
        plan = plan_sweep(
            space,
            spec,
            data,
            seeds=seeds,
            recipe=recipe_texts or (),
            epochs=epochs,
            study_seed=study_seed,
            given=given,
            teacher=teaching,
        )
        return as_training(plan, data, study)

    planned(description)
    dataset = prepared(spec, description)
    plan = planned(dataset)  # broken images are left out by now
    executor = make_executor(
        executor_name, address, workers, gpus_per_worker, artifacts, devices_per_worker
    )
    end_like_ctrl_c()
    count = len(dataset.train)
    cost = next(iter(plan.costs.values()))
    progress = SweepProgress(
        (),
        epochs=plan.recipe.epochs,
        seeds=seeds,
        name=plan.name,
    )
    note(f"classes {classes_text(dataset)}")
    note(
        f"study {plan.name}: {cost.params_count:,} parameters, {counted(seeds, 'seed')}, "
        f"{counted(plan.recipe.epochs, 'epoch')} of {count:,} images ({dataset.name}), "
        f"{counted(min(executor.workers_count, seeds), 'worker')}"
    )
    with following(progress, results / plan.name, tensorboard) as on_event:
        result = run(
            plan,
            dataset,
            keeping_programs(executor),
            results=results,
            command=command_text(),
            on_event=on_event,
        )
    _show(plan, result, dataset, out, as_json)
    note_seen(given, dataset)
    if not result.finished_count:
        raise typer.Exit(1)


def _show(
    plan: Sweep, result: RunResult, dataset: Dataset, out: Path | None, as_json: bool
) -> None:
    from dse.search.single import trained_report

    report = trained_report(plan, result, dataset)
    if out is not None and report.weights is not None:
        from dse.study.paths import write_file

        write_file(out, report.weights.read_bytes())
    document = report.to_dict() | {"out": None if out is None else str(out)}
    if as_json:
        print_json(document)
        return
    print_table(
        ["seed", "validation\naccuracy", "test\naccuracy", "seconds", "weights"],
        [
            [
                row["seed"],
                percent(row["validation_accuracy"]),
                percent(row["test_accuracy"]),
                f"{row['train_s']:.0f}",
                row["weights"] or row["reason"],
            ]
            for row in document["seeds"]
        ],
        right=("seed", "validation\naccuracy", "test\naccuracy", "seconds"),
    )
    facts = {"network": report.network, "parameters": f"{report.params_count:,}"}
    for name, found in (("validation", report.validation), ("test", report.test)):
        if found is not None:
            facts[name] = percent(found.estimate) + interval_text(found.low, found.high)
    if out is not None:
        facts["wrote"] = str(out)
    print_facts(facts)
