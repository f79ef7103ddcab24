"""Flax NNX modules of a convolution and of a fire module.

A module takes its widths and its arrays' shapes from its layer and computes none itself.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from dse.architecture.primitives import (
    BATCH_NORM_EPSILON,
    Activation,
    Conv,
    Fire,
    Layer,
    Parameter,
)
from dse.networks.ops import xla as ops
from dse.networks.ops.fused_norm import (
    Affine,
    Deferred,
    Geometry,
    Statistics,
    Term,
    convolve,
    value_of,
)

Initializer = Callable[[Parameter], Array | np.ndarray]
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

    def __call__(self, x: Array | Deferred, *, train: bool) -> Array | Deferred:
        """(batch, height, width, in) to (batch, height, width, filters); deferred in training."""
        layer = self.layer
        if isinstance(x, Deferred) and layer.norm == "batch":
            return _deferred(x, [[self]])[0]
        y = ops.conv2d(value_of(x), self.kernel[...], **self.geometry._asdict())
        if layer.norm == "batch":
            return self._batch_norm(y, train)
        return activate(y + self.bias[...], layer.activation)

    @property
    def geometry(self) -> Geometry:
        """What the convolution is besides its kernel."""
        return Geometry(self.layer.stride, self.layer.padding, self.layer.groups)

    def _batch_norm(self, x: Array, train: bool) -> Array:
        scale, bias, activation = self.scale[...], self.bias[...], self.layer.activation
        if not train:
            mean, variance = self.mean[...], self.variance[...]
            x = ops.batch_norm(x, scale, bias, mean, variance, BATCH_NORM_EPSILON)
            return activate(x, activation)
        y, *batch = ops.batch_norm_train(x, scale, bias, BATCH_NORM_EPSILON, activation)
        self.keep(Statistics(*batch))
        return y

    def keep(self, batch: Statistics) -> None:
        """Leave a batch's statistics where the running ones were."""
        self.mean[...], self.variance[...] = batch


def _deferred(x: Deferred, groups: list[list[ConvModule]]) -> list[Deferred]:
    """The convolutions of each group side by side, their norms left to whoever reads them."""
    convolved = convolve(x, [[(m.kernel[...], m.geometry) for m in group] for group in groups])
    maps = []
    for group, (raw, statistics) in zip(groups, convolved, strict=True):
        scale = jnp.concatenate([module.scale[...] for module in group])
        bias = jnp.concatenate([module.bias[...] for module in group])
        affine = Affine(*ops.norm_affine(scale, bias, *statistics, BATCH_NORM_EPSILON))
        maps.append(Deferred((Term(raw, affine, group[0].layer.activation),)))
        ends = np.cumsum([module.layer.filters for module in group])[:-1]
        split = (jnp.split(each, ends) for each in statistics)
        for module, *own in zip(group, *split, strict=True):
            module.keep(Statistics(*own))
    return maps


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

    def __call__(self, x: Array | Deferred, *, train: bool) -> Array | Deferred:
        """(batch, height, width, in) to (batch, height, width, expand1x1 + expand3x3)."""
        if isinstance(x, Deferred) and self.layer.norm == "batch":
            return self._deferred(x)
        x = value_of(x)
        squeezed = self.squeeze(x, train=train)
        parts = [self.expand1x1(squeezed, train=train), self.expand3x3(squeezed, train=train)]
        y = jnp.concatenate(parts, 3)
        if self.layer.bypass == "simple":
            return y + x
        if self.layer.bypass == "complex":
            return y + self.bypass(x, train=train)
        return y

    def _deferred(self, x: Deferred) -> Deferred:
        if self.layer.bypass == "complex":
            squeezed, bypassed = _deferred(x, [[self.squeeze], [self.bypass]])
        else:
            (squeezed,), bypassed = _deferred(x, [[self.squeeze]]), x
        y = _deferred(squeezed, [[self.expand1x1, self.expand3x3]])[0]
        return y if self.layer.bypass == "none" else y + bypassed
