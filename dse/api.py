"""The Python interface: what the commands do, as functions that return objects.

    import dse

    space = dse.load_space("squeeze_ratio.yaml")
    study = dse.sweep(space, data="folder:photos", seeds=3)
    print(study.front())

Every function says what it needs in its signature and prints nothing; `on_event` is told of
everything that happens while networks are trained. Interrupt a call in any way: the same call
resumes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from dse.architecture import FAMILIES, PRESETS, Candidate, Cost, Preset, build, cost, make_candidate
from dse.config import apply_settings, find_space
from dse.config import load_space as read_space
from dse.data import (
    check_same_data,
    open_labelled,
    parse_data,
    prepare_data,
    weights_classes,
)
from dse.data.given import as_fed, as_trained, images_for
from dse.data.spec import ImageSize, cache_root
from dse.errors import ConfigError, DataError, UsageError, WeightsError
from dse.report.tables.studies import open_study
from dse.report.tables.summary import StudyTable, front_table
from dse.space import SearchSpace
from dse.space.whole import whole_space
from dse.study.answer import Answer, find_answer
from dse.study.shared import parse_url
from dse.text import counted, nearest, percent, shape_text

if TYPE_CHECKING:  # pandas, and what imports JAX: only who uses it pays
    import numpy as np
    import pandas as pd

    from dse.compress.stages import Stage
    from dse.export.exporting import Exported, Format
    from dse.search import RunEvent
    from dse.search.shrink import ShrinkReport
    from dse.search.single import TrainedReport
    from dse.training.predict import Evaluation, Scored
    from dse.weights.metadata import WeightsMetadata

OnEvent = Callable[["RunEvent"], None]

BATCH_COUNT = 50
"""Images that `evaluate` scores at once."""


@dataclass(frozen=True, repr=False)
class Study:
    """A sweep or a search that was run, from its files.

    Attributes:
        directory: folder of its files.
        table: its trials and its description.
        answer: of a search that has ended; else None.
    """

    directory: Path
    table: StudyTable
    answer: Answer | None = None

    @property
    def name(self) -> str:
        """The study's name."""
        return self.table.name

    @property
    def trials(self) -> pd.DataFrame:
        """One row per candidate and seed, as `trials.csv` has them."""
        return self.table.trials

    def front(self, size: str = "params_count") -> pd.DataFrame:
        """The candidates that no other beats in both size and validation accuracy.

        Args:
            size: `params_count`, `macs`, `weight_bytes` or `peak_activation_bytes`.

        Returns:
            One row per candidate, the smallest first; accuracies are means over the seeds.
        """
        return front_table(self.table.trials, size=size)

    def plot(self, path: str | Path, *, size: str = "params_count") -> Path:
        """Draw accuracy against size into a PNG file, and an SVG beside it.

        Raises:
            StudyError: a file cannot be written.
        """
        from dse.report import plot_accuracy_against_size

        path = Path(path).with_suffix(".png")
        plot_accuracy_against_size(
            [self.table], png_path=path, svg_path=path.with_suffix(".svg"), size=size
        )
        return path

    def __repr__(self) -> str:
        found = ""
        if self.answer:
            found = ", no answer"
            if self.answer.answer:
                found = f", answer {self.answer.answer.params_count:,} parameters"
        return f"Study({self.name!r}, {counted(len(self.trials), 'trial')}{found})"

    def _repr_html_(self) -> str:
        """The study and its front, as a notebook shows it."""
        from dse.report.html.markup import Html, join, tag

        front = Html(self.front().to_html(index=False, border=0, na_rep="–"))
        return join([tag("p", repr(self)), front])


@dataclass(frozen=True)
class Prediction:
    """The best classes of one image.

    Attributes:
        image: its path.
        classes: names, the best first; five, or all where there are fewer.
        scores: of those classes, before a softmax.
    """

    image: str
    classes: tuple[str, ...]
    scores: tuple[float, ...]


