"""The optimizers of a recipe, and the schedule of their learning rate.

A new one: a function here, a row in `OPTIMIZERS`, and its name in `dse.training.recipe.Optimizer`.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import optax

from dse.training.parametrization import Tree
from dse.training.recipe import Optimizer, Recipe

Steps = tuple[optax.GradientTransformation, ...]
"""From a gradient to an update for learning rate 1, one after the other."""

MUON_REST = 0.2
"""Learning rate of what Muon does not fit (dense kernels, biases, norms), as a share of its own."""


def learning_rates(recipe: Recipe, steps_count: int) -> optax.Schedule:
    """The one-cycle schedule over `steps_count` steps."""
    count = max(steps_count, 2)
    # Optax takes int(pct_start * count) as the step of the peak, and has none at `count` itself.
    start = min(recipe.warmup_share, (count - 0.5) / count)
    return optax.cosine_onecycle_schedule(count, recipe.learning_rate, pct_start=start)


def make_optimizer(recipe: Recipe, steps_count: int) -> optax.GradientTransformation:
    """The recipe's optimizer with its schedule over `steps_count` steps."""
    clip = optax.clip_by_global_norm(recipe.clip_norm) if recipe.clip_norm else optax.identity()
    decay = optax.add_decayed_weights(recipe.weight_decay, mask=is_kernel)
    rate = optax.scale_by_learning_rate(learning_rates(recipe, steps_count))
    return optax.chain(clip, *OPTIMIZERS[recipe.optimizer](recipe, decay), rate)


def is_kernel(params: Tree) -> Tree:
    """True for kernels: biases and norms are not decayed."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def sgd(recipe: Recipe, decay: optax.GradientTransformation) -> Steps:
    """Nesterov momentum; the decay is part of the gradient."""
    return decay, optax.trace(recipe.momentum, nesterov=True)


def adamw(recipe: Recipe, decay: optax.GradientTransformation) -> Steps:
    """Adam with decoupled decay (Loshchilov and Hutter 2019)."""
    return optax.scale_by_adam(b1=recipe.momentum), decay


def muon(recipe: Recipe, decay: optax.GradientTransformation) -> Steps:
    """Orthogonal updates of convolution kernels, each as a matrix (height · width · in, out).

    Dense kernels, biases and norms get Adam's.
    """

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

    def labels(params: Tree) -> Tree:
        return jax.tree_util.tree_map_with_path(
            lambda path, x: "matrix" if path[-1].key == "kernel" and x.ndim == 4 else "rest", params
        )

    orthogonal = optax.contrib.scale_by_muon(
        beta=recipe.momentum, weight_dimension_numbers=dimensions
    )
    transforms = {
        "matrix": optax.chain(orthogonal, optax.stateless(widened)),
        "rest": optax.chain(optax.scale_by_adam(b1=recipe.momentum), optax.scale(MUON_REST)),
    }
    return optax.partition(transforms, labels), decay


OPTIMIZERS: dict[Optimizer, Callable[[Recipe, optax.GradientTransformation], Steps]] = {
    "sgd": sgd,
    "adamw": adamw,
    "muon": muon,
}
"""By the name that a recipe gives; each is handed the recipe and the weight decay of kernels."""

TAKES_MATRICES: frozenset[Optimizer] = frozenset({"muon"})
"""Optimizers that must see each convolution kernel by itself, not packed with others."""
