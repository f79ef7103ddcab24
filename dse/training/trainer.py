"""Training one network from its initial weights to a measurement."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dse.architecture import Architecture
from dse.data import Dataset, Split
from dse.data.batches import ahead, take
from dse.errors import DivergenceError, TrainingError
from dse.networks import build_network
from dse.networks.build import MapScales
from dse.networks.starts import with_identities, with_whitening
from dse.study.measurement import Measurement, pack_bits
from dse.training.optimizers import learning_rates, make_optimizer
from dse.training.parametrization import AllParameters, Parametrization, Relative, Tree
from dse.training.predict import Predictor, program_key
from dse.training.recipe import Recipe, check_fits
from dse.training.scaling import InputScaling
from dse.training.start import start_from
from dse.training.step import TrainState, make_packings, make_train_program
from dse.training.xla import load_or_compile
from dse.weights.given import GivenWeights

CHUNK_BYTES = 512 * 2**20
"""Images handed to one call of the training program; an epoch that is larger takes several."""

STREAM_BYTES = 16 * 2**20
"""The same of images that are decoded on the way: two calls of them are in memory, or three."""

PATCHES_IMAGES = 1_000
"""Training images, evenly spread, whose patches give the first layer's principal components."""

OnEpoch = Callable[[int, float], None]
"""Called with (epochs completed, mean loss of the last one)."""


@dataclass(frozen=True)
class Seed:
    """Where all noise of a run comes from: data order, augmentation, initial weights, dropout.

    Candidates with the same seed are compared on the same draws.
    """

    study: int = 0
    replicate: int = 0

    def key(self) -> jax.Array:
        """A JAX key for this seed."""
        return jax.random.fold_in(jax.random.key(self.study), self.replicate)

    def order(self, epoch: int, count: int) -> np.ndarray:
        """The order of `count` images in this epoch, int64 (count,)."""
        return np.random.default_rng([self.study, self.replicate, epoch]).permutation(count)

    def mirrored(self, epoch: int, count: int) -> np.ndarray:
        """Which of `count` images are mirrored in this epoch, not the next; bool (count,)."""
        coins = np.random.default_rng([self.study, self.replicate, 0, 1]).integers(2, size=count)
        return (coins + epoch) % 2 == 1


@dataclass(frozen=True)
class Run:
    """A training run, between two epochs.

    Attributes:
        state: parameters, statistics, optimizer and step.
        epochs: completed so far.
        loss: mean over the last epoch; NaN before the first.
        train_s: seconds spent in training steps so far, waiting for images included.
        wait_s: of those, seconds of waiting for images since the run was begun or loaded.
    """

    state: TrainState
    epochs: int = 0
    loss: float = float("nan")
    train_s: float = 0.0
    wait_s: float = 0.0


@dataclass(frozen=True)
class Trained:
    """Trained weights and what was measured of them."""

    params: Tree
    statistics: Tree
    measurement: Measurement


def mesh_of(devices_count: int, batch_size: int) -> jax.sharding.Mesh | None:
    """The first devices, which share every batch; None for one.

    Raises:
        TrainingError: there are fewer, or a batch cannot be shared evenly.
    """
    if devices_count == 1:
        return None
    found = jax.devices()
    if len(found) < devices_count:
        raise TrainingError(
            f"{devices_count} devices for each worker are asked for, but JAX finds {len(found)} "
            f"({found[0].platform}) here: --devices-per-worker {len(found)}"
        )
    if batch_size % devices_count:
        raise TrainingError(
            f"a batch of {batch_size} images cannot be shared by {devices_count} devices evenly: "
            "--recipe batch_size=…"
        )
    return jax.make_mesh((devices_count,), ("data",), devices=found[:devices_count])