@dataclass(frozen=True, repr=False)
class Description:
    """A network and its exact cost.

    Attributes:
        name: as the user gave it.
        candidate: family and metaparameters.
        input_shape: (height, width, channels) of one image.
        classes_count: number of classes.
        cost: parameters, multiply-accumulates, bytes, and one row per layer.
    """

    name: str
    candidate: Candidate
    input_shape: tuple[int, int, int]
    classes_count: int
    cost: Cost

    def __repr__(self) -> str:
        return (
            f"Description({self.name!r}, {shape_text(self.input_shape)}, "
            f"{counted(self.classes_count, 'class')}, {self.cost.params_count:,} parameters, "
            f"{self.cost.macs:,} MACs)"
        )


@dataclass(frozen=True, repr=False)
class Compression:
    """A compressed file and the stages that it went through.

    Attributes:
        path: the `.dsz` file.
        file_bytes: of it.
        stages: with what a file of each takes, and how it scores where images were given.
    """

    path: Path
    file_bytes: int
    stages: tuple[Stage, ...]

    def __repr__(self) -> str:
        accuracy = self.stages[-1].validation_accuracy
        scored = "" if accuracy is None else f", validation accuracy {percent(accuracy)}"
        return f"Compression({str(self.path)!r}, {self.file_bytes:,} bytes{scored})"


def load_space(name: str | Path, settings: Mapping[str, object] | None = None) -> SearchSpace:
    """A search space: a file, or one of `dse spaces` by its name.

    Args:
        name: path or name.
        settings: metaparameters that replace those of the file, by name.

    Raises:
        ConfigError: no such file, or a mistake in it (all of them, each with file and line).
        SpaceError: a metaparameter or value that the family does not have.
    """
    texts = [f"{key}={value}" for key, value in (settings or {}).items()]
    return apply_settings(read_space(find_space(name)), texts)


def load_study(directory: str | Path) -> Study:
    """A study from its folder, `results/<study>`.

    Raises:
        StudyError: no such study, or its files do not hold what they should.
    """
    directory = Path(directory)
    table = open_study(directory.parent, directory.name)
    return Study(directory, table, find_answer(directory))


def sweep(
    space: SearchSpace | str | Path,
    data: str = "digits",
    *,
    init: str | Path | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    recipe: Mapping[str, object] | None = None,
    image_size: ImageSize | None = None,
    train_images: int | None = None,
    duplicates: str = "warn",
    study: str | None = None,
    study_seed: int = 0,
    results: str | Path = "results",
    workers: int | None = None,
    retry_failed: bool = False,
    storage: str = "",
    on_event: OnEvent = lambda event: None,
) -> Study:
    """Train every candidate of a finite space with every seed, as `dse sweep`.

    Args:
        space: a space, or the name or path of one.
        data: `digits`, `folder:PATH`, `pack:FILE`, `cifar10` or `cifar10:PATH`.
        init: weights file that every candidate starts from; None for initial weights.
        seeds: trainings of each candidate.
        epochs: passes over the training images; None is the recipe's.
        recipe: changes of the recipe, by name (`learning_rate`, `batch_size`, …).
        image_size: side in pixels, or (height, width), that a folder's images get.
        train_images: size of a fixed, stratified subset to train on.
        duplicates: of a folder's images that are in two splits or in two classes: `warn`, `drop`
            (copies are left out, the training one first) or `error`.
        study: name of the study; None makes one from space and data.
        study_seed: source of all random draws.
        results: folder of all studies.
        workers: processes; None is one per core, or one per GPU.
        retry_failed: train recorded failures again.
        storage: URL of a PostgreSQL database that has the record; empty for a file in the study's
            folder.
        on_event: told of everything that happens.

    Raises:
        DseError: see `dse.errors`; nothing that was recorded is lost.
    """
    from dse.search import plan_sweep, run
    from dse.search.engine import under_former_name

    spec, given = images_for(data, init, image_size, train_images, duplicates)
    dataset = prepare_data(spec)
    plan = plan_sweep(
        space if isinstance(space, SearchSpace) else load_space(space),
        spec,
        dataset,
        seeds=seeds,
        recipe=_texts(recipe),
        epochs=epochs,
        study=study,
        study_seed=study_seed,
        given=given,
    )
    if study is None and not storage:
        plan = under_former_name(plan, dataset, Path(results))
    result = run(
        plan,
        dataset,
        _executor(workers),
        results=Path(results),
        retry_failed=retry_failed,
        storage_url=parse_url(storage) if storage else "",
        command="dse.sweep",
        on_event=on_event,
    )
    return load_study(result.directory)


