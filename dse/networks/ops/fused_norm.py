"""Batch norm without passes of its own: maps are normalised where they are read, in microbatches.

A batch norm needs the sums of a whole batch before any value of it can be normalised. Written
layer by layer, that is a pass over all activations for the convolution, one for the sums and one
for the result, and more of them backward; where a batch's activations are larger than the cache,
each goes through the memory, which the cores share. Here a layer reads what the one before
wrote *before* its norm. For as many images as the cache holds it normalises, activates, pools
and convolves, and adds up the sums that its own norm needs:

    forward     read the maps of the layer before, write its own
    backward    read both and the gradient of its own, write the gradient of those before

The gradient of Σy with respect to y is 1, that of Σy² is 2y. With those two added to what the
readers of y give, nothing else is left of a batch norm's backward pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from dse.architecture import Architecture
from dse.architecture.primitives import Activation, Conv, Rounding
from dse.networks import ops

MICROBATCH_BYTES = 2**19
"""What the maps that a microbatch of several images reads and writes take at most:
half of the second-level cache of a current core."""

LEAST_BYTES = 40_000_000
"""From here on, counting the maps of all batch norms of a batch, microbatches are faster. Two
processes on two cores with 32 MiB of third-level cache, images a second layer by layer and in
microbatches: 5,910 and 5,200 with 29 MB, 4,470 and 4,670 with 31, 3,770 and 3,750 with 45, 3,640
and 4,080 with 47, 520 and 730 with 187."""


class Pool(NamedTuple):
    """A max pooling, as in `ops.max_pool`."""

    window: int
    stride: int
    rounding: Rounding


class Geometry(NamedTuple):
    """What a convolution is besides its kernel, as in `ops.conv2d`."""

    stride: int
    padding: int
    groups: int


class Affine(NamedTuple):
    """The norm of a batch as what is done to each value: `· factor + shift`, both (channels,)."""

    factor: Array
    shift: Array


class Term(NamedTuple):
    """Maps (batch, height, width, channels) and what is to be done to them.

    Attributes:
        raw: the maps.
        affine: their norm; None where they are what is meant.
        activation: what follows.
    """

    raw: Array
    affine: Affine | None = None
    activation: Activation = "none"


@dataclass(frozen=True, eq=False)
class Deferred:
    """Maps that their reader computes: the sum of the terms, then pooled."""

    terms: tuple[Term, ...]
    pool: Pool | None = None

    def pooled(self, pool: Pool) -> Deferred:
        """These maps after max pooling."""
        return Deferred(self._unpooled().terms, pool)

    def value(self) -> Array:
        """The maps (batch, height, width, channels)."""
        return _read(self.terms, self.pool)

    def __add__(self, other: Deferred) -> Deferred:
        terms = self._unpooled().terms + other._unpooled().terms
        if len(terms) > 2:  # each would be read again wherever the sum is
            terms = (Term(_read(terms, None)),)
        return Deferred(terms)

    def _unpooled(self) -> Deferred:
        return Deferred((Term(self.value()),)) if self.pool else self


def value_of(x: Array | Deferred) -> Array:
    """The maps, computed if they are not yet."""
    return x.value() if isinstance(x, Deferred) else x


def is_worthwhile(architecture: Architecture, batch_size: int) -> bool:
    """Whether training is faster with deferred maps: on a CPU, where they exceed its cache."""
    values_count = sum(
        math.prod(node.output_shape)
        for node in architecture.graph
        if isinstance(node.primitive, Conv) and node.primitive.norm == "batch"
    )
    return ops.use_cpu_forms() and 4 * batch_size * values_count >= LEAST_BYTES


class Statistics(NamedTuple):
    """Mean and variance of maps over batch and pixels, both (channels,)."""

    mean: Array
    variance: Array


class _Plan(NamedTuple):
    """What `_convolve` does, apart from the arrays; hashable."""

    activations: tuple[Activation, ...]
    pool: Pool | None
    geometries: tuple[tuple[Geometry, ...], ...]


Groups = Sequence[Sequence[tuple[Array, Geometry]]]
"""Kernels, each with its geometry, in groups whose results stand side by side."""


def convolve(x: Deferred, groups: Groups) -> list[tuple[Array, Statistics]]:
    """Convolutions of the same maps.

    Args:
        x: what is convolved.
        groups: of each, the results are one array: the channels of the first, then the next's.

    Returns:
        For each group the maps (batch, height, width, channels), and their statistics.
    """
    geometries = tuple(tuple(geometry for _, geometry in group) for group in groups)
    kernels = tuple(tuple(kernel for kernel, _ in group) for group in groups)
    raws, affines = tuple(t.raw for t in x.terms), tuple(t.affine for t in x.terms)
    plan = _Plan(tuple(t.activation for t in x.terms), x.pool, geometries)
    maps, sums = _convolve(plan, raws, (affines, kernels))
    return [(raw, Statistics(*ops.moments(raw, s))) for raw, s in zip(maps, sums, strict=True)]


Maps = tuple[Array, ...]
Shared = tuple[tuple[Affine | None, ...], tuple[tuple[Array, ...], ...]]
"""What all microbatches have in common: the norms of the terms, and the kernels of the groups."""

Sums = tuple[tuple[Array, Array], ...]
"""Of each group, the sums (channels,) of the values and of their squares."""


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _convolve(plan: _Plan, raws: Maps, shared: Shared) -> tuple[Maps, Sums]:
    def compute(raws: Maps) -> tuple[Maps, Sums]:
        maps = _convolved(plan, raws, shared)
        return maps, tuple((y.sum((0, 1, 2)), (y * y).sum((0, 1, 2))) for y in maps)

    return _by_microbatches(compute, _microbatches_count(plan, raws, shared), raws)


def _convolve_backward(plan: _Plan, residuals: Any, gradients: Any) -> tuple[Maps, Shared]:
    raws, shared, maps = residuals
    of_maps, of_sums = gradients

    def compute(batch: Any) -> tuple[Maps, Shared]:
        raws, maps, of_maps = batch
        total = tuple(
            g + (of_sum + 2 * of_squares * y)
            for g, y, (of_sum, of_squares) in zip(of_maps, maps, of_sums, strict=True)
        )
        return jax.vjp(partial(_convolved, plan), raws, shared)[1](total)

    return _by_microbatches(compute, _microbatches_count(plan, raws, shared), (raws, maps, of_maps))


_convolve.defvjp(
    lambda plan, raws, shared: (
        (found := _convolve(plan, raws, shared)),
        (raws, shared, found[0]),
    ),
    _convolve_backward,
)


def _convolved(plan: _Plan, raws: Maps, shared: Shared) -> Maps:
    affines, kernels = shared
    terms = tuple(map(Term, raws, affines, plan.activations))
    x = _read(terms, plan.pool)
    found = []
    for group in zip(kernels, plan.geometries, strict=True):
        maps = [ops.conv2d(x, k, **g._asdict()) for k, g in zip(*group, strict=True)]
        found.append(maps[0] if len(maps) == 1 else jnp.concatenate(maps, 3))
    return tuple(found)


def _read(terms: Sequence[Term], pool: Pool | None) -> Array:
    x = _normalised(terms[0])
    for term in terms[1:]:
        x = x + _normalised(term)
    return ops.max_pool(x, **pool._asdict()) if pool else x


def _normalised(term: Term) -> Array:
    x = term.raw if term.affine is None else term.raw * term.affine.factor + term.affine.shift
    return ops.relu(x) if term.activation == "relu" else x


def _microbatches_count(plan: _Plan, raws: Maps, shared: Shared) -> int:
    return _least_microbatches(plan, *jax.tree.map(jax.typeof, (raws, shared)), MICROBATCH_BYTES)


@cache
def _least_microbatches(plan: _Plan, raws: Any, shared: Any, most_bytes: float) -> int:
    """The least divisor of the batch by which a microbatch takes `most_bytes` at most."""
    written = jax.eval_shape(partial(_convolved, plan), raws, shared)
    size = 4 * sum(x.size for x in (*raws, *written))
    batch = raws[0].shape[0]
    divisors = [n for n in range(1, batch + 1) if batch % n == 0]
    return next((n for n in divisors if size <= n * most_bytes), batch)


def _by_microbatches(compute: Any, count: int, batch: Any) -> Any:
    """`compute(batch)`, which gives arrays of the batch and sums over it, one microbatch at a time.

    The sums are added up as one array: as many loops as arrays would be compiled otherwise.
    """
    if count == 1:
        return compute(batch)
    microbatches = jax.tree.map(lambda x: x.reshape(count, -1, *x.shape[1:]), batch)
    sums = jax.eval_shape(compute, jax.tree.map(lambda x: x[0], microbatches))[1]
    leaves, structure = jax.tree.flatten(sums)

    def add(total: Array, batch: Any) -> tuple[Array, Any]:
        arrays, sums = compute(batch)
        return total + jnp.concatenate([x.reshape(-1) for x in jax.tree.leaves(sums)]), arrays

    sizes = [x.size for x in leaves]
    total, arrays = lax.scan(add, jnp.zeros(sum(sizes), leaves[0].dtype), microbatches)
    split = jnp.split(total, np.cumsum(sizes)[:-1])
    split = [x.reshape(leaf.shape) for x, leaf in zip(split, leaves, strict=True)]
    arrays = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), arrays)
    return arrays, jax.tree.unflatten(structure, split)
