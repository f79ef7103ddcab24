"""Making a trained network small: fewer filters step by step, fewer weights, shared values.

The parent is narrowed in steps of a fifth of the parameters. In each the metaparameters compete:
each alone is lowered that far, and the network whose scores stay nearest to those of the parent
is trained further, with the parent's scores as soft targets. Some of the networks on the way are
then pruned and their values shared, as `dse compress --front` does.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from dse.architecture import Architecture, Candidate, build, cost
from dse.compress.compensate import share_with_moments
from dse.compress.finetune import retrain
from dse.compress.front import FLOOR, CompressionFront, search_front
from dse.compress.narrow import (
    channel_importance,
    narrowed,
    second_moments,
    smaller_candidates,
)
from dse.compress.prune import Arrays, kernels_of, shared_out_densities
from dse.compress.quantize import Mixed
from dse.compress.stages import CompressionPlan
from dse.compress.tuner import ImageTuner
from dse.data import Dataset, Split
from dse.data.batches import Batches
from dse.errors import WeightsError
from dse.networks import build_network
from dse.stats.intervals import wilson_interval
from dse.training.parametrization import AllParameters, Relative
from dse.training.predict import Predictor, split_batches
from dse.training.recipe import Recipe
from dse.training.scaling import InputScaling
from dse.training.trainer import Seed, Trainer
from dse.weights.metadata import WeightsMetadata
from dse.weights.safetensors import flat, load_weights, nested, save_weights

STEP_SHARE = 0.8
"""Of the parameters that a step of narrowing keeps."""

STEPS_COUNT = 8
"""Of narrowing at most, which leave a sixth of the parameters."""

NARROWING_SHARE = 0.5
"""Of the time, for narrowing."""

DENSITIES = (0.6, 0.4, 0.28, 0.2, 0.14, 0.1)
"""Shares of all weights that a network is pruned to in turn."""

DENSITIES_SHARE = 0.6
"""Of a network's time in which it is pruned; in the rest its shared values are trained."""

SENSITIVITY_STEPS = (0.8, 0.6, 0.4, 0.3, 0.2, 0.1, 0.05)
"""Shares of a kernel's present weights whose error is computed."""

PROBE_COUNT = 32
"""Training images on which smaller networks are compared."""

COMPILE_S = 20.0
"""Of a stage, beside its epochs: compilation, scoring, looking for values."""

