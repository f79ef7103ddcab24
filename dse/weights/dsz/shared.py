"""Weights that share their values: a codebook, and for each weight its code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dse.weights.dsz.floats import FloatBits, sort_keys, values_of_keys

CODES_MAX = 2**14
"""Codes of a codebook; where there are more values than that, sharing is no gain."""


@dataclass(frozen=True, eq=False)
class SharedWeights:
    """An array whose values come from a codebook.

    Attributes:
        codebook: float32 (code,), rising, each bit pattern once; 0 is one of them where a
            weight is zero.
        codes: uint16, in the shape of the array.
    """

    codebook: np.ndarray
    codes: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The weights, float32."""
        return self.codebook[self.codes]

    @property
    def zero_code(self) -> int | None:
        """The code of the value 0 (that of -0 is another), or None."""
        (found,) = np.nonzero(self.codebook.view(np.uint32) == 0)
        return int(found[0]) if len(found) else None

    @property
    def nonzero_count(self) -> int:
        """Weights that are not 0."""
        return int(np.count_nonzero(self.codebook[self.codes]))


def share_exactly(values: np.ndarray, bits: FloatBits = 32) -> SharedWeights | None:
    """Each different value (bit pattern) as a code; None where there are more than 16,384.

    Args:
        values: float32, any shape.
        bits: 16 rounds the values to float16 first.
    """
    keys, codes = np.unique(sort_keys(values.reshape(-1), bits), return_inverse=True)
    if len(keys) > CODES_MAX:
        return None
    return SharedWeights(values_of_keys(keys, bits), codes.astype(np.uint16).reshape(values.shape))
