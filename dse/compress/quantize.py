"""From the arrays of a network to shared ones: the steps that need no images.

A weight costs its squared error plus lambda times its coded bits: of all codebooks the
rate-distortion lambda picks those that spend each bit where it saves the most error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from dse.architecture.primitives import BATCH_NORM_EPSILON
from dse.compress.codebooks import entropy_codebook, share_by_kmeans
from dse.compress.prune import Arrays, kernels_of
from dse.errors import DseError, WeightsError
from dse.weights.dsz.container import Packed, pack
from dse.weights.dsz.floats import FloatBits
from dse.weights.dsz.shared import SharedWeights, share_exactly
from dse.weights.safetensors import flat, load_weights

Mixed = dict[str, SharedWeights | np.ndarray]

LAMBDA_LOW, LAMBDA_HIGH = 1e-12, 1e-2
"""Between which a target's lambda is searched, in shares of a kernel's squared weights."""

SEARCH_STEPS = 24

ANSWER_BITS = 6.0
"""With 64 values per layer the bytes of a search's answer are stated."""


def compressed_bytes(paths: Iterable[Path]) -> int | None:
    """Bytes of a `.dsz` of the first weights file that can be read: 64 values per layer.

    Nothing is trained. None where no file is there or all are damaged: `dse evaluate` says
    what is wrong with one.
    """
    for path in paths:
        try:
            params, statistics, metadata = load_weights(path)
            mixed = share_by_bits(fold_norms(flat(params, statistics)), ANSWER_BITS)
            return len(pack(Packed(metadata, mixed, 16)))
        except DseError:
            continue
    return None


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
    folded = {"mean": 0, "variance": 1}
    kinds = {path: path.rpartition("/")[2] for path in arrays}
    found = [(arrays[path] == folded[k]).all() for path, k in kinds.items() if k in folded]
    return bool(found) and all(found)


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


def share_losslessly(arrays: Arrays, bits: FloatBits = 32) -> Mixed:
    """Each kernel with a code for each different value, where that can pay.

    Args:
        arrays: by path.
        bits: 32 changes nothing; 16 rounds to float16, as a file of such numbers does.
    """
    return _with_kernels(arrays, lambda kernel: share_exactly(kernel, bits) or kernel)


def share_by_bits(arrays: Arrays, bits: float) -> Mixed:
    """Each kernel with 2^bits values (rounded) by k-means; zeros stay zero and are one of them.

    Args:
        arrays: by path.
        bits: above 0; 5.5 is 45 values.
    """
    count = max(round(2**bits), 1)
    return _with_kernels(arrays, lambda kernel: share_by_kmeans(kernel, count))


def share_by_lambda(arrays: Arrays, rate_lambda: float) -> Mixed:
    """Each kernel with the values that make squared error + lambda · coded bits small.

    Args:
        arrays: by path.
        rate_lambda: in shares of the sum of a kernel's squared weights: an error counts for as
            much in a small layer as in a large one.
    """

    def shared(kernel: np.ndarray) -> SharedWeights:
        energy = float(np.sum(kernel.astype(np.float64) ** 2))
        return (
            entropy_codebook(kernel, rate_lambda * energy) if energy else share_by_kmeans(kernel, 1)
        )

    return _with_kernels(arrays, shared)


def _with_kernels(
    arrays: Arrays, share: Callable[[np.ndarray], SharedWeights | np.ndarray]
) -> Mixed:
    return {**arrays, **{path: share(kernel) for path, kernel in kernels_of(arrays).items()}}


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
    low, high = math.log(LAMBDA_LOW), math.log(LAMBDA_HIGH)
    best: tuple[Packed, bytes] | None = None
    for step in range(SEARCH_STEPS):
        middle = low if step == 0 else (low + high) / 2
        packed = make(share_by_lambda(arrays, math.exp(middle)))
        content = pack(packed)
        on_step(step + 1, SEARCH_STEPS)
        if len(content) > target_bytes:
            low = middle
            continue
        best, high = (packed, content), middle
        if step == 0 or len(content) >= 0.999 * target_bytes:
            on_step(SEARCH_STEPS, SEARCH_STEPS)
            break
    if best is None:
        raise WeightsError(
            f"a target of {target_bytes:,} bytes cannot be reached: the coarsest sharing tried "
            f"takes {len(content):,}"
        )
    return best
