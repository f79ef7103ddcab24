"""Layers with integer shapes: the one place that knows what a layer holds and costs.

A layer knows its input shape, hence its output shape, its parameters (path and shape),
its multiply-accumulates and the activations that stand in memory while it runs.
Everything else (cost, Flax network, weights files) reads these and computes no shape
of its own. Numbers may also be batches of numbers (`dse.space.batch`), which is how
a million candidates are counted by the same lines.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from dse.errors import ArchitectureError

Shape = tuple[int, int, int]
"""(height, width, channels); the output of a dense layer is (1, 1, features)."""

Norm = Literal["none", "batch"]
Activation = Literal["none", "relu"]
Bypass = Literal["none", "simple", "complex"]
Rounding = Literal["ceil", "floor"]

BATCH_NORM_EPSILON = 1e-5
"""Added to the variance of a batch norm."""


class Parameter(NamedTuple):
    """One array of a layer: its path (`fire2/squeeze/kernel`), shape and kind."""

    path: str
    shape: tuple[int, ...]
    kind: Literal["kernel", "bias", "scale", "mean", "variance"]

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def trainable(self) -> bool:
        """False for the running statistics of a batch norm, which are stored but not trained."""
        return self.kind not in ("mean", "variance")


def elements(shape: Shape) -> int:
    """Number of values in an activation of this shape, for one image."""
    return math.prod(shape)


def _larger(left: int, right: int) -> int:
    """`max`, written so that batches of numbers pass through it, each candidate for itself."""
    return left + (right - left) * (right > left)


def _window_count(size: int, window: int, stride: int, *, ceil: bool = False) -> int:
    """Windows of `window` pixels every `stride` pixels along `size` pixels."""
    span = size - window
    return (-(-span // stride) if ceil else span // stride) + 1


@dataclass(frozen=True, kw_only=True)
class Layer:
    """What every layer has; a layer without weights or arithmetic keeps these defaults.

    Attributes:
        name: `conv1`, `fire2`, `pool8`, …: the first part of its parameters' paths.
        input_shape: (height, width, channels) of what it takes.
    """

    name: str
    input_shape: Shape

    @property
    def output_shape(self) -> Shape:
        """(height, width, channels) of what it gives."""
        return self.input_shape

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Every array that a weights file holds for this layer."""
        return ()

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one image: convolutions and dense layers only.

        Bias, norm, activation, pooling and additions count nothing, as is usual.
        """
        return 0

    @property
    def working_elements(self) -> int:
        """Most activation values held at once while the layer runs on one image.

        Its input and its output; activation, norm and dropout work in place.
        """
        return elements(self.input_shape) + elements(self.output_shape)


def _norm_parameters(name: str, channels: int) -> tuple[Parameter, ...]:
    kinds: tuple[Literal["scale", "bias", "mean", "variance"], ...]
    kinds = ("scale", "bias", "mean", "variance")
    return tuple(Parameter(f"{name}/{kind}", (channels,), kind) for kind in kinds)


@dataclass(frozen=True, kw_only=True)
class Conv(Layer):
    """Square convolution (cross-correlation), then bias or batch norm, then activation.

    With `norm="batch"` the convolution has no bias of its own: the norm's shift is its
    `bias`, and its running mean and variance are stored beside it.
    Kernels are (height, width, input channels / groups, filters).
    """

    filters: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    norm: Norm = "none"
    activation: Activation = "relu"

    def __post_init__(self) -> None:
        """Refuse what cannot be computed.

        Raises:
            ArchitectureError: no filters, groups that do not divide, or a kernel larger
                than the padded input.
        """
        height, width, channels = self.input_shape
        if self.filters < 1:
            raise ArchitectureError(f"{self.name}: {self.filters} filters, but at least 1 needed")
        if channels % self.groups or self.filters % self.groups:
            raise ArchitectureError(
                f"{self.name}: {self.groups} groups must divide {channels} input channels "
                f"and {self.filters} filters"
            )
        if min(height, width) + 2 * self.padding < self.kernel_size:
            raise ArchitectureError(
                f"{self.name}: a {self.kernel_size}x{self.kernel_size} kernel does not fit the "
                f"{height}x{width} map that reaches it; fewer pools, a smaller stride or larger "
                "images would help"
            )

    @property
    def output_shape(self) -> Shape:
        """(height, width, filters), rounded down."""
        height, width, _ = self.input_shape
        pad = 2 * self.padding
        return (
            _window_count(height + pad, self.kernel_size, self.stride),
            _window_count(width + pad, self.kernel_size, self.stride),
            self.filters,
        )

    @property
    def kernel_shape(self) -> tuple[int, int, int, int]:
        """(height, width, input channels / groups, filters)."""
        k = self.kernel_size
        return (k, k, self.input_shape[2] // self.groups, self.filters)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Kernel, then bias, or scale, bias, mean and variance of the norm."""
        kernel = Parameter(f"{self.name}/kernel", self.kernel_shape, "kernel")
        if self.norm == "batch":
            return (kernel, *_norm_parameters(self.name, self.filters))
        return (kernel, Parameter(f"{self.name}/bias", (self.filters,), "bias"))

    @property
    def macs(self) -> int:
        """Output pixels times kernel size."""
        height, width, _ = self.output_shape
        return height * width * math.prod(self.kernel_shape)


