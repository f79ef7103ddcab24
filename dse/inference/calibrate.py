"""From calibration images to the range that int8 covers of every map.

Three methods, all of a histogram of each map over the images:

* `minmax`: every value that was seen.
* `percentile`: all but one value in 20,000 at each end.
* `mse`: the range with the least squared error, rounding and clipping together, among those
  that shrink the whole one by a common factor.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from dse.architecture.primitives import Join, MaxPool
from dse.errors import ExportError
from dse.inference.forward import maps
from dse.inference.graph import Graph

Method = Literal["minmax", "percentile", "mse"]
Range = tuple[float, float]

METHOD: Method = "percentile"
"""Used where no other is named; docs/how-to/export.md has what it was measured against."""

BATCH_COUNT = 8
_BINS = 2048
_TAIL = 5e-5  # of the values, left out at each end by `percentile`
_SHRUNK = np.linspace(1, 0.2, 81)  # factors that `mse` tries


def calibrate(graph: Graph, images: np.ndarray, method: Method = METHOD) -> tuple[Range, ...]:
    """The range (low, high) of every map, the input first; 0 is within each.

    Args:
        graph: the network.
        images: uint8 (image, height, width, channel), RGB or gray.
        method: see above. Maps that have to share a scale (the parts of a join, a max pool's
            input and result) get one range, which covers that of each.

    Raises:
        ExportError: no images, or a map with values that are not finite.
    """
    if not len(images):
        raise ExportError("int8 takes calibration images, but there are none")
    batches = [images[i : i + BATCH_COUNT] for i in range(0, len(images), BATCH_COUNT)]
    lows, highs = np.zeros((2, len(graph.shapes)))
    for batch in batches:
        for at, values in enumerate(maps(graph, batch)):
            lows[at] = min(lows[at], float(values.min()))
            highs[at] = max(highs[at], float(values.max()))
    for at, name in enumerate(["the input", *(op.name for op in graph.operators)]):
        if not np.isfinite(highs[at] - lows[at]):
            raise ExportError(f"{name}: values that are not finite; the weights are damaged")
    groups = shared_scales(graph)
    roots = sorted(set(groups))
    whole = {
        root: (
            min(lows[i] for i in _members(groups, root)),
            max(highs[i] for i in _members(groups, root)),
        )
        for root in roots
    }
    if method != "minmax":
        counts = {root: np.zeros(_BINS) for root in roots}
        for batch in batches:
            for at, values in enumerate(maps(graph, batch)):
                low, high = whole[groups[at]]
                if high > low:
                    counts[groups[at]] += np.histogram(values, _BINS, (low, high))[0]
        shrink = _percentile if method == "percentile" else _least_error
        whole = {
            root: shrink(counts[root], whole[root]) if counts[root].any() else whole[root]
            for root in roots
        }
    return tuple(whole[root] for root in groups)


def shared_scales(graph: Graph) -> list[int]:
    """For each map the first of those that have one scale with it."""
    first = list(range(len(graph.shapes)))

    def root(at: int) -> int:
        while first[at] != at:
            at = first[at]
        return at

    for at, op in enumerate(graph.operators, start=1):
        if isinstance(op.primitive, Join | MaxPool):
            for given in op.inputs:
                low, high = sorted((root(given), root(at)))
                first[high] = low
    return [root(at) for at in range(len(first))]


def _members(groups: list[int], root: int) -> list[int]:
    return [at for at, own in enumerate(groups) if own == root]


def _percentile(counts: np.ndarray, whole: Range) -> Range:
    edges = np.linspace(*whole, _BINS + 1)
    share = np.cumsum(counts) / counts.sum()
    low = edges[np.searchsorted(share, _TAIL)] if whole[0] < 0 else 0.0
    high = edges[np.searchsorted(share, 1 - _TAIL) + 1] if whole[1] > 0 else 0.0
    return min(float(low), 0.0), max(float(high), 0.0)


def _least_error(counts: np.ndarray, whole: Range) -> Range:
    edges = np.linspace(*whole, _BINS + 1)
    centers = (edges[1:] + edges[:-1]) / 2
    errors = []
    for factor in _SHRUNK:
        low, high = factor * whole[0], factor * whole[1]
        step = (high - low) / 255
        clipped = np.clip(centers, low, high)
        # A value rounded to the nearest of steps apart errs by step / sqrt(12).
        errors.append(float(np.sum(counts * ((centers - clipped) ** 2 + step**2 / 12))))
    factor = float(_SHRUNK[int(np.argmin(errors))])
    return factor * whole[0], factor * whole[1]
