"""Floating-point numbers as streams: plain arrays by their bytes, codebooks by their steps."""

from __future__ import annotations

from typing import Literal

import numpy as np

from dse.errors import WeightsError
from dse.weights.dsz.streams import StreamReader, StreamWriter

FloatBits = Literal[16, 32]

LENGTH_BITS = 3.0
"""About what the length of a step takes; only used to choose a form."""

_LOW_BITS = 16


def put_floats(writer: StreamWriter, values: np.ndarray, bits: FloatBits) -> None:
    """Write an array, byte by byte of its numbers: the last holds sign and exponent.

    Args:
        writer: of the streams.
        values: float32, any shape.
        bits: 32 keeps every bit; 16 rounds to float16.
    """
    planes = _rounded(values, bits).reshape(-1).view(np.uint8).reshape(-1, bits // 8)
    for plane in planes.T:
        writer.put(plane, 256)


def take_floats(reader: StreamReader, count: int, bits: FloatBits) -> np.ndarray:
    """The array that `put_floats` wrote, float32 (count,)."""
    planes = np.stack([reader.take(count, 256) for _ in range(bits // 8)], axis=1)
    return planes.reshape(-1).view(_little_endian(bits)).astype(np.float32)


def _little_endian(bits: FloatBits) -> np.dtype:
    return np.dtype("<f2" if bits == 16 else "<f4")


def _rounded(values: np.ndarray, bits: FloatBits) -> np.ndarray:
    return np.ascontiguousarray(values, _little_endian(bits))


def sort_keys(values: np.ndarray, bits: FloatBits) -> np.ndarray:
    """Whole numbers in the order of the values, int64; each bit pattern has one of its own."""
    if bits == 16:
        raw = _rounded(values, 16).view(np.uint16).astype(np.int64)
    else:
        raw = _rounded(values, 32).view(np.uint32).astype(np.int64)
    top = 1 << (bits - 1)
    return np.where(raw & top, 2 * top - 1 - raw, raw + top)


def values_of_keys(keys: np.ndarray, bits: FloatBits) -> np.ndarray:
    """The values of `sort_keys`, float32."""
    top = 1 << (bits - 1)
    raw = np.where(keys & top, keys - top, 2 * top - 1 - keys)
    if bits == 16:
        return raw.astype("<u2").view("<f2").astype(np.float32)
    return raw.astype("<u4").view("<f4").astype(np.float32)


def put_codebooks(writer: StreamWriter, codebooks: list[np.ndarray], bits: FloatBits) -> None:
    """Write codebooks: of each rising key the step from the one before.

    A step is its length in bits, then the bits below its highest.

    Args:
        writer: of the streams.
        codebooks: float32 (code,), rising.
        bits: 32 or 16, in which every value has to be exact.
    """
    steps = np.concatenate([np.zeros(0, np.int64), *(_steps(c, bits) for c in codebooks)])
    lengths = _bit_lengths(steps)
    writer.put(lengths, bits + 1)
    for length in range(2, bits + 1):
        rest = steps[lengths == length] - (1 << (length - 1))
        low = min(length - 1, _LOW_BITS)
        writer.put(rest & ((1 << low) - 1), 1 << low)
        if length - 1 > low:
            writer.put(rest >> low, 1 << (length - 1 - low))


def codebook_bits(codebook: np.ndarray, bits: FloatBits) -> float:
    """About what a codebook takes among others."""
    lengths = _bit_lengths(_steps(codebook, bits))
    return float(np.maximum(lengths - 1, 0).sum()) + LENGTH_BITS * len(lengths)


def _steps(codebook: np.ndarray, bits: FloatBits) -> np.ndarray:
    return np.diff(sort_keys(codebook, bits), prepend=0)


def _bit_lengths(steps: np.ndarray) -> np.ndarray:
    return np.frexp(steps.astype(np.float64))[1]  # exact below 2^53


def take_codebooks(reader: StreamReader, sizes: list[int], bits: FloatBits) -> list[np.ndarray]:
    """The codebooks that `put_codebooks` wrote, float32.

    Raises:
        WeightsError: a value that no number of so many bits has.
    """
    lengths = reader.take(sum(sizes), bits + 1)
    steps = (lengths == 1).astype(np.int64)
    for length in range(2, bits + 1):
        here = np.flatnonzero(lengths == length)
        low = min(length - 1, _LOW_BITS)
        rest = reader.take(len(here), 1 << low).astype(np.int64)
        if length - 1 > low:
            rest |= reader.take(len(here), 1 << (length - 1 - low)).astype(np.int64) << low
        steps[here] = rest + (1 << (length - 1))
    codebooks, start = [], 0
    for size in sizes:
        keys = np.cumsum(steps[start : start + size])
        start += size
        if size and keys[-1] >= 1 << bits:
            raise WeightsError(f"a codebook leaves the range of {bits}-bit numbers")
        codebooks.append(values_of_keys(keys, bits))
    return codebooks
