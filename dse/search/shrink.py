"""From photos and weights to one small file: train the parent, make it small, choose, confirm.

The parent is a study of one network, as `dse train` runs it; `dse.compress.shrinker` makes it
small; here it is decided which of the files is wanted, and the test images are used, once for
each file that is ever chosen.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dse.architecture import build, cost
from dse.compress.front import CompressionFront
from dse.compress.shrinker import (
    TRAINING,
    Clock,
    Shrinker,
    Stage,
    picked_stages,
    stage_recipe,
)
from dse.compress.tuning import Runner
from dse.data import Dataset
from dse.deployment.devices import Device, devices
from dse.errors import StudyError, UsageError, WeightsError
from dse.execution.executor import Executor
from dse.execution.job import EpochDone, Setup
from dse.networks import build_network
from dse.search.budget import Budget
from dse.search.engine import OnEvent, RunEvent, run
from dse.search.estimate import COMPILE_S, START_S, train_s
from dse.search.plan import Sweep
from dse.search.single import TrainedReport, trained_report
from dse.search.tuning import runner_on
from dse.stats.intervals import paired_lower_bound, wilson_interval
from dse.stats.pareto import front
from dse.study.measurement import unpack_bits
from dse.study.paths import write_file
from dse.study.shrinking import (
    FOLDER,
    NAME,
    Confirmed,
    ShrinkPoint,
    ShrinkRecord,
    ShrunkNetwork,
    find_shrink,
    write_shrink,
)
from dse.text import counted, duration, percent, size_text, some_of, times_text
from dse.training.predict import Predictor
from dse.training.scaling import InputScaling
from dse.training.xla import use_compile_cache
from dse.weights.safetensors import flat, load_weights

MARGIN = 0.03
"""How far below the parent's validation accuracy the reference `best` still holds."""

END_S = 20.0
"""The test images, and what is written."""

PARENT_SHARE = 0.25
"""Of the time that is left once the parent is trained, for its files."""

STAGES_COUNT = 10.0
"""Trainings as long as one of the parent's that a budget is shared out over."""

EPOCHS_MOST = 10
"""Of a stage."""

