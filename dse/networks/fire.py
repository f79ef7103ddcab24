"""Flax NNX modules of a convolution and of a fire module.

A module takes its widths and its arrays' shapes from its layer and computes none itself.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from flax import nnx
from jax import Array

from dse.architecture.layers import (
    BATCH_NORM_EPSILON,
    Activation,
    Conv,
    Fire,
    Layer,
    Parameter,
)
from dse.networks import ops

BATCH_NORM_MOMENTUM = 0.9
"""Share of the running statistics that stays at every training step."""

Initializer = Callable[[Parameter], Array]
"""Gives the first value of an array."""


def add_variables(module: nnx.Module, layer: Layer, initializer: Initializer) -> None:
    """Sets one variable on `module` for each array of `layer`, named by its kind."""
    for parameter in layer.parameters:
        variable = nnx.Param if parameter.trainable else nnx.BatchStat
        setattr(module, parameter.kind, variable(initializer(parameter)))


class ConvModule(nnx.Module):
    """Convolution, then bias or batch norm, then activation."""

    def __init__(self, layer: Conv, initializer: Initializer) -> None:
        self.layer = layer
        add_variables(self, layer, initializer)

    def __call__(self, x: Array, *, train: bool) -> Array:
        """(batch, height, width, in) to (batch, height, width, filters)."""
        layer = self.layer
        x = ops.conv2d(
            x,
            self.kernel[...],
            stride=layer.stride,
            padding=layer.padding,
            groups=layer.groups,
        )
        if layer.norm == "batch":
            return self._batch_norm(x, train)
        return activate(x + self.bias[...], layer.activation)

    def _batch_norm(self, x: Array, train: bool) -> Array:
        scale, bias, activation = self.scale[...], self.bias[...], self.layer.activation
        mean, variance = self.mean[...], self.variance[...]
        if not train:
            x = ops.batch_norm(x, scale, bias, mean, variance, BATCH_NORM_EPSILON)
            return activate(x, activation)
        y, *batch = ops.batch_norm_train(x, scale, bias, BATCH_NORM_EPSILON, activation)
        kept = BATCH_NORM_MOMENTUM
        self.mean[...] = kept * mean + (1 - kept) * batch[0]
        self.variance[...] = kept * variance + (1 - kept) * batch[1]
        return y


def activate(x: Array, activation: Activation) -> Array:
    """What follows a convolution or a dense layer."""
    return ops.relu(x) if activation == "relu" else x


class FireModule(nnx.Module):
    """squeeze, then expand1x1 and expand3x3 side by side, and a bypass if there is one.

    Source: Iandola et al. 2016 (arXiv 1602.07360), sections 3.2 and 6.
    """

    def __init__(self, layer: Fire, initializer: Initializer) -> None:
        self.layer = layer
        for conv in layer.convs:
            setattr(self, conv.name.rsplit("/", 1)[1], ConvModule(conv, initializer))

    def __call__(self, x: Array, *, train: bool) -> Array:
        """(batch, height, width, in) to (batch, height, width, expand1x1 + expand3x3)."""
        squeezed = self.squeeze(x, train=train)
        parts = [self.expand1x1(squeezed, train=train), self.expand3x3(squeezed, train=train)]
        y = jnp.concatenate(parts, 3)
        if self.layer.bypass == "simple":
            return y + x
        if self.layer.bypass == "complex":
            return y + self.bypass(x, train=train)
        return y
