"""Flax NNX modules of the two primitives that have arrays: convolutions and dense layers.

A module takes its widths and its arrays' shapes from its node and computes none itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from dse.architecture import Node
from dse.architecture.primitives import BATCH_NORM_EPSILON, Conv, Dense, Parameter
from dse.networks import ops
from dse.networks.ops.fused_norm import Affine, Deferred, Geometry, Statistics, Term, convolve

Initializer = Callable[[Parameter], Array | np.ndarray]
"""Gives the initial value of an array."""


class NodeModule(nnx.Module):
    """A node with one variable for each of its arrays, named by its kind."""

    def __init__(self, node: Node, initializer: Initializer) -> None:
        self.primitive = node.primitive
        for parameter in node.parameters:
            variable = nnx.Param if parameter.trainable else nnx.BatchStat
            setattr(self, parameter.kind, variable(initializer(parameter)))

    def activate(self, x: Array) -> Array:
        """What follows a convolution or a dense layer."""
        assert isinstance(self.primitive, Conv | Dense)
        return ops.relu(x) if self.primitive.activation == "relu" else x


class DenseModule(NodeModule):
    """A fully connected layer, then its activation."""

    def __call__(self, x: Array, *, train: bool) -> Array:
        """(batch, height, width, channels) to (batch, 1, 1, features)."""
        return self.activate(ops.dense(x, self.kernel[...], self.bias[...]))


class ConvModule(NodeModule):
    """Convolution, then bias or batch norm, then activation."""

    primitive: Conv

    def __call__(self, x: Array, *, train: bool) -> Array:
        """(batch, height, width, in) to (batch, height, width, filters)."""
        y = ops.conv2d(x, self.kernel[...], **self.geometry._asdict())
        if self.primitive.norm == "none":
            return self.activate(y + self.bias[...].astype(y.dtype))
        scale, bias = self.scale[...], self.bias[...]
        if not train:
            mean, variance = self.mean[...], self.variance[...]
            return self.activate(ops.batch_norm(y, scale, bias, mean, variance, BATCH_NORM_EPSILON))
        activation = self.primitive.activation
        y, *batch = ops.batch_norm_train(y, scale, bias, BATCH_NORM_EPSILON, activation)
        self.keep(Statistics(*batch))
        return y

    @property
    def geometry(self) -> Geometry:
        """What the convolution is besides its kernel."""
        conv = self.primitive
        return Geometry(conv.stride, conv.padding, conv.groups)

    def keep(self, batch: Statistics) -> None:
        """Leave a batch's statistics where the running ones were."""
        self.mean[...], self.variance[...] = batch


def convolve_deferred(x: Deferred, groups: Sequence[Sequence[ConvModule]]) -> list[Deferred]:
    """Convolutions of the same maps, their norms left to whoever reads them; in training.

    Args:
        x: what is convolved.
        groups: convolutions with a batch norm, those of one activation whose results stand
            side by side.

    Returns:
        For each group its maps.
    """
    convolved = convolve(x, [[(m.kernel[...], m.geometry) for m in group] for group in groups])
    maps = []
    for group, (raw, statistics) in zip(groups, convolved, strict=True):
        scale = jnp.concatenate([module.scale[...] for module in group])
        bias = jnp.concatenate([module.bias[...] for module in group])
        affine = Affine(*ops.norm_affine(scale, bias, *statistics, BATCH_NORM_EPSILON))
        maps.append(Deferred((Term(raw, affine, group[0].primitive.activation),)))
        ends = np.cumsum([module.primitive.filters for module in group])[:-1]
        split = (jnp.split(each, ends) for each in statistics)
        for module, *own in zip(group, *split, strict=True):
            module.keep(Statistics(*own))
    return maps
