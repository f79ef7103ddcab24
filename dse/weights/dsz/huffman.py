"""Canonical Huffman codes of at most 16 bits.

The code of a symbol follows from the code lengths alone: codes are given out in the order
of (length, symbol), each the one before plus one. Bits are packed from the highest bit of a
byte down.

Source: Huffman 1952; Schwartz and Kallick 1964 (canonical codes).
"""

from __future__ import annotations

import heapq

import numpy as np

from dse.errors import WeightsError

LONGEST_BITS = 16
SYMBOLS_MAX = 2**LONGEST_BITS

_BLOCK_BYTES = 2**11  # decoded at once; bounds the memory, whatever the length


def code_lengths(counts: np.ndarray) -> np.ndarray:
    """Code length of each symbol, uint8; 0 where the count is 0.

    A symbol that stands alone has length 1, but takes no bits. Where the best code is longer
    than 16 bits, counts are halved (rounded up) until it is not.

    Args:
        counts: int (symbol,), at most 65,536 symbols.
    """
    weights = np.asarray(counts, np.int64)
    lengths = np.zeros(len(weights), np.uint8)
    present = np.flatnonzero(weights)
    if len(present) < 2:
        lengths[present] = 1
        return lengths
    found = _depths(weights[present])
    while found.max() > LONGEST_BITS:
        weights = (weights + 1) // 2
        found = _depths(weights[present])
    lengths[present] = found
    return lengths


