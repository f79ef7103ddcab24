"""A batch's gradient as the mean over microbatches, which a CPU's cache can hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from dse.architecture import cost
from dse.networks import Network
from dse.networks.ops import use_cpu_forms
from dse.training.parametrization import Tree

MICROBATCH_SIZE = 8
"""Images in a microbatch. Of 128 images of 32x32 at once, and by 64, 32, 16 and 8, networks with
base_e = incr_e = 32 train 2,340, 2,470, 2,470, 2,940 and 3,010 per second, with 128 376, 402,
452, 444 and 466 (one thread of a core with 1 MiB of second-level cache)."""

ADDING = 20.0
"""Adding up a parameter's gradient takes as long as so many multiply-adds of a training step."""

MOST_ADDING = 0.05
"""A batch whose microbatches would spend a larger share of their time on adding stays whole."""

Gradients = Callable[[Tree, Array, Tree, Array], tuple[Array, Tree]]
"""(params, images, targets, key) to (mean loss, its gradients)."""


def microbatches_count(network: Network, batch_size: int) -> int:
    """How many microbatches to divide a batch into; 1: none.

    On a CPU, where the batch is a multiple of `MICROBATCH_SIZE` images and the network has no batch
    norms (they need the whole batch) and few parameters for its multiply-adds: those of AlexNet
    would be added up too often.
    """
    costs = cost(network.architecture)
    adding = ADDING * costs.params_count / (costs.macs * MICROBATCH_SIZE)
    if network.abstract_statistics() or not use_cpu_forms():
        return 1
    if batch_size % MICROBATCH_SIZE or adding > MOST_ADDING:
        return 1
    return batch_size // MICROBATCH_SIZE


def in_microbatches(gradients_of: Gradients, count: int) -> Gradients:
    """`gradients_of` by `count` microbatches, each with its own key.

    The mean is that of the whole batch but for rounding.
    """

    def microbatched(params: Tree, images: Array, targets: Tree, key: Array) -> tuple[Array, Tree]:
        def add(total: Any, microbatch: tuple[Array, Tree, Array]) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, gradients_of(params, *microbatch)), None

        def split(x: Array) -> Array:
            return x.reshape(count, -1, *x.shape[1:])

        zeros = jax.tree.map(jnp.zeros_like, (jnp.float32(0), params))
        keys = jax.random.split(key, count)
        microbatches = split(images), jax.tree.map(split, targets), keys
        total, _ = jax.lax.scan(add, zeros, microbatches)
        mean: tuple[Array, Tree] = jax.tree.map(lambda x: x / count, total)
        return mean

    return microbatched
