"""Values shared so that each layer gives what it gave: later weights make up for earlier ones.

The weights of a filter are rounded one after the other, and what rounding one of them changes in
the filter's output is made up for by those that are still to come, by the second moments of
what the layer reads. Each takes the value of a codebook at which squared error of the output plus
lambda times coded bits is least, so small weights become zero on the way.

Source: Frantar and Alistarh 2022 (arXiv 2208.11580), "Optimal Brain Compression"; Frantar et al.
2023 (arXiv 2210.17323), "GPTQ"; Chou, Lookabaugh and Gray 1989, for the bits.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from dse.compress.codebooks import entropy_codebook
from dse.compress.prune import Arrays, kernels_of
from dse.compress.quantize import Mixed, share_by_lambda
from dse.weights.dsz import SharedWeights

PASSES = 8
"""Over a layer; behind each the codebook moves to where its weights went."""

RIDGE = 0.01
"""Of the covariance, in units of its mean variance: few images tell it only roughly."""


def share_with_moments(
    arrays: Arrays, moments: Mapping[str, np.ndarray], rate_lambda: float
) -> Mixed:
    """Each kernel with values that make error of its output + lambda · coded bits small.

    Args:
        arrays: by path.
        moments: second moments of what layers read, by layer (`narrow.second_moments`); kernels
            of others are shared for themselves.
        rate_lambda: in shares of the variance of what a layer gives: an error counts for as
            much in a small layer as in a large one.

    Returns:
        Kernels that share values; biases, or means of norms, make up for the constant. A weight
        that is zero stays zero.
    """
    shared = share_by_lambda(arrays, rate_lambda)
    for path, kernel in kernels_of(arrays).items():
        name = path.removesuffix("/kernel")
        if name not in moments or not kernel.any():
            continue
        raw, flat = moments[name], kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
        mean = raw[:-1, -1]
        covariance = raw[:-1, :-1] - np.outer(mean, mean)
        factor = np.ones(flat.shape[1])  # of each filter's output
        has_norm = f"{name}/variance" in arrays
        if has_norm:
            factor = arrays[f"{name}/scale"].astype(np.float64) ** 2
            factor /= np.maximum(arrays[f"{name}/variance"], 1e-30)
        if not np.trace(covariance) or not factor.any():
            continue
        found = _shared(kernel, covariance, factor, rate_lambda)
        shared[path] = found
        change = mean @ (flat - found.values.reshape(flat.shape))
        constant = f"{name}/{'mean' if has_norm else 'bias'}"
        sign = -1 if has_norm else 1
        shared[constant] = (arrays[constant] + sign * change).astype(np.float32)
    return shared


def _shared(
    kernel: np.ndarray, covariance: np.ndarray, factor: np.ndarray, rate_lambda: float
) -> SharedWeights:
    weights = kernel.reshape(-1, kernel.shape[-1]).astype(np.float64)
    energy = max(float(factor @ np.sum(weights * (covariance @ weights), 0)), 1e-30)
    first = entropy_codebook(kernel, rate_lambda * float(np.sum(weights**2)))
    centres = first.codebook.astype(np.float64)
    counts = np.bincount(first.codes.reshape(-1), minlength=len(centres)).astype(np.float64)
    # Rows that vary most go first: those that vary little are left to make up for them.
    order = np.argsort(-np.diag(covariance), kind="stable")
    ridge = RIDGE * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    inverse = np.linalg.inv((covariance + ridge)[np.ix_(order, order)])
    spread = np.linalg.cholesky(inverse).T  # row i: how row i's error goes on to later rows
    for last in range(PASSES):
        if not (centres == 0).any():
            place = int(np.searchsorted(centres, 0))
            centres, counts = np.insert(centres, place, 0), np.insert(counts, place, 1)
        bits = np.log2(counts.sum()) - np.log2(np.maximum(counts, 0.5))
        codes, moved = _round(weights[order], spread, centres, rate_lambda * energy * bits, factor)
        if last == PASSES - 1:
            break
        weight = (factor / np.diag(spread)[:, None] ** 2).reshape(-1)
        counts = np.bincount(codes.reshape(-1), minlength=len(centres)).astype(np.float64)
        total = np.bincount(codes.reshape(-1), weight, len(centres))
        sums = np.bincount(codes.reshape(-1), weight * moved.reshape(-1), len(centres))
        centres = np.where((centres == 0) | (total == 0), centres, sums / np.maximum(total, 1e-30))
        kept = np.flatnonzero((counts > 0) | (centres == 0))
        kept = kept[np.argsort(centres[kept], kind="stable")]
        centres, counts = centres[kept], counts[kept]
    back = np.empty_like(codes)
    back[order] = codes
    codebook, places = np.unique(centres.astype(np.float32), return_inverse=True)
    used, codes = np.unique(places[back], return_inverse=True)
    return SharedWeights(codebook[used], codes.astype(np.uint16).reshape(kernel.shape))


def _round(
    weights: np.ndarray,
    spread: np.ndarray,
    centres: np.ndarray,
    costs: np.ndarray,
    factor: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Codes (row, filter), and what each weight was when it was rounded."""
    left, is_zero = weights.copy(), weights == 0
    codes = np.empty(weights.shape, np.intp)
    zero = int(np.flatnonzero(centres == 0)[0])
    for row in range(len(weights)):
        scale = factor / spread[row, row] ** 2
        errors = scale[:, None] * (left[row][:, None] - centres) ** 2 + costs
        codes[row] = np.where(is_zero[row], zero, errors.argmin(1))
        error = (left[row] - centres[codes[row]]) / spread[row, row]
        left[row + 1 :] -= np.outer(spread[row, row + 1 :], error)
    return codes, left
