"""What general compressors make of the same weights: the figures to beat."""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import zstandard

ZSTD_LEVEL = 19


def float32_bytes(arrays: Mapping[str, np.ndarray]) -> int:
    """All arrays as they are."""
    return sum(4 * array.size for array in arrays.values())


def baselines_bytes(arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Bytes by method: gzip -9 and zstd -19 of the float32 arrays, zstd -19 of int8 kernels.

    int8 is 127 steps to each side of zero, up to each kernel's largest magnitude; what is no
    kernel stays float32, and what is no number counts as 0.
    """
    plain = b"".join(np.ascontiguousarray(a, "<f4").tobytes() for a in arrays.values())
    integers = b"".join(_int8(path, array) for path, array in arrays.items())
    zstd = zstandard.ZstdCompressor(level=ZSTD_LEVEL)
    gzip = zlib.compressobj(9, wbits=31)
    return {
        "gzip": len(gzip.compress(plain)) + len(gzip.flush()),
        "zstd": len(zstd.compress(plain)),
        "int8 + zstd": len(zstd.compress(integers)),
    }


def _int8(path: str, array: np.ndarray) -> bytes:
    if not path.endswith("/kernel"):
        return np.ascontiguousarray(array, "<f4").tobytes()
    finite = np.where(np.isfinite(array), array, 0)
    step = max(float(np.abs(finite).max(initial=0)) / 127, 1e-30)
    return np.rint(finite / step).astype(np.int8).tobytes()