def train(
    network: str = "",
    data: str = "digits",
    *,
    init: str | Path | None = None,
    teacher: str | Path | None = None,
    settings: Mapping[str, object] | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    recipe: Mapping[str, object] | None = None,
    image_size: ImageSize | None = None,
    train_images: int | None = None,
    duplicates: str = "warn",
    study: str | None = None,
    study_seed: int = 0,
    results: str | Path = "results",
    workers: int | None = None,
    on_event: OnEvent = lambda event: None,
) -> TrainedReport:
    """Train one network, from scratch or from given weights, as `dse train`.

    Args:
        network: a preset, `STUDY/CANDIDATE`, a weights file or a space with one candidate; empty
            for the network of `init`.
        data: `digits`, `folder:PATH`, `pack:FILE`, `cifar10` or `cifar10:PATH`.
        init: weights file that it starts from; None for initial weights.
        teacher: weights file of a network of the same classes and size of images, whose scores
            are learnt from too; None for labels alone.
        settings: metaparameters to change, by name.
        seeds: trainings.
        epochs: passes over the training images; None is the recipe's.
        recipe: changes of the recipe, by name (`learning_rate`, `batch_size`, …).
        image_size: side in pixels of a folder's images, or (height, width); None is that of `init`.
        train_images: size of a fixed, stratified subset to train on.
        duplicates: of a folder's images: `warn`, `drop` or `error`, as for `sweep`.
        study: name of the study; None makes one from network and data.
        study_seed: source of all random draws.
        results: folder of all studies.
        workers: processes; None is one per core, or one per GPU.
        on_event: told of everything that happens.

    Returns:
        Accuracy with its interval, and where the weights are.

    Raises:
        DseError: see `dse.errors`; nothing that was recorded is lost.
    """
    from dse.report.networks import network_space
    from dse.search import plan_sweep, run
    from dse.search.single import as_training, trained_report
    from dse.weights.given import read_given

    spec, given = images_for(data, init, image_size, train_images, duplicates)
    results = Path(results)
    space = network_space(network, given, _texts(settings), results)
    dataset = prepare_data(spec)
    plan = plan_sweep(
        space,
        spec,
        dataset,
        seeds=seeds,
        recipe=_texts(recipe),
        epochs=epochs,
        study_seed=study_seed,
        given=given,
        teacher=None if teacher is None else read_given(Path(teacher), "--teacher"),
    )
    plan = as_training(plan, dataset, study)
    result = run(
        plan, dataset, _executor(workers), results=results, command="dse.train", on_event=on_event
    )
    return trained_report(plan, result, dataset)