FLOAT32_BYTES = 4
"""Of a float32."""


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What the file is to be.

    Attributes:
        accuracy: that it has to hold, a fraction.
        is_near_parent: it has to hold the parent's less `MARGIN`; so it has where nothing else
            is demanded.
        max_bytes: most that it may take.
        device: on which the network has to fit as int8.
    """

    accuracy: float | None = None
    is_near_parent: bool = False
    max_bytes: int | None = None
    device: Device | None = None

    def fits(self, point: ShrinkPoint) -> bool:
        """Whether a file is small enough."""
        return (self.max_bytes is None or point.file_bytes <= self.max_bytes) and (
            self.device is None or fits_int8(point, self.device)
        )


def check_demand(demand: Demand, reference: str | None, budget: Budget) -> None:
    """Refuse what cannot be demanded.

    Raises:
        UsageError: naming it.
    """
    if reference not in (None, "best"):
        raise UsageError(
            f"--reference {reference}: dse shrink knows best, the network before it is made "
            "small; for an accuracy give --accuracy"
        )
    if reference and demand.accuracy is not None:
        raise UsageError("--accuracy and --reference both say what to hold: give one of them")
    if budget.kind != "time":
        raise UsageError(f"--budget {budget}: must be a time, such as 20m")


def fits_int8(point: ShrinkPoint, device: Device) -> bool:
    """Whether a network's weights and activations fit a device as int8."""
    return device.holds_network(point.params_count, point.peak_activation_bytes // FLOAT32_BYTES)


@dataclass(frozen=True, kw_only=True)
class ShrinkReport:
    """What `dse shrink` says.

    Attributes:
        study: name.
        parent: as it was trained.
        parent_bytes: of its float32 arrays.
        networks, points: what was measured.
        chosen: the file that was chosen.
        confirmed: it on the test images.
        out: where it was written.
        text: all of it in a paragraph.
    """

    study: str
    parent: TrainedReport
    parent_bytes: int
    networks: tuple[ShrunkNetwork, ...]
    points: tuple[ShrinkPoint, ...]
    chosen: ShrinkPoint
    confirmed: Confirmed
    out: Path
    text: str

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return asdict(self) | {"parent": self.parent.to_dict(), "out": str(self.out)}


def shrink(
    plan: Sweep,
    dataset: Dataset,
    executor: Executor,
    demand: Demand,
    budget: Budget,
    *,
    out: Path,
    results: Path,
    compile_cache: Path | None = None,
    command: str = "",
    started: float | None = None,
    on_event: OnEvent = lambda event: None,
    say: Callable[[str], None] = lambda text: None,
) -> ShrinkReport:
    """Train the parent, make it small, choose a file, and measure it on the test images.

    Args:
        plan: of the parent, one candidate and one seed.
        dataset: prepared images.
        executor: where it is trained.
        demand: what the file is to be.
        budget: of time, all in all.
        out: the file to write.
        results: folder of all studies.
        compile_cache: folder of compiled programs.
        command: kept in `study.yaml`.
        started: `time.monotonic()` when the user began to wait; None is now.
        on_event: told of the parent's training.
        say: told of everything that follows.

    Raises:
        StudyError: the budget is less than the parent takes; nothing holds the accuracy, or is as
            small as demanded: says what was reached.
        DseError: see `dse.errors`; nothing that was measured is lost.
    """
    started = time.monotonic() if started is None else started
    parent, correct, epoch_s = _parent(
        plan, dataset, executor, budget, results=results, command=command,
        started=started, on_event=on_event,
    )  # fmt: skip
    assert parent.weights is not None
    directory = results / plan.name / FOLDER
    if compile_cache:
        use_compile_cache(compile_cache)
    digest = hashlib.sha256(parent.weights.read_bytes()).hexdigest()
    facts: dict[str, Any] = {"budget": str(budget), "recipe": plan.recipe.key}
    if demand.max_bytes is not None:  # what is trained first
        facts["max_bytes"] = demand.max_bytes
    record = find_shrink(directory / NAME, digest, facts)
    if record is None:
        left_s = budget.amount - (time.monotonic() - started) - END_S
        fingerprint, seed = dataset.fingerprint, plan.study_seed
        setup = Setup(fingerprint, plan.recipe, seed, scores_test=False, teacher=digest)
        parents = {setup.teacher_key: parent.weights}
        with runner_on(executor, setup, dataset, directory / TRAINING, parents) as runner:
            record = _measure(
                plan, parent.weights, dataset, directory, runner, say=say,
                clock=Clock(left_s, epoch_s / len(dataset.train) / _macs(plan)),
                epochs=planned_epochs(left_s, epoch_s), within=demand.max_bytes,
            )  # fmt: skip
        record = replace(record, parent=digest, plan=facts, spent_s=time.monotonic() - started)
        write_shrink(directory / NAME, record)
    chosen = choose(record, demand, directory)
    confirmed = next((one for one in record.confirmed if one.file == chosen.file), None)
    content = _content(directory, chosen)
    if confirmed is None or confirmed.sha256 != hashlib.sha256(content).hexdigest():
        confirmed = _confirm(directory / chosen.file, chosen, dataset, correct)
        record = replace(record, confirmed=(*record.confirmed, confirmed))
        write_shrink(directory / NAME, record)
    write_file(out, content)
    parent_bytes = 4 * sum(p.size for p in _architecture(plan, dataset).parameters)
    report = ShrinkReport(
        study=plan.name,
        parent=parent,
        parent_bytes=parent_bytes,
        networks=record.networks,
        points=record.points,
        chosen=chosen,
        confirmed=confirmed,
        out=out,
        text="",
    )
    return replace(report, text=paragraph(report, demand))


def planned_epochs(left_s: float, epoch_s: float) -> int:
    """Epochs of each stage, that about `STAGES_COUNT` of them fit; at least 1."""
    return int(min(max(left_s / epoch_s / STAGES_COUNT, 1), EPOCHS_MOST))


def _macs(plan: Sweep) -> int:
    return next(iter(plan.costs.values())).macs


def _architecture(plan: Sweep, dataset: Dataset) -> Any:
    candidate = plan.jobs[0].candidate
    return build(candidate, dataset.input_shape, len(dataset.classes))


def _parent(
    plan: Sweep,
    dataset: Dataset,
    executor: Executor,
    budget: Budget,
    *,
    results: Path,
    command: str,
    started: float,
    on_event: OnEvent,
) -> tuple[TrainedReport, np.ndarray, float]:
    """The parent, on which test images it is correct, and seconds of one of its epochs."""
    least_s = START_S + COMPILE_S + train_s(_macs(plan), plan.recipe, len(dataset.train))

    def too_small(needed_s: float) -> StudyError:
        return StudyError(
            f"the budget of {budget} is too small: to train the network once, before it is made "
            f"small, takes about {duration(needed_s)} here: give --budget "
            f"{Budget('time', 60.0 * -(-4 * needed_s // 60))}, a smaller --image-size or fewer "
            "--epochs; what was trained is kept"
        )

    def watch(event: RunEvent) -> None:
        on_event(event)
        if isinstance(event, EpochDone) and event.epochs < plan.recipe.epochs:
            spent_s = time.monotonic() - started
            if spent_s > budget.amount:
                raise too_small(spent_s * plan.recipe.epochs / event.epochs)

    if least_s > budget.amount and not (results / plan.name).exists():
        raise too_small(least_s)
    result = run(plan, dataset, executor, results=results, command=command, on_event=watch)
    report = trained_report(plan, result, dataset)
    measured = result.trials[plan.jobs[0].key].latest
    if report.weights is None or measured is None:
        reason = report.seeds[0].reason or "its weights are gone"
        raise StudyError(
            f"{plan.name}: the network could not be trained ({reason}); change the recipe with "
            "--recipe, or choose another --study name"
        )
    correct = unpack_bits(measured.test_correct, len(dataset.test))
    return report, correct, max(measured.train_s / max(measured.epochs, 1), 1e-3)


def _measure(
    plan: Sweep,
    weights: Path,
    dataset: Dataset,
    directory: Path,
    runner: Runner,
    *,
    clock: Clock,
    epochs: int,
    within: int | None,
    say: Callable[[str], None],
) -> ShrinkRecord:
    """Every stage, and the files that they lead to."""
    params, statistics, metadata = load_weights(weights)
    shrinker = Shrinker(
        metadata,
        {path: np.asarray(array) for path, array in flat(params, statistics).items()},
        dataset,
        stage_recipe(plan.recipe, epochs),
        directory,
        clock=clock,
        within=within,
        seed=plan.study_seed,
        runner=runner,
        say=say,
    )
    say(f"{counted(epochs, 'epoch')} in each stage; about {duration(max(clock.left_s, 1))} left")
    parent = shrinker.parent
    found = shrinker.front(parent, PARENT_SHARE * clock.left_s)
    points = _kept_points(parent, found, directory)
    stages = shrinker.narrow()
    picked = picked_stages(stages)
    for at, stage in enumerate(picked):
        found = shrinker.front(stage, clock.left_s / (len(picked) - at))
        points += _kept_points(stage, found, directory)
    return ShrinkRecord(
        parent="",
        plan={},
        networks=tuple(_shrunk(stage) for stage in stages),
        points=smoothed(points),
        stopped_by=shrinker.stopped_by,
    )


def _shrunk(stage: Stage) -> ShrunkNetwork:
    interval = wilson_interval(int(stage.correct.sum()), len(stage.correct))
    costs = cost(stage.architecture)
    return ShrunkNetwork(
        name=stage.name,
        changed=stage.changed,
        params_count=costs.params_count,
        macs=costs.macs,
        validation_accuracy=stage.accuracy,
        low=interval.low,
        high=interval.high,
    )


def _kept_points(stage: Stage, found: CompressionFront, directory: Path) -> list[ShrinkPoint]:
    """The files of a network, written down."""
    costs, count = cost(stage.architecture), len(stage.correct)
    points = []
    for setting, content, merit in zip(found.settings, found.contents, found.merits, strict=True):
        trained = "-trained" if setting.values_trained else ""  # may be of as many bytes
        name = f"{stage.name}-{len(content)}{trained}.dsz"
        write_file(directory / name, content)
        interval = wilson_interval(round(setting.validation_accuracy * count), count)
        points.append(
            ShrinkPoint(
                file=name,
                network=stage.name,
                candidate=stage.metadata.candidate.key,
                params_count=costs.params_count,
                peak_activation_bytes=costs.peak_activation_bytes,
                nonzero_count=setting.nonzero_count,
                file_bytes=len(content),
                values_trained=setting.values_trained,
                validation_accuracy=setting.validation_accuracy,
                low=interval.low,
                high=interval.high,
                smoothed_accuracy=float(np.clip(merit, 0, 1)),
                on_front=False,
            )
        )
    return points


def smoothed(points: Sequence[ShrinkPoint]) -> tuple[ShrinkPoint, ...]:
    """The points by rising bytes, with smoothed accuracies and the front marked.

    Each network, and trained and untrained values, apart: at the same size one is better.
    """
    from sklearn.isotonic import isotonic_regression

    points = sorted(points, key=lambda point: point.file_bytes)
    kinds = [(point.network, point.values_trained) for point in points]
    for kind in sorted(set(kinds)):
        rows = [row for row, one in enumerate(kinds) if one == kind]
        fitted = isotonic_regression([points[row].smoothed_accuracy for row in rows])
        for row, value in zip(rows, fitted, strict=True):
            points[row] = replace(points[row], smoothed_accuracy=float(np.clip(value, 0, 1)))
    if points:
        pairs = np.array([(p.file_bytes, -p.smoothed_accuracy) for p in points], float)
        for row in map(int, front(pairs)):
            points[row] = replace(points[row], on_front=True)
    return tuple(points)


def choose(record: ShrinkRecord, demand: Demand, directory: Path) -> ShrinkPoint:
    """The smallest file that holds the accuracy; where only a size is given, the best that fits.

    Where the parent's accuracy is wanted and no file is shown to hold it, as few images show
    little, the best is taken too.

    Raises:
        StudyError: there is none: says the best, or the smallest, that was reached.
    """
    smallest = min(record.points, key=lambda p: p.file_bytes)
    fitting = [point for point in record.points if demand.fits(point)]
    if not fitting and demand.device is not None:
        point = min(record.points, key=lambda p: p.peak_activation_bytes)
        raise StudyError(
            f"no network that was reached fits a {demand.device.name} as int8"
            f"{'' if demand.max_bytes is None else f' in {size_text(demand.max_bytes)}'}: the "
            f"smallest takes {size_text(smallest.params_count)} of weights and "
            f"{size_text(point.peak_activation_bytes // FLOAT32_BYTES)} of activations; take a "
            f"smaller --image-size, or a longer --budget; the files are in {directory}"
        )
    if not fitting:
        raise StudyError(
            f"no file of at most {size_text(demand.max_bytes or 0)} was reached: the smallest is "
            f"{size_text(smallest.file_bytes)} with validation accuracy "
            f"{percent(smallest.validation_accuracy)} ({directory / smallest.file}); give "
            "--max-bytes of that or more, or a longer --budget"
        )
    wanted = demand.accuracy
    if demand.is_near_parent or demand == Demand():
        wanted = record.networks[0].validation_accuracy - MARGIN
    best = max(fitting, key=lambda p: (p.smoothed_accuracy, p.values_trained, p.file_bytes))
    if wanted is None:
        return best
    able = [point for point in fitting if point.smoothed_accuracy >= wanted]
    if not able and demand.accuracy is None:
        return best
    if not able:
        raise StudyError(
            f"no file holds an accuracy of {percent(wanted)}: the best that was reached has "
            f"{percent(best.validation_accuracy)} in validation, the parent "
            f"{percent(record.networks[0].validation_accuracy)} ({directory / best.file}, "
            f"{size_text(best.file_bytes)}); ask for less, or give a longer --budget"
        )
    return min(able, key=lambda point: point.file_bytes)


def _content(directory: Path, point: ShrinkPoint) -> bytes:
    try:
        return (directory / point.file).read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{directory / point.file} is gone ({error.strerror}): remove {directory / NAME} to "
            "have it made again"
        ) from error


