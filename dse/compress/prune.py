"""Which weights become zero: those of the smallest magnitude.

A mask is a bool array in the shape of the kernel, True where the weight is kept. The
density of a layer is the share of its weights that is kept.

Source: Han, Pool, Tran and Dally 2015 (arXiv 1506.02626); Zhu and Gupta 2017 (arXiv
1710.01878) for the gradual schedule.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

Arrays = Mapping[str, np.ndarray]
"""Float32 arrays by parameter path."""


def kernels_of(arrays: Arrays) -> dict[str, np.ndarray]:
    """The arrays that are kernels."""
    return {path: array for path, array in arrays.items() if path.endswith("/kernel")}


def density_of(arrays: Arrays) -> float:
    """Share of the kernels' weights that are not zero."""
    kernels = kernels_of(arrays).values()
    return sum(int(np.count_nonzero(k)) for k in kernels) / max(sum(k.size for k in kernels), 1)


def kept_count(size: int, density: float) -> int:
    """Weights that are kept of `size`: rounded, and at least 1 of any.

    Args:
        size: number of weights.
        density: share to keep, in [0, 1].
    """
    return min(size, max(1, round(density * size)))


def magnitude_mask(weights: np.ndarray, density: float) -> np.ndarray:
    """True for the largest magnitudes; among equal ones the first are kept."""
    flat = np.abs(weights).reshape(-1)
    mask = np.zeros(flat.size, bool)
    mask[np.argsort(-flat, kind="stable")[: kept_count(flat.size, density)]] = True
    return mask.reshape(weights.shape)


def gradual_density(progress: float, final: float, *, first: float = 1.0) -> float:
    """The density on the way: falls fast while much can be spared, then slower.

    Args:
        progress: 0 at the start of pruning, 1 at its end.
        final: density at the end.
        first: density at the start.
    """
    left = 1 - min(max(progress, 0.0), 1.0)
    return final + (first - final) * left**3


def prune(arrays: Arrays, densities: Mapping[str, float]) -> dict[str, np.ndarray]:
    """The same arrays with the smallest magnitudes of these kernels at zero.

    Args:
        arrays: by path.
        densities: share of the weights to keep, by the path of a kernel.
    """
    return {
        path: np.where(magnitude_mask(array, densities[path]), array, np.float32(0))
        if path in densities
        else array
        for path, array in arrays.items()
    }


def relative_densities(kernels: Mapping[str, np.ndarray], density: float) -> dict[str, float]:
    """Densities of the layers under one threshold on magnitudes measured by each layer's own.

    The threshold is in units of a layer's root mean square weight, so layers with many
    weights near zero lose more of them; together they keep `density` of all weights.

    Args:
        kernels: weights by path.
        density: share of all weights to keep, in [0, 1].
    """
    relative = {
        path: np.abs(weights).reshape(-1) / max(float(np.sqrt(np.mean(weights**2))), 1e-30)
        for path, weights in kernels.items()
    }
    pooled = np.concatenate([*relative.values(), np.zeros(0)])
    if not len(pooled):
        return {}
    kept = np.zeros(len(pooled), bool)  # of equal magnitudes some may be kept and some not
    kept[np.argsort(-pooled, kind="stable")[: kept_count(len(pooled), density)]] = True
    stops = np.cumsum([len(values) for values in relative.values()])[:-1]
    return {
        path: float(part.mean()) for path, part in zip(relative, np.split(kept, stops), strict=True)
    }


def shared_out_densities(
    sizes: Mapping[str, int],
    losses: Mapping[str, Sequence[tuple[float, float]]],
    density: float,
) -> dict[str, float]:
    """Densities that keep a share of all weights where it costs the least, by measured losses.

    Each layer's losses are taken as their lower convex hull, a line between two measured
    densities; the cheapest pieces of all layers go first, the last one in part.

    Args:
        sizes: weights of each kernel.
        losses: of each kernel (density, loss) with that kernel alone pruned so far; the first
            is as it is now, with loss 0, and densities fall.
        density: share of all weights to keep.

    Returns:
        Density by path. Where even the last measured densities keep more, all of them are
        lowered by one factor.
    """
    kept = {path: points[0][0] * sizes[path] for path, points in losses.items()}
    left = sum(kept.values()) - density * sum(sizes.values())
    pieces: list[tuple[float, str, float]] = []
    for path, points in losses.items():
        hull = _lower_hull([(share * sizes[path], loss) for share, loss in points])
        for (more, low), (fewer, high) in itertools.pairwise(hull):
            if more > fewer:
                pieces.append(((high - low) / (more - fewer), path, more - fewer))
    for _, path, count in sorted(pieces):
        taken = min(count, max(left, 0.0))
        kept[path] -= taken
        left -= taken
    factor = min(1.0, density * sum(sizes.values()) / max(sum(kept.values()), 1e-9))
    return {path: factor * count / sizes[path] for path, count in kept.items()}


def _lower_hull(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Of points with falling weights: the pieces whose loss a weight rises."""
    hull: list[tuple[float, float]] = []
    for count, loss in points:
        loss = max(loss, 0.0)
        while len(hull) > 1 and (
            (loss - hull[-1][1]) * (hull[-2][0] - hull[-1][0])
            <= (hull[-1][1] - hull[-2][1]) * (hull[-1][0] - count)
        ):
            hull.pop()
        hull.append((count, loss))
    return hull
