"""A network ready for export: its operators with shapes and arrays, batch norms folded; no JAX.

Every format reads this list and computes no shape of its own. Dropout is gone, a batch norm
stands in the kernel and bias in front of it, a dense layer is a convolution whose kernel is as
large as its map. How images are fed to the network can be an operator too: order of the
channels, scale, mean and standard deviation are a 1x1 convolution on the pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from dse.architecture import Architecture, Shape
from dse.architecture.primitives import BATCH_NORM_EPSILON, Conv, Dense, Primitive
from dse.deployment.chip import PREPROCESSING, inference_nodes
from dse.weights.metadata import WeightsMetadata, described_architecture
from dse.weights.preprocessing import Preprocessing
from dse.weights.safetensors import flat, load_weights, read_metadata


@dataclass(frozen=True, eq=False)
class Operator:
    """One step of the network.

    Attributes:
        primitive: what it does; of a convolution or dense layer the arrays are here.
        inputs: the maps that it reads: 0 is the input, i + 1 the result of operator i.
        input_shape: (height, width, channels) of the first of them.
        output_shape: (height, width, channels) of its result.
        kernel: float32 (height, width, input channels / groups, filters), or None.
        bias: float32 (filters,), or None.
        stored: the kernel as the weights file has it, without a batch norm in it; or None.
    """

    primitive: Primitive
    inputs: tuple[int, ...]
    input_shape: Shape
    output_shape: Shape
    kernel: np.ndarray | None = None
    bias: np.ndarray | None = None
    stored: np.ndarray | None = None

    @property
    def name(self) -> str:
        """That of its primitive."""
        return self.primitive.name

    @property
    def stride(self) -> int:
        """Step of a convolution in pixels; 1 for a dense layer."""
        return getattr(self.primitive, "stride", 1)

    @property
    def padding(self) -> int:
        """Zero pixels on each side of a convolution; 0 for a dense layer."""
        return getattr(self.primitive, "padding", 0)

    @property
    def groups(self) -> int:
        """Of a convolution; 1 for a dense layer."""
        return getattr(self.primitive, "groups", 1)

    @property
    def is_relu(self) -> bool:
        """Whether a ReLU follows."""
        return getattr(self.primitive, "activation", "none") == "relu"


@dataclass(frozen=True, eq=False)
class Graph:
    """A network with its weights; made by `make_graph` or `read_graph`.

    Attributes:
        operators: in the order in which they run; the last one gives the scores.
        metadata: of the weights.
        with_preprocessing: the input is uint8 pixels and the first operator scales them;
            otherwise it is what `scaled` gives.
    """

    operators: tuple[Operator, ...]
    metadata: WeightsMetadata
    with_preprocessing: bool

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """(height, width, channels) of every map, the input first."""
        return (self.metadata.input_shape, *(op.output_shape for op in self.operators))

    @cached_property
    def last_use(self) -> tuple[int, ...]:
        """For each map the number of the last map that is made of it; its own for the scores."""
        last = list(range(len(self.shapes)))
        for at, op in enumerate(self.operators, start=1):
            for given in op.inputs:
                last[given] = at
        return tuple(last)

    @property
    def params_count(self) -> int:
        """Values of all kernels and biases."""
        arrays = [a for op in self.operators for a in (op.kernel, op.bias) if a is not None]
        return sum(array.size for array in arrays)


def read_graph(path: Path, *, with_preprocessing: bool = False) -> Graph:
    """The network of a weights file.

    Args:
        path: a safetensors or `.dsz` file.
        with_preprocessing: take pixels; see `Graph`.

    Raises:
        WeightsError: it cannot be read, or its arrays are not the network's.
    """
    metadata = read_metadata(path)
    architecture = described_architecture(path, metadata)
    params, statistics, _ = load_weights(path, architecture)
    return make_graph(
        architecture, flat(params, statistics), metadata, with_preprocessing=with_preprocessing
    )


def make_graph(
    architecture: Architecture,
    arrays: Mapping[str, np.ndarray],
    metadata: WeightsMetadata,
    *,
    with_preprocessing: bool = False,
) -> Graph:
    """Walk an architecture.

    Args:
        architecture: the network.
        arrays: every array of it by path, as `flat` gives them.
        metadata: goes with the graph.
        with_preprocessing: put the operator in front that makes the input of pixels.
    """
    operators: list[Operator] = []
    for node in inference_nodes(architecture, with_preprocessing=with_preprocessing):
        if node.name == PREPROCESSING:
            operators.append(_preprocessing(metadata.preprocessing))
            continue
        kernel = bias = stored = None
        if isinstance(node.primitive, Conv | Dense):
            own: dict[str, np.ndarray] = {p.kind: arrays[p.path] for p in node.parameters}
            kernel, bias = _folded(own)
            if isinstance(node.primitive, Dense):
                kernel = kernel.reshape(*node.input_shape, -1)
            stored = own["kernel"].reshape(kernel.shape)
        shapes = node.input_shape, node.output_shape
        operators.append(Operator(node.primitive, node.inputs, *shapes, kernel, bias, stored))
    return Graph(tuple(operators), metadata, with_preprocessing)


def scaled(images: np.ndarray, rule: Preprocessing) -> np.ndarray:
    """Pixels as the float32 input of a network that does not scale them itself.

    Args:
        images: uint8 (image, height, width, channel), RGB or gray.
        rule: of the network.
    """
    op = _preprocessing(rule)
    assert op.kernel is not None
    return images.astype(np.float32) @ op.kernel[0, 0] + op.bias


def _folded(arrays: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a convolution with those of the batch norm behind it in them."""
    if "scale" not in arrays:
        return arrays["kernel"], arrays["bias"]
    exact = {kind: array.astype(np.float64) for kind, array in arrays.items()}
    factor = exact["scale"] / np.sqrt(exact["variance"] + BATCH_NORM_EPSILON)
    kernel = (exact["kernel"] * factor).astype(np.float32)
    return kernel, (exact["bias"] - exact["mean"] * factor).astype(np.float32)


def _preprocessing(rule: Preprocessing) -> Operator:
    """(pixel · scale / 255 - mean) / std of each channel, as a 1x1 convolution."""
    count = rule.channels_count
    std = np.array(rule.std)
    kernel = np.diag(rule.scale / 255 / std)
    if rule.channel_order == "bgr":
        kernel = kernel[::-1]
    conv = Conv(PREPROCESSING, filters=count, kernel_size=1, activation="none")
    return Operator(
        conv,
        (0,),
        rule.input_shape,
        rule.input_shape,
        np.ascontiguousarray(kernel[None, None], np.float32),
        (-np.array(rule.mean) / std).astype(np.float32),
    )
