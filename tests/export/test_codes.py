"""Kernels in codes against a slow decoder, and what they take against what could be expected."""

from __future__ import annotations

import numpy as np
import pytest

from dse.architecture.primitives import Conv
from dse.export.codes import Codes, coded
from dse.inference.graph import Operator
from dse.inference.int8 import Quantized, _quantized


def slow_decode(codes: Codes, filters_count: int, size: int) -> np.ndarray:
    """(filter, weight), int8, a bit at a time by a table of all codes."""
    names, code, number = {}, 0, 0
    for length, count in enumerate(codes.counts.tolist(), start=1):
        for _ in range(count):
            names[format(code, f"0{length}b")] = number
            code, number = code + 1, number + 1
        code *= 2
    bits = iter("".join(format(byte, "08b") for byte in codes.bits))
    rows = []
    for filter_ in range(filters_count):
        row: list[int] = []
        digit = 1
        while len(row) < size:
            name = next(bits)
            while name not in names:
                name += next(bits)
            number = names[name]
            if number in (codes.one, codes.two):
                row += [0] * (digit * (1 + (number == codes.two)))
                digit *= 2
                continue
            digit = 1
            value = int(codes.table[number])
            if codes.scales is not None:
                value = (value * int(codes.scales[filter_]) + 2 ** (codes.shift - 1)) >> codes.shift
            row.append(value)
        rows.append(row)
    return np.array(rows)


def quantized(
    kernel: np.ndarray, factors: np.ndarray | float = 1.0
) -> tuple[Operator, Quantized, np.ndarray]:
    """A convolution whose filters a batch norm multiplies, and its kernel as int8 by filter."""
    height, _, depth, filters = kernel.shape
    op = Operator(
        Conv("conv", filters=filters, kernel_size=height),
        (1,),
        (8, 8, depth),
        (8, 8, filters),
        (kernel * factors).astype(np.float32),
        np.zeros(filters, np.float32),
        kernel,
    )
    own = _quantized(op, 0.1, 0.1)
    return op, own, own.kernel.transpose(3, 0, 1, 2).reshape(filters, -1)


@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("values_count", [2, 16, 10**6])
def test_what_a_slow_decoder_gives(density: float, values_count: int) -> None:
    draw = np.random.default_rng(3)
    kernel = draw.normal(0, 1, (3, 3, 32, 24))
    kernel = (np.ceil(kernel * values_count / 8) - 0.5) * 8 / values_count
    kernel = np.where(draw.random(kernel.shape) < density, kernel, 0).astype(np.float32)
    kernel[..., 5] = 0
    op, own, rows = quantized(kernel, draw.normal(0, 1, 24))
    codes = coded(op, own)
    if codes is None:  # nothing is gained
        assert (density, values_count) == (1.0, 10**6)
        return
    assert np.array_equal(slow_decode(codes, *rows.shape), rows)
    assert codes.flash_bytes < own.kernel.nbytes


def test_a_filter_by_hand() -> None:
    """Three zeros are the digits 1 and 2^1 · 1; the end of a filter ends a run."""
    kernel = np.zeros((1, 1, 64, 2), np.float32)
    kernel[0, 0, [3, 63], 0] = 127, 5
    kernel[0, 0, 0, 1] = 127
    op, own, _ = quantized(kernel)
    codes = coded(op, own)
    assert codes is not None
    # Runs of 3 (two digits), 59 (60 is 111100 in binary: five) and 63 (64: six), three values.
    digits = {"one": 2 + 2 + 6, "two": 3, "127": 2, "5": 1}
    lengths = {"one": 1, "two": 2, "127": 3, "5": 3}
    assert codes.counts.tolist() == [1, 1, 2]
    bits = sum(count * lengths[name] for name, count in digits.items())
    assert len(codes.bits) == -(-bits // 8)
    assert codes.table[[codes.one, codes.two]].tolist() == [0, 0]


def test_shared_values_take_what_their_entropy_says() -> None:
    """A layer's values are other int8 in each filter, but the same levels."""
    draw = np.random.default_rng(4)
    kernel = np.round(draw.normal(0, 4, (3, 3, 32, 128))).astype(np.float32) / 8
    op, own, rows = quantized(kernel, draw.uniform(0.5, 2, 128))
    codes = coded(op, own)
    assert codes is not None
    assert codes.scales is not None
    shares = np.unique(kernel, return_counts=True)[1] / kernel.size
    entropy = -(shares * np.log2(shares)).sum()
    assert len(np.unique(rows)) > 3 * len(shares)
    assert codes.bits.nbytes * 8 / rows.size == pytest.approx(entropy, rel=0.02)
    assert np.array_equal(slow_decode(codes, *rows.shape), rows)
