"""Muon on kernels that keep their norms: each step turns a kernel, whatever its size.

The momentum of a kernel, as a matrix (height · width · in, out), is made orthogonal by three
Newton-Schulz steps, given the length of the kernel times the learning rate, and added; then the
kernel is scaled back to the norm that it began with. Kernels of similar size lie in stacks, filled
up with zeros (which stay zeros): a program with loops for each of them takes three times as
long to compile.

Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers", and `airbench94_muon`, which
sets every kernel's norm to the root of its filters; in front of a batch norm that is the same
but for a learning rate, and without one the initial norm keeps the scale of activations.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from dse.training.parametrization import Tree

NEWTON_SCHULZ_STEPS = 3
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of Jordan's quintic, steepest at 0

SMALL_PRODUCT = 2**16
"""Multiply-adds below which filling a matrix up costs nothing that can be measured."""

MOST_FILLING = 2.0
"""Work of a matrix that was filled up, over its own, where that is above `SMALL_PRODUCT`."""


class RotationState(NamedTuple):
    """Momentum and initial norms of each stack, (matrix, rows, columns) and (matrix, 1, 1).

    Norms are 0 until the first step takes them: an optimizer's state then begins with zeros
    alone, whose program compiles at once.
    """

    momentum: tuple[jax.Array, ...]
    norms: tuple[jax.Array, ...]


class Stacks:
    """Kernels as matrices with no more rows than columns, in stacks of similar size.

    Args:
        shapes: of the kernels, (…, out).
    """

    def __init__(self, shapes: list[tuple[int, ...]]) -> None:
        self._shapes = shapes
        sizes = [sorted((_size(shape[:-1]), shape[-1])) for shape in shapes]
        order = sorted(range(len(shapes)), key=lambda i: -(sizes[i][0] ** 2) * sizes[i][1])
        self._members: list[list[int]] = []
        self._sizes: list[tuple[int, int]] = []
        for i in order:
            rows, columns = sizes[i]
            if self._members:
                high, wide = max(rows, self._sizes[-1][0]), max(columns, self._sizes[-1][1])
                most = max(MOST_FILLING * rows * rows * columns, SMALL_PRODUCT)
                grown = (high, wide) == self._sizes[-1]
                if high * high * wide <= most and (grown or high * high * wide <= SMALL_PRODUCT):
                    self._members[-1].append(i)
                    self._sizes[-1] = high, wide
                    continue
            self._members.append([i])
            self._sizes.append((rows, columns))

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """(matrices, rows, columns) of each stack."""
        members = zip(self._members, self._sizes, strict=True)
        return [(len(found), *size) for found, size in members]

    def stack(self, kernels: list[jax.Array]) -> tuple[jax.Array, ...]:
        """Arrays (matrix, rows, columns)."""
        return tuple(
            jnp.stack([self._filled(kernels[i], size) for i in members])
            for members, size in zip(self._members, self._sizes, strict=True)
        )

    def unstack(self, stacks: tuple[jax.Array, ...]) -> list[jax.Array]:
        """The inverse of `stack`."""
        kernels: list[Any] = [None] * len(self._shapes)
        for members, stack in zip(self._members, stacks, strict=True):
            for place, i in enumerate(members):
                shape = self._shapes[i]
                rows, columns = _size(shape[:-1]), shape[-1]
                if rows <= columns:
                    matrix = stack[place, :rows, :columns]
                else:
                    matrix = stack[place, :columns, :rows].T
                kernels[i] = matrix.reshape(shape)
        return kernels

    def _filled(self, kernel: jax.Array, size: tuple[int, int]) -> jax.Array:
        matrix = kernel.reshape(-1, kernel.shape[-1])
        matrix = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
        missing = [(0, most - there) for most, there in zip(size, matrix.shape, strict=True)]
        return jnp.pad(matrix, missing)


def rotations(momentum: float, learning_rate: optax.Schedule) -> optax.GradientTransformation:
    """Updates of kernels by which they turn; a kernel of zeros stays one.

    Args:
        momentum: Nesterov's, as a moving average.
        learning_rate: length of an update over that of its kernel, by the number of the step.
    """

    def init(params: Tree) -> tuple[jax.Array, RotationState]:
        shapes = _stacks(params).shapes
        norms = tuple(jnp.zeros((count, 1, 1)) for count, _, _ in shapes)
        return jnp.int32(0), RotationState(tuple(map(jnp.zeros, shapes)), norms)

    def update(
        gradients: Tree, numbered: tuple[jax.Array, RotationState], params: Tree
    ) -> tuple[Tree, Any]:
        step, state = numbered
        rate = learning_rate(step)
        leaves, structure = jax.tree.flatten(params)
        stacks = _stacks(params)
        moved, moments, kept = [], [], []
        for kernels, gradient, mean, norms in zip(
            stacks.stack(leaves), stacks.stack(jax.tree.leaves(gradients)), *state, strict=True
        ):
            norms = jnp.where(norms == 0, _norms(kernels), norms)
            mean = momentum * mean + (1 - momentum) * gradient
            ahead = orthogonal(momentum * mean + (1 - momentum) * gradient)
            ahead = jnp.where(mean == 0, 0, ahead)  # what a mask keeps from gradients stays
            turned = kernels - rate * norms / (_norms(ahead) + 1e-12) * ahead
            moved.append(turned * (norms / (_norms(turned) + 1e-12)) - kernels)
            moments.append(mean)
            kept.append(norms)
        updates = jax.tree.unflatten(structure, stacks.unstack(tuple(moved)))
        return updates, (step + 1, RotationState(tuple(moments), tuple(kept)))

    return optax.GradientTransformation(init, update)


def orthogonal(matrices: jax.Array) -> jax.Array:
    """Matrices (matrix, rows, columns) with their singular values brought near 1.

    Three Newton-Schulz steps take what is at least a fifteenth of the Frobenius norm to between
    0.5 and 1.3, and leave what is smaller below.
    """
    x = matrices / (_norms(matrices) + 1e-12)
    a, b, c = COEFFICIENTS
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.swapaxes(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def _norms(matrices: jax.Array) -> jax.Array:
    return jnp.sqrt((matrices * matrices).sum((1, 2), keepdims=True))


def _stacks(params: Tree) -> Stacks:
    return Stacks([kernel.shape for kernel in jax.tree.leaves(params)])


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for side in shape:
        size *= side
    return size
