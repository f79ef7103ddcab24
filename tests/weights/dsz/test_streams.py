"""Streams: one contract for both coders, and the choice between a table and none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.errors import WeightsError
from dse.weights.dsz.streams import (
    CODERS,
    SIZE_MAX,
    TABLE_ENTRY_BITS,
    CoderName,
    StreamReader,
    StreamWriter,
    estimated_bits,
    symbol_bits,
)
from tests.weights.dsz.test_ans import SlowAns
from tests.weights.dsz.test_huffman import SlowHuffman, entropy_bits


class SlowCoder(Protocol):
    def take(self, count: int, table: list[int]) -> list[int]: ...
    def take_uniform(self, count: int, size: int) -> list[int]: ...
    def finish(self) -> None: ...


class SlowReader:
    """The reader of docs/dsz.md."""

    def __init__(self, coder: CoderName, head: bytes, body: bytes) -> None:
        self.flags = list(head[:-256])
        self.shared = list(head[-256:])
        self.coder: SlowCoder = SlowAns(body) if coder == "ans" else SlowHuffman(body)

    def take(self, count: int, size: int) -> list[int]:
        if not count:
            return []
        if not self.flags.pop(0):
            return self.coder.take_uniform(count, size)
        table, entry = [], 0
        for step in self.coder.take(size, self.shared):
            entry = (entry + step) % 256
            table.append(entry)
        return self.coder.take(count, table)

    def finish(self) -> None:
        assert not self.flags
        self.coder.finish()


@dataclass(frozen=True)
class Stream:
    size: int
    symbols: np.ndarray


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    size = draw(
        st.one_of(st.integers(1, 40), st.integers(1, SIZE_MAX), st.sampled_from([256, 257, 2**16]))
    )
    count = draw(st.one_of(st.integers(0, 20), st.integers(0, 2000)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    match draw(st.sampled_from(["constant", "distinct", "even", "skewed"])):
        case "constant":
            symbols = np.full(count, rng.integers(size))
        case "distinct":
            symbols = rng.permutation(size)[:count]
        case "even":
            symbols = rng.integers(0, size, count)
        case _:
            symbols = np.minimum(rng.geometric(0.3, count) - 1, size - 1)
    return Stream(size, symbols)


def written(coder: CoderName, parts: list[Stream]) -> tuple[bytes, bytes]:
    writer = StreamWriter(coder)
    for part in parts:
        writer.put(part.symbols, part.size)
    return writer.finish()


def total_bytes(coder: CoderName, parts: list[Stream]) -> int:
    return sum(map(len, written(coder, parts)))


SKEWED = Stream(256, np.minimum(np.random.default_rng(0).geometric(0.1, 3000) - 1, 255))
EVEN = Stream(256, np.random.default_rng(0).integers(0, 256, 300))


@pytest.mark.parametrize("coder", CODERS)
class TestEveryCoder:
    @given(parts=st.lists(streams(), max_size=6))
    @settings(max_examples=40)
    def test_streams_come_back(self, coder: CoderName, parts: list[Stream]) -> None:
        reader = StreamReader(coder, *written(coder, parts))
        for part in parts:
            found = reader.take(len(part.symbols), part.size)
            assert found.dtype == (np.uint8 if part.size <= 256 else np.uint16)
            np.testing.assert_array_equal(found, part.symbols)
        reader.finish()

    @given(parts=st.lists(streams(), max_size=4))
    @settings(max_examples=15)
    def test_the_slow_reader_finds_the_same(self, coder: CoderName, parts: list[Stream]) -> None:
        parts = [Stream(part.size, part.symbols[:40]) for part in parts if part.size < 2000]
        reader = SlowReader(coder, *written(coder, parts))
        for part in parts:
            assert reader.take(len(part.symbols), part.size) == part.symbols.tolist()
        reader.finish()

    def test_a_table_over_the_most_symbols_there_can_be(self, coder: CoderName) -> None:
        rng = np.random.default_rng(0)
        part = Stream(SIZE_MAX, np.minimum(rng.geometric(0.001, 100_000), SIZE_MAX - 1))
        head, body = written(coder, [part])
        assert head[0] == 1
        assert len(body) < 100_000 * 16 / 8 * 0.8
        reader = StreamReader(coder, head, body)
        np.testing.assert_array_equal(reader.take(100_000, SIZE_MAX), part.symbols)
        reader.finish()

    def test_a_table_only_where_it_pays(self, coder: CoderName) -> None:
        few = Stream(256, SKEWED.symbols[:50])
        constant = Stream(40, np.full(1000, 39))
        pair = Stream(2, np.array([0, 1] * 500))
        head, _ = written(coder, [SKEWED, EVEN, few, constant, pair, Stream(1, np.zeros(9, int))])
        assert list(head[:-256]) == [1, 0, 0, 1, 0, 0]

    @given(part=streams())
    @settings(max_examples=40)
    def test_the_cheaper_of_table_and_none(self, coder: CoderName, part: Stream) -> None:
        if not len(part.symbols):
            return
        counts = np.bincount(part.symbols, minlength=part.size)
        head, _ = written(coder, [part])
        bits = {"ans": np.log2(part.size), "huffman": (part.size - 1).bit_length()}[coder]
        without = len(part.symbols) * bits
        # Beyond the entropy: at most a bit a symbol by Huffman, 0.0055 by rounded counts.
        least_with = len(part.symbols) * entropy_bits(counts) + TABLE_ENTRY_BITS * part.size
        most_with = least_with + len(part.symbols) * (1 if coder == "huffman" else 0.0055)
        if head[0]:
            assert least_with < without
        else:
            assert most_with > without
        assert min(least_with, without) - 1e-6 <= estimated_bits(coder, counts)
        assert estimated_bits(coder, counts) <= min(most_with, without) + 1e-6

    def test_the_price_is_what_the_stream_takes(self, coder: CoderName) -> None:
        for part in [SKEWED, EVEN]:
            price = estimated_bits(coder, np.bincount(part.symbols, minlength=256)) / 8
            taken = total_bytes(coder, [part, part]) - total_bytes(coder, [part])
            assert abs(taken - price) < 0.03 * price + 8

    def test_a_constant_stream_costs_its_table_alone(self, coder: CoderName) -> None:
        head, body = written(coder, [Stream(40, np.full(100_000, 39))])
        assert head[0] == 1
        assert len(body) < 20

    def test_a_stream_that_is_left_over_is_refused(self, coder: CoderName) -> None:
        reader = StreamReader(coder, *written(coder, [SKEWED, EVEN]))
        reader.take(3000, 256)
        with pytest.raises(WeightsError, match="more streams than the network has"):
            reader.finish()

    def test_content_that_is_left_over_is_refused(self, coder: CoderName) -> None:
        head, body = written(coder, [SKEWED])
        reader = StreamReader(coder, head, body + b"\1\0\0\0")
        with pytest.raises(WeightsError):  # the coder sees it, one sooner, one later
            take_all(reader)

    def test_a_stream_that_is_not_there_is_refused(self, coder: CoderName) -> None:
        reader = StreamReader(coder, *written(coder, [SKEWED]))
        reader.take(3000, 256)
        with pytest.raises(WeightsError, match="a stream of kind None, but must be 0 or 1"):
            reader.take(1, 256)

    def test_a_kind_that_does_not_exist_is_refused(self, coder: CoderName) -> None:
        head, body = written(coder, [SKEWED])
        with pytest.raises(WeightsError, match="a stream of kind 2, but must be 0 or 1"):
            StreamReader(coder, b"\2" + head[1:], body).take(3000, 256)

    def test_a_head_without_the_shared_table_is_refused(self, coder: CoderName) -> None:
        with pytest.raises(WeightsError, match="the head ends within the shared table"):
            StreamReader(coder, bytes(255), b"")

    def test_no_streams_are_a_table_of_nothing(self, coder: CoderName) -> None:
        head, body = written(coder, [])
        assert (head, body) == (bytes(256), b"")
        StreamReader(coder, head, body).finish()


def take_all(reader: StreamReader) -> None:
    reader.take(3000, 256)
    reader.finish()


def test_bits_of_symbols_worked_out_by_hand() -> None:
    np.testing.assert_array_equal(symbol_bits("huffman", np.array([2, 0, 1, 2])), [2, 0, 1, 2])
    # Levels 5, 1, 1 stand for 2, 1, 1 of 4.
    np.testing.assert_array_equal(symbol_bits("ans", np.array([5, 0, 1, 1])), [1, 0, 2, 2])
    for coder in CODERS:
        np.testing.assert_array_equal(symbol_bits(coder, np.array([0, 1, 0])), [0, 0, 0])


def test_ans_takes_no_more_than_huffman() -> None:
    parts = [Stream(2, (np.random.default_rng(0).random(20_000) < 0.05).astype(int)), SKEWED]
    sizes = {coder: total_bytes(coder, parts) for coder in CODERS}
    # A bit of a twentieth has 0.286 bits of entropy, but no code of it is below 1 bit.
    assert sizes["huffman"] > 20_000 / 8
    assert sizes["ans"] < 20_000 * 0.3 / 8 + 3000 * 4.8 / 8 + 256 + 100
