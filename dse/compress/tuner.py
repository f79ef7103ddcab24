"""What stands between the stages of compression: training on images, or nothing."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from dse.architecture import Architecture
from dse.compress.finetune import (
    pruning_recipe,
    retrain_shared,
    retrain_sparse,
    sharing_recipe,
)
from dse.compress.prune import (
    Arrays,
    kernels_of,
    prune,
    relative_densities,
    shared_out_densities,
)
from dse.compress.quantize import Mixed, are_folded
from dse.data import Dataset, Split
from dse.data.spec import SourceName, cache_root
from dse.errors import ConfigError, UsageError, WeightsError
from dse.files import locked
from dse.networks import build_network
from dse.training.parametrization import MaskedKernels, Relative
from dse.training.predict import Predictor
from dse.training.recipe import Recipe, default_recipe, recipe_from_dict
from dse.training.scaling import InputScaling
from dse.training.trainer import Seed, Trainer
from dse.training.xla import check_backend, use_compile_cache
from dse.weights.dsz import SharedWeights
from dse.weights.metadata import WeightsMetadata
from dse.weights.safetensors import flat, nested

SENSITIVITY_COUNT = 2048
"""Training images on which sensitivity is measured."""

SENSITIVITY_STEPS = (0.8, 0.6, 0.4, 0.2)
"""Shares of a kernel's present weights that are tried."""

OnEpoch = Callable[[str, int, int, float], None]
"""Called with (stage, epochs completed, epochs in all, mean loss of the last one)."""


class Tuner(Protocol):
    """Takes weights away and values together, and makes the best of what is left."""

    def densities(self, arrays: Arrays, density: float) -> dict[str, float]:
        """What each kernel should keep, that all together keep this share of their weights."""
        ...

    def sparse(self, stage: str, arrays: Arrays, densities: Mapping[str, float]) -> Arrays:
        """Arrays whose kernels keep these shares of their weights."""
        ...

    def shared(self, stage: str, arrays: Arrays, mixed: Mixed) -> Mixed:
        """The arrays, with kernels that share values as in `mixed`."""
        ...

    def correct(self, arrays: Arrays, *, test: bool = False) -> np.ndarray | None:
        """Of which validation or test images the class is correct, bool; None without images."""
        ...


class NoImages:
    """The weights alone: what goes is gone, and nothing is scored."""

    def densities(self, arrays: Arrays, density: float) -> dict[str, float]:
        """By one threshold on magnitudes, in units of each layer's own."""
        return relative_densities(kernels_of(arrays), density)

    def sparse(self, stage: str, arrays: Arrays, densities: Mapping[str, float]) -> Arrays:
        """The smallest magnitudes at zero."""
        return prune(arrays, densities)

    def shared(self, stage: str, arrays: Arrays, mixed: Mixed) -> Mixed:
        """As it is."""
        return mixed

    def correct(self, arrays: Arrays, *, test: bool = False) -> np.ndarray | None:
        """None."""
        return None


class ImageTuner:
    """Trains between the stages; every run is kept, to be resumed.

    Args:
        architecture: of the network.
        dataset: prepared images.
        recipe: how the network was trained.
        epochs: of training in each stage.
        seed: of all random draws.
        relative: steps are relative to the magnitude of each array.
        teacher: scores (image, class) of the training images, where the recipe distils.
        directory: where runs are kept; None keeps none.
        on_epoch: told of each completed epoch.
    """

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        recipe: Recipe,
        *,
        epochs: int,
        seed: int = 0,
        relative: bool = False,
        teacher: np.ndarray | None = None,
        directory: Path | None = None,
        on_epoch: OnEpoch = lambda stage, epochs, total, loss: None,
    ) -> None:
        self._architecture, self._dataset, self._recipe = architecture, dataset, recipe
        self._epochs, self._seed = epochs, Seed(seed)
        self._is_relative, self._teacher = relative, teacher
        self._directory, self._on_epoch = directory, on_epoch
        self._predictor = Predictor(build_network(architecture), InputScaling.of_dataset(dataset))
        picked = np.random.default_rng(seed).permutation(len(dataset.train))[:SENSITIVITY_COUNT]
        self._probe = Split(dataset.train.images[picked], dataset.train.labels[picked])

    def densities(self, arrays: Arrays, density: float) -> dict[str, float]:
        """By sensitivity: each kernel alone is pruned to some shares, and what is lost measured.

        On training images, which keeps the others out of this choice.
        """
        kernels = kernels_of(arrays)
        before = self._probe_score(arrays)
        losses: dict[str, list[tuple[float, float]]] = {}
        for path, kernel in kernels.items():
            present = np.count_nonzero(kernel) / kernel.size
            losses[path] = [(present, 0.0)]
            for step in SENSITIVITY_STEPS:
                pruned = prune(arrays, {path: step * present})
                losses[path].append((step * present, before - self._probe_score(pruned)))
        sizes = {path: kernel.size for path, kernel in kernels.items()}
        return shared_out_densities(sizes, losses, density)

    def _probe_score(self, arrays: Arrays) -> float:
        return float(self._predictor.correct(*nested(arrays), self._probe).mean())

    def sparse(self, stage: str, arrays: Arrays, densities: Mapping[str, float]) -> Arrays:
        """Pruned gradually, then trained further with the weights that are left."""
        trainer = self._sparse_trainer
        run = retrain_sparse(trainer, nested(arrays), densities, **self._options(stage))
        found = flat(trainer.params_of(run), trainer.statistics_of(run))
        return {path: np.asarray(array) for path, array in found.items()}

    def shared(self, stage: str, arrays: Arrays, mixed: Mixed) -> Mixed:
        """With its values, biases and norms trained; which weight has which value stays."""
        kernels = {path: array for path, array in mixed.items() if isinstance(array, SharedWeights)}
        others = {path: a for path, a in mixed.items() if not isinstance(a, SharedWeights)}
        *_, trained = retrain_shared(
            self._architecture,
            self._dataset,
            sharing_recipe(self._recipe, self._epochs, relative=self._is_relative),
            nested({**arrays, **others}),
            kernels,
            relative=self._is_relative,
            teacher=self._teacher,
            **self._options(stage),
        )
        return trained

    @cached_property
    def _sparse_trainer(self) -> Trainer:
        """One program for all densities: the masks are among what it is given."""
        return Trainer(
            self._architecture,
            self._dataset,
            pruning_recipe(self._recipe, self._epochs),
            Relative(MaskedKernels()) if self._is_relative else MaskedKernels(),
            teacher=self._teacher,
        )

    def correct(self, arrays: Arrays, *, test: bool = False) -> np.ndarray | None:
        """Of which images the class is correct."""
        split = self._dataset.test if test else self._dataset.validation
        return self._predictor.correct(*nested(arrays), split)

    def _options(self, stage: str) -> dict[str, Any]:
        """Where a stage's run is kept, and what all of them share."""
        file = f"{stage.replace(',', '').replace(' ', '-')}.safetensors"
        return {
            "seed": self._seed,
            "checkpoint": self._directory / file if self._directory else None,
            "on_epoch": lambda epochs, loss: self._on_epoch(stage, epochs, self._epochs, loss),
        }


