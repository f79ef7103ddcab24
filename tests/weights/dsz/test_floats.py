"""Floating-point numbers as streams: every bit pattern, in numeric order."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.errors import WeightsError
from dse.weights.dsz.floats import (
    FloatBits,
    put_codebooks,
    put_floats,
    sort_keys,
    take_codebooks,
    take_floats,
    values_of_keys,
)
from dse.weights.dsz.streams import CODERS, CoderName, StreamReader, StreamWriter
from tests.weights.dsz.test_streams import SlowReader


def slow_value(key: int, bits: FloatBits) -> float:
    """The key of docs/dsz.md: the pattern with its sign bit turned, all bits of negative ones."""
    top = 1 << (bits - 1)
    pattern = key - top if key >= top else 2 * top - 1 - key
    return struct.unpack("<e" if bits == 16 else "<f", pattern.to_bytes(bits // 8, "little"))[0]


def slow_codebooks(reader: SlowReader, sizes: list[int], bits: FloatBits) -> list[list[float]]:
    """What docs/dsz.md says of codebooks."""
    lengths = reader.take(sum(sizes), bits + 1)
    steps = [1 if length == 1 else 0 for length in lengths]
    for length in range(2, bits + 1):
        here = [i for i, found in enumerate(lengths) if found == length]
        low = min(length - 1, 16)
        lows = reader.take(len(here), 2**low)
        highs = reader.take(len(here), 2 ** (length - 1 - low)) if length - 1 > low else lows
        for i, bottom, above in zip(here, lows, highs, strict=True):
            above = above << 16 if length - 1 > low else 0
            steps[i] = 2 ** (length - 1) + above + bottom
    codebooks, start = [], 0
    for size in sizes:
        keys = [sum(steps[start : start + i + 1]) for i in range(size)]
        codebooks.append([slow_value(key, bits) for key in keys])
        start += size
    return codebooks


def slow_floats(reader: SlowReader, count: int, bits: FloatBits) -> list[float]:
    planes = [reader.take(count, 256) for _ in range(bits // 8)]
    letter = "e" if bits == 16 else "f"
    return [struct.unpack(f"<{letter}", bytes(number))[0] for number in zip(*planes, strict=True)]


def bits_of(values: np.ndarray) -> list[int]:
    return values.view(np.uint32).tolist()


PATTERNS_16 = np.arange(2**16, dtype=np.uint16)


def test_the_keys_of_16_bits_are_in_numeric_order() -> None:
    values = PATTERNS_16.view(np.float16).astype(np.float32)
    numbers = values[~np.isnan(values)]
    keys = sort_keys(numbers, 16)
    assert len(np.unique(keys)) == len(numbers)  # -0 and 0 have one each
    ordered = numbers[np.argsort(keys)]
    assert (np.diff(ordered.astype(np.float64)[1:-1]) >= 0).all()
    assert (ordered[0], ordered[-1]) == (-np.inf, np.inf)
    (zeros,) = np.nonzero(ordered == 0)
    assert np.signbit(ordered[zeros]).tolist() == [True, False]


def test_every_key_of_16_bits_has_its_value() -> None:
    keys = np.arange(2**16)
    values = values_of_keys(keys, 16)
    assert values.dtype == np.float32
    numbers = ~np.isnan(values)
    np.testing.assert_array_equal(sort_keys(values[numbers], 16), keys[numbers])
    assert [slow_value(key, 16) for key in keys[numbers].tolist()] == values[numbers].tolist()


HAND_32 = [
    (-math.inf, 0x007FFFFF),
    (-1.0, 0x407FFFFF),  # 0xBF800000, every bit turned
    (-0.0, 0x7FFFFFFF),
    (0.0, 0x80000000),
    (2.0**-149, 0x80000001),  # the smallest subnormal
    (1.0, 0xBF800000),
    (math.inf, 0xFF800000),
]


def test_keys_of_32_bits_worked_out_by_hand() -> None:
    values = np.array([value for value, _ in HAND_32], np.float32)
    keys = np.array([key for _, key in HAND_32])
    np.testing.assert_array_equal(sort_keys(values, 32), keys)
    assert bits_of(values_of_keys(keys, 32)) == bits_of(values)
    slow = np.array([slow_value(key, 32) for key in keys.tolist()], np.float32)
    assert bits_of(slow) == bits_of(values)


any_float32 = st.floats(width=32, allow_nan=False, allow_subnormal=True)


@given(any_float32, any_float32)
def test_the_keys_of_32_bits_are_in_numeric_order(left: float, right: float) -> None:
    keys = sort_keys(np.array([left, right], np.float32), 32).tolist()
    if left != right:
        assert (keys[0] < keys[1]) == (left < right)
    else:
        assert (keys[0] < keys[1]) == (math.copysign(1, left) < math.copysign(1, right))


@given(st.lists(st.integers(0, 2**32 - 1), max_size=50))
def test_the_keys_of_32_bits_are_one_to_one(patterns: list[int]) -> None:
    """Of any pattern, those that are no numbers included."""
    values = np.array(patterns, np.uint32).view(np.float32)
    keys = sort_keys(values, 32)
    assert bits_of(values_of_keys(keys, 32)) == patterns
    assert len(np.unique(keys)) == len(set(patterns))


@pytest.mark.parametrize("coder", CODERS)
class TestRoundTrip:
    @given(patterns=st.lists(st.integers(0, 2**32 - 1), max_size=60))
    @settings(max_examples=30)
    def test_floats_of_32_bits(self, coder: CoderName, patterns: list[int]) -> None:
        values = np.array(patterns, np.uint32).view(np.float32)
        writer = StreamWriter(coder)
        put_floats(writer, values, 32)
        reader = StreamReader(coder, *writer.finish())
        assert bits_of(take_floats(reader, len(values), 32)) == patterns
        reader.finish()

    def test_floats_of_16_bits_are_rounded_as_numpy_does(self, coder: CoderName) -> None:
        values = np.random.default_rng(0).normal(size=(10, 100)).astype(np.float32) * 1e-3
        writer = StreamWriter(coder)
        put_floats(writer, values, 16)
        head, body = writer.finish()
        found = take_floats(StreamReader(coder, head, body), 1000, 16)
        assert found.dtype == np.float32
        wanted = values.reshape(-1).astype(np.float16)
        np.testing.assert_array_equal(found, wanted)
        assert (found != values.reshape(-1)).mean() > 0.9
        assert slow_floats(SlowReader(coder, head, body), 1000, 16) == wanted.tolist()

    @given(
        codebooks=st.lists(
            st.lists(st.integers(0, 2**32 - 1), unique=True, max_size=40).map(sorted), max_size=4
        )
    )
    @settings(max_examples=30)
    def test_codebooks_of_32_bits(self, coder: CoderName, codebooks: list[list[int]]) -> None:
        values = [values_of_keys(np.array(keys, np.int64), 32) for keys in codebooks]
        writer = StreamWriter(coder)
        put_codebooks(writer, values, 32)
        reader = StreamReader(coder, *writer.finish())
        found = take_codebooks(reader, [len(keys) for keys in codebooks], 32)
        reader.finish()
        assert [bits_of(part) for part in found] == [bits_of(part) for part in values]

    @pytest.mark.parametrize("bits", [16, 32])
    def test_the_slow_reader_finds_the_same(self, coder: CoderName, bits: FloatBits) -> None:
        rng = np.random.default_rng(0)
        sizes = [1, 0, 100, 17]
        values = [np.sort(rng.normal(size=size).astype(np.float16)) for size in sizes]
        values[0] = np.array([-np.inf], np.float16)
        codebooks = [part.astype(np.float32) for part in values]
        writer = StreamWriter(coder)
        put_codebooks(writer, codebooks, bits)
        head, body = writer.finish()
        found = take_codebooks(StreamReader(coder, head, body), sizes, bits)
        wanted = [part.tolist() for part in codebooks]
        assert [part.tolist() for part in found] == wanted
        assert slow_codebooks(SlowReader(coder, head, body), sizes, bits) == wanted

    def test_a_codebook_of_16_bits_is_rounded(self, coder: CoderName) -> None:
        codebook = np.array([-0.1, 0.0, 1e-9, 0.1, 65504], np.float32)
        writer = StreamWriter(coder)
        put_codebooks(writer, [codebook], 16)
        reader = StreamReader(coder, *writer.finish())
        (found,) = take_codebooks(reader, [5], 16)
        reader.finish()
        np.testing.assert_array_equal(found, codebook.astype(np.float16))

    @pytest.mark.parametrize(
        ("lengths", "rest"),
        [
            ([16, 16], [(16, [0, 0])]),  # 2^15 twice: behind the largest key, 65535
            ([16, 1], [(16, [2**15 - 1])]),  # 65535, then one more
        ],
    )
    def test_values_that_no_number_has_are_refused(
        self, coder: CoderName, lengths: list[int], rest: list[tuple[int, list[int]]]
    ) -> None:
        writer = StreamWriter(coder)
        writer.put(np.array(lengths), 17)
        for length, values in rest:
            writer.put(np.array(values), 2 ** (length - 1))
        with pytest.raises(WeightsError, match="a codebook leaves the range of 16-bit numbers"):
            take_codebooks(StreamReader(coder, *writer.finish()), [len(lengths)], 16)


def test_a_codebook_costs_less_than_its_floats() -> None:
    codebook = np.sort(np.random.default_rng(0).normal(size=1000).astype(np.float32))
    sizes = []
    for put in (lambda w: put_codebooks(w, [codebook], 32), lambda w: put_floats(w, codebook, 32)):
        writer = StreamWriter("ans")
        put(writer)
        sizes.append(len(writer.finish()[1]))
    assert sizes[0] < 0.8 * sizes[1] < 0.8 * 4000
