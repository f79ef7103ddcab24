"""Asymmetric numeral systems: the levels of counts, sizes near the entropy, old bytes."""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.errors import WeightsError
from dse.weights.dsz.ans import AnsDecoder, AnsEncoder, levels_of, weights_of
from tests.weights.dsz.test_huffman import entropy_bits


class SlowAns:
    """The decoder of docs/dsz.md, symbol by symbol, in Python's whole numbers."""

    def __init__(self, content: bytes) -> None:
        self.words = list(struct.unpack(f"<{len(content) // 4}I", content))
        self.state = self.words.pop() if self.words else 0
        self.refill()

    def refill(self) -> None:
        if self.state < 2**32 and self.words:
            self.state = self.state << 32 | self.words.pop()

    def take(self, count: int, levels: list[int]) -> list[int]:
        present = [symbol for symbol, level in enumerate(levels) if level]
        if len(present) == 1:
            return present * count
        lefts = slow_lefts([levels[symbol] for symbol in present])
        return [present[self.next(lefts)] for _ in range(count)]

    def take_uniform(self, count: int, size: int) -> list[int]:
        if size == 1:
            return [0] * count
        lefts = [*range(0, size * (2**24 // size), 2**24 // size), 2**24]
        return [self.next(lefts) for _ in range(count)]

    def next(self, lefts: list[int]) -> int:
        quantile = self.state % 2**24
        index = bisect_right(lefts, quantile) - 1
        width = lefts[index + 1] - lefts[index]
        self.state = (self.state >> 24) * width + quantile - lefts[index]
        self.refill()
        return index

    def finish(self) -> None:
        assert self.state == 0
        assert not self.words


def slow_lefts(levels: list[int]) -> list[int]:
    """Where the share of each symbol begins in 2^24, and 2^24."""
    steps = (65536, 77936, 92682, 110218)
    weights = [steps[(level - 1) % 4] << (level - 1) // 4 for level in levels]
    shares = [weight / sum(weights) for weight in weights]
    total = 0.0
    for share in shares:
        total += share
    scale = (2**24 - len(shares)) / total
    lefts, passed = [], 0.0
    for index, share in enumerate(shares):
        lefts.append(int(passed * scale) + index)
        passed += share
    return [*lefts, 2**24]


def coded(symbols: np.ndarray, levels: np.ndarray) -> bytes:
    encoder = AnsEncoder()
    encoder.put(symbols, levels)
    return encoder.finish()


def test_levels_worked_out_by_hand() -> None:
    # 1 + 4 log2(count): 1, 5, 7.34, 9, 9 - 0.77 …; 2^(6/4) = 2.83 stands for 3.
    counts = [0, 1, 2, 3, 4, 7, 8, 1000, 2**24, 2**32]
    levels = levels_of(np.array(counts))
    assert levels.dtype == np.uint8
    assert levels.tolist() == [0, 1, 5, 7, 9, 12, 13, 41, 97, 129]
    weights = weights_of(levels).tolist()
    assert weights[:3] == [0, 1, 2]
    assert weights[3] == 92682 / 2**15
    assert weights[4] == 4
    assert weights[5] == 110218 / 2**14
    assert weights[6:] == [8, 1024, 2**24, 2**32]


def test_a_level_is_the_count_within_an_eighth_of_an_octave() -> None:
    counts = np.concatenate(
        [np.arange(1, 5000), np.random.default_rng(0).integers(1, 2**24, 20_000), [2**24]]
    )
    ratios = weights_of(levels_of(counts)) / counts
    most = 2 ** (1 / 8) * (1 + 1e-5)  # 9.05%, and the steps are rounded to whole numbers
    assert 1 / most <= ratios.min() < 0.92
    assert 1.09 < ratios.max() <= most


@pytest.mark.parametrize("size", [2, 16, 256, 2000])
def test_the_size_is_the_entropy(size: int) -> None:
    rng = np.random.default_rng(size)
    shares = 0.8 ** np.minimum(np.arange(size), 40)
    symbols = rng.choice(size, 200_000, p=shares / shares.sum())
    counts = np.bincount(symbols, minlength=size)
    content = coded(symbols, AnsEncoder().table(counts))
    least_bytes = 200_000 * entropy_bits(counts) / 8
    assert least_bytes * 0.999 - 8 < len(content) < least_bytes * 1.01 + 12


def test_the_rounded_counts_cost_little() -> None:
    """About 0.002 bits a symbol; the square of 1/8 octave bounds it: 0.0866² / 2 / ln 2."""
    rng = np.random.default_rng(0)
    extras = []
    for _ in range(300):
        counts = rng.geometric(1 / rng.integers(2, 10_000), rng.integers(2, 300))
        shares, weights = counts / counts.sum(), weights_of(levels_of(counts))
        extras.append(float((shares * np.log2(shares / (weights / weights.sum()))).sum()))
    assert 0 < min(extras) < max(extras) < 0.0055
    assert 0.0015 < np.mean(extras) < 0.002


def test_one_symbol_takes_no_bytes() -> None:
    levels = levels_of(np.array([0, 0, 300]))
    assert coded(np.full(300, 2), levels) == b""
    out = np.empty(300, np.uint8)
    decoder = AnsDecoder(b"")
    decoder.take(300, levels, out)
    decoder.take_uniform(0, 1, out)
    decoder.finish()
    assert (out == 2).all()


GOLDEN = bytes.fromhex("582bc6e5f55d007b6ce31059aac1ff85e11da56b0980d415ebf5e7c04fda5600")
GOLDEN_TABLE = levels_of(np.array([5, 0, 2, 1, 300]))


def test_bytes_of_old_files_still_decode() -> None:
    """Written with constriction 0.5.0; where this fails, a new version reads no old file."""
    encoder = AnsEncoder()
    symbols = np.array([4, 4, 0, 4, 2, 4, 4, 0, 3, 4] * 3)
    uniform = np.array([0, 999, 500, 7, 65, 12])
    encoder.put(symbols, GOLDEN_TABLE)
    encoder.put_uniform(uniform, 1000)
    encoder.put(symbols[::-1], GOLDEN_TABLE)
    assert encoder.finish().hex() == GOLDEN.hex()
    decoder = AnsDecoder(GOLDEN)
    found = np.empty(30, np.int64)
    decoder.take(30, GOLDEN_TABLE, found)
    assert found.tolist() == symbols.tolist()
    decoder.take_uniform(6, 1000, found)
    assert found[:6].tolist() == uniform.tolist()
    decoder.take(30, GOLDEN_TABLE, found)
    assert found.tolist() == symbols[::-1].tolist()
    decoder.finish()


@given(st.integers(2, 300), st.integers(2, 2**16), st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_the_models_are_those_of_the_slow_decoder(size: int, uniform: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    symbols = rng.choice(size, 300, p=rng.dirichlet(np.full(size, 0.1)))
    others = rng.integers(0, uniform, 5)
    encoder = AnsEncoder()
    levels = encoder.table(np.bincount(symbols, minlength=size))
    encoder.put(symbols, levels)
    encoder.put_uniform(others, uniform)
    slow = SlowAns(encoder.finish())
    assert slow.take(300, levels.tolist()) == symbols.tolist()
    assert slow.take_uniform(5, uniform) == others.tolist()
    slow.finish()


def body() -> tuple[bytes, np.ndarray, np.ndarray]:
    symbols = np.random.default_rng(0).binomial(15, 0.3, 5000)
    levels = levels_of(np.bincount(symbols, minlength=16))
    return coded(symbols, levels), symbols, levels


def test_symbols_come_back_over_several_blocks() -> None:
    symbols = np.random.default_rng(0).binomial(15, 0.3, 150_000)
    levels = levels_of(np.bincount(symbols, minlength=16))
    decoder = AnsDecoder(coded(symbols, levels))
    out = np.empty(150_000, np.uint8)
    decoder.take(150_000, levels, out)
    decoder.finish()
    np.testing.assert_array_equal(out, symbols)


Damage = Callable[[bytes], bytes]


@pytest.mark.parametrize(
    "damaged",
    [
        lambda content: content[:-4],
        lambda content: content[: len(content) // 8 * 4],
        lambda content: content[4:],
        lambda content: content + b"\1\0\0\0",
        lambda content: b"\1\0\0\0" + content,
        lambda content: content + content,
    ],
)
def test_content_that_is_cut_off_or_goes_on_is_refused(damaged: Damage) -> None:
    content, symbols, levels = body()
    out = np.empty(len(symbols), np.uint8)
    decoder = AnsDecoder(damaged(content))
    decoder.take(len(symbols), levels, out)
    with pytest.raises(WeightsError, match="cut off or followed by something else"):
        decoder.finish()


def test_no_bytes_are_the_first_symbol_over_and_over() -> None:
    """Not the truncated body of others: that is for the digest of the file to find."""
    content, symbols, levels = body()
    first = np.full(len(symbols), symbols.min())
    assert len(content) > 1000
    assert coded(first, levels) == b""
    out = np.empty(len(symbols), np.uint8)
    decoder = AnsDecoder(b"")
    decoder.take(len(symbols), levels, out)
    decoder.finish()
    np.testing.assert_array_equal(out, first)


def test_bytes_that_are_no_words_are_refused() -> None:
    with pytest.raises(WeightsError, match="7 bytes of coded symbols, but they come in fours"):
        AnsDecoder(bytes(7))
    with pytest.raises(WeightsError, match="end with an empty word"):
        AnsDecoder(b"\1\0\0\0\0\0\0\0")


@pytest.mark.parametrize("levels", [[], [0, 0, 0], [1, 130], [255]])
def test_tables_that_no_counts_give_are_refused(levels: list[int]) -> None:
    with pytest.raises(WeightsError, match=r"without one that occurs, or with a level above 129"):
        AnsDecoder(b"").take(1, np.array(levels, np.uint8), np.empty(1, np.uint8))
