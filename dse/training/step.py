"""The compiled training program: many steps in one scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from dse.data.augment import augment
from dse.networks import Network, update_ema
from dse.networks.ops import compute_dtype, use_cpu_forms
from dse.training.optimizers import TAKES_MATRICES
from dse.training.parametrization import Parametrization, Tree
from dse.training.recipe import Recipe
from dse.training.scaling import InputScaling
from dse.training.xla import Packing, compiler_options, in_microbatches, microbatches_count
from dse.training.xla.packing import LARGE


class TrainState(NamedTuple):
    """What a training run carries from step to step.

    `params` is what is trained and `fixed` what a parametrization leaves alone; as usual that
    is all parameters, and nothing. `params` and `statistics` are packed (`Packing`), and so
    is `averaged`: the moving averages of both where the recipe wants them, otherwise nothing.
    """

    params: Tree
    statistics: Tree
    optimizer: Any
    step: Any
    fixed: Tree = ()
    averaged: Tree = ()


class Packings(NamedTuple):
    """How a run's arrays are packed: what is trained, and the norms' running statistics."""

    trained: Packing
    statistics: Packing


def make_packings(recipe: Recipe, trained: Tree, statistics: Tree) -> Packings:
    """How runs of a recipe pack arrays of these shapes."""
    is_matrices = recipe.optimizer in TAKES_MATRICES
    large = LARGE if use_cpu_forms() else 0
    return Packings(
        Packing(trained, is_matrices=is_matrices, large=large), Packing(statistics, large=large)
    )


def make_train_program(
    network: Network,
    recipe: Recipe,
    optimizer: optax.GradientTransformation,
    scaling: InputScaling,
    parametrization: Parametrization,
    packings: Packings,
    steps_count: int,
    mesh: Mesh | None = None,
) -> Callable[..., tuple[TrainState, jax.Array]]:
    """A jitted function that runs one step for each batch it is given.

    It takes (state, images, targets, key): images uint8 (step, batch, height, width,
    channel), targets labels int32 (step, batch), or where the recipe distils (labels, scores of
    the teacher float32 (step, batch, class)), and one key; the noise of a step depends on the
    key and on the step's number alone. It gives the new state and the loss of each step.

    With a mesh of one axis `data`, each device holds its share of every batch and all of the
    state; gradients, batch norms and losses are those of the whole batch.
    """
    gradients_of = _make_gradients(network, recipe, parametrization, packings.statistics)

    def step(
        key: jax.Array, state: TrainState, batch: tuple[jax.Array, Tree]
    ) -> tuple[TrainState, jax.Array]:
        augment_key, dropout_key = jax.random.split(jax.random.fold_in(key, state.step))
        images = augment(
            scaling.apply(batch[0]),
            augment_key,
            crop=recipe.crop_px,
            flip=recipe.flip and not recipe.alternates_flip,  # which the trainer does
            cutout=recipe.cutout_px,
        )
        # The gradient is taken of the arrays and packed then: that of a packed array would
        # be a sum over as many arrays of its whole length.
        trained = packings.trained.unpack(state.params)
        (loss, of_batch), gradients = gradients_of(trained, state, images, batch[1], dropout_key)
        statistics = update_ema(state.statistics, of_batch, recipe.norm_momentum)
        gradients = packings.trained.pack(gradients)
        updates, optimizer_state = optimizer.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        step_count = state.step + 1
        averaged = state.averaged
        if recipe.averaged_share:
            kept = average_decay(recipe, steps_count, state.step)
            averaged = update_ema(averaged, (params, statistics), kept)
        return TrainState(
            params, statistics, optimizer_state, step_count, state.fixed, averaged
        ), loss

    def program(
        state: TrainState, images: jax.Array, targets: Tree, key: jax.Array
    ) -> tuple[TrainState, jax.Array]:
        return jax.lax.scan(lambda *carried: step(key, *carried), state, (images, targets))

    shardings: dict[str, Any] = {}
    if mesh is not None:
        whole, shared = NamedSharding(mesh, P()), NamedSharding(mesh, P(None, "data"))
        shardings = {"in_shardings": (whole, shared, shared, whole), "out_shardings": whole}
    return jax.jit(
        program,
        donate_argnums=(0,),
        keep_unused=True,
        compiler_options=compiler_options(),
        **shardings,
    )


def average_decay(recipe: Recipe, steps_count: int, step: Any) -> Any:
    """Share of the averaged weights that stays at a step: little at first, so that none start."""
    horizon = max(1.0, recipe.averaged_share * steps_count)
    return jnp.minimum(1 - 1 / horizon, (step + 1) / (step + 10))


def soft_loss(logits: jax.Array, teacher: jax.Array, temperature: float) -> jax.Array:
    """Mean divergence of softened scores from a teacher's, times the temperature's square.

    Args:
        logits: float32 (batch, class).
        teacher: scores of the teacher, of that shape.
        temperature: that both are divided by.

    Source: Hinton, Vinyals and Dean 2015 (arXiv 1503.02531), section 2.
    """
    softened = jax.nn.log_softmax(logits / temperature)
    wanted = jax.nn.softmax(teacher / temperature)
    return temperature**2 * optax.losses.kl_divergence(softened, wanted).mean()


def _make_gradients(
    network: Network, recipe: Recipe, parametrization: Parametrization, statistics_packing: Packing
) -> Callable[..., tuple[tuple[jax.Array, Tree], Tree]]:
    """From (trained, state, images, targets, key) to ((loss, packed statistics), gradients)."""

    def loss_of(
        trained: Tree, state: TrainState, images: jax.Array, targets: Tree, key: jax.Array
    ) -> tuple[jax.Array, Tree]:
        params = parametrization.expand(trained, state.fixed)
        statistics = statistics_packing.unpack(state.statistics)
        images = images.astype(compute_dtype())
        logits, statistics = network.apply(params, statistics, images, train=True, dropout_key=key)
        labels, *scores = targets if recipe.distill_share else (targets,)
        smoothed = optax.smooth_labels(
            jax.nn.one_hot(labels, logits.shape[-1]), recipe.label_smoothing
        )
        loss = optax.softmax_cross_entropy(logits, smoothed).mean()
        if scores:
            soft = soft_loss(logits, scores[0], recipe.distill_temperature)
            loss = (1 - recipe.distill_share) * loss + recipe.distill_share * soft
        return loss, statistics_packing.pack(statistics)

    of_images = jax.value_and_grad(loss_of, has_aux=True)
    count = microbatches_count(network, recipe.batch_size)
    if count == 1:
        return of_images

    def of_batch(
        trained: Tree, state: TrainState, *batch: jax.Array
    ) -> tuple[tuple[jax.Array, Tree], Tree]:
        def of_microbatch(trained: Tree, *microbatch: jax.Array) -> tuple[jax.Array, Tree]:
            (loss, _), gradients = of_images(trained, state, *microbatch)
            return loss, gradients

        loss, gradients = in_microbatches(of_microbatch, count)(trained, *batch)
        return (loss, state.statistics), gradients

    return of_batch
