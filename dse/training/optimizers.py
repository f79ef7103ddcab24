"""The optimizers of a recipe, and the schedule of their learning rate.

A new one: a function here, a row in `OPTIMIZERS`, and its name in `dse.training.recipe.Optimizer`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from dse.training.muon import rotations
from dse.training.parametrization import Tree
from dse.training.recipe import Optimizer, Recipe

Steps = tuple[optax.GradientTransformation, ...]
"""From a gradient to an update for learning rate 1, one after the other."""


def learning_rates(recipe: Recipe, steps_count: int) -> optax.Schedule:
    """The schedule over `steps_count` steps."""
    count = max(steps_count, 2)
    if recipe.schedule == "linear":
        top = min(max(1, round(recipe.warmup_share * count)), count - 1)

        def linear(step: jax.typing.ArrayLike) -> jax.Array:
            # The first step has a rate, and the last one too.
            up, down = (step + 1) / (top + 1), (count - step) / (count - top)
            return recipe.learning_rate * jnp.clip(jnp.minimum(up, down), 0, 1)

        return linear
    # Optax takes int(pct_start * count) as the step of the peak, and has none at `count` itself.
    start = min(recipe.warmup_share, (count - 0.5) / count)
    return optax.cosine_onecycle_schedule(count, recipe.learning_rate, pct_start=start)


def make_optimizer(
    recipe: Recipe, steps_count: int, *, last: str = ""
) -> optax.GradientTransformation:
    """The recipe's optimizer with its schedule over `steps_count` steps.

    Args:
        recipe: names it.
        steps_count: of the whole training.
        last: path of the layer that gives the scores, which never keeps its norm.
    """
    clip = optax.clip_by_global_norm(recipe.clip_norm) if recipe.clip_norm else optax.identity()
    decay = optax.add_decayed_weights(recipe.weight_decay, mask=is_kernel)
    rates = learning_rates(recipe, steps_count)
    steps: Steps
    if recipe.optimizer == "muon" and recipe.keeps_norms:
        steps = rotating_muon(recipe, decay, rates, last)
    else:
        steps = *OPTIMIZERS[recipe.optimizer](recipe, decay), optax.scale_by_learning_rate(rates)
    if recipe.bias_rate != 1:
        faster = optax.masked(optax.scale(recipe.bias_rate), is_bias)
        steps = *steps, faster
    return optax.chain(clip, *steps)


def is_kernel(params: Tree) -> Tree:
    """True for kernels: biases and norms are not decayed."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key == "kernel", params)


def is_bias(params: Tree) -> Tree:
    """True for biases, those of norms included; packed ones lie with the norms' scales."""
    return jax.tree_util.tree_map_with_path(lambda path, _: path[-1].key != "kernel", params)


def sgd(recipe: Recipe, decay: optax.GradientTransformation) -> Steps:
    """Nesterov momentum; the decay is part of the gradient."""
    return decay, optax.trace(recipe.momentum, nesterov=True)


def adamw(recipe: Recipe, decay: optax.GradientTransformation) -> Steps:
    """Adam with decoupled decay (Loshchilov and Hutter 2019)."""
    return optax.scale_by_adam(b1=recipe.momentum), decay


def _as_matrices(kernels: Tree) -> Tree:
    return jax.tree.map(
        lambda kernel: optax.contrib.MuonDimensionNumbers(tuple(range(kernel.ndim - 1)), -1),
        kernels,
    )


def muon(recipe: Recipe, decay: optax.GradientTransformation) -> Steps:
    """Orthogonal updates of convolution kernels, each as a matrix (height · width · in, out).

    Dense kernels, biases and norms get Adam's.
    """

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
        beta=recipe.momentum, weight_dimension_numbers=_as_matrices
    )
    transforms = {
        "matrix": optax.chain(orthogonal, optax.stateless(widened)),
        "rest": optax.chain(optax.scale_by_adam(b1=recipe.momentum), optax.scale(recipe.rest_rate)),
    }
    return optax.partition(transforms, labels), decay


def rotating_muon(
    recipe: Recipe, decay: optax.GradientTransformation, rates: optax.Schedule, last: str
) -> Steps:
    """Muon on kernels that keep their norms, AdamW on the rest and on the last layer."""

    def labels(params: Tree) -> Tree:
        def label(path: Any, x: jax.Array) -> str:
            layer = "/".join(part.key for part in path[:-1])  # packed, the kind is in it too
            is_matrix = path[-1].key == "kernel" and x.ndim == 4
            return "matrix" if is_matrix and layer not in (last, f"apart/{last}/kernel") else "rest"

        return jax.tree_util.tree_map_with_path(label, params)

    rest = optax.chain(
        optax.scale_by_adam(b1=recipe.momentum),
        decay,
        optax.scale(recipe.rest_rate),
        optax.scale_by_learning_rate(rates),
    )
    return (optax.partition({"matrix": rotations(recipe.momentum, rates), "rest": rest}, labels),)


OPTIMIZERS: dict[Optimizer, Callable[[Recipe, optax.GradientTransformation], Steps]] = {
    "sgd": sgd,
    "adamw": adamw,
    "muon": muon,
}
"""By the name that a recipe gives; each is handed the recipe and the weight decay of kernels."""

TAKES_MATRICES: frozenset[Optimizer] = frozenset({"muon"})
"""Optimizers that must see each convolution kernel by itself, not packed with others."""
