"""Huffman codes: worked out by hand, against a slow tree, and every way to be wrong."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.errors import WeightsError
from dse.weights.dsz.huffman import HuffmanDecoder, HuffmanEncoder, check_lengths, code_lengths


class SlowHuffman:
    """The decoder of docs/dsz.md, bit by bit."""

    def __init__(self, content: bytes) -> None:
        self.bits = "".join(f"{byte:08b}" for byte in content)
        self.at = 0

    def take(self, count: int, lengths: list[int]) -> list[int]:
        present = [symbol for symbol, length in enumerate(lengths) if length]
        if len(present) == 1:
            return present * count
        codes = slow_codes(lengths)
        symbols = []
        for _ in range(count):
            code = ""
            while code not in codes:
                code += self.next(1)
            symbols.append(codes[code])
        return symbols

    def take_uniform(self, count: int, size: int) -> list[int]:
        bits = (size - 1).bit_length()
        return [int("0" + self.next(bits), 2) for _ in range(count)]

    def next(self, bits: int) -> str:
        self.at += bits
        return self.bits[self.at - bits : self.at]

    def finish(self) -> None:
        assert len(self.bits) - self.at < 8
        assert "1" not in self.bits[self.at :]


def slow_codes(lengths: list[int]) -> dict[str, int]:
    """Symbol by code: each code is the one before plus one, zeros behind it."""
    codes: dict[str, int] = {}
    code, last = -1, 0
    for length, symbol in sorted((length, s) for s, length in enumerate(lengths) if length):
        code = (code + 1) << (length - last)
        last = length
        codes[f"{code:0{length}b}"] = symbol
    return codes


def slow_total_bits(counts: list[int]) -> int:
    """Bits of all symbols: every merge of the two smallest adds one to what is below it."""
    weights = sorted(count for count in counts if count)
    total = 0
    while len(weights) > 1:
        merged = weights[0] + weights[1]
        weights = sorted([*weights[2:], merged])
        total += merged
    return total


def entropy_bits(counts: np.ndarray) -> float:
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def coded(symbols: list[int], lengths: list[int]) -> bytes:
    encoder = HuffmanEncoder()
    encoder.put(np.array(symbols), np.array(lengths, np.uint8))
    return encoder.finish()


def decoded(content: bytes, count: int, lengths: list[int]) -> list[int]:
    out = np.empty(count, np.uint16)
    decoder = HuffmanDecoder(content)
    decoder.take(count, np.array(lengths, np.uint8), out)
    decoder.finish()
    return out.tolist()


def test_lengths_worked_out_by_hand() -> None:
    # Merges: 5 + 9, 12 + 13, 14 + 16, 25 + 30, 45 + 55.
    assert code_lengths(np.array([45, 13, 12, 16, 9, 5])).tolist() == [1, 3, 3, 3, 4, 4]


def test_codes_worked_out_by_hand() -> None:
    # In the order of (length, symbol): 1 is 0, 0 is 10, 2 is 110, 3 is 111.
    lengths = [2, 1, 3, 3]
    content = coded([0, 1, 2, 3, 1], lengths)
    assert content == bytes([0b10_0_110_11, 0b1_0_000000])
    assert decoded(content, 5, lengths) == [0, 1, 2, 3, 1]


small_counts = st.lists(st.integers(0, 60), min_size=2, max_size=60).filter(
    lambda counts: sum(count > 0 for count in counts) > 1
)
"""Below 4,181 in all, the 19th Fibonacci number, so that no code is longer than 16 bits."""


@given(small_counts)
def test_no_tree_takes_fewer_bits(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts)).astype(int)
    assert int(lengths @ counts) == slow_total_bits(counts)
    assert [length > 0 for length in lengths] == [count > 0 for count in counts]


@given(small_counts)
def test_the_mean_length_is_within_a_bit_of_the_entropy(counts: list[int]) -> None:
    values = np.array(counts)
    mean_bits = code_lengths(values).astype(int) @ values / values.sum()
    assert entropy_bits(values) - 1e-9 <= mean_bits < entropy_bits(values) + 1


@given(small_counts, st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_the_codes_are_those_of_the_slow_decoder(counts: list[int], seed: int) -> None:
    lengths = code_lengths(np.array(counts)).tolist()
    present = np.flatnonzero(lengths)
    symbols = np.random.default_rng(seed).choice(present, 200).tolist()
    content = coded(symbols, lengths)
    slow = SlowHuffman(content)
    assert slow.take(200, lengths) == symbols
    slow.finish()
    assert decoded(content, 200, lengths) == symbols


def test_a_symbol_that_stands_alone_takes_no_bits() -> None:
    assert code_lengths(np.array([0, 0, 7])).tolist() == [0, 0, 1]
    assert coded([2] * 1000, [0, 0, 1]) == b""
    assert decoded(b"", 1000, [0, 0, 1]) == [2] * 1000
    assert code_lengths(np.array([0, 0])).tolist() == [0, 0]


def test_no_code_is_longer_than_16_bits() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 40:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = code_lengths(np.array(fibonacci)).astype(int)
    assert lengths.max() == 16  # without the limit the first two have 39
    assert sum(2 ** (16 - length) for length in lengths.tolist()) == 2**16
    assert (np.diff(lengths) <= 0).all()
    symbols = list(range(40)) * 3
    assert decoded(coded(symbols, lengths.tolist()), 120, lengths.tolist()) == symbols


def test_the_most_symbols_there_can_be() -> None:
    assert (code_lengths(np.arange(1, 2**16 + 1)) == 16).all()


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([], "none, or above 16 bits"),
        ([0, 0, 0], "none, or above 16 bits"),
        ([1, 2, 17, 17], "none, or above 16 bits"),
        ([2], "they fill no tree"),
        ([1, 2], "they fill no tree"),  # incomplete
        ([1, 2, 3], "they fill no tree"),
        ([1, 1, 1], "they fill no tree"),  # over-full
        ([1, 2, 2, 16], "they fill no tree"),
        ([255, 1], "none, or above 16 bits"),
    ],
)
def test_lengths_that_are_no_code_are_refused(lengths: list[int], message: str) -> None:
    values = np.array(lengths, np.uint8)
    with pytest.raises(WeightsError, match=message):
        check_lengths(values)
    with pytest.raises(WeightsError, match=message):
        HuffmanDecoder(bytes(100)).take(3, values, np.empty(3, np.uint8))


def test_blocks_join_without_a_seam() -> None:
    rng = np.random.default_rng(0)
    lengths = np.array([*range(1, 17), 16], np.uint8)
    symbols = rng.choice(17, 110_000, p=np.full(17, 1 / 17))
    encoder = HuffmanEncoder()
    encoder.put(np.array([0]), lengths)  # one bit: what follows begins within a byte
    encoder.put(symbols, lengths)
    encoder.put_uniform(symbols, 17)
    content = encoder.finish()
    assert len(content) > 2 * 2**16  # three blocks
    decoder = HuffmanDecoder(content)
    out = np.empty(110_000, np.uint8)
    decoder.take(1, lengths, out)
    decoder.take(110_000, lengths, out)
    np.testing.assert_array_equal(out, symbols)
    decoder.take_uniform(110_000, 17, out)
    np.testing.assert_array_equal(out, symbols)
    decoder.finish()


@pytest.mark.parametrize("bits", range(1, 17))
def test_uniform_symbols_have_the_fewest_bits_that_hold_them(bits: int) -> None:
    for size in {2**bits, 2 ** (bits - 1) + 1}:
        rng = np.random.default_rng(size)
        symbols = np.concatenate([[0, size - 1], rng.integers(0, size, 1001)])
        encoder = HuffmanEncoder()
        encoder.put_uniform(symbols, size)
        content = encoder.finish()
        assert len(content) == -(-1003 * bits // 8)
        assert SlowHuffman(content).take_uniform(1003, size) == symbols.tolist()
        out = np.empty(1003, np.uint16)
        decoder = HuffmanDecoder(content)
        decoder.take_uniform(1003, size, out)
        decoder.finish()
        np.testing.assert_array_equal(out, symbols)


def test_a_uniform_symbol_that_is_too_large_is_refused() -> None:
    with pytest.raises(WeightsError, match="a symbol of 7, but all are below 5"):
        HuffmanDecoder(b"\xff").take_uniform(2, 5, np.empty(2, np.uint8))


@pytest.mark.parametrize("length", [0, 1, 200, 374])
def test_content_that_ends_early_is_refused(length: int) -> None:
    symbols = np.random.default_rng(0).integers(0, 8, 1000)
    lengths = np.full(8, 3, np.uint8)
    content = coded(symbols.tolist(), lengths.tolist())[:length]  # of 375 bytes
    out = np.empty(1000, np.uint8)
    with pytest.raises(WeightsError, match="the coded symbols end too early"):
        HuffmanDecoder(content).take(1000, lengths, out)
    with pytest.raises(WeightsError, match="the coded symbols end too early"):
        HuffmanDecoder(content).take_uniform(1000, 8, out)


def test_bytes_that_are_left_over_are_refused() -> None:
    with pytest.raises(WeightsError, match=r"2 byte\(s\) that nothing asks for"):
        decoded(coded([0, 1, 2, 3, 1], [2, 1, 3, 3]) + b"\0\0", 5, [2, 1, 3, 3])
    with pytest.raises(WeightsError, match=r"1 byte\(s\) that nothing asks for"):
        decoded(b"\0", 0, [1, 1])