@contextlib.contextmanager
def image_tuner(
    architecture: Architecture,
    dataset: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    epochs: int,
    seed: int = 0,
    relative: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[ImageTuner]:
    """A tuner whose runs are kept beside the file to be written until the block has ended well.

    Args:
        architecture: of the network.
        dataset: prepared images.
        recipe: how the network was trained.
        out: the file.
        epochs: of training in each stage.
        seed: of all random draws.
        relative: steps are relative to the magnitude of each array, as for weights that started
            from others.
        say: told what is trained and resumed, in words.

    Raises:
        WeightsError: runs cannot be kept there, or another process writes the same file.
    """
    directory = out.with_name(f".{out.name}.training")
    busy = WeightsError(f"{directory} is in use by another dse process that writes {out}")
    check_backend()
    use_compile_cache(cache_root() / "compiled")
    with contextlib.ExitStack() as stack:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            stack.enter_context(locked(directory / ".lock", busy))
        except OSError as error:
            raise WeightsError(f"{directory}: cannot be used: {error.strerror or error}") from error
        if any(directory.glob("*.safetensors")):
            say(f"resuming from what is kept in {directory}")
        tuner = ImageTuner(
            architecture,
            dataset,
            recipe,
            epochs=epochs,
            seed=seed,
            relative=relative,
            directory=directory,
            on_epoch=lambda stage, done, total, loss: say(
                f"{stage}: epoch {done} of {total}, loss {loss:.4f}"
            ),
        )
        try:
            yield tuner
        except KeyboardInterrupt:
            if any(directory.glob("*.safetensors")):
                say(f"what was trained is kept in {directory}; the same command resumes from there")
            raise
        shutil.rmtree(directory, ignore_errors=True)


def recipe_of_weights(
    data: str, source: SourceName, dataset: Dataset, metadata: WeightsMetadata, arrays: Arrays
) -> Recipe:
    """The recipe that weights were trained by, once the images are found to be the same.

    Others would be scaled otherwise, and might hold for validation what was trained with.

    Args:
        data: what the user calls the images, for messages.
        source: of the images; weights of somewhere else take its default recipe.
        dataset: prepared images.
        metadata: of the weights.
        arrays: by parameter path.

    Raises:
        UsageError: the images are others, or the norms of the weights are folded.
    """
    if are_folded(arrays):
        raise UsageError(
            f"--data {data}: the norms of these weights were folded when they were compressed, so "
            "they cannot be trained; give the weights file that the .dsz was made of"
        )
    extra = metadata.extra
    same = dataset.classes == metadata.classes and dataset.preprocessing == metadata.preprocessing
    if not same or extra.get("data_fingerprint", dataset.fingerprint) != dataset.fingerprint:
        raise UsageError(
            f"--data {data}: {len(dataset.train):,} training images of {dataset.input_shape} in "
            f"{len(dataset.classes)} classes are not those that the weights were trained on; give "
            "the same images, split and size as their study had"
        )
    try:
        return recipe_from_dict(json.loads(extra["recipe"]))
    except (LookupError, ValueError, TypeError, AttributeError, ConfigError):  # of somewhere else
        return default_recipe(source, dataset.input_shape, len(dataset.train))
