"""Training one network from its first weights to a measurement."""

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
from dse.errors import DivergenceError
from dse.networks import build_network
from dse.study.measurement import Measurement, pack_bits
from dse.training.parametrization import AllParameters, Parametrization, Tree
from dse.training.recipe import Recipe, check_fits
from dse.training.score import SplitScorer, pixels_of, program_key
from dse.training.step import (
    TrainState,
    learning_rates,
    make_optimizer,
    make_packings,
    make_train_program,
)
from dse.training.xla.compile_cache import load_or_compile

CHUNK_BYTES = 512 * 2**20
"""Images handed to one call of the training program; an epoch that is larger takes several."""

OnEpoch = Callable[[int, float], None]
"""Called with (epochs completed, mean loss of the last one)."""


@dataclass(frozen=True)
class Seed:
    """Where all noise of a run comes from: data order, augmentation, first weights, dropout.

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


@dataclass(frozen=True)
class Run:
    """A training run, between two epochs.

    Attributes:
        state: parameters, statistics, optimizer and step.
        epochs: completed so far.
        loss: mean over the last epoch; NaN before the first.
        train_s: seconds spent in training steps so far.
    """

    state: TrainState
    epochs: int = 0
    loss: float = float("nan")
    train_s: float = 0.0


@dataclass(frozen=True)
class Trained:
    """Trained weights and what was measured of them."""

    params: Tree
    statistics: Tree
    measurement: Measurement


class Trainer:
    """The compiled programs of one network, recipe and data set; trains it with any seed.

    Args:
        architecture: built for the images of `dataset`.
        dataset: prepared images.
        recipe: how to train.
        parametrization: what is trained in place of the parameters; as usual all of them.

    Raises:
        TrainingError: fewer training images than one batch, or a crop as large as a image.
    """

    def __init__(
        self,
        architecture: Architecture,
        dataset: Dataset,
        recipe: Recipe,
        parametrization: Parametrization | None = None,
    ) -> None:
        self.architecture, self.dataset, self.recipe = architecture, dataset, recipe
        count = len(dataset.train.labels)
        check_fits(recipe, dataset.name, input_shape=dataset.input_shape, train_count=count)
        self.steps_per_epoch = count // recipe.batch_size
        self.steps_count = self.steps_per_epoch * recipe.epochs
        network = build_network(architecture)
        optimizer = make_optimizer(recipe, self.steps_count)

        self.compile_s = 0.0
        self._network = network
        params, statistics = network.abstract_params(), network.abstract_statistics()
        self._parametrization = parametrization or AllParameters()
        trained, fixed = self._parametrization.abstract(params)
        self._packings = make_packings(recipe, trained, statistics)
        packed = self._packings.trained.abstract(trained)
        self._first_optimizer = self._compiled("optimizer", jax.jit(optimizer.init), packed)
        self._state_shape = TrainState(
            packed,
            self._packings.statistics.abstract(statistics),
            jax.eval_shape(optimizer.init, packed),
            jax.ShapeDtypeStruct((), jnp.int32),
            fixed,
        )
        self._train_program = make_train_program(
            network, recipe, optimizer, pixels_of(dataset), self._parametrization, self._packings
        )
        self._train: dict[int, Callable[..., tuple[TrainState, jax.Array]]] = {}
        self._scorer = SplitScorer(network, dataset)
        self.compile_s += self._scorer.compile_s
        for steps in sorted({stop - start for start, stop in self._chunks()}):
            self._train[steps] = self._compiled_train(steps)

    def train(self, seed: Seed, *, on_epoch: OnEpoch | None = None) -> Trained:
        """Train from first weights over all epochs, then score validation and test images.

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
        return self.begin_from(*self._network.init(seed.key()))

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
        optimizer = self._first_optimizer(trained)
        return Run(TrainState(trained, statistics, optimizer, jnp.int32(0), fixed))

    def params_of(self, run: Run) -> Tree:
        """The network's parameters that a run has arrived at."""
        return self._parametrization.expand(self.trained_of(run), run.state.fixed)

    def trained_of(self, run: Run) -> Tree:
        """What a run has trained, as the parametrization has it; numpy arrays."""
        return self._packings.trained.unpack(jax.tree.map(np.asarray, run.state.params))

    def statistics_of(self, run: Run) -> Tree:
        """The norms' running statistics that a run has arrived at; numpy arrays."""
        return self._packings.statistics.unpack(jax.tree.map(np.asarray, run.state.statistics))

    def epochs(self, run: Run, seed: Seed, until: int) -> Iterator[Run]:
        """Go on with a run, epoch by epoch, until so many are complete.

        Everything random follows from the seed and the number of the epoch and step, and the
        schedule from the recipe's epochs alone: a run that was kept and taken up again gives
        the same weights as one that never paused.

        Args:
            run: where to go on; its state's buffers are given up, as are those of each run
                that this yields when the next is asked for.
            seed: of the run.
            until: epochs completed at the end, at most the recipe's.

        Raises:
            DivergenceError: the loss became NaN or infinite, with the step.
        """
        noise = jax.random.fold_in(seed.key(), 1)
        for epoch in range(run.epochs, until):
            started = time.perf_counter()
            state, losses = self._epoch(run.state, epoch, seed, noise)
            train_s = run.train_s + time.perf_counter() - started
            self._check(losses, epoch, train_s)
            run = Run(state, epoch + 1, float(losses.mean()), train_s)
            yield run

    def measure(self, run: Run, *, scores_test: bool = True) -> Measurement:
        """Score the validation images, and the test images where that is wanted."""
        params, statistics = self.params_of(run), self.statistics_of(run)
        validation = self.correct(params, statistics, self.dataset.validation)
        measurement = Measurement(
            status="finished",
            validation_accuracy=float(validation.mean()),
            train_loss=run.loss,
            epochs=run.epochs,
            train_s=run.train_s,
            compile_s=self.compile_s,
            images_per_s=self._images_per_s(run),
            validation_correct=pack_bits(validation),
        )
        if not scores_test:
            return measurement
        test = self.correct(params, statistics, self.dataset.test)
        return replace(measurement, test_accuracy=float(test.mean()), test_correct=pack_bits(test))

    def correct(self, params: Tree, statistics: Tree, split: Split) -> np.ndarray:
        """Whether the best class of each image of `split` is the right one, bool (image,)."""
        return self._scorer.correct(params, statistics, split)

    @property
    def state_shape(self) -> TrainState:
        """The tree of a run's state with shapes and types in place of arrays."""
        return self._state_shape

    def _images_per_s(self, run: Run) -> float:
        images_count = run.epochs * self.steps_per_epoch * self.recipe.batch_size
        return images_count / run.train_s if run.train_s else 0.0

    def _epoch(
        self, state: TrainState, epoch: int, seed: Seed, noise: jax.Array
    ) -> tuple[TrainState, np.ndarray]:
        train, batch = self.dataset.train, self.recipe.batch_size
        order = seed.order(epoch, len(train.labels))
        losses = []
        for start, stop in self._chunks():
            picked = order[start * batch : stop * batch]
            images = train.images[picked].reshape(-1, batch, *self.dataset.input_shape)
            labels = train.labels[picked].reshape(-1, batch)
            state, loss = self._train[stop - start](state, images, labels, noise)
            losses.append(np.asarray(loss))
        return state, np.concatenate(losses)

    def _chunks(self) -> Iterator[tuple[int, int]]:
        """(first step, end) of each call of the training program in an epoch."""
        step_bytes = self.recipe.batch_size * int(np.prod(self.dataset.input_shape))
        calls = max(1, -(-self.steps_per_epoch * step_bytes // CHUNK_BYTES))
        size = -(-self.steps_per_epoch // calls)
        for start in range(0, self.steps_per_epoch, size):
            yield start, min(start + size, self.steps_per_epoch)

    def _check(self, losses: np.ndarray, epoch: int, train_s: float) -> None:
        bad = np.flatnonzero(~np.isfinite(losses))
        if len(bad):
            step = epoch * self.steps_per_epoch + int(bad[0])
            rate = float(learning_rates(self.recipe, self.steps_count)(step))
            raise DivergenceError(step, rate, float(losses[bad[0]]), epochs=epoch, train_s=train_s)

    def _compiled_train(self, steps: int) -> Callable[..., tuple[TrainState, jax.Array]]:
        shape = (steps, self.recipe.batch_size)
        return self._compiled(
            "train",
            self._train_program,
            self._state_shape,
            jax.ShapeDtypeStruct((*shape, *self.dataset.input_shape), jnp.uint8),
            jax.ShapeDtypeStruct(shape, jnp.int32),
            jax.random.key(0),
        )

    def _compiled(self, name: str, function: Any, *arguments: Any) -> Callable[..., Any]:
        started = time.perf_counter()
        shapes = jax.tree.map(lambda leaf: (leaf.shape, str(leaf.dtype)), arguments)
        facts = (
            name,
            program_key(self.architecture, self.dataset),
            json.dumps(self.recipe.to_dict(), sort_keys=True),
            self.steps_count,
            self._parametrization.key,
            shapes,
        )
        compiled = load_or_compile(function, arguments, key=repr(facts))
        self.compile_s += time.perf_counter() - started
        return compiled