def _depths(weights: np.ndarray) -> np.ndarray:
    """Depth of each leaf in a Huffman tree; ties are broken by order, so always the same."""
    count = len(weights)
    heap = [(int(weight), node) for node, weight in enumerate(weights)]
    heapq.heapify(heap)
    parents = np.zeros(2 * count - 1, np.int64)
    for node in range(count, 2 * count - 1):
        (left_weight, left), (right_weight, right) = heapq.heappop(heap), heapq.heappop(heap)
        parents[left] = parents[right] = node
        heapq.heappush(heap, (left_weight + right_weight, node))
    depths = np.zeros(2 * count - 1, np.int64)
    for node in range(2 * count - 3, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return depths[:count]


def check_lengths(lengths: np.ndarray) -> None:
    """Refuse lengths that are no complete code.

    Raises:
        WeightsError: saying what they are.
    """
    present = lengths[lengths > 0].astype(np.int64)
    if len(present) == 1 and present[0] == 1:
        return
    if not len(present) or present.max() > LONGEST_BITS:
        raise WeightsError("code lengths that no Huffman code has: none, or above 16 bits")
    if (1 << (LONGEST_BITS - present)).sum() != 1 << LONGEST_BITS:
        raise WeightsError("code lengths that no Huffman code has: they fill no tree")


def _in_code_order(lengths: np.ndarray) -> np.ndarray:
    present = np.flatnonzero(lengths)
    return present[np.argsort(lengths[present], kind="stable")]


class HuffmanEncoder:
    """Collects symbols, then gives all their bits."""

    def __init__(self) -> None:
        self._bits: list[np.ndarray] = []

    def table(self, counts: np.ndarray) -> np.ndarray:
        """What a file holds of the counts: the code lengths."""
        return code_lengths(counts)

    def put(self, symbols: np.ndarray, lengths: np.ndarray) -> None:
        """Append symbols, each by the code that the lengths give it."""
        order = _in_code_order(lengths)
        if len(order) < 2:
            return
        steps = 1 << (LONGEST_BITS - lengths[order].astype(np.int64))
        codes = np.zeros(len(lengths), np.int64)
        codes[order] = (np.cumsum(steps) - steps) >> (
            LONGEST_BITS - lengths[order].astype(np.int64)
        )
        for start in range(0, len(symbols), _BLOCK_BYTES):
            part = symbols[start : start + _BLOCK_BYTES]
            self._put_bits(codes[part], lengths[part].astype(np.int64))

    def put_uniform(self, symbols: np.ndarray, size: int) -> None:
        """Append symbols below `size`, each in the same number of bits."""
        bits = (size - 1).bit_length()
        if bits:
            self._put_bits(np.asarray(symbols, np.int64), np.full(len(symbols), bits))

    def _put_bits(self, codes: np.ndarray, lengths: np.ndarray) -> None:
        ends = np.cumsum(lengths)
        repeated = np.repeat(codes, lengths)
        places = np.repeat(ends, lengths) - 1 - np.arange(len(repeated))
        self._bits.append(((repeated >> places) & 1).astype(np.uint8))

    def finish(self) -> bytes:
        """All bits; the last byte is filled up with zeros."""
        return np.packbits(np.concatenate([*self._bits, np.zeros(0, np.uint8)])).tobytes()


class HuffmanDecoder:
    """Gives back, in the same order, what a `HuffmanEncoder` was given."""

    def __init__(self, content: bytes) -> None:
        self._content = np.frombuffer(content, np.uint8)
        self._bit = 0

    def take(self, count: int, lengths: np.ndarray, out: np.ndarray) -> None:
        """The next `count` symbols, into `out`.

        Raises:
            WeightsError: the content ends before, or the lengths are no code.
        """
        check_lengths(lengths)
        order = _in_code_order(lengths)
        if len(order) == 1:
            out[:count] = order[0]
            return
        steps = 1 << (LONGEST_BITS - lengths[order].astype(np.int64))
        symbol_of = np.repeat(order.astype(np.uint16), steps)
        length_of = np.repeat(lengths[order].astype(np.uint8), steps)
        done = 0
        while done < count:
            windows = self._windows()
            sizes = length_of[windows].tobytes()
            places: list[int] = []
            place, most = 0, count - done
            end = len(sizes)
            while place < end and len(places) < most:
                places.append(place)
                place += sizes[place]
            if not places:
                raise _ended()
            out[done : done + len(places)] = symbol_of[windows[places]]
            done += len(places)
            self._move(place)

    def take_uniform(self, count: int, size: int, out: np.ndarray) -> None:
        """The next `count` symbols below `size`, into `out`.

        Raises:
            WeightsError: the content ends before, or a symbol is not below `size`.
        """
        bits = (size - 1).bit_length()
        if not bits:
            out[:count] = 0
            return
        done = 0
        while done < count:
            windows = self._windows()[::bits]
            part = windows[: count - done]
            if not len(part):
                raise _ended()
            out[done : done + len(part)] = part >> (LONGEST_BITS - bits)
            done += len(part)
            self._move(bits * len(part))
        if count and int(out[:count].max()) >= size:
            raise WeightsError(f"a symbol of {int(out[:count].max())}, but all are below {size}")

    def finish(self) -> None:
        """Check that everything was taken.

        Raises:
            WeightsError: more bytes follow.
        """
        left = len(self._content) - -(-self._bit // 8)
        if left:
            raise WeightsError(f"{left} byte(s) that nothing asks for")

    def _windows(self) -> np.ndarray:
        """The 16 bits from each bit of the next block on, uint16; zeros behind the end."""
        first = self._bit // 8
        block = self._content[first : first + _BLOCK_BYTES].astype(np.uint32)
        behind = self._content[first + len(block) : first + len(block) + 2]
        padded = np.zeros(len(block) + 2, np.uint32)
        padded[: len(block)] = block
        padded[len(block) : len(block) + len(behind)] = behind
        joined = padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]
        shifts = np.arange(8, 0, -1, dtype=np.uint32)
        windows = (joined[:, None] >> shifts & 0xFFFF).astype(np.uint16).reshape(-1)
        return windows[self._bit % 8 :]

    def _move(self, bits: int) -> None:
        self._bit += bits
        if self._bit > 8 * len(self._content):
            raise _ended()


def _ended() -> WeightsError:
    return WeightsError("the coded symbols end too early")