DISTILL_SHARE = 0.7
"""Of a stage's loss, what the parent's scores are the targets of."""

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
    """

    name: str
    changed: str
    metadata: WeightsMetadata
    arrays: Arrays
    correct: np.ndarray

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
    """Prunes and shares by the error of what layers give; leaves test images alone."""

    _measured: tuple[Arrays, dict[str, np.ndarray]] | None = None

    def moments(self, arrays: Arrays) -> dict[str, np.ndarray]:
        """Second moments of what the layers read; those of the same arrays are taken once."""
        if self._measured is None or self._measured[0] is not arrays:
            images, scaling = self._dataset.train.images, InputScaling.of_dataset(self._dataset)
            found = second_moments(self._architecture, arrays, images, scaling)
            self._measured = arrays, found
        return self._measured[1]

    def compensated(self, arrays: Arrays, rate_lambda: float) -> Mixed:
        """Kernels that share values, later weights making up for earlier ones."""
        return share_with_moments(arrays, self.moments(arrays), rate_lambda)

    def densities(self, arrays: Arrays, density: float) -> dict[str, float]:
        """By the share of a layer's output that goes with its smallest weights."""
        kernels = kernels_of(arrays)
        losses = {}
        for path, kernel in kernels.items():
            moments = self.moments(arrays).get(path.removesuffix("/kernel"))
            flattened = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64) ** 2
            energy = flattened if moments is None else flattened * np.diag(moments)[:-1, None]
            # The smallest magnitudes go first, as in `magnitude_mask`.
            order = np.argsort(-np.abs(kernel).reshape(-1), kind="stable")
            kept = np.cumsum(energy.reshape(-1)[order]) / max(energy.sum(), 1e-30)
            present = np.count_nonzero(kernel) / kernel.size
            losses[path] = [(present, 0.0)] + [
                (step * present, float(1 - kept[max(int(step * present * kernel.size), 1) - 1]))
                for step in SENSITIVITY_STEPS
            ]
        sizes = {path: kernel.size for path, kernel in kernels.items()}
        return shared_out_densities(sizes, losses, density)

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
        say: OnStage = lambda text: None,
    ) -> None:
        self.dataset, self.recipe, self.directory = dataset, recipe, directory
        self.clock, self.within, self.seed, self.say = clock, within, seed, say
        self._scaling = InputScaling.of_dataset(dataset)
        self._images_count = recipe.epochs * len(dataset.train)
        self.parent = self._stage("parent", "", metadata, arrays)
        self.teacher = self._scores(self.parent.architecture, arrays, dataset.train)
        self.stopped_by = ""

    def narrow(self) -> list[Stage]:
        """The parent, and networks with fewer and fewer parameters, each trained."""
        stages = [self.parent]
        until_s = self.clock.left_s * (1 - NARROWING_SHARE)
        for step in range(1, STEPS_COUNT + 1):
            before = stages[-1]
            path = self.directory / f"narrow-{step}.safetensors"
            facts = {"start": _digest(before.arrays), "recipe": self.recipe.key}
            stage = self._kept(path, facts)
            if stage is None:
                needed_s = 2 * self.clock.stage_s(before.macs, self._images_count)
                if self.clock.left_s - needed_s < until_s:
                    self.stopped_by = "time"
                    break
                stage = self._narrowed(before, path, facts)
            if stage is None:
                break
            self.say(
                f"{stage.name}: {stage.changed}, "
                f"{cost(stage.architecture).params_count:,} parameters, validation accuracy "
                f"{stage.accuracy:.2%}"
            )
            stages.append(stage)
            found = wilson_interval(int(stage.correct.sum()), len(stage.correct))
            if found.high < FLOOR * self.parent.accuracy:
                break
        return stages

    def front(self, stage: Stage, share_s: float) -> CompressionFront:
        """Files of a network at several densities and numbers of values, within so many seconds."""
        started = time.monotonic()
        tuner = FrontTuner(
            stage.architecture,
            self.dataset,
            self.recipe,
            epochs=self.recipe.epochs,
            seed=self.seed,
            relative=True,
            teacher=self.teacher,
            directory=self._training(stage.name),
            on_epoch=lambda what, done, total, loss: self.say(
                f"{stage.name}, {what}: epoch {done} of {total}, loss {loss:.4f}"
            ),
        )

        def allows(what: str) -> bool:
            share = DENSITIES_SHARE if what == "density" else 1.0
            needed_s = self.clock.stage_s(stage.macs, self._images_count)
            return time.monotonic() - started + needed_s <= share * share_s

        return search_front(
            stage.arrays,
            stage.metadata,
            CompressionPlan(),
            tuner,
            max_loss=1.0,
            densities=DENSITIES,
            within=self.within,
            share=tuner.compensated,
            allows=allows,
            on_stage=lambda found: self.say(
                f"{stage.name}, {found.name}: {found.file_bytes:,} bytes, validation accuracy "
                f"{found.validation_accuracy or 0:.2%}"
            ),
        )

    def _narrowed(self, before: Stage, path: Path, facts: Mapping[str, str]) -> Stage | None:
        """The next smaller network, trained; None where there is none."""
        chosen = self._choose(before)
        if chosen is None:
            return None
        changed, candidate = chosen.changed, chosen.candidate
        started = time.monotonic()
        architecture = build(candidate, self.dataset.input_shape, len(self.dataset.classes))
        trainer = Trainer(
            architecture,
            self.dataset,
            self.recipe,
            Relative(AllParameters()),
            teacher=self.teacher,
        )
        run = retrain(
            trainer,
            nested(chosen.arrays),
            seed=Seed(self.seed),
            checkpoint=self._training(path.stem) / "trained.safetensors",
            on_epoch=lambda done, loss: self.say(
                f"{path.stem}, {changed}: epoch {done} of {self.recipe.epochs}, loss {loss:.4f}"
            ),
        )
        macs = cost(architecture).macs
        self.clock.took(time.monotonic() - started, macs, self._images_count)
        params, statistics = trainer.params_of(run), trainer.statistics_of(run)
        metadata = replace(
            self.parent.metadata,
            family=candidate.family,
            metaparameters=candidate.metaparameters,
            extra={
                **self.parent.metadata.extra,
                **facts,
                "changed": changed,
                "errors": chosen.errors,
            },
        )
        save_weights(path, params, statistics, metadata)
        found = {p: np.asarray(a) for p, a in flat(params, statistics).items()}
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

    def _training(self, name: str) -> Path:
        """Where unfinished training of a stage is kept."""
        directory = self.directory / "training" / name
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def _kept(self, path: Path, facts: Mapping[str, str]) -> Stage | None:
        """A stage that was trained before from the same weights; None where it has to be."""
        if not path.exists():
            return None
        try:
            params, statistics, metadata = load_weights(path)
        except WeightsError:
            return None  # damaged: trained again
        if {name: metadata.extra.get(name) for name in facts} != dict(facts):
            return None
        return self._stage(path.stem, metadata.extra["changed"], metadata, flat(params, statistics))

    def _stage(self, name: str, changed: str, metadata: WeightsMetadata, arrays: Arrays) -> Stage:
        architecture = build(metadata.candidate, metadata.input_shape, len(metadata.classes))
        correct = Predictor(build_network(architecture), self._scaling).correct(
            *nested(arrays), self.dataset.validation
        )
        return Stage(name, changed, metadata, arrays, correct)

    def _scores(self, architecture: Architecture, arrays: Arrays, split: Split) -> np.ndarray:
        """Scores float32 (image, class) of a network."""
        count = architecture.classes_count
        predictor = Predictor(build_network(architecture), self._scaling, best_count=count)
        found = np.zeros((len(split), count), np.float32)
        start = 0
        for batch in split_batches(split, predictor.batch_count):
            best = predictor.best(*nested(arrays), batch.images)
            part = found[start : start + len(batch.images)]
            np.put_along_axis(part, best.classes.astype(np.int64), best.scores, 1)
            start += len(part)
        return found


def stage_recipe(recipe: Recipe, epochs: int) -> Recipe:
    """How the stages are trained: as the parent was, with its scores as targets too."""
    rate = 0.5 * recipe.learning_rate
    return replace(recipe, epochs=epochs, learning_rate=rate, distill_share=DISTILL_SHARE)


def picked_stages(stages: Sequence[Stage]) -> list[Stage]:
    """Those that are compressed, the most promising first: half of the parameters, least, all."""
    from sklearn.isotonic import isotonic_regression

    floor = FLOOR * stages[0].accuracy
    falling = isotonic_regression([stage.accuracy for stage in stages], increasing=False)
    able = [stage for stage, value in zip(stages, falling, strict=True) if value >= floor]
    able = able or [stages[0]]
    sizes = [cost(stage.architecture).params_count for stage in able]
    middle = min(range(len(able)), key=lambda at: abs(sizes[at] - sizes[0] / 2))
    return [able[at] for at in dict.fromkeys((middle, len(able) - 1, 0))]


def _digest(arrays: Arrays) -> str:
    digest = hashlib.sha256()
    for path, array in sorted(arrays.items()):
        digest.update(path.encode() + np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