def search(
    space: SearchSpace | str | Path | None = None,
    data: str = "digits",
    *,
    init: str | Path | None = None,
    reference: str | float | None = None,
    budget: str | None = None,
    margin: float | None = None,
    confidence: float = 0.95,
    objectives: Sequence[str] = ("params_count",),
    device: str | None = None,
    precision: str = "int8",
    sampler: str | None = None,
    finalists: int = 3,
    seeds: int = 3,
    epochs: int | None = None,
    first_rung: int | None = None,
    folds: int | None = None,
    recipe: Mapping[str, object] | None = None,
    reference_recipe: Mapping[str, object] | None = None,
    reference_seeds: int = 3,
    reuse: Sequence[str | Path] = (),
    image_size: ImageSize | None = None,
    train_images: int | None = None,
    duplicates: str = "warn",
    study: str | None = None,
    study_seed: int = 0,
    results: str | Path = "results",
    workers: int | None = None,
    storage: str = "",
    on_event: OnEvent = lambda event: None,
) -> Study:
    """Find the fewest parameters at a reference's accuracy, as `dse search`.

    Args:
        space: a space, or the name or path of one; None is the whole space of SqueezeNets with
            widths for images of this size.
        data: `digits`, `folder:PATH`, `pack:FILE`, `cifar10` or `cifar10:PATH`.
        init: weights file that every candidate starts from; None for initial weights.
        reference: `best` (the most accurate network that the search finds), `alexnet`, another
            preset, or an accuracy as a fraction; None is `best` for a folder, else `alexnet`.
        budget: how long it takes at most, all in all: `60m`; or what search and finals may
            spend: `500epochs`, `40trials`; None is a forecast in minutes.
        margin: how far below the reference (a fraction) is still non-inferior; None is 0, and for
            the reference `best` what the confirmation images can resolve, from 0.01 to 0.05.
        confidence: of the claim, in (0, 1).
        objectives: costs that are to be small, the first above all.
        sampler: `tpe`, `nsga2`, `gp`, `level` or `random`; None chooses one.
        finalists: candidates in the finals at most.
        seeds: fresh trainings of each finalist, at least 3.
        epochs: of a training to full fidelity; None is the recipe's.
        first_rung: fewest epochs after which a candidate may be paused.
        device: a chip of `dse.describe` that every candidate has to fit.
        precision: that the network will have there: `int8`, `fp16` or `fp32`.
        folds: of five folds of the training images, those that choose candidates by
            cross-validation; 0 for half of the validation images, None for what suits.
        recipe: changes of the candidates' recipe, by name.
        reference_recipe: changes of the reference's.
        reference_seeds: trainings of the reference.
        reuse: folders of studies whose finished trials are imported.
        image_size: side in pixels, or (height, width), that a folder's images get.
        train_images: size of a fixed, stratified subset to train on.
        duplicates: of a folder's images that are in two splits or in two classes: `warn`, `drop`
            (copies are left out, the training one first) or `error`.
        study: name of the study; None makes one from space and data.
        study_seed: source of all random draws.
        results: folder of all studies.
        workers: processes; None is one per core, or one per GPU.
        storage: URL of a PostgreSQL database that has the record; empty for a file in the study's
            folder.
        on_event: told of everything that happens, the reference's training included.

    Returns:
        The study; `answer` says what was found and with which confidence.

    Raises:
        DseError: see `dse.errors`; nothing that was recorded is lost.
    """
    from dse.search import SearchOptions, find_reference, plan_search, run
    from dse.search.engine import under_former_name

    started = time.monotonic()
    storage_url = parse_url(storage) if storage else ""
    spec, given = images_for(data, init, image_size, train_images, duplicates)
    dataset = prepare_data(spec)
    options = SearchOptions(
        reference=None if reference is None else str(reference),
        budget=budget,
        margin=None if margin is None else str(margin),
        confidence=str(confidence),
        objectives=objectives,
        sampler=sampler,
        finalists=finalists,
        seeds=seeds,
        epochs=epochs,
        first_rung=first_rung,
        device=device,
        precision=precision,
        folds=0 if reuse and folds is None else folds,
        recipe=_texts(recipe),
        reference_recipe=_texts(reference_recipe),
        reference_seeds=reference_seeds,
        study=study,
        study_seed=study_seed,
        given=given,
    )
    if space is None:
        space = whole_space(dataset.input_shape)
    elif not isinstance(space, SearchSpace):
        space = load_space(space)
    results, executor = Path(results), _executor(workers)
    count = executor.workers_count
    plan = plan_search(space, spec, dataset, options, workers_count=count, results=results)
    known = find_reference(
        plan.reference,
        dataset,
        executor,
        results=results,
        storage_url=storage_url,
        command="dse.search",
        on_event=on_event,
    )
    wanted = plan.search if study or storage else under_former_name(plan.search, dataset, results)
    result = run(
        wanted,
        dataset,
        executor,
        results=results,
        reference=known,
        reuse=[Path(folder) for folder in reuse],
        storage_url=storage_url,
        command="dse.search",
        on_event=on_event,
        started=started,
    )
    return load_study(result.directory)


