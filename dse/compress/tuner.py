"""What stands between the stages of compression: training on images, or nothing."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from dse.architecture import Candidate, build
from dse.compress.finetune import pruning_recipe, sharing_recipe
from dse.compress.prune import (
    Arrays,
    kernels_of,
    prune,
    relative_densities,
    shared_out_densities,
)
from dse.compress.quantize import Mixed, are_folded
from dse.compress.tuning import InProcess, OnTuningEpoch, Runner, Tuning, TuningTrainer
from dse.data import Dataset, Split
from dse.data.spec import SourceName, cache_root
from dse.errors import ConfigError, UsageError, WeightsError
from dse.files import locked
from dse.networks import build_network
from dse.text import counted, shape_text
from dse.training.predict import Predictor
from dse.training.recipe import Recipe, default_recipe, recipe_from_dict
from dse.training.scaling import InputScaling
from dse.training.xla import check_backend, use_compile_cache
from dse.weights.metadata import WeightsMetadata
from dse.weights.safetensors import nested

SENSITIVITY_COUNT = 2048
"""Training images on which sensitivity is measured."""

SENSITIVITY_STEPS = (0.8, 0.6, 0.4, 0.2)
"""Shares of a kernel's present weights that are tried."""

Sharing = tuple[str, Arrays, Mixed]
"""A stage's name, the arrays, and those that share values now."""


class Tuner(Protocol):
    """Takes weights away and values together, and makes the best of what is left."""

    def densities(self, arrays: Arrays, density: float) -> dict[str, float]:
        """What each kernel should keep, that all together keep this share of their weights."""
        ...

    def sparse(self, stage: str, arrays: Arrays, densities: Mapping[str, float]) -> Arrays:
        """Arrays whose kernels keep these shares of their weights."""
        ...

    def shared(self, sharings: Sequence[Sharing]) -> Iterator[Mixed]:
        """For each the arrays, with kernels that share values as they do there."""
        ...

    @property
    def at_once(self) -> int:
        """Of these, how many are done side by side."""
        ...

    def correct(self, arrays: Arrays, *, test: bool = False) -> np.ndarray | None:
        """Of which validation or test images the class is correct, bool; None without images."""
        ...


class NoImages:
    """The weights alone: what goes is gone, and nothing is scored."""

    at_once = 1

    def densities(self, arrays: Arrays, density: float) -> dict[str, float]:
        """By one threshold on magnitudes, in units of each layer's own."""
        return relative_densities(kernels_of(arrays), density)

    def sparse(self, stage: str, arrays: Arrays, densities: Mapping[str, float]) -> Arrays:
        """The smallest magnitudes at zero."""
        return prune(arrays, densities)

    def shared(self, sharings: Sequence[Sharing]) -> Iterator[Mixed]:
        """As they are."""
        return (mixed for _, _, mixed in sharings)

    def correct(self, arrays: Arrays, *, test: bool = False) -> np.ndarray | None:
        """None."""
        return None


class ImageTuner:
    """Trains between the stages; every run is kept, to be resumed.

    Args:
        candidate: whose network it is.
        dataset: prepared images.
        recipe: how the network was trained.
        epochs: of training in each stage.
        seed: of all random draws.
        relative: steps are relative to the magnitude of each array.
        teacher: scores (image, class) of the training images, where the recipe distils.
        runner: where it is trained.
        on_epoch: told of each completed epoch.
    """

    def __init__(
        self,
        candidate: Candidate,
        dataset: Dataset,
        recipe: Recipe,
        *,
        epochs: int,
        seed: int = 0,
        relative: bool = False,
        teacher: np.ndarray | None = None,
        runner: Runner | None = None,
        on_epoch: OnTuningEpoch = lambda stage, epochs, total, loss: None,
    ) -> None:
        self._dataset, self._recipe, self._epochs = dataset, recipe, epochs
        self._is_relative, self._on_epoch = relative, on_epoch
        self._runner = runner or InProcess()
        self._network = TuningTrainer(candidate, dataset, seed=seed, teacher=teacher)
        architecture = build(candidate, dataset.input_shape, len(dataset.classes))
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
        recipe = pruning_recipe(self._recipe, self._epochs)
        tuning = Tuning(stage, "sparse", recipe, {**arrays}, densities, self._is_relative)
        (found,) = self._trained([tuning])
        return {path: np.asarray(array) for path, array in found.items()}

    def shared(self, sharings: Sequence[Sharing]) -> Iterator[Mixed]:
        """With their values, biases and norms trained; which weight has which value stays."""
        recipe = sharing_recipe(self._recipe, self._epochs, relative=self._is_relative)
        return self._trained(
            [
                Tuning(stage, "shared", recipe, {**arrays, **mixed}, {}, self._is_relative)
                for stage, arrays, mixed in sharings
            ]
        )

    @property
    def at_once(self) -> int:
        """Trainings that run side by side."""
        return self._runner.at_once

    def _trained(self, tunings: Sequence[Tuning]) -> Iterator[Mixed]:
        return self._runner.train(self._network, tunings, self._on_epoch)

    def correct(self, arrays: Arrays, *, test: bool = False) -> np.ndarray | None:
        """Of which images the class is correct."""
        split = self._dataset.test if test else self._dataset.validation
        return self._predictor.correct(*nested(arrays), split)


