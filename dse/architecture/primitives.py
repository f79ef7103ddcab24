"""Primitives: what one operation holds and costs; the one place that knows.

A primitive says, for the shapes that it is given, which shape it gives, which arrays it has
(path and shape) and how many multiply-accumulates it takes. Everything else (cost, Flax network,
weights files) reads the graph of an `Architecture` and computes no shape of its own. Numbers may
also be batches of numbers (`dse.space.batch`), which is how a million candidates are counted
by the same lines.
"""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar, Literal, NamedTuple

from dse.errors import ArchitectureError

Shape = tuple[int, int, int]
"""(height, width, channels); the output of a dense layer is (1, 1, features)."""

Norm = Literal["none", "batch"]
Activation = Literal["none", "relu"]
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


def windows_count(size: int, window: int, stride: int, rounding: Rounding = "floor") -> int:
    """Windows of `window` pixels every `stride` pixels along `size` pixels.

    With `ceil` the last one may hang over the edge.
    """
    span = size - window
    return (-(-span // stride) if rounding == "ceil" else span // stride) + 1


@dataclass(frozen=True)
class Primitive:
    """What every primitive has; one without weights or arithmetic keeps these defaults.

    Attributes:
        name: `conv1`, `fire2/squeeze`, `pool8`, …: the first part of its parameters' paths.
        in_place: whether it may write its result over its (first) input.
        label: what it is, in a few words for the layer table, with its settings in braces.
    """

    name: str
    in_place: ClassVar[bool] = False
    label: ClassVar[str] = ""

    def output_shape(self, *given: Shape) -> Shape:
        """(height, width, channels) of what it gives.

        Args:
            given: the shape of each of its inputs.

        Raises:
            ArchitectureError: it cannot be computed on these.
        """
        return given[0]

    def parameters(self, given: Shape) -> tuple[Parameter, ...]:
        """Every array that a weights file holds for it."""
        return ()

    def macs(self, given: Shape, result: Shape) -> int:
        """Multiply-accumulates for one image: convolutions and dense layers only.

        Bias, norm, activation, pooling and additions count nothing, as is usual.
        """
        return 0

    @property
    def summary(self) -> str:
        """Its label: `conv 7x7/2`, `max pool 3x3/2`; without one its class."""
        return self.label.format(self) or type(self).__name__.lower()


@dataclass(frozen=True)
class Conv(Primitive):
    """Square convolution (cross-correlation), then bias or batch norm, then activation.

    With `norm="batch"` the convolution has no bias of its own: the norm's shift is its
    `bias`, and its running mean and variance are stored beside it.
    Kernels are (height, width, input channels / groups, filters).
    """

    _: KW_ONLY
    filters: int
    kernel_size: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    norm: Norm = "none"
    activation: Activation = "relu"
    label: ClassVar[str] = "conv {0.kernel_size}x{0.kernel_size}/{0.stride}"

    def output_shape(self, *given: Shape) -> Shape:
        """(height, width, filters), rounded down.

        Raises:
            ArchitectureError: no filters, groups that do not divide, or a kernel larger
                than the padded input.
        """
        height, width, channels = given[0]
        if self.filters < 1:
            raise ArchitectureError(f"{self.name}: {self.filters} filters, but at least 1 needed")
        if channels % self.groups or self.filters % self.groups:
            raise ArchitectureError(
                f"{self.name}: {self.groups} groups must divide {channels} input channels "
                f"and {self.filters} filters"
            )
        pad = 2 * self.padding
        if min(height, width) + pad < self.kernel_size:
            raise ArchitectureError(
                f"{self.name}: a {self.kernel_size}x{self.kernel_size} kernel does not fit the "
                f"{height}x{width} map that reaches it; fewer pools, a smaller stride or larger "
                "images would help"
            )
        return (
            windows_count(height + pad, self.kernel_size, self.stride),
            windows_count(width + pad, self.kernel_size, self.stride),
            self.filters,
        )

    def parameters(self, given: Shape) -> tuple[Parameter, ...]:
        """Kernel, then bias, or scale, bias, mean and variance of the norm."""
        size, channels = self.kernel_size, given[2] // self.groups
        kernel = Parameter(f"{self.name}/kernel", (size, size, channels, self.filters), "kernel")
        bias = Parameter(f"{self.name}/bias", (self.filters,), "bias")
        if self.norm == "none":
            return kernel, bias
        return (
            kernel,
            Parameter(f"{self.name}/scale", bias.shape, "scale"),
            bias,
            Parameter(f"{self.name}/mean", bias.shape, "mean"),
            Parameter(f"{self.name}/variance", bias.shape, "variance"),
        )

    def macs(self, given: Shape, result: Shape) -> int:
        """Output pixels times kernel size."""
        taken = self.kernel_size * self.kernel_size * (given[2] // self.groups)
        return result[0] * result[1] * taken * self.filters

    @property
    def summary(self) -> str:
        """`conv 5x5/1 2 groups`; the norm, the same everywhere, stands among the metaparameters."""
        return super().summary + (f" {self.groups} groups" if self.groups > 1 else "")


@dataclass(frozen=True)
class Dense(Primitive):
    """A fully connected layer on the flattened (height, width, channels) input."""

    _: KW_ONLY
    features: int
    activation: Activation = "relu"

    def output_shape(self, *given: Shape) -> Shape:
        """(1, 1, features)."""
        return (1, 1, self.features)

    def parameters(self, given: Shape) -> tuple[Parameter, ...]:
        """Kernel (inputs, features) and bias."""
        return (
            Parameter(f"{self.name}/kernel", (math.prod(given), self.features), "kernel"),
            Parameter(f"{self.name}/bias", (self.features,), "bias"),
        )

    def macs(self, given: Shape, result: Shape) -> int:
        """Inputs times features."""
        return math.prod(given) * self.features


@dataclass(frozen=True)
class MaxPool(Primitive):
    """Max pooling without padding.

    `rounding="ceil"` is Caffe's: the last window may hang over the far edge and takes
    the real pixels only; `"floor"` leaves the pixels behind the last whole window out.
    """

    _: KW_ONLY
    window: int
    stride: int
    rounding: Rounding = "ceil"
    label: ClassVar[str] = "max pool {0.window}x{0.window}/{0.stride}"

    def output_shape(self, *given: Shape) -> Shape:
        """(height, width, channels) after pooling.

        Raises:
            ArchitectureError: the map is smaller than the window.
        """
        height, width, channels = given[0]
        if min(height, width) < self.window:
            raise ArchitectureError(
                f"{self.name}: a {self.window}x{self.window} pool does not fit the "
                f"{height}x{width} map that reaches it; there are too many pools for images of "
                "this size"
            )
        return (
            windows_count(height, self.window, self.stride, self.rounding),
            windows_count(width, self.window, self.stride, self.rounding),
            channels,
        )


@dataclass(frozen=True)
class GlobalAveragePool(Primitive):
    """The mean over all pixels of each channel."""

    label: ClassVar[str] = "average pool"

    def output_shape(self, *given: Shape) -> Shape:
        """(1, 1, channels)."""
        return (1, 1, given[0][2])


@dataclass(frozen=True)
class LocalResponseNorm(Primitive):
    """Each value divided by (k + alpha / size · Σ x²)^beta over `size` channels around it.

    Source: Krizhevsky, Sutskever and Hinton 2012, section 3.3; constants as in Caffe.
    """

    _: KW_ONLY
    size: int = 5
    alpha: float = 1e-4
    beta: float = 0.75
    k: float = 1.0
    label: ClassVar[str] = "local norm {0.size}"


@dataclass(frozen=True)
class Dropout(Primitive):
    """Zeroes a share of the values in training; nothing at inference, in place."""

    _: KW_ONLY
    rate: float
    in_place: ClassVar[bool] = True
    label: ClassVar[str] = "dropout {0.rate:g}"


@dataclass(frozen=True)
class Add(Primitive):
    """The sum of two maps of the same shape, in place of the first."""

    in_place: ClassVar[bool] = True

    def output_shape(self, *given: Shape) -> Shape:
        """The shape of both.

        Raises:
            ArchitectureError: they differ.
        """
        if given[0] != given[1]:
            result, bypass = ("x".join(map(str, shape)) for shape in given)
            raise ArchitectureError(
                f"{self.name}: the bypass gives {bypass}, but is added to {result}; "
                "they must be equal"
            )
        return given[0]


@dataclass(frozen=True)
class Join(Primitive):
    """The channels of several maps, those of the first in front; each writes its own slice."""

    def output_shape(self, *given: Shape) -> Shape:
        """(height, width, sum of the channels).

        Raises:
            ArchitectureError: maps of different height or width.
        """
        sizes = [shape[:2] for shape in given]
        if any(size != sizes[0] for size in sizes[1:]):
            maps = ", ".join(f"{height}x{width}" for height, width in sizes)
            raise ArchitectureError(f"{self.name}: joins maps of {maps}; they must be equal")
        return (*sizes[0], sum(shape[2] for shape in given))
