"""The compiled programs: many training steps in one scan, and a batch of images scored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dse.data.augment import augment
from dse.networks import Network, update_ema
from dse.training.parametrization import Parametrization, Tree
from dse.training.recipe import Recipe
from dse.training.xla.compiler import compiler_options
from dse.training.xla.microbatching import in_microbatches, microbatches_count
from dse.training.xla.packing import Packing

MUON_REST = 0.2
"""Learning rate of what Muon does not fit (dense kernels, biases, norms), as a share of its own."""


class TrainState(NamedTuple):
    """What a training run carries from step to step.

    `params` is what is trained and `fixed` what a parametrization leaves alone; as usual that
    is all parameters, and nothing. `params` and `statistics` are packed (`Packing`).
    """

    params: Tree
    statistics: Tree
    optimizer: Any
    step: Any
    fixed: Tree = ()


class Packings(NamedTuple):
    """How a run's arrays are packed: what is trained, and the norms' running statistics."""

    trained: Packing
    statistics: Packing


class Pixels(NamedTuple):
    """The scale of the images: mean and standard deviation of each channel, in [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalise(self, images: jax.Array) -> jax.Array:
        """Uint8 images as float32 with mean 0 and standard deviation 1."""
        mean, std = jnp.asarray(self.mean), jnp.asarray(self.std)
        return (images.astype(jnp.float32) / 255.0 - mean) / std


def learning_rates(recipe: Recipe, steps_count: int) -> optax.Schedule:
    """The one-cycle schedule over `steps_count` steps."""
    count = max(steps_count, 2)
    # Optax takes int(pct_start * count) as the step of the peak, and has none at `count` itself.
    start = min(recipe.warmup_share, (count - 0.5) / count)
    return optax.cosine_onecycle_schedule(count, recipe.learning_rate, pct_start=start)


def make_optimizer(recipe: Recipe, steps_count: int) -> optax.GradientTransformation:
    """The recipe's optimizer with its schedule over `steps_count` steps."""
    schedule = learning_rates(recipe, steps_count)
    clip = optax.clip_by_global_norm(recipe.clip_norm) if recipe.clip_norm else optax.identity()
    decay = optax.add_decayed_weights(recipe.weight_decay, mask=_kernels)
    if recipe.optimizer in ("adamw", "muon"):
        moments = optax.scale_by_adam(b1=recipe.momentum)
        if recipe.optimizer == "muon":
            rest = optax.chain(moments, optax.scale(MUON_REST))
            moments = optax.partition({"matrix": _muon(recipe), "rest": rest}, _muon_labels)
        return optax.chain(clip, moments, decay, optax.scale_by_learning_rate(schedule))
    momentum = optax.trace(recipe.momentum, nesterov=True)
    return optax.chain(clip, decay, momentum, optax.scale_by_learning_rate(schedule))


def make_packings(recipe: Recipe, trained: Tree, statistics: Tree) -> Packings:
    """How runs of a recipe pack arrays of these shapes; Muon wants its matrices apart."""
    return Packings(Packing(trained, is_matrices=recipe.optimizer == "muon"), Packing(statistics))


def _muon(recipe: Recipe) -> optax.GradientTransformation:
    """Orthogonal updates of convolution kernels, each as a matrix (height · width · in, out)."""

    def dimensions(kernels: Tree) -> Tree:
        return jax.tree.map(
            lambda kernel: optax.contrib.MuonDimensionNumbers(tuple(range(kernel.ndim - 1)), -1),
            kernels,
        )

    def widened(updates: Tree, params: Tree | None = None) -> Tree:
        def scaled(update: jax.Array) -> jax.Array:
            ratio = update.shape[-1] ** 2 / update.size
            return update * max(1.0, ratio) ** 0.5

        return jax.tree.map(scaled, updates)

    muon = optax.contrib.scale_by_muon(beta=recipe.momentum, weight_dimension_numbers=dimensions)
    return optax.chain(muon, optax.stateless(widened))


def _muon_labels(params: Tree) -> Tree:
    """`matrix` for convolution kernels, `rest` for dense ones, biases and norms."""
    return jax.tree_util.tree_map_with_path(
        lambda path, x: "matrix" if path[-1].key == "kernel" and x.ndim == 4 else "rest", params
    )


def _kernels(params: Tree) -> Tree:
    """True for kernels: biases and norms are not decayed."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def make_train_program(
    network: Network,
    recipe: Recipe,
    optimizer: optax.GradientTransformation,
    pixels: Pixels,
    parametrization: Parametrization,
    packings: Packings,
) -> Callable[..., tuple[TrainState, jax.Array]]:
    """A jitted function that runs one step for each batch it is given.

    It takes (state, images, labels, key): images uint8 (step, batch, height, width,
    channel), labels int32 (step, batch), and one key; the noise of a step depends on the
    key and on the step's number alone. It gives the new state and the loss of each step.
    """

    def loss_of(
        trained: Tree, state: TrainState, images: jax.Array, labels: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, Tree]:
        params = parametrization.expand(trained, state.fixed)
        statistics = packings.statistics.unpack(state.statistics)
        logits, statistics = network.apply(params, statistics, images, train=True, dropout_key=key)
        targets = optax.smooth_labels(
            jax.nn.one_hot(labels, logits.shape[-1]), recipe.label_smoothing
        )
        loss = optax.softmax_cross_entropy(logits, targets).mean()
        return loss, packings.statistics.pack(statistics)

    parts_count = microbatches_count(network, recipe.batch_size)

    def gradients_of(
        trained: Tree, state: TrainState, images: jax.Array, labels: jax.Array, key: jax.Array
    ) -> tuple[tuple[jax.Array, Tree], Tree]:
        whole = jax.value_and_grad(loss_of, has_aux=True)
        if parts_count == 1:
            return whole(trained, state, images, labels, key)

        def of_part(trained: Tree, *part: jax.Array) -> tuple[jax.Array, Tree]:
            (loss, _), gradients = whole(trained, state, *part)
            return loss, gradients

        loss, gradients = in_microbatches(of_part, parts_count)(trained, images, labels, key)
        return (loss, state.statistics), gradients

    def program(
        state: TrainState, images: jax.Array, labels: jax.Array, key: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        def step(
            state: TrainState, batch: tuple[jax.Array, jax.Array]
        ) -> tuple[TrainState, jax.Array]:
            augment_key, dropout_key = jax.random.split(jax.random.fold_in(key, state.step))
            images = augment(
                pixels.normalise(batch[0]),
                augment_key,
                crop=recipe.crop_px,
                flip=recipe.flip,
                cutout=recipe.cutout_px,
            )
            # The gradient is taken of the arrays and packed then: that of a packed array would
            # be a sum over as many arrays of its whole length.
            trained = packings.trained.unpack(state.params)
            (loss, of_batch), gradients = gradients_of(
                trained, state, images, batch[1], dropout_key
            )
            statistics = update_ema(state.statistics, of_batch)
            gradients = packings.trained.pack(gradients)
            updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
            params = optax.apply_updates(state.params, updates)
            step_count = state.step + 1
            return TrainState(params, statistics, optimizer_state, step_count, state.fixed), loss

        return jax.lax.scan(step, state, (images, labels))

    return jax.jit(program, donate_argnums=(0,), compiler_options=compiler_options())


def make_score_program(network: Network, pixels: Pixels) -> Callable[..., jax.Array]:
    """A jitted function from (params, statistics, images) to the best class of each image.

    Images are uint8 (batch, height, width, channel); classes int32 (batch,).
    """

    def program(params: Tree, statistics: Tree, images: jax.Array) -> jax.Array:
        logits, _ = network.apply(params, statistics, pixels.normalise(images), train=False)
        return jnp.argmax(logits, axis=-1).astype(jnp.int32)

    return jax.jit(program, compiler_options=compiler_options())