@dataclass(frozen=True, kw_only=True)
class Fire(Layer):
    """A fire module: squeeze (1x1), then expand1x1 and expand3x3 side by side.

    A simple bypass adds the input to the output and needs as many input as output
    channels; a complex one sends the input through a 1x1 convolution (no activation)
    first. The addition follows the expand activations, as in the authors' network.

    Source: Iandola et al. 2016 (arXiv 1602.07360), sections 3.2 and 6.
    """

    squeeze: int
    expand1x1: int
    expand3x3: int
    bypass: Bypass = "none"
    norm: Norm = "none"

    def __post_init__(self) -> None:
        """Refuse an empty part or a bypass that cannot be added.

        Raises:
            ArchitectureError: a part without filters, or a simple bypass between
                different channel counts.
        """
        for part in ("squeeze", "expand1x1", "expand3x3"):
            if getattr(self, part) < 1:
                raise ArchitectureError(f"{self.name}: {part} has no filters")
        if self.bypass == "simple" and self.input_shape[2] != self.expand:
            raise ArchitectureError(
                f"{self.name}: a simple bypass adds {self.input_shape[2]} input channels to "
                f"{self.expand} output channels; they must be equal"
            )

    @property
    def expand(self) -> int:
        """Channels of the output: expand1x1 + expand3x3."""
        return self.expand1x1 + self.expand3x3

    @cached_property
    def squeeze_conv(self) -> Conv:
        """The 1x1 convolution that narrows the input."""
        return self._conv("squeeze", self.input_shape, self.squeeze)

    @cached_property
    def expand1x1_conv(self) -> Conv:
        """The 1x1 part of the expand."""
        return self._conv("expand1x1", self.squeeze_conv.output_shape, self.expand1x1)

    @cached_property
    def expand3x3_conv(self) -> Conv:
        """The 3x3 part of the expand, padded by one pixel."""
        return self._conv("expand3x3", self.squeeze_conv.output_shape, self.expand3x3, 3)

    @cached_property
    def bypass_conv(self) -> Conv | None:
        """The 1x1 convolution of a complex bypass, else None."""
        if self.bypass != "complex":
            return None
        return self._conv("bypass", self.input_shape, self.expand, activation="none")

    def _conv(
        self,
        part: str,
        shape: Shape,
        filters: int,
        kernel: int = 1,
        activation: Activation = "relu",
    ) -> Conv:
        return Conv(
            name=f"{self.name}/{part}",
            input_shape=shape,
            filters=filters,
            kernel_size=kernel,
            padding=kernel // 2,
            norm=self.norm,
            activation=activation,
        )

    @property
    def convs(self) -> tuple[Conv, ...]:
        """Its convolutions in the order in which they run."""
        bypass = (self.bypass_conv,) if self.bypass_conv else ()
        return (self.squeeze_conv, self.expand1x1_conv, self.expand3x3_conv, *bypass)

    @cached_property
    def output_shape(self) -> Shape:
        """(height, width, expand1x1 + expand3x3)."""
        return (*self.input_shape[:2], self.expand)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Those of its convolutions."""
        return tuple(p for conv in self.convs for p in conv.parameters)

    @property
    def macs(self) -> int:
        """Those of its convolutions."""
        return sum(conv.macs for conv in self.convs)

    @property
    def working_elements(self) -> int:
        """The fullest of its steps.

        squeeze: input + squeezed. expand: squeezed + output (both parts write their half
        of it), and the input where a bypass still needs it. A simple bypass adds in
        place; a complex one holds input, output and its own result.
        """
        given, squeezed = elements(self.input_shape), elements(self.squeeze_conv.output_shape)
        result = elements(self.output_shape)
        kept = 0 if self.bypass == "none" else given
        most = _larger(given + squeezed, kept + squeezed + result)
        return _larger(most, given + 2 * result) if self.bypass == "complex" else most


@dataclass(frozen=True, kw_only=True)
class MaxPool(Layer):
    """Max pooling without padding.

    `rounding="ceil"` is Caffe's: the last window may hang over the far edge and takes
    the real pixels only; `"floor"` leaves the pixels behind the last whole window out.
    """

    window: int
    stride: int
    rounding: Rounding = "ceil"

    def __post_init__(self) -> None:
        """Refuse a map smaller than the window.

        Raises:
            ArchitectureError: naming the layer and the map.
        """
        height, width, _ = self.input_shape
        if min(height, width) < self.window:
            raise ArchitectureError(
                f"{self.name}: a {self.window}x{self.window} pool does not fit the "
                f"{height}x{width} map that reaches it; there are too many pools for images of "
                "this size"
            )

    @cached_property
    def output_shape(self) -> Shape:
        """(height, width, channels) after pooling."""
        height, width, channels = self.input_shape
        ceil = self.rounding == "ceil"
        return (
            _window_count(height, self.window, self.stride, ceil=ceil),
            _window_count(width, self.window, self.stride, ceil=ceil),
            channels,
        )


@dataclass(frozen=True, kw_only=True)
class GlobalAveragePool(Layer):
    """The mean over all pixels of each channel."""

    @property
    def output_shape(self) -> Shape:
        """(1, 1, channels)."""
        return (1, 1, self.input_shape[2])


@dataclass(frozen=True, kw_only=True)
class LocalResponseNorm(Layer):
    """Each value divided by (k + alpha / size · Σ x²)^beta over `size` channels around it.

    Source: Krizhevsky, Sutskever and Hinton 2012, section 3.3; constants as in Caffe.
    """

    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Dropout(Layer):
    """Zeroes a share of the values in training; nothing at inference, in place."""

    rate: float

    @property
    def working_elements(self) -> int:
        """Its input alone."""
        return elements(self.input_shape)


@dataclass(frozen=True, kw_only=True)
class Dense(Layer):
    """A fully connected layer on the flattened (height, width, channels) input."""

    features: int
    activation: Activation = "relu"

    @property
    def output_shape(self) -> Shape:
        """(1, 1, features)."""
        return (1, 1, self.features)

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Kernel (inputs, features) and bias."""
        shape = (elements(self.input_shape), self.features)
        return (
            Parameter(f"{self.name}/kernel", shape, "kernel"),
            Parameter(f"{self.name}/bias", (self.features,), "bias"),
        )

    @property
    def macs(self) -> int:
        """Inputs times features."""
        return elements(self.input_shape) * self.features
