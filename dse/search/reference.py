"""The reference: the network (or the number) whose accuracy an answer has to reach.

It is trained by a recipe of its own (`dse.search.train_reference`), and what was measured is
written into one small file, from which every later search takes it.

    results/references/<name>-<data>-<key>/reference.json
                                           trials.csv, study.db, weights/ … as a sweep's
"""

from __future__ import annotations

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dse.architecture import PRESETS, Candidate, build, cost, make_candidate
from dse.data import DataDescription, Dataset, DataSpec
from dse.errors import ConfigError
from dse.stats.comparison import Correctness
from dse.study.measurement import pack_bits, unpack_bits
from dse.study.paths import REFERENCE_NAME, REFERENCES_FOLDER
from dse.study.reference import (
    MeasuredReference,
    MeasuredReplicate,
    ReferenceData,
    damaged,
    read_reference,
)
from dse.text import nearest
from dse.training import Recipe, default_recipe, halved_batch_size, recipe_from_texts

SEEDS = 3

BEST = "best"
"""Name of the reference that the search chooses itself."""


@dataclass(frozen=True)
class Replicate:
    """One training of the reference; bool arrays (image,) say which images are right.

    `test` is None where the test images were not scored.
    """

    replicate: int
    epochs: int
    train_s: float
    validation: np.ndarray
    test: np.ndarray | None


@dataclass(frozen=True)
class Reference:
    """What an answer is held against.

    Attributes:
        name: as the user gave it.
        accuracy: the number that was given; None for a network.
        candidate: the network; None for a number.
        costs: of the network, by name.
        recipe: that it was trained by.
        replicates: its trainings.
        path: the file that holds it.
        chosen: how a search came to it; empty where the user named it.
    """

    name: str
    accuracy: float | None = None
    candidate: Candidate | None = None
    costs: Mapping[str, int] | None = None
    recipe: Recipe | None = None
    replicates: tuple[Replicate, ...] = ()
    path: Path | None = None
    chosen: str = ""

    @property
    def validation_accuracy(self) -> float:
        """Mean over replicates and validation images, or the number; NaN before the first."""
        if self.accuracy is not None:
            return self.accuracy
        if not self.replicates:
            return float("nan")
        return float(np.mean([r.validation.mean() for r in self.replicates]))

    @property
    def test_accuracy(self) -> float | None:
        """Mean over replicates and test images; None for a number, and where not all scored."""
        correct = self.on_test()
        return None if correct is None else float(correct.mean())

    def on(self, mask: np.ndarray) -> Correctness | float:
        """On some of the validation images: bool (seed, image), or the number."""
        if self.accuracy is not None:
            return self.accuracy
        rows = [replicate.validation[mask] for replicate in self.replicates]
        return np.array(rows, dtype=bool).reshape(len(rows), int(mask.sum()))

    def on_test(self) -> Correctness | None:
        """On the test images: bool (seed, image); None as for `test_accuracy`."""
        scored = [r.test for r in self.replicates if r.test is not None]
        if not scored or len(scored) < len(self.replicates):
            return None
        return np.stack(scored)


@dataclass(frozen=True)
class BestReference:
    """The most accurate network of the search itself, which is chosen when the search ends.

    The selection images choose it; fresh seeds of it, trained by the candidates' recipe, are
    measured on the confirmation images, as those of any reference.

    Attributes:
        seeds: fresh trainings.
    """

    seeds: int = SEEDS
    name: str = BEST


def reference_recipe(
    candidate: Candidate, source: str, input_shape: tuple[int, int, int], train_count: int
) -> Recipe:
    """How a reference is trained: by the data's own recipe, or AlexNet by SGD.

    AlexNet has no batch norm, so it takes small steps, and more epochs to come to its best: a
    reference that is stopped early would be no opponent. On digits 30 epochs bring no more than
    20 do (eight seeds each, `--reference-seeds 8 --reference-recipe epochs=30`: validation
    accuracy 98.4% and 98.8%, test accuracy 99.4% both).
    """
    if candidate.family != "alexnet":
        return default_recipe(source, input_shape, train_count)
    if source == "digits":
        return Recipe(
            optimizer="adamw",
            learning_rate=0.001,
            batch_size=32,
            epochs=20,
            weight_decay=0.01,
            crop_px=0,
            flip=False,
            clip_norm=1.0,
        )
    batch_size = halved_batch_size(train_count, least=8, steps=16)
    return Recipe(
        learning_rate=0.05 * batch_size / 128,
        batch_size=batch_size,
        epochs=30,
        crop_px=min(input_shape[:2]) // 8,
        clip_norm=5.0,
    )


@dataclass(frozen=True)
class ReferencePlan:
    """What is to be trained where no file holds it.

    Attributes:
        name: as the user gave it.
        candidate: the network.
        recipe: how it is trained.
        seeds: replicates.
        study_seed: with the replicate, the source of all noise.
    """

    name: str
    candidate: Candidate
    recipe: Recipe
    seeds: int = SEEDS
    study_seed: int = 0

    def directory(self, results: Path, data_name: str, fingerprint: str) -> Path:
        """Where it is kept: another recipe, other images or another seed give another folder.

        The images' name may be a former one of theirs, as long as that folder is the one there.
        """
        key = f"{fingerprint[:6]}{self.recipe.key[:6]}"
        end = f"-{key}" + (f"-seed{self.study_seed}" if self.study_seed else "")
        named = results / REFERENCES_FOLDER / f"{self.name}-{data_name}{end}"
        former = sorted(named.parent.glob(f"{glob.escape(self.name)}-*{end}"))
        return former[0] if former and not named.exists() else named


