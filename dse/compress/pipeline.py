"""From the arrays of a network to shared, sparse ones: the steps that need no images."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np

from dse.architecture.primitives import BATCH_NORM_EPSILON
from dse.compress.prune import magnitude_mask
from dse.compress.quantize import entropy_codebook, share_by_kmeans
from dse.errors import WeightsError
from dse.weights.dsz.container import Packed, pack
from dse.weights.dsz.floats import FloatBits
from dse.weights.dsz.shared import SharedWeights, share_exactly

Arrays = Mapping[str, np.ndarray]
"""Float32 arrays by parameter path."""

Mixed = dict[str, SharedWeights | np.ndarray]

PRICE_LOW, PRICE_HIGH = 1e-12, 1e-2
"""What a bit may cost, in shares of a kernel's squared weights."""

SEARCH_STEPS = 24


def kernels_of(arrays: Arrays) -> dict[str, np.ndarray]:
    """The arrays that are kernels."""
    return {path: array for path, array in arrays.items() if path.endswith("/kernel")}


def density_of(arrays: Arrays) -> float:
    """Share of the kernels' weights that are not zero."""
    kernels = kernels_of(arrays).values()
    return sum(int(np.count_nonzero(k)) for k in kernels) / max(sum(k.size for k in kernels), 1)


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


def fold_norms(arrays: Arrays) -> dict[str, np.ndarray]:
    """The same network with each batch norm's mean at 0 and variance at 1.

    Both move into scale and bias, which halves what a file holds of norms: arrays that are
    one number take no bytes. Results agree to rounding.

    Args:
        arrays: by path; of a norm `…/scale`, `…/bias`, `…/mean` and `…/variance`.
    """
    folded = dict(arrays)
    for path in arrays:
        name, _, kind = path.rpartition("/")
        if kind != "variance":
            continue
        scale, bias, mean, variance = (
            arrays[f"{name}/{part}"].astype(np.float64)
            for part in ("scale", "bias", "mean", "variance")
        )
        factor = scale / np.sqrt(variance + BATCH_NORM_EPSILON)
        folded[f"{name}/scale"] = (factor * np.sqrt(1 + BATCH_NORM_EPSILON)).astype(np.float32)
        folded[f"{name}/bias"] = (bias - mean * factor).astype(np.float32)
        folded[f"{name}/mean"] = np.zeros_like(arrays[f"{name}/mean"])
        folded[f"{name}/variance"] = np.ones_like(arrays[path])
    return folded


def are_folded(arrays: Arrays) -> bool:
    """Whether the norms of a network are as `fold_norms` leaves them; False without norms."""
    means = [array for path, array in arrays.items() if path.endswith("/mean")]
    variances = [array for path, array in arrays.items() if path.endswith("/variance")]
    return (
        bool(means)
        and all((m == 0).all() for m in means)
        and all((v == 1).all() for v in variances)
    )


def share_losslessly(arrays: Arrays, bits: FloatBits = 32) -> Mixed:
    """Each kernel with a code for each different value, where that can pay.

    Args:
        arrays: by path.
        bits: 32 changes nothing; 16 rounds to float16, as a file of such numbers does.
    """
    return {
        path: (share_exactly(array, bits) or array) if path.endswith("/kernel") else array
        for path, array in arrays.items()
    }


def exact_bits(arrays: Arrays) -> FloatBits:
    """16 where float16 holds every value to the bit, else 32."""
    with np.errstate(over="ignore", invalid="ignore"):
        exact = all(
            np.array_equal(
                array.astype(np.float16).astype(np.float32).view(np.uint32), array.view(np.uint32)
            )
            for array in (np.ascontiguousarray(a, np.float32) for a in arrays.values())
        )
    return 16 if exact else 32


def check_finite(arrays: Arrays) -> None:
    """Refuse weights that are no numbers.

    Raises:
        WeightsError: naming the first array, and how many of its values.
    """
    for path, array in arrays.items():
        wrong = int(np.count_nonzero(~np.isfinite(array)))
        if wrong:
            raise WeightsError(
                f"{path} has {wrong:,} values that are not finite: the training diverged, or the "
                "file is damaged; only --lossless can keep such weights"
            )


def share_by_bits(arrays: Arrays, bits: float) -> Mixed:
    """Each kernel with 2^bits values (rounded) by k-means; zeros stay zero and are one of them.

    Args:
        arrays: by path.
        bits: above 0; 5.5 is 45 values.
    """
    count = max(round(2**bits), 1)
    return {
        path: share_by_kmeans(array, count) if path.endswith("/kernel") else array
        for path, array in arrays.items()
    }


def share_by_price(arrays: Arrays, price: float) -> Mixed:
    """Each kernel with the values that make squared error + price · coded bits small.

    Args:
        arrays: by path.
        price: of a bit, in shares of the sum of a kernel's squared weights: an error counts
            for as much in a small layer as in a large one.
    """

    def shared(array: np.ndarray) -> SharedWeights:
        energy = float(np.sum(array.astype(np.float64) ** 2))
        return entropy_codebook(array, price * energy) if energy else share_by_kmeans(array, 1)

    return {
        path: shared(array) if path.endswith("/kernel") else array for path, array in arrays.items()
    }


def share_to_fit(
    arrays: Arrays,
    target_bytes: int,
    make: Callable[[Mixed], Packed],
    *,
    on_step: Callable[[int, int], None] = lambda step, steps: None,
) -> tuple[Packed, bytes]:
    """The network with the least squared error that fits a number of bytes, and its file.

    Args:
        arrays: by path.
        target_bytes: most that the file may take.
        make: what a file is to hold, from the shared arrays.
        on_step: told of (steps done, steps at most); all are done in the end.

    Raises:
        WeightsError: not even the coarsest fits; says what that takes.
    """
    low, high = math.log(PRICE_LOW), math.log(PRICE_HIGH)
    best: tuple[Packed, bytes] | None = None
    for step in range(SEARCH_STEPS):
        price = low if step == 0 else (low + high) / 2
        packed = make(share_by_price(arrays, math.exp(price)))
        content = pack(packed)
        on_step(step + 1, SEARCH_STEPS)
        if len(content) <= target_bytes:
            best = (packed, content)
            if step == 0 or len(content) >= 0.999 * target_bytes:
                on_step(SEARCH_STEPS, SEARCH_STEPS)
                break
            high = price
        else:
            low = price
    if best is None:
        raise WeightsError(
            f"a target of {target_bytes:,} bytes cannot be reached: the coarsest sharing tried "
            f"takes {len(content):,}"
        )
    return best
