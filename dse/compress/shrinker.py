"""Making a trained network small: fewer filters step by step, fewer weights, shared values.

The parent is narrowed in steps of half of the parameters. In each the metaparameters compete:
each alone is lowered that far, and the network whose scores stay nearest to those of the parent
is trained further, with the parent's scores as soft targets. The values of the parent, of the
network with half of its parameters and of the smallest are shared, and those of some trained.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from dse.architecture import Architecture, Candidate, build, cost
from dse.compress.compensate import share_with_moments
from dse.compress.front import FLOOR, CompressionFront, search_front
from dse.compress.likely import least_difference, likely_correct, sureness, views_of
from dse.compress.narrow import (
    channel_importance,
    narrowed,
    second_moments,
    smaller_candidates,
)
from dse.compress.prune import Arrays
from dse.compress.stages import CompressionPlan
from dse.compress.tuner import ImageTuner
from dse.compress.tuning import InProcess, Runner, Tuning, TuningTrainer
from dse.data import Dataset, Split
from dse.data.batches import Batches
from dse.errors import WeightsError
from dse.networks import build_network
from dse.training.predict import Predictor, scores_of
from dse.training.recipe import DISTILL_SHARE, Recipe
from dse.training.scaling import InputScaling
from dse.weights.metadata import WeightsMetadata
from dse.weights.safetensors import flat, load_weights, nested, save_weights

STEP_SHARE = 0.7
"""Of the parameters that a step of narrowing keeps at most."""

STEPS_COUNT = 6
"""Of narrowing at most, which leave an eighth of the parameters."""

STEP_TIMES = (5, 2)
"""Epochs of a step, in those of the other stages: the first that there is time for."""

STEP_RATE = 2
"""Learning rate of a step, in that of the other stages."""

NARROWING_SHARE = 0.6
"""Of the time that the parent's files leave, for narrowing."""

LAMBDAS = (0.16, 0.32, 0.45, 0.64, 0.9, 1.28, 1.8)
"""Rate-distortion lambdas, in the variance of what a layer gives over the number of all weights."""

PROBE_COUNT = 32
"""Training images on which smaller networks are compared."""

TRAINING = "training"
"""Folder of runs that are not complete."""

COMPILE_S = 20.0
"""Of a stage, beside its epochs: compilation, scoring, looking for values."""

OnStage = Callable[[str], None]


class Clock:
    """How much time is left, and how long a stage will take by how long others took.

    Args:
        left_s: seconds from now on.
        pace_s: seconds of training per image and multiply-accumulate, as long as none is measured.
    """

    def __init__(self, left_s: float, pace_s: float) -> None:
        self.deadline, self.pace_s = time.monotonic() + left_s, pace_s

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self.deadline - time.monotonic()

    def stage_s(self, macs: float, images_count: int) -> float:
        """Seconds that a stage takes which trains on so many images, epochs added up."""
        return COMPILE_S + self.pace_s * macs * images_count

    def took(self, seconds: float, macs: float, images_count: int) -> None:
        """A stage took so long: what it took beyond compilation is the pace."""
        self.pace_s = max(seconds - COMPILE_S / 2, 0.5 * seconds) / (macs * images_count)