@contextlib.contextmanager
def image_tuner(
    candidate: Candidate,
    dataset: Dataset,
    recipe: Recipe,
    out: Path,
    *,
    epochs: int,
    seed: int = 0,
    relative: bool = False,
    runner_in: Callable[[Path], contextlib.AbstractContextManager[Runner]] | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[ImageTuner]:
    """A tuner whose runs are kept beside the file to be written until the block has ended well.

    Args:
        candidate: whose network it is.
        dataset: prepared images.
        recipe: how the network was trained.
        out: the file.
        epochs: of training in each stage.
        seed: of all random draws.
        relative: steps are relative to the magnitude of each array, as for weights that started
            from others.
        runner_in: makes what trains and keeps runs in a folder; None trains in this process.
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
        if any(directory.rglob("*.safetensors")):
            say(f"resuming from what is kept in {directory}")
        tuner = ImageTuner(
            candidate,
            dataset,
            recipe,
            epochs=epochs,
            seed=seed,
            relative=relative,
            runner=(
                stack.enter_context(runner_in(directory)) if runner_in else InProcess(directory)
            ),
            on_epoch=lambda stage, done, total, loss: say(
                f"{stage}: epoch {done} of {total}, loss {loss:.4f}"
            ),
        )
        try:
            yield tuner
        except KeyboardInterrupt:
            if any(directory.rglob("*.safetensors")):
                say(f"what was trained is kept in {directory}; the same command resumes from there")
            raise
        shutil.rmtree(directory, ignore_errors=True)


def recipe_of_weights(
    data: str,
    source: SourceName,
    dataset: Dataset,
    metadata: WeightsMetadata,
    arrays: Arrays,
    *,
    option: str = "--data",
) -> Recipe:
    """The recipe that weights were trained by, once the images are found to be the same.

    Others would be scaled otherwise, and might hold for validation what was trained with.

    Args:
        data: what the user calls the images, for messages.
        source: of the images; weights of somewhere else take its default recipe.
        dataset: prepared images.
        metadata: of the weights.
        arrays: by parameter path.
        option: that the images were named by, for messages.

    Raises:
        UsageError: the images are others, or the norms of the weights are folded.
    """
    if are_folded(arrays):
        raise UsageError(
            f"{option} {data}: the norms of these weights were folded when they were compressed, "
            "so they cannot be trained; give the weights file that the .dsz was made of"
        )
    extra = metadata.extra
    same = dataset.classes == metadata.classes and dataset.preprocessing == metadata.preprocessing
    if not same or extra.get("data_fingerprint", dataset.fingerprint) != dataset.fingerprint:
        raise UsageError(
            f"{option} {data}: {len(dataset.train):,} training images of "
            f"{shape_text(dataset.input_shape)} in {counted(len(dataset.classes), 'class')} are "
            "not those that the weights were trained on; give the same images, split and size "
            f"({shape_text(metadata.input_shape)}) as their study had"
        )
    try:
        return recipe_from_dict(json.loads(extra["recipe"]))
    except (LookupError, ValueError, TypeError, AttributeError, ConfigError):  # of somewhere else
        return default_recipe(source, dataset.input_shape, len(dataset.train))