def plan_reference(
    text: str,
    spec: DataSpec,
    data: Dataset | DataDescription,
    *,
    changes: Sequence[str] = (),
    seeds: int = SEEDS,
    study_seed: int = 0,
) -> Reference | ReferencePlan | BestReference:
    """The reference that a user names: a number as it is, a network as what is to be trained.

    `alexnet` is the form that suits the size of the images.

    Args:
        text: `best`, `alexnet` or another preset, or an accuracy between 0 and 1.
        spec: of the images; the recipe's defaults follow from their source.
        data: the images, or their description.
        changes: of the network's recipe, `KEY=VALUE`.
        seeds: trainings.
        study_seed: source of all random draws.

    Raises:
        ConfigError: neither a network nor an accuracy, or a change that no recipe has.
    """
    if text == BEST:
        if changes:
            raise ConfigError(
                f"--reference-recipe {changes[0]}: the reference {BEST} is a candidate and is "
                "trained by --recipe, as all of them are"
            )
        return BestReference(seeds)
    try:
        accuracy = float(text)
    except ValueError:
        if text != "alexnet" and text not in PRESETS:
            names = {"alexnet": None, BEST: None, **PRESETS}
            raise ConfigError(
                f"--reference {text}: unknown network{nearest(text, names)}; or give an accuracy "
                "such as 0.803"
            ) from None
        candidate = make_candidate("alexnet", {}) if text == "alexnet" else PRESETS[text].candidate
    else:
        if not 0 < accuracy < 1:
            raise ConfigError(
                f"--reference {text}: an accuracy is a fraction between 0 and 1, such as 0.803"
            )
        return Reference(text, accuracy=accuracy)
    count = data.train_count if isinstance(data, DataDescription) else len(data.train)
    default = reference_recipe(candidate, spec.source, data.input_shape, count)
    recipe = recipe_from_texts(default, changes, option="--reference-recipe")
    return ReferencePlan(text, candidate, recipe, seeds, study_seed)


def held_reference(plan: ReferencePlan, dataset: Dataset, results: Path) -> Reference | None:
    """The reference as it was measured before, with the first `plan.seeds` replicates, or None.

    Raises:
        StudyError: the file is damaged.
    """
    reference = read_held(plan, dataset, results)
    if reference is None or len(reference.replicates) < plan.seeds:
        return None
    # More of them, for another search, must not change what this one is held against.
    return replace(reference, replicates=reference.replicates[: plan.seeds])


def read_held(plan: ReferencePlan, dataset: Dataset, results: Path) -> Reference | None:
    """What the file of a plan holds, however few replicates; None where it is of another."""
    path = plan.directory(results, dataset.name, dataset.fingerprint) / REFERENCE_NAME
    return _read(path, plan, dataset) if path.is_file() else None


def measured_of(reference: Reference, dataset: Dataset, plan: ReferencePlan) -> MeasuredReference:
    """What `reference.json` holds."""
    assert reference.candidate
    assert reference.recipe
    assert reference.costs
    assert reference.test_accuracy is not None
    return MeasuredReference(
        name=reference.name,
        family=reference.candidate.family,
        metaparameters=reference.candidate.metaparameters,
        **reference.costs,
        data=ReferenceData(name=dataset.name, fingerprint=dataset.fingerprint),
        recipe=reference.recipe.to_dict(),
        study_seed=plan.study_seed,
        validation_accuracy=reference.validation_accuracy,
        test_accuracy=reference.test_accuracy,
        replicates=tuple(
            MeasuredReplicate(
                replicate=r.replicate,
                epochs=r.epochs,
                train_s=r.train_s,
                validation_accuracy=float(r.validation.mean()),
                test_accuracy=float(r.test.mean()),
                validation_correct=pack_bits(r.validation),
                test_correct=pack_bits(r.test),
            )
            for r in reference.replicates
            if r.test is not None  # as it always is for a network that was trained for this
        ),
    )


def _correct(text: str, count: int, accuracy: float) -> np.ndarray:
    """Which images are correct, which has to agree with the accuracy."""
    correct = unpack_bits(text, count)
    if abs(float(correct.mean()) - accuracy) > 1e-9:
        raise ValueError(f"an accuracy of {accuracy}, but {correct.mean()} of the images")
    return correct


def _read(path: Path, plan: ReferencePlan, dataset: Dataset) -> Reference | None:
    """The reference in a file, or None where it is of another recipe, seed or other images."""
    measured = read_reference(path)
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in measured.metaparameters.items()}
    try:
        candidate = make_candidate(measured.family, values)
        if (candidate, measured.recipe, measured.data.fingerprint, measured.study_seed) != (
            plan.candidate,
            plan.recipe.to_dict(),
            dataset.fingerprint,
            plan.study_seed,
        ):
            return None
        replicates = tuple(
            Replicate(
                r.replicate,
                r.epochs,
                r.train_s,
                _correct(r.validation_correct, len(dataset.validation), r.validation_accuracy),
                _correct(r.test_correct, len(dataset.test), r.test_accuracy),
            )
            for r in measured.replicates
        )
    except (ValueError, TypeError, ConfigError) as error:
        raise damaged(path, error) from error
    costs = cost(build(candidate, dataset.input_shape, len(dataset.classes)))
    return Reference(
        plan.name,
        candidate=candidate,
        costs=costs.by_name,
        recipe=plan.recipe,
        replicates=replicates,
        path=path,
    )
