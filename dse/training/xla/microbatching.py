"""A batch's gradient as the mean over parts of it, which a CPU's cache can hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from dse.architecture import cost
from dse.networks import Network
from dse.networks.ops.xla import use_cpu_forms
from dse.training.parametrization import Tree

MICROBATCH_SIZE = 8
"""Images in a part. Of 128 images of 32x32 at once, in parts of 64, 32, 16 and 8, networks
with base_e = incr_e = 32 train 2,340, 2,470, 2,470, 2,940 and 3,010 a second, with 128 376, 402,
452, 444 and 466 (one thread of a core with 1 MiB of second-level cache)."""

ADDING = 20.0
"""Adding up a parameter's gradient takes as long as so many multiply-adds of a training step."""

MOST_ADDING = 0.05
"""Parts that would spend a larger share of their time on adding are not made."""

Gradients = Callable[[Tree, Array, Array, Array], tuple[Array, Tree]]
"""(params, images, labels, key) to (mean loss, its gradients)."""


def microbatches_count(network: Network, batch_size: int) -> int:
    """Into how many parts to divide a batch; 1: not at all.

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


def in_microbatches(gradients_of: Gradients, parts_count: int) -> Gradients:
    """`gradients_of` part by part: the same mean but for rounding, each part with its own key."""

    def parted(params: Tree, images: Array, labels: Array, key: Array) -> tuple[Array, Tree]:
        def add(total: Any, part: tuple[Array, Array, Array]) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, gradients_of(params, *part)), None

        def split(x: Array) -> Array:
            return x.reshape(parts_count, -1, *x.shape[1:])

        nothing = jax.tree.map(jnp.zeros_like, (jnp.float32(0), params))
        parts = split(images), split(labels), jax.random.split(key, parts_count)
        total, _ = jax.lax.scan(add, nothing, parts)
        mean: tuple[Array, Tree] = jax.tree.map(lambda x: x / parts_count, total)
        return mean

    return parted