def _confirm(
    path: Path, point: ShrinkPoint, dataset: Dataset, parent_correct: np.ndarray
) -> Confirmed:
    """What a file holds, decoded, on the test images."""
    params, statistics, metadata = load_weights(path)
    architecture = build(metadata.candidate, metadata.input_shape, len(metadata.classes))
    predictor = Predictor(build_network(architecture), InputScaling.of_dataset(dataset))
    correct = predictor.correct(params, statistics, dataset.test)
    interval = wilson_interval(int(correct.sum()), len(correct))
    return Confirmed(
        file=point.file,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        images_count=len(correct),
        accuracy=float(correct.mean()),
        low=interval.low,
        high=interval.high,
        parent_accuracy=float(parent_correct.mean()),
        difference_low=paired_lower_bound(parent_correct, correct),
    )


def paragraph(report: ShrinkReport, demand: Demand) -> str:
    """What was reached, for a person who does not train networks."""
    point, found = report.chosen, report.confirmed
    fitting = [device.name for device in devices() if fits_int8(point, device)]
    fits = f"fits {some_of(fitting)}" if fitting else "fits none of the devices that dse knows"
    if demand.device is not None:
        fits = f"fits a {demand.device.name}"
    ram_bytes = point.peak_activation_bytes // FLOAT32_BYTES
    times = times_text(report.parent_bytes / point.file_bytes)
    asks = demand.is_near_parent or demand == Demand()
    is_shown = point.smoothed_accuracy >= report.networks[0].validation_accuracy - MARGIN
    doubt = (
        f"No file was shown to lose at most {100 * MARGIN:g} points, for want of validation images "
        "or of time, so this is the one that surely loses least. "
    )
    return (
        f"{doubt if asks and not is_shown else ''}"
        f"{report.out} takes {point.file_bytes:,} bytes, {times} smaller than the network "
        f"that was trained on your photos ({size_text(report.parent_bytes)}). Of "
        f"{found.images_count:,} test images, which had no part in any choice, it classifies "
        f"{percent(found.accuracy)} correctly (95% interval {100 * found.low:.1f} to "
        f"{100 * found.high:.1f}); before it was made small {percent(found.parent_accuracy)} "
        f"(difference {100 * (found.accuracy - found.parent_accuracy):+.1f} points, 95% lower "
        f"bound {100 * found.difference_low:+.1f}). It has {point.params_count:,} parameters; "
        f"{point.nonzero_count:,} of its weights are not zero. As int8 (dse export --int8) it "
        f"takes {size_text(point.params_count)} of weights and {size_text(ram_bytes)} of memory "
        f"for one image, and {fits}. Use it: dse predict {report.out} PHOTO"
    )