def shrink(
    photos: str | Path,
    *,
    init: str | Path = "squeezenet_v1.0.safetensors",
    accuracy: float | None = None,
    reference: str | None = None,
    max_bytes: int | None = None,
    device: str | None = None,
    budget: str = "20m",
    out: str | Path | None = None,
    epochs: int | None = None,
    recipe: Mapping[str, object] | None = None,
    image_size: ImageSize | None = None,
    duplicates: str = "warn",
    study: str | None = None,
    study_seed: int = 0,
    results: str | Path = "results",
    workers: int | None = None,
    on_event: OnEvent = lambda event: None,
    say: Callable[[str], None] = lambda text: None,
) -> ShrinkReport:
    """Make one small network of photos, as `dse shrink`.

    Args:
        photos: a folder with one folder of photos per class; or `digits`, `cifar10`.
        init: weights file that it starts from.
        accuracy: validation accuracy (a fraction) that the file has to hold.
        reference: `best`: it has to hold the accuracy of the network before it is made small,
            less 3 points; so it has where nothing else is demanded.
        max_bytes: most that the file may take.
        device: by name, on which the network has to fit as int8.
        budget: how long it may take, such as `20m`.
        out: the `.dsz` file; None is `PHOTOS.dsz`.
        epochs: of the training before it is made small; None is the recipe's.
        recipe: changes of the recipe, by name.
        image_size: side in pixels, or (height, width); None is that of the weights.
        duplicates: of a folder's images: `warn`, `drop` or `error`, as for `sweep`.
        study: name of the study; None is `PHOTOS-shrink`.
        study_seed: source of all random draws.
        results: folder of all studies.
        workers: processes; None is one per core, or one per GPU.
        on_event: told of everything that happens while the first network is trained.
        say: told of everything that follows, in words.

    Returns:
        The file, its accuracy on test images, and the front of size against accuracy.

    Raises:
        DseError: see `dse.errors`; nothing that was recorded is lost.
    """
    from dse.deployment.devices import find_devices
    from dse.report.networks import network_space
    from dse.search import plan_sweep
    from dse.search.budget import parse_budget
    from dse.search.shrink import Demand, check_demand
    from dse.search.shrink import shrink as make_small
    from dse.search.single import as_training

    started = time.monotonic()
    demand = Demand(
        accuracy=accuracy,
        is_near_parent=reference == "best",
        max_bytes=max_bytes,
        device=None if device is None else find_devices([device])[0],
    )
    limit = parse_budget(budget)
    check_demand(demand, reference, limit)
    where = f"folder:{photos}" if Path(photos).is_dir() else str(photos)
    spec, given = images_for(where, init, image_size, None, duplicates)
    results = Path(results)
    dataset = prepare_data(spec)
    plan = plan_sweep(
        network_space("", given, (), results),
        spec,
        dataset,
        recipe=_texts(recipe),
        epochs=epochs,
        study_seed=study_seed,
        given=given,
    )
    return make_small(
        as_training(plan, dataset, study or f"{dataset.name}-shrink"),
        dataset,
        _executor(workers),
        demand,
        limit,
        out=Path(out or f"{dataset.name}.dsz"),
        results=results,
        compile_cache=cache_root() / "compiled",
        command="dse.shrink",
        started=started,
        on_event=on_event,
        say=say,
    )


def evaluate(
    weights: str | Path,
    data: str,
    *,
    classes: str | Path | None = None,
    batch_count: int = BATCH_COUNT,
) -> Evaluation:
    """Top-1 and top-5 accuracy of a weights file, as `dse evaluate`.

    Args:
        weights: a safetensors or `.dsz` file, or an `.onnx`, `.tflite` or `.c` file of `export`,
            which runs in onnxruntime, in LiteRT or as compiled by gcc.
        data: `folder:PATH` with one folder per class (its test images), or the test images of
            `digits` or `cifar10`.
        classes: a CSV file with the columns index, wnid and name, for folders with other names.
        batch_count: images that are scored at once.

    Raises:
        WeightsError: the weights cannot be read.
        DataError: the images cannot be read, or are not for this network.
    """
    weights, spec = Path(weights), parse_data(data)
    scorer = open_scorer(weights)
    if spec.path is not None and spec.source == "folder":
        file = None if classes is None else Path(classes)
        names = weights_classes(weights, scorer.metadata, file)
        tree = open_labelled(spec.path, names)
        return scorer.score(tree, source=str(weights), batch_count=batch_count)
    dataset = prepare_data(as_fed(spec, scorer.metadata.preprocessing))
    check_same_data(weights, scorer.metadata, spec, dataset)
    return scorer.score(dataset.test, source=str(weights), batch_count=batch_count)


class Scorer(NamedTuple):
    """What scores images by a file.

    Attributes:
        score: `training.predict.evaluate` without its first argument.
        metadata: what the file says of itself.
        runtime: what it runs in, where that is not this package.
    """

    score: Callable[..., Evaluation]
    metadata: WeightsMetadata
    runtime: str | None = None