@dataclass(frozen=True)
class Stage:
    """A network that is trained and may be compressed.

    Attributes:
        name: `parent`, `narrow-1`, ….
        changed: what was lowered, in words.
        metadata: of its weights file.
        arrays: of it.
        correct: on which validation images it is, bool.
        merit: accuracy that it holds at 95% confidence, see `dse.compress.likely`.
    """

    name: str
    changed: str
    metadata: WeightsMetadata
    arrays: Arrays
    correct: np.ndarray
    merit: float

    @cached_property
    def architecture(self) -> Architecture:
        """Its network."""
        return build(self.metadata.candidate, self.metadata.input_shape, len(self.metadata.classes))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image."""
        return cost(self.architecture).macs

    @property
    def accuracy(self) -> float:
        """Validation accuracy."""
        return float(self.correct.mean())


@dataclass(frozen=True)
class _Choice:
    """A smaller network before it is trained; `errors` of all metaparameters known, as JSON."""

    error: float
    changed: str
    candidate: Candidate
    arrays: Arrays
    errors: str = "{}"


class FrontTuner(ImageTuner):
    """Leaves test images alone."""

    def correct(self, arrays: Arrays, *, test: bool = False) -> np.ndarray | None:
        """Of which validation images the class is correct; None for test images."""
        return None if test else super().correct(arrays)


class Shrinker:
    """Makes one trained network small, as far as the time allows; every stage is kept.

    Args:
        metadata: of the parent's weights file.
        arrays: of the parent.
        dataset: prepared images.
        recipe: how the stages are trained: its epochs are those of each.
        directory: where stages are kept.
        clock: of the time.
        within: bytes of a file that is wanted.
        seed: of all random draws.
        runner: where it is trained; None is in this process.
        say: told what is done, in words.
    """

    def __init__(
        self,
        metadata: WeightsMetadata,
        arrays: Arrays,
        dataset: Dataset,
        recipe: Recipe,
        directory: Path,
        *,
        clock: Clock,
        within: int | None = None,
        seed: int = 0,
        runner: Runner | None = None,
        say: OnStage = lambda text: None,
    ) -> None:
        self.dataset, self.recipe, self.directory = dataset, recipe, directory
        self.clock, self.within, self.seed, self.say = clock, within, seed, say
        self._runner = runner or InProcess(directory / TRAINING)
        self._scaling = InputScaling.of_dataset(dataset)
        self._images_count = recipe.epochs * len(dataset.train)
        architecture = build(metadata.candidate, metadata.input_shape, len(metadata.classes))
        self._views = views_of(dataset.validation, recipe.crop_px, flips=recipe.flip)
        scores = self._scores(architecture, arrays, self._views)
        self._sure = sureness(scores)
        self._likely = likely_correct(scores, dataset.validation.labels, self._sure)
        correct = self._correct(architecture, arrays)
        self.parent = Stage("parent", "", metadata, arrays, correct, float(correct.mean()))
        self.teacher = self._scores(self.parent.architecture, arrays, dataset.train)
        self.stopped_by = ""

    def narrow(self) -> list[Stage]:
        """The parent, and networks with fewer and fewer parameters, each trained."""
        stages = [self.parent]
        until_s = self.clock.left_s * (1 - NARROWING_SHARE)
        for step in range(1, STEPS_COUNT + 1):
            before = stages[-1]
            path = self.directory / f"narrow-{step}.safetensors"
            start = _digest(before.arrays)
            kept = (self._kept(path, start, recipe) for recipe in self._step_recipes)
            stage = next((stage for stage in kept if stage is not None), None)
            if stage is None:
                recipe = self._recipe_within(self.clock.left_s - until_s, before)
                if recipe is None:
                    self.stopped_by = "time"
                    break
                stage = self._narrowed(before, path, start, recipe)
            if stage is None:
                break
            self.say(
                f"{stage.name}: {stage.changed}, "
                f"{cost(stage.architecture).params_count:,} parameters, validation accuracy "
                f"{stage.accuracy:.2%}"
            )
            stages.append(stage)
            if stage.merit < FLOOR**2 * self.parent.accuracy:
                break
        return stages

    @property
    def _step_recipes(self) -> list[Recipe]:
        """How a step may be trained, the longest first."""
        rate = STEP_RATE * self.recipe.learning_rate
        return [
            replace(self.recipe, epochs=times * self.recipe.epochs, learning_rate=rate)
            for times in STEP_TIMES
        ]

    def _recipe_within(self, left_s: float, before: Stage) -> Recipe | None:
        """The longest way to train a step behind a stage within so many seconds."""
        for recipe in self._step_recipes:
            count = recipe.epochs * len(self.dataset.train)
            # Choosing what to lower takes about as long as compiling does four times.
            if 4 * COMPILE_S + self.clock.stage_s(STEP_SHARE * before.macs, count) <= left_s:
                return recipe
        return None

    def front(self, stage: Stage, share_s: float) -> CompressionFront:
        """Files of a network at several numbers of values, within so many seconds."""
        started = time.monotonic()
        moments = second_moments(*self._of(stage))
        tuner = FrontTuner(
            stage.metadata.candidate,
            self.dataset,
            self.recipe,
            epochs=self.recipe.epochs,
            seed=self.seed,
            relative=True,
            teacher=self.teacher,
            runner=self._runner,
            on_epoch=lambda what, done, total, loss: self.say(
                f"{stage.name}, {what}: epoch {done} of {total}, loss {loss:.4f}"
            ),
        )

        def allows(what: str) -> bool:
            needed_s = self.clock.stage_s(stage.macs, self._images_count)
            return time.monotonic() - started + needed_s <= share_s

        return search_front(
            stage.arrays,
            stage.metadata,
            CompressionPlan(),
            tuner,
            max_loss=1.0,
            densities=(),
            lambdas=LAMBDAS,
            within=self.within,
            share=lambda arrays, rate_lambda: share_with_moments(arrays, moments, rate_lambda),
            merit=lambda arrays: self._merit(stage.architecture, arrays),
            allows=allows,
            on_stage=lambda found: self.say(
                f"{stage.name}, {found.name}: {found.file_bytes:,} bytes, validation accuracy "
                f"{found.validation_accuracy or 0:.2%}"
            ),
        )

    def _narrowed(self, before: Stage, path: Path, start: str, recipe: Recipe) -> Stage | None:
        """The next smaller network, trained; None where there is none."""
        chosen = self._choose(before)
        if chosen is None:
            return None
        changed, candidate = chosen.changed, chosen.candidate
        started = time.monotonic()
        architecture = build(candidate, self.dataset.input_shape, len(self.dataset.classes))
        tuning = Tuning(path.stem, "all", recipe, {**chosen.arrays}, is_relative=True)
        (trained,) = self._runner.train(
            TuningTrainer(candidate, self.dataset, seed=self.seed, teacher=self.teacher),
            [tuning],
            lambda stage, done, total, loss: self.say(
                f"{stage}, {changed}: epoch {done} of {total}, loss {loss:.4f}"
            ),
        )
        count = recipe.epochs * len(self.dataset.train)
        self.clock.took(time.monotonic() - started, cost(architecture).macs, count)
        found = {name: np.asarray(array) for name, array in trained.items()}
        metadata = replace(
            self.parent.metadata,
            family=candidate.family,
            metaparameters=candidate.metaparameters,
            extra={
                **self.parent.metadata.extra,
                "start": start,
                "recipe": recipe.key,
                "changed": changed,
                "errors": chosen.errors,
            },
        )
        save_weights(path, *nested(found), metadata)
        return self._stage(path.stem, changed, metadata, found)

    def _choose(self, before: Stage) -> _Choice | None:
        """Of the networks with one metaparameter lowered that nearest to the parent's scores.

        Errors per size hardly fall from step to step, so a metaparameter whose error was larger
        at an earlier step than the least that is found now is not tried again.
        """
        moments = second_moments(*self._of(before))
        importance = channel_importance(before.architecture, before.arrays, moments)
        train, count = self.dataset.train, len(self.dataset.train)
        picked = np.arange(0, count, max(1, count // PROBE_COUNT))[:PROBE_COUNT]
        probe, wanted = Split(train.images[picked], train.labels[picked]), self.teacher[picked]
        size = cost(before.architecture).params_count
        known = json.loads(before.metadata.extra.get("errors", "{}"))
        shape, classes_count = self.dataset.input_shape, len(self.dataset.classes)
        candidates = smaller_candidates(
            before.metadata.candidate, shape, classes_count, share=STEP_SHARE
        )
        best: _Choice | None = None
        for name, candidate in sorted(candidates, key=lambda pair: known.get(pair[0], 0.0)):
            if best is not None and known.get(name, 0.0) > best.error:
                break
            target = build(candidate, shape, classes_count)
            arrays = narrowed(target, before.architecture, before.arrays, moments, importance)
            if arrays is None:
                continue
            difference = np.square(self._scores(target, arrays, probe) - wanted).mean()
            error = float(difference / max(float(wanted.var()), 1e-30))
            error /= np.log(size / cost(target).params_count)
            known[name] = error
            if best is None or error < best.error:
                changed = f"{name} {candidate.metaparameters[name]:g}"
                best = _Choice(error, changed, candidate, arrays)
        return None if best is None else replace(best, errors=json.dumps(known))

    def _of(self, stage: Stage) -> tuple[Architecture, Arrays, Batches, InputScaling]:
        return stage.architecture, stage.arrays, self.dataset.train.images, self._scaling

    def _kept(self, path: Path, start: str, recipe: Recipe) -> Stage | None:
        """A stage that was trained before from the same weights; None where it has to be."""
        if not path.exists():
            return None
        try:
            params, statistics, metadata = load_weights(path)
        except WeightsError:
            return None  # damaged: trained again
        if (metadata.extra.get("start"), metadata.extra.get("recipe")) != (start, recipe.key):
            return None
        return self._stage(path.stem, metadata.extra["changed"], metadata, flat(params, statistics))

    def _stage(self, name: str, changed: str, metadata: WeightsMetadata, arrays: Arrays) -> Stage:
        architecture = build(metadata.candidate, metadata.input_shape, len(metadata.classes))
        correct, merit = self._correct(architecture, arrays), self._merit(architecture, arrays)
        return Stage(name, changed, metadata, arrays, correct, merit)

    def _correct(self, architecture: Architecture, arrays: Arrays) -> np.ndarray:
        predictor = Predictor(build_network(architecture), self._scaling)
        return predictor.correct(*nested(arrays), self.dataset.validation)

    def _merit(self, architecture: Architecture, arrays: Arrays) -> float:
        """Accuracy that is held at 95% confidence if the parent's is its validation accuracy."""
        scores = self._scores(architecture, arrays, self._views)
        likely = likely_correct(scores, self.dataset.validation.labels, self._sure)
        return self.parent.accuracy + least_difference(self._likely, likely)

    def _scores(self, architecture: Architecture, arrays: Arrays, split: Split) -> np.ndarray:
        """Scores float32 (image, class) of a network."""
        count = architecture.classes_count
        predictor = Predictor(build_network(architecture), self._scaling, best_count=count)
        return scores_of(predictor, *nested(arrays), split, count)


def stage_recipe(recipe: Recipe, epochs: int) -> Recipe:
    """How the stages are trained: as the parent was, with its scores as targets too."""
    rate = 0.5 * recipe.learning_rate
    return replace(recipe, epochs=epochs, learning_rate=rate, distill_share=DISTILL_SHARE)


def picked_stages(stages: Sequence[Stage]) -> list[Stage]:
    """Narrowed ones that are compressed: the first, and the least that holds."""
    floor = FLOOR * stages[0].merit
    able = [stage for stage in stages[1:] if stage.merit >= floor]
    return able[:1] + able[1:][-1:]


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for path, array in sorted(arrays.items()):
        digest.update(path.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
