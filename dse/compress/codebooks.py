"""Codebooks: which values weights should share.

`kmeans_codebook` places a given number of values where they cost the least squared error;
`entropy_codebook` trades squared error against coded bits, which is what a file is made of.
In one dimension a cluster is a stretch of the sorted weights, so both work on prefix sums
and take time in the number of codes, not of weights.

Source: Lloyd 1982; Chou, Lookabaugh and Gray 1989 (entropy-constrained quantization); Han,
Mao and Dally 2016 (arXiv 1510.00149), who share weights so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dse.weights.dsz.shared import CODES_MAX, SharedWeights

ITERATIONS_MAX = 300
ENTROPY_ITERATIONS = 30

EXACT_VALUES_MAX = 512
"""Different values up to which k-means is solved exactly."""

GROUP_SIZE, GROUPS_MAX = 8, 4096
"""Neighbours among the sorted weights whose distance tells the density."""


@dataclass(frozen=True, eq=False)
class _Sorted:
    """Weights in rising order, with their prefix sums."""

    values: np.ndarray  # float64 (weight,)
    sums: np.ndarray  # (weight + 1,)

    def means(self, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Count and mean of each stretch between edges; the mean of none is NaN."""
        counts = np.diff(edges)
        with np.errstate(invalid="ignore", divide="ignore"):
            return counts, np.diff(self.sums[edges]) / counts


def _sort(values: np.ndarray) -> _Sorted:
    flat = np.sort(values.reshape(-1).astype(np.float64))
    return _Sorted(flat, np.concatenate([[0.0], np.cumsum(flat)]))


def kmeans_codebook(values: np.ndarray, codes_count: int) -> np.ndarray:
    """Values that represent others with small squared error, float32 (code,), rising.

    The best there are where there are at most 512 different values (an exact programme over
    them); else Lloyd's iteration from two starts, the better end of both: where the cube root
    of the density asks for values (Panter and Dite 1951), and evenly over the range, which
    keeps the few large weights.

    Args:
        values: float, any shape.
        codes_count: at most so many; fewer where there are fewer different values.
    """
    data = _sort(values)
    different = np.unique(data.values)
    if len(different) <= codes_count:
        return different.astype(np.float32)
    if len(different) <= EXACT_VALUES_MAX:
        return np.unique(_exact(data, different, codes_count).astype(np.float32))
    ends = [_lloyd(data, start) for start in _starts(data, codes_count)]
    errors = [_errors_by_cluster(data, _edges(data, end), end).sum() for end in ends]
    return np.unique(ends[int(np.argmin(errors))].astype(np.float32))


def _exact(data: _Sorted, different: np.ndarray, codes_count: int) -> np.ndarray:
    """The best centres of all: which value begins each cluster, by dynamic programming."""
    edges = np.append(np.searchsorted(data.values, different), len(data.values))
    shift = data.values.mean()  # so that squares of values far from 0 lose no digits
    squares = np.concatenate([[0.0], np.cumsum((data.values - shift) ** 2)])[edges]
    sums, counts = data.sums[edges] - shift * edges, edges.astype(np.float64)
    # error[i, j]: of one cluster over the different values i to j - 1.
    with np.errstate(invalid="ignore", divide="ignore"):
        error = (
            squares[None]
            - squares[:, None]
            - (sums[None] - sums[:, None]) ** 2 / (counts[None] - counts[:, None])
        )
    error[np.tril_indices(len(error))] = np.inf
    best, begins = error[0], []
    for _ in range(codes_count - 1):
        totals = best[:, None] + error
        begins.append(totals.argmin(0))
        best = totals.min(0)
    stops = [len(different)]
    for begin in reversed(begins):
        stops.append(int(begin[stops[-1]]))
    bounds = np.array([0, *stops[::-1]])
    return data.means(edges[bounds])[1]


def _starts(data: _Sorted, count: int) -> list[np.ndarray]:
    values = data.values
    size = max(GROUP_SIZE, len(values) // GROUPS_MAX)
    places = np.append(np.arange(0, len(values) - 1, size), len(values) - 1)
    widths = np.diff(values[places])
    # The cube root of a group's density, over its width.
    wanted = np.concatenate([[0.0], np.cumsum(np.cbrt(np.diff(places) * widths**2))])
    shares = (np.arange(count) + 0.5) / count
    by_density = np.interp(shares * wanted[-1], wanted, values[places])
    return [by_density, values[0] + shares * (values[-1] - values[0])]


def _edges(data: _Sorted, centres: np.ndarray) -> np.ndarray:
    middles = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[0], np.searchsorted(data.values, middles), [len(data.values)]])


def _lloyd(data: _Sorted, centres: np.ndarray) -> np.ndarray:
    for _ in range(ITERATIONS_MAX):
        edges = _edges(data, centres)
        counts, means = data.means(edges)
        empty_count = int((counts == 0).sum())
        if empty_count:  # these move to the far ends of those with the greatest squared error
            worst = np.argsort(-_errors_by_cluster(data, edges, means))[:empty_count]
            means = np.sort(np.concatenate([means[counts > 0], data.values[edges[worst]]]))
        elif np.array_equal(means, centres):
            break
        centres = means
    return centres