def open_scorer(weights: Path, preprocessing: str | None = None) -> Scorer:
    """Open a weights file, or a file of `dse export` in the runtime that it is for.

    Args:
        weights: the file.
        preprocessing: a rule by name (`PREPROCESSINGS`) instead of the file's.

    Raises:
        WeightsError: the weights cannot be read.
        ExportError: the exported file cannot be read, or its runtime is missing.
        UsageError: a rule for an exported file, which says itself how images are fed to it.
    """
    from dse.export.runtimes import OPENERS, open_exported
    from dse.networks import load_network
    from dse.training.predict import BEST_COUNT, best_scores, score_images
    from dse.training.predict import evaluate as score
    from dse.weights.preprocessing import PREPROCESSINGS

    if weights.suffix.lower() not in OPENERS:
        rule = PREPROCESSINGS[preprocessing] if preprocessing else None
        loaded = load_network(weights, preprocessing=rule)
        return Scorer(partial(score, loaded), loaded.metadata)
    if preprocessing:
        raise UsageError(f"{weights} says how images are fed to it; leave --preprocessing out")
    runtime = open_exported(weights)
    best_count = min(BEST_COUNT, len(runtime.metadata.classes))

    def best(images: np.ndarray) -> Scored:
        return best_scores(runtime.scores(images), best_count)

    return Scorer(partial(score_images, best, runtime.metadata), runtime.metadata, runtime.name)


def predict(weights: str | Path, *images: str | Path) -> list[Prediction]:
    """The best classes of images, as `dse predict`.

    Args:
        weights: a safetensors or `.dsz` file.
        images: paths.

    Returns:
        One prediction per image, in their order.

    Raises:
        WeightsError: the weights cannot be read.
        DataError: images that cannot be decoded; names them.
    """
    from dse.networks import load_network
    from dse.training.predict import predict as score

    loaded = load_network(Path(weights))
    if not images:
        return []
    found = list(score(loaded, [str(image) for image in images], source=str(weights)))
    broken = [result for result in found if isinstance(result, str)]
    if broken:
        raise DataError(f"cannot be decoded: {', '.join(broken)}")
    names = loaded.metadata.classes
    return [
        Prediction(best.path, tuple(names[index] for index in best.classes), best.scores)
        for best in found
        if not isinstance(best, str)
    ]


def compress(
    weights: str | Path,
    out: str | Path,
    *,
    lossless: bool = False,
    density: float | None = None,
    bits: float | None = None,
    target_bytes: int | None = None,
    max_loss: float | None = None,
    data: str | None = None,
    epochs: int = 10,
    image_size: ImageSize | None = None,
    train_images: int | None = None,
    duplicates: str = "warn",
    seed: int = 0,
) -> Compression:
    """Store a network in one small file, as `dse compress`.

    Args:
        weights: a safetensors file.
        out: the `.dsz` file.
        lossless: change nothing.
        density: share of all weights to keep.
        bits: each layer gets 2^bits values; 6 where neither a target nor a loss is given.
        target_bytes: most that the file may take.
        max_loss: most validation accuracy (a fraction) that may be lost; needs `data`.
        data: the images of the weights' study, to train with between the stages and to score.
        epochs: of training in each stage.
        image_size: as in that study.
        train_images: as in that study.
        duplicates: as in that study.
        seed: of training's random draws.

    Raises:
        WeightsError: the weights cannot be read, or the target cannot be reached.
        UsageError: the images are not those that the weights were trained on.
    """
    import contextlib

    from dse.compress.stages import CompressionPlan, compress_network
    from dse.compress.tuner import NoImages, image_tuner, recipe_of_weights
    from dse.weights.dsz import write_content
    from dse.weights.safetensors import flat, load_weights, read_network

    if max_loss is not None and data is None:
        raise WeightsError("max_loss is measured on images: give the study's with data")
    weights, out = Path(weights), Path(out)
    metadata, architecture = read_network(weights)
    params, statistics, _ = load_weights(weights, architecture)
    arrays = flat(params, statistics)
    if bits is None and target_bytes is None and max_loss is None:
        bits = 6.0
    plan = CompressionPlan(
        lossless=lossless,
        density=density,
        bits=bits,
        target_bytes=target_bytes,
        max_loss=max_loss,
    )
    with contextlib.ExitStack() as stack:
        tuner: Any = NoImages()
        if data is not None:
            asked = parse_data(
                data, image_size=image_size, train_limit=train_images, duplicates=duplicates
            )
            spec = as_trained(asked, metadata)
            dataset = prepare_data(spec)
            recipe = recipe_of_weights(data, spec.source, dataset, metadata, arrays)
            tuner = stack.enter_context(
                image_tuner(
                    metadata.candidate,
                    dataset,
                    recipe,
                    out,
                    epochs=epochs,
                    seed=seed,
                    relative="init" in metadata.extra,
                )
            )
        found = compress_network(arrays, metadata, plan, tuner)
        write_content(out, found.content)
    return Compression(out, len(found.content), found.stages)


