"""Kernels of the C program in codes, where that is smaller: what a `.dsz` gains, kept in flash.

Zeros are written as runs, in digits to the base two that are 1 or 2; values follow in canonical
Huffman codes. A value is an int8, or a level: a kernel that shares its values has few of them,
but int8 has a scale for each filter, so the same value is another int8 in each. A filter's
multiplier makes its int8 of the layer's levels. `kernels.c` decodes a few filters at a time.

Source: Seward 1996 (bzip2), for runs in bijective digits; Han, Mao and Dally 2016, for the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dse.inference.graph import Operator
from dse.inference.int8 import Quantized
from dse.weights.dsz.huffman import HuffmanEncoder, code_lengths

DESCRIPTION_BYTES = 36
"""Of `dse_codes` with pointers of 32 bits."""
FILTERS_AT_ONCE = 4
"""Decoded before they are used, so that maps are read, and edges computed, less often."""
MOST_LEVELS = 256
_LEVEL_BITS, _SCALE_BITS = 30, 31
_NUDGES = [0, *(sign * 2**i for i in range(12) for sign in (1, -1))]
_DIGITS = 2  # symbols before those of values


@dataclass(frozen=True, eq=False)
class Codes:
    """A kernel in codes; see `dse_codes` in `kernels.c`.

    Attributes:
        bits: uint8, the codes.
        counts: uint16, how many codes there are of 1, 2, … bits.
        one, two: numbers of the digits of runs, in the order of codes.
        table: by the number of the code: int8 values, or int32 levels where there are scales.
        scales: int32 (filter,), or None.
        shift: a value is level · scale / 2^shift, rounded with halves up.
    """

    bits: np.ndarray
    counts: np.ndarray
    one: int
    two: int
    table: np.ndarray
    scales: np.ndarray | None = None
    shift: int = 1

    @property
    def arrays(self) -> list[np.ndarray]:
        """All that the program holds of it, beside its description."""
        return [
            array
            for array in (self.bits, self.counts, self.table, self.scales)
            if array is not None
        ]

    @property
    def flash_bytes(self) -> int:
        """Of all that takes the place of the kernel; arrays begin at multiples of four."""
        return sum(-(-array.nbytes // 4) * 4 for array in self.arrays) + DESCRIPTION_BYTES


def coded(op: Operator, own: Quantized) -> Codes | None:
    """The kernel of a convolution in the fewest bytes; None where it is smaller as it is."""
    kernel = _by_filter(own.kernel)
    values, symbols = np.unique(kernel, return_inverse=True)
    found = [_encoded(kernel != 0, symbols.reshape(kernel.shape), values)]
    if op.stored is not None:
        levels, symbols = np.unique(_by_filter(op.stored), return_inverse=True)
        if len(levels) <= MOST_LEVELS and (made := _scaled(op, own, levels)):
            numbers, scales, shift = made
            symbols = symbols.reshape(kernel.shape)
            found.append(_encoded(kernel != 0, symbols, numbers, scales, shift))
    best = min(found, key=lambda codes: codes.flash_bytes)
    return best if best.flash_bytes < own.kernel.nbytes else None


def _by_filter(kernel: np.ndarray) -> np.ndarray:
    """(filter, weight), in the order in which the C program holds them."""
    return kernel.transpose(3, 0, 1, 2).reshape(kernel.shape[3], -1)


def _scaled(
    op: Operator, own: Quantized, levels: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int] | None:
    """Levels, scales and shift that give every int8 of the kernel exactly; None if none do."""
    assert op.kernel is not None
    assert op.stored is not None
    kernel, stored = _by_filter(own.kernel).astype(np.int64), _by_filter(op.stored)
    largest = float(np.abs(levels).max())
    if not largest:
        return None
    at = np.abs(stored).argmax(1)[:, None]
    top = np.take_along_axis(stored, at, 1)[:, 0].astype(np.float64)
    folded = np.take_along_axis(_by_filter(op.kernel), at, 1)[:, 0].astype(np.float64)
    ratios = np.divide(folded * largest, own.kernel_scales * top, where=top != 0, out=top * 0)
    shift = _LEVEL_BITS + _SCALE_BITS - 1 - int(np.frexp(np.abs(ratios).max())[1])
    numbers = np.rint(levels / largest * 2**_LEVEL_BITS).astype(np.int64)
    exact = np.rint(ratios * 2.0 ** (shift - _LEVEL_BITS)).astype(np.int64)
    given = numbers[np.searchsorted(levels, stored)]
    scales, is_done = exact.copy(), np.zeros(len(exact), bool)
    for nudge in _NUDGES:  # a value half way between two int8 may have been rounded either way
        tried = exact + nudge
        made = (given * tried[:, None] + (1 << (shift - 1))) >> shift
        is_right = ((made == kernel) | (kernel == 0)).all(1) & (np.abs(tried) < 2**_SCALE_BITS)
        scales = np.where(is_right & ~is_done, tried, scales)
        is_done |= is_right
        if is_done.all():
            return numbers.astype(np.int32), scales.astype(np.int32), shift
    return None


def _encoded(
    is_value: np.ndarray,
    symbols: np.ndarray,
    table: np.ndarray,
    scales: np.ndarray | None = None,
    shift: int = 1,
) -> Codes:
    """Codes of values, with the zeros between them as runs, filter by filter.

    Args:
        is_value: bool (filter, weight), False for zeros.
        symbols: int, likewise: indices of `table`.
        table: what they stand for.
        scales: of levels, for each filter.
        shift: likewise.
    """
    size = is_value.shape[1]
    # A filter ends as if a value stood behind it, so that each run has a value to its right.
    marked = np.pad(is_value, ((0, 0), (0, 1)), constant_values=True)
    places = np.flatnonzero(marked)
    runs = np.diff(places, prepend=-1) - 1
    is_end = places % (size + 1) == size
    present, own = np.unique(symbols[is_value], return_inverse=True)
    digits_counts = np.frexp(runs + 1)[1] - 1
    starts = np.cumsum(digits_counts + ~is_end) - (digits_counts + ~is_end)
    stream = np.zeros(int((digits_counts + ~is_end).sum()), np.int64)
    for digit in range(int(digits_counts.max(initial=0))):
        has = digits_counts > digit
        stream[starts[has] + digit] = (runs[has] + 1) >> digit & 1
    stream[(starts + digits_counts)[~is_end]] = own + _DIGITS
    counts = np.bincount(stream, minlength=len(present) + _DIGITS)
    lengths = code_lengths(np.maximum(counts, 1))  # both digits have a code, whatever comes
    order = np.argsort(lengths, kind="stable")
    encoder = HuffmanEncoder()
    encoder.put(stream, lengths)
    held = np.concatenate([np.zeros(_DIGITS, table.dtype), table[present]])[order]
    one, two = (int(np.flatnonzero(order == digit)[0]) for digit in range(_DIGITS))
    return Codes(
        np.frombuffer(encoder.finish(), np.uint8),
        np.bincount(lengths)[1:].astype(np.uint16),
        one,
        two,
        held,
        scales,
        shift,
    )