class Trainer:
    """The compiled programs of one network, recipe and data set; trains it with any seed.

    Args:
        architecture: built for the images of `dataset`.
        dataset: prepared images.
        recipe: how to train.
        parametrization: what is trained in place of the parameters; as usual all of them.
        given: weights that runs start from, in relative steps; None for initial weights.
        teacher: scores of the training images, float32 (image, class), where the recipe distils.
        on_progress: called now and then while a start is prepared.
        devices_count: devices that share every batch; results are those of one but for rounding.
        scales: of maps that are rounded as in int8 while it is trained.

    Attributes:
        compile_s: seconds of compilation.
        state_shape: the tree of a run's state with shapes and types in place of arrays.

    Raises:
        TrainingError: fewer training images than one batch, a crop as large as an image, or no
            teacher where the recipe distils.
    """

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        recipe: Recipe,
        parametrization: Parametrization | None = None,
        *,
        given: GivenWeights | None = None,
        teacher: np.ndarray | None = None,
        devices_count: int = 1,
        scales: MapScales = (),
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.architecture, self.dataset, self.recipe = architecture, dataset, recipe
        count = len(dataset.train.labels)
        check_fits(recipe, dataset.name, input_shape=dataset.input_shape, train_count=count)
        self.steps_per_epoch = count // recipe.batch_size
        self.steps_count = self.steps_per_epoch * recipe.epochs
        self.compile_s = 0.0
        self._given, self._teacher, self._on_progress = given, teacher, on_progress
        if recipe.distill_share and teacher is None:
            raise TrainingError(
                f"distill_share is {recipe.distill_share:g}, but there is no teacher here: "
                "give one with dse train --teacher, or set it to 0"
            )
        self._mesh = mesh_of(devices_count, recipe.batch_size)
        self._network, self._scales = build_network(architecture), scales
        self._scaling = InputScaling.of_dataset(dataset)
        self._parametrization = parametrization or AllParameters()
        if given is not None:
            self._parametrization = Relative(self._parametrization)
        trained, fixed = self._parametrization.abstract(self._network.abstract_params())
        statistics = self._network.abstract_statistics()
        self._packings = make_packings(recipe, trained, statistics)
        packed = self._packings.trained.abstract(trained)
        optimizer = make_optimizer(
            recipe, self.steps_count, last=architecture.kernel_nodes[-1].name
        )
        init = jax.jit(optimizer.init, keep_unused=True)
        optimizer_shape = jax.eval_shape(optimizer.init, packed)
        self._init_optimizer = self._compiled("optimizer", init, optimizer_shape, packed)
        packed_statistics = self._packings.statistics.abstract(statistics)
        self.state_shape = TrainState(
            packed,
            packed_statistics,
            optimizer_shape,
            jax.ShapeDtypeStruct((), jnp.int32),
            fixed,
            (packed, packed_statistics) if recipe.averaged_share else (),
        )
        self._predictor = Predictor(self._network, self._scaling)
        self.compile_s += self._predictor.compile_s
        program = make_train_program(
            build_network(architecture, scales) if scales else self._network,
            recipe,
            optimizer,
            self._scaling,
            self._parametrization,
            self._packings,
            self.steps_count,
            self._mesh,
        )
        self._train: dict[int, Callable[..., tuple[TrainState, jax.Array]]] = {}
        for steps in sorted({stop - start for start, stop in self._chunks()}):
            images = (steps, recipe.batch_size, *dataset.input_shape)
            targets: Tree = jax.ShapeDtypeStruct(images[:2], jnp.int32)
            if recipe.distill_share:
                scores = (*images[:2], len(dataset.classes))
                targets = targets, jax.ShapeDtypeStruct(scores, jnp.float32)
            self._train[steps] = self._compiled(
                "train",
                program,
                (self.state_shape, 0),
                self.state_shape,
                jax.ShapeDtypeStruct(images, jnp.uint8),
                targets,
                jax.random.key(0),
            )

    def train(self, seed: Seed, *, on_epoch: OnEpoch | None = None) -> Trained:
        """Train from initial weights over all epochs, then score validation and test images.

        Args:
            seed: of every random draw; on a CPU the same seed gives the same weights.
            on_epoch: told of each completed epoch.

        Raises:
            DivergenceError: the loss became NaN or infinite, with the step.
        """
        run = self.begin(seed)
        for grown in self.epochs(run, seed, self.recipe.epochs):
            run = grown
            if on_epoch:
                on_epoch(run.epochs, run.loss)
        return Trained(self.params_of(run), self.statistics_of(run), self.measure(run))

    def begin(self, seed: Seed) -> Run:
        """A run before its first epoch."""
        params, statistics = self._network.init(seed.key())
        if self._given is None:
            if self.recipe.whitens:
                params = with_whitening(params, self.architecture, self._patches)
            if self.recipe.passes_through:
                params = with_identities(params, self.architecture)
            return self.begin_from(params, statistics)
        params, statistics, factors = start_from(
            self._given,
            self.architecture,
            self.dataset,
            (params, statistics),
            self._on_progress,
        )
        trained, fixed = Relative.start(params, (), factors)
        return self.begin_from(trained, statistics, fixed)

    def begin_from(self, trained: Tree, statistics: Tree, fixed: Tree = ()) -> Run:
        """A run that starts from given arrays.

        Args:
            trained: as the parametrization wants it; as usual the parameters.
            statistics: of the norms.
            fixed: as the parametrization wants it; as usual nothing.
        """
        trained, statistics = jax.tree.map(np.asarray, (trained, statistics))
        packed = (self._packings.trained.pack(trained), self._packings.statistics.pack(statistics))
        trained, statistics, fixed = jax.tree.map(jnp.asarray, (*packed, fixed))
        optimizer = self._init_optimizer(trained)
        averaged: Tree = ()
        if self.recipe.averaged_share:
            # The step gives up each of its state's buffers, so the averages need their own.
            averaged = jax.tree.map(jnp.copy, (trained, statistics))
        return Run(
            TrainState(
                trained,
                statistics,
                optimizer,
                jnp.int32(0),
                fixed,
                averaged,
            )
        )

    @property
    def is_relative(self) -> bool:
        """Whether steps are relative to the magnitude of each array (`Relative`)."""
        return isinstance(self._parametrization, Relative)

    def params_of(self, run: Run) -> Tree:
        """The network's parameters that a run has arrived at."""
        return self._parametrization.expand(self.trained_of(run), run.state.fixed)

    def trained_of(self, run: Run) -> Tree:
        """What a run has trained, as the parametrization has it; numpy arrays."""
        state = run.state
        params = state.averaged[0] if state.averaged else state.params
        return self._packings.trained.unpack(jax.tree.map(np.asarray, params))

    def statistics_of(self, run: Run) -> Tree:
        """The norms' running statistics that a run has arrived at; numpy arrays."""
        state = run.state
        statistics = state.averaged[1] if state.averaged else state.statistics
        return self._packings.statistics.unpack(jax.tree.map(np.asarray, statistics))

    def epochs(self, run: Run, seed: Seed, until: int) -> Iterator[Run]:
        """Continue a run, epoch by epoch, until so many are complete.

        Everything random follows from the seed and the number of the epoch and step, and the
        schedule from the recipe's epochs alone: a run that was saved and resumed gives the
        same weights as one that never paused.

        Args:
            run: what to continue; its state's buffers are given up, as are those of each run
                that this yields when the next is requested.
            seed: of the run.
            until: epochs completed at the end, at most the recipe's.

        Raises:
            DivergenceError: the loss became NaN or infinite, with the step.
        """
        noise = jax.random.fold_in(seed.key(), 1)
        for epoch in range(run.epochs, until):
            started = time.perf_counter()
            state, losses, wait_s = self._epoch(run.state, epoch, seed, noise)
            train_s = run.train_s + time.perf_counter() - started
            bad = np.flatnonzero(~np.isfinite(losses))
            if len(bad):
                step, loss = epoch * self.steps_per_epoch + int(bad[0]), float(losses[bad[0]])
                rate = float(learning_rates(self.recipe, self.steps_count)(step))
                raise DivergenceError(step, rate, loss, epochs=epoch, train_s=train_s)
            run = Run(state, epoch + 1, float(losses.mean()), train_s, run.wait_s + wait_s)
            yield run

    def measure(self, run: Run, *, scores_test: bool = True) -> Measurement:
        """Score the validation images, and the test images where that is wanted."""
        params, statistics = self.params_of(run), self.statistics_of(run)
        validation = self.correct(params, statistics, self.dataset.validation)
        images_count = run.epochs * self.steps_per_epoch * self.recipe.batch_size
        measurement = Measurement(
            status="finished",
            validation_accuracy=float(validation.mean()),
            train_loss=run.loss,
            epochs=run.epochs,
            train_s=run.train_s,
            compile_s=self.compile_s,
            images_per_s=images_count / run.train_s if run.train_s else 0.0,
            validation_correct=pack_bits(validation),
        )
        if not scores_test:
            return measurement
        test = self.correct(params, statistics, self.dataset.test)
        return replace(measurement, test_accuracy=float(test.mean()), test_correct=pack_bits(test))

    def correct(self, params: Tree, statistics: Tree, split: Split) -> np.ndarray:
        """Whether the best class of each image of `split` is its label, bool (image,)."""
        return self._predictor.correct(params, statistics, split)

    def _patches(self, side: int, stride: int) -> np.ndarray:
        """Patches (patch, side · side · channel) of some training images, scaled."""
        images = self.dataset.train.images
        some = images[:: max(1, len(images) // PATCHES_IMAGES)][:PATCHES_IMAGES]
        scaled = np.asarray(self._scaling.apply(jnp.asarray(some)))
        windows = np.lib.stride_tricks.sliding_window_view(scaled, (side, side), (1, 2))
        apart = max(stride, min(images.shape[1:3]) // 16)
        windows = windows[:, ::apart, ::apart].transpose(0, 1, 2, 4, 5, 3)
        return windows.reshape(-1, side * side * images.shape[3])

    def _epoch(
        self, state: TrainState, epoch: int, seed: Seed, noise: jax.Array
    ) -> tuple[TrainState, np.ndarray, float]:
        """The state after an epoch, the loss of each step, and seconds of waiting for images."""
        losses, wait_s, asked = [], 0.0, time.perf_counter()
        batches = self._batches(epoch, seed)
        for images, targets in batches if self._is_in_memory else ahead(batches):
            wait_s += time.perf_counter() - asked
            state, loss = self._train[len(images)](state, images, targets, noise)
            losses.append(np.asarray(loss))
            asked = time.perf_counter()
        return state, np.concatenate(losses), wait_s

    def _batches(self, epoch: int, seed: Seed) -> Iterator[tuple[np.ndarray, Tree]]:
        """Images (step, batch, height, width, channel) and targets of each call in an epoch."""
        train, batch = self.dataset.train, self.recipe.batch_size
        order = seed.order(epoch, len(train.labels))
        mirrored = None
        if self.recipe.flip and self.recipe.alternates_flip:
            mirrored = seed.mirrored(epoch, len(order))
        crops = (seed.study, seed.replicate, epoch)
        for start, stop in self._chunks():
            picked = order[start * batch : stop * batch]
            images = take(train.images, picked, crops, self.recipe.crop_area)
            if mirrored is not None:
                images[mirrored[picked]] = images[mirrored[picked], :, ::-1]
            images = images.reshape(-1, batch, *self.dataset.input_shape)
            targets: Tree = train.labels[picked].reshape(-1, batch)
            if self.recipe.distill_share:
                assert self._teacher is not None
                targets = targets, self._teacher[picked].reshape(*targets.shape, -1)
            yield images, targets

    @property
    def _is_in_memory(self) -> bool:
        return isinstance(self.dataset.train.images, np.ndarray)

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """(first step, end) of each call of the training program in an epoch."""
        step_bytes = self.recipe.batch_size * int(np.prod(self.dataset.input_shape))
        most_bytes = CHUNK_BYTES if self._is_in_memory else STREAM_BYTES
        calls = max(1, -(-self.steps_per_epoch * step_bytes // most_bytes))
        size = -(-self.steps_per_epoch // calls)
        for start in range(0, self.steps_per_epoch, size):
            yield start, min(start + size, self.steps_per_epoch)

    def _compiled(
        self, name: str, function: Any, result: Tree, *arguments: Any
    ) -> Callable[..., Any]:
        started = time.perf_counter()
        shapes = jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), arguments)
        facts = (
            name,
            program_key(self.architecture, self._scaling),
            json.dumps(self.recipe.to_dict(), sort_keys=True),
            self.steps_count,
            self._parametrization.key,
            shapes,
            *self._scales,
        )
        if self._mesh is not None and name == "train":  # kept programs are of one device
            compiled = function.lower(*arguments).compile()
        else:
            compiled = load_or_compile(function, arguments, result=result, key=repr(facts))
        self.compile_s += time.perf_counter() - started
        return compiled
