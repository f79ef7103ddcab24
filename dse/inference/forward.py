"""The network in numpy: what calibration looks at, and what every format is compared with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from dse.architecture.primitives import (
    Add,
    Conv,
    Dense,
    GlobalAveragePool,
    Join,
    LocalResponseNorm,
    MaxPool,
)
from dse.errors import ExportError
from dse.inference.graph import Graph, Operator, scaled


def scores(graph: Graph, images: np.ndarray) -> np.ndarray:
    """Scores of images, float32 (image, class).

    Args:
        graph: the network.
        images: uint8 (image, height, width, channel), RGB or gray.
    """
    *_, last = maps(graph, images)
    return last.reshape(len(images), -1)


def maps(graph: Graph, images: np.ndarray) -> Iterator[np.ndarray]:
    """Every map of the network in turn, the input first, float32; as for `scores`."""
    rule = graph.metadata.preprocessing
    first = images.astype(np.float32) if graph.with_preprocessing else scaled(images, rule)
    held = {0: first}
    yield first
    for at, op in enumerate(graph.operators, start=1):
        held[at] = _apply(op, [held[i] for i in op.inputs])
        yield held[at]
        for i in list(held):
            if graph.last_use[i] <= at:
                del held[i]


def convolve(x: np.ndarray, op: Operator, kernel: np.ndarray) -> np.ndarray:
    """The sums of a convolution, without bias, in the type of `x` and `kernel`.

    Args:
        x: (image, height, width, channel); padded with zeros.
        op: stride, padding and groups.
        kernel: (height, width, input channels / groups, filters).
    """
    height, width, depth, filters = kernel.shape
    side = op.padding
    x = np.pad(x, ((0, 0), (side, side), (side, side), (0, 0)))
    windows = sliding_window_view(x, (height, width), (1, 2))[:, :: op.stride, :: op.stride]
    rows = windows.shape[:3]
    taken = filters // op.groups
    parts = []
    for group in range(op.groups):
        patch = windows[:, :, :, group * depth : (group + 1) * depth].transpose(0, 1, 2, 4, 5, 3)
        part = kernel[..., group * taken : (group + 1) * taken].reshape(-1, taken)
        parts.append(patch.reshape(-1, len(part)) @ part)
    return np.concatenate(parts, 1).reshape(*rows, filters)


def max_pool(x: np.ndarray, op: Operator) -> np.ndarray:
    """The largest value of each window; the last ones take the real pixels only."""
    assert isinstance(op.primitive, MaxPool)
    window, stride = op.primitive.window, op.primitive.stride
    rows, columns, _ = op.output_shape
    over = [
        (0, max((count - 1) * stride + window - size, 0))
        for count, size in zip((rows, columns), x.shape[1:3], strict=True)
    ]
    low = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    x = np.pad(x, ((0, 0), *over, (0, 0)), constant_values=low)
    windows = sliding_window_view(x, (window, window), (1, 2))[:, ::stride, ::stride]
    return windows[:, :rows, :columns].max((-1, -2))


def _apply(op: Operator, given: list[np.ndarray]) -> np.ndarray:
    x = given[0]
    match op.primitive:
        case Conv() | Dense():
            assert op.kernel is not None
            y = convolve(x, op, op.kernel) + op.bias
            return np.maximum(y, 0) if op.is_relu else y
        case MaxPool():
            return max_pool(x, op)
        case GlobalAveragePool():
            return x.mean((1, 2), keepdims=True)
        case LocalResponseNorm(size=size, alpha=alpha, beta=beta, k=k):
            squares = np.pad(x * x, ((0, 0),) * 3 + ((size // 2, size - 1 - size // 2),))
            total = sliding_window_view(squares, size, 3).sum(-1)
            return x * (k + alpha / size * total) ** -beta
        case Add():
            return given[0] + given[1]
        case Join():
            return np.concatenate(given, 3)
    raise ExportError(f"{op.name}: {op.primitive.summary} cannot be exported")