def _errors_by_cluster(data: _Sorted, edges: np.ndarray, centres: np.ndarray) -> np.ndarray:
    errors = (data.values - np.repeat(centres, np.diff(edges))) ** 2
    return np.diff(np.concatenate([[0.0], np.cumsum(errors)])[edges])


def nearest_codes(values: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    """The code of the nearest value (of two as near: the higher), uint16 in the same shape."""
    middles = (codebook[1:].astype(np.float64) + codebook[:-1].astype(np.float64)) / 2
    return np.searchsorted(middles, values, side="right").astype(np.uint16)


def share_by_kmeans(values: np.ndarray, codes_count: int) -> SharedWeights:
    """Weights that share at most so many values; zeros stay zero and their 0 counts as one.

    Args:
        values: float32, any shape.
        codes_count: values in all, at least 1; where some weight is zero, at least 2.
    """
    zeros = values == 0
    if not zeros.any():
        codebook = kmeans_codebook(values, codes_count)
        return SharedWeights(codebook, nearest_codes(values, codebook))
    if zeros.all():
        return SharedWeights(np.zeros(1, np.float32), np.zeros(values.shape, np.uint16))
    codebook = kmeans_codebook(values[~zeros], max(codes_count - 1, 1)) + np.float32(0)  # no -0
    codes = nearest_codes(values, codebook)
    zero = int(np.searchsorted(codebook, 0))
    if zero == len(codebook) or codebook[zero] != 0:
        codebook, codes = np.insert(codebook, zero, 0), codes + (codes >= zero)
    return SharedWeights(codebook, np.where(zeros, zero, codes).astype(np.uint16))


def entropy_codebook(values: np.ndarray, rate_lambda: float) -> SharedWeights:
    """Weights that share values so that squared error + lambda · coded bits is small.

    The value 0 is always at hand, so small weights become zero where that is worth it; a
    weight that is zero stays zero. The number of values comes out of the trade.

    Args:
        values: float32, any shape.
        rate_lambda: the squared error that a bit has to save; above 0.
    """
    zeros = values == 0
    data = _sort(values[~zeros])
    centres = _even_grid(data, rate_lambda)
    bits = np.zeros(len(centres))
    for _ in range(ENTROPY_ITERATIONS):
        starts, chosen = cheapest_codes(centres, rate_lambda * bits)
        edges = np.concatenate([[0], np.searchsorted(data.values, starts), [len(data.values)]])
        counts, means = data.means(edges)
        centres = np.where((centres[chosen] == 0) | (counts == 0), centres[chosen], means)
        if not (centres == 0).any():
            place = int(np.searchsorted(centres, 0))
            centres, counts = np.insert(centres, place, 0), np.insert(counts, place, 0)
        counts = counts + np.where(centres == 0, zeros.sum(), 0)
        kept = (counts > 0) | (centres == 0)
        centres, counts = centres[kept], counts[kept]
        bits = np.log2(max(counts.sum(), 1)) - np.log2(np.maximum(counts, 0.5))
    codebook = centres.astype(np.float32)
    starts, chosen = cheapest_codes(centres, rate_lambda * bits)
    codes = chosen[np.searchsorted(starts, values.reshape(-1), side="right")]
    codes = codes.reshape(values.shape)
    codes[zeros] = int(np.flatnonzero(codebook == 0)[0])
    used, codes = np.unique(codes, return_inverse=True)
    return SharedWeights(codebook[used], codes.astype(np.uint16).reshape(values.shape))


def _even_grid(data: _Sorted, rate_lambda: float) -> np.ndarray:
    """Multiples of the step that is best where many bits are spent: lambda = ln 2 / 6 · step²."""
    if not len(data.values):
        return np.zeros(1)
    low, high = min(data.values[0], 0.0), max(data.values[-1], 0.0)
    step = max(np.sqrt(6 * rate_lambda / np.log(2)), (high - low) / (CODES_MAX // 2), 1e-30)
    return step * np.arange(np.floor(low / step), np.ceil(high / step) + 1)


def cheapest_codes(centres: np.ndarray, costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """From which weight on which code is the cheapest.

    (w - centre)² + cost, less w², is a line in w for each code: their lower envelope.

    Args:
        centres: float array (code,), rising.
        costs: float array (code,), of the bits of each code.

    Returns:
        (starts, chosen): code chosen[i] is the cheapest from starts[i - 1] to starts[i].
    """
    slopes, offsets = -2 * centres, centres**2 + costs
    chosen: list[int] = []
    starts: list[float] = []
    for code in range(len(centres)):
        while chosen:
            last = chosen[-1]
            start = (offsets[code] - offsets[last]) / (slopes[last] - slopes[code])
            if starts and start <= starts[-1]:
                chosen.pop()
                starts.pop()
                continue
            starts.append(start)
            break
        chosen.append(code)
    return np.array(starts), np.array(chosen)