def export(
    weights: str | Path,
    out: str | Path,
    *,
    format: Format | None = None,
    int8: bool = False,
    calibrate: str | None = None,
    with_preprocessing: bool = False,
    force: bool = False,
    **options: Any,
) -> Exported:
    """Write a network in the format of another runtime, as `dse export`.

    Args:
        weights: a safetensors or `.dsz` file.
        out: the file to write.
        format: `onnx`, `tflite`, `c`, `pytorch` or `stablehlo`; None goes by the suffix of `out`.
        int8: integer arithmetic instead of float32; takes `calibrate`.
        calibrate: images that int8 takes its ranges from: `folder:PATH`, `digits`, `cifar10`.
        with_preprocessing: the file takes uint8 pixels, RGB or gray, and scales them itself.
        force: replace files that are there.
        options: more of `dse.export.exporting.export_weights`.

    Raises:
        ExportError: no such format, an operator that it cannot hold, a package that is missing,
            or `out` exists or cannot be written.
        WeightsError: the weights cannot be read.
        DataError: the calibration images cannot be read.
    """
    from dse.export.exporting import export_weights

    return export_weights(
        Path(weights),
        Path(out),
        format=format,
        int8=int8,
        calibrate_on=calibrate,
        with_preprocessing=with_preprocessing,
        force=force,
        **options,
    )


def describe(
    network: str | Path | Candidate,
    *,
    input_shape: tuple[int, int, int] | None = None,
    classes_count: int | None = None,
) -> Description:
    """A network's exact cost and layers, without building it, as `dse describe`.

    Args:
        network: a preset, a family (at its defaults), a weights file, or a candidate.
        input_shape: (height, width, channels) of one image; None is the network's own, and
            32x32x3 where it has none.
        classes_count: number of classes; None is the network's own, and 10 where it has none.

    Raises:
        ConfigError: an unknown network.
        ArchitectureError: it cannot be built for such images.
        WeightsError: the weights file cannot be read.
    """
    found = _network(network)
    shape = input_shape or found.input_shape
    count = classes_count or found.classes_count
    architecture = build(found.candidate, shape, count)
    return Description(found.name, found.candidate, shape, count, cost(architecture))


def _network(network: str | Path | Candidate) -> Preset:
    shape, classes_count = (32, 32, 3), 10
    if isinstance(network, Candidate):
        return Preset(network.key, "", network, shape, classes_count)
    name = str(network)
    if name in PRESETS:
        return PRESETS[name]
    if name in FAMILIES:
        return Preset(name, "", make_candidate(name, {}), shape, classes_count)
    if Path(name).suffix.lower() in (".safetensors", ".dsz"):
        from dse.weights.safetensors import read_network

        metadata, _ = read_network(Path(name))
        count = len(metadata.classes)
        return Preset(Path(name).name, "", metadata.candidate, metadata.input_shape, count)
    raise ConfigError(f"network {name!r} not found{nearest(name, [*PRESETS, *FAMILIES])}")


def _executor(workers: int | None) -> Any:
    from dse.execution.local import LocalExecutor, default_workers

    return LocalExecutor(workers or default_workers(), cache_root() / "compiled")


def _texts(changes: Mapping[str, object] | None) -> list[str]:
    return [f"{name}={value}" for name, value in (changes or {}).items()]
