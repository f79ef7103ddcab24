"""Streams of symbols, each with the table that suits it, in one coded body.

A stream is a row of whole numbers below a known size. It is coded by a table of its own
counts, or, where that would cost more, as if all symbols were as likely. A table stands in
the body right before its stream: the difference of each entry to the one before, coded by
one table that all of them share.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from dse.errors import WeightsError
from dse.weights.dsz.ans import AnsDecoder, AnsEncoder, weights_of
from dse.weights.dsz.huffman import HuffmanDecoder, HuffmanEncoder

CoderName = Literal["ans", "huffman"]
CODERS: tuple[CoderName, ...] = get_args(CoderName)

SIZE_MAX = 2**16
TABLE_ENTRY_BITS = 3.0
"""About what an entry of a table costs; only used to choose between table and none."""

_ENTRIES = 256


_ENCODERS: dict[CoderName, type[AnsEncoder | HuffmanEncoder]] = {
    "ans": AnsEncoder,
    "huffman": HuffmanEncoder,
}
_DECODERS: dict[CoderName, type[AnsDecoder | HuffmanDecoder]] = {
    "ans": AnsDecoder,
    "huffman": HuffmanDecoder,
}


def symbol_bits(coder: CoderName, table: np.ndarray) -> np.ndarray:
    """Bits of each symbol under a table, float64 (symbol,); 0 for those that do not occur."""
    if np.count_nonzero(table) < 2:
        return np.zeros(len(table))
    if coder == "huffman":
        return table.astype(np.float64)
    weights = weights_of(table)
    bits = np.log2(weights.sum()) - np.log2(np.where(weights > 0, weights, 1))
    return np.where(weights > 0, bits, 0.0)


def estimated_bits(coder: CoderName, counts: np.ndarray) -> float:
    """About what a stream with these counts takes, its table included."""
    return min(_table_bits(coder, counts), _uniform_bits(coder, counts))


def _table_bits(coder: CoderName, counts: np.ndarray) -> float:
    table = _ENCODERS[coder]().table(counts)
    return float(counts @ symbol_bits(coder, table)) + TABLE_ENTRY_BITS * len(counts)


def _uniform_bits(coder: CoderName, counts: np.ndarray) -> float:
    size = len(counts)
    if size < 2:
        return 0.0
    return float(counts.sum()) * (np.log2(size) if coder == "ans" else (size - 1).bit_length())


class StreamWriter:
    """Collects streams, then gives the body and what the head has to say of it.

    Args:
        coder: how symbols become bits.
    """

    def __init__(self, coder: CoderName) -> None:
        self._coder = coder
        self._streams: list[tuple[np.ndarray, int, np.ndarray | None]] = []

    def put(self, symbols: np.ndarray, size: int) -> None:
        """Append a stream of symbols below `size`."""
        if not len(symbols):
            return
        counts = np.bincount(symbols, minlength=size)
        table = None
        if _table_bits(self._coder, counts) < _uniform_bits(self._coder, counts):
            table = _ENCODERS[self._coder]().table(counts)
        self._streams.append((symbols, size, table))

    def finish(self) -> tuple[bytes, bytes]:
        """What the head holds (one byte per stream: has it a table; the shared table), the body."""
        encoder = _ENCODERS[self._coder]()
        steps = [_steps(table) for _, _, table in self._streams if table is not None]
        shared = np.zeros(_ENTRIES, np.uint8)
        if steps:
            shared = encoder.table(np.bincount(np.concatenate(steps), minlength=_ENTRIES))
        for symbols, size, table in self._streams:
            if table is None:
                encoder.put_uniform(symbols, size)
            else:
                encoder.put(_steps(table), shared)
                encoder.put(symbols, table)
        flags = bytes(table is not None for _, _, table in self._streams)
        return flags + shared.tobytes(), encoder.finish()


def _steps(table: np.ndarray) -> np.ndarray:
    return np.diff(table, prepend=np.uint8(0))  # wraps around, as uint8 does


class StreamReader:
    """Gives the streams back in the order in which they were written.

    Args:
        coder: as they were written with.
        head: what `StreamWriter.finish` gave for the head.
        body: the coded symbols.

    Raises:
        WeightsError: here and in every method, where the bytes cannot be what was written.
    """

    def __init__(self, coder: CoderName, head: bytes, body: bytes) -> None:
        if len(head) < _ENTRIES:
            raise WeightsError("the head ends within the shared table")
        self._flags = iter(head[:-_ENTRIES])
        self._shared = np.frombuffer(head[-_ENTRIES:], np.uint8)
        self._decoder = _DECODERS[coder](body)

    def take(self, count: int, size: int) -> np.ndarray:
        """The next stream: `count` symbols below `size`, in the smallest type that holds them."""
        out = np.empty(count, np.uint8 if size <= 2**8 else np.uint16)
        if not count:
            return out
        match next(self._flags, None):
            case 0:
                self._decoder.take_uniform(count, size, out)
            case 1:
                steps = np.empty(size, np.uint8)
                self._decoder.take(size, self._shared, steps)
                self._decoder.take(count, np.cumsum(steps, dtype=np.uint8), out)
            case flag:
                raise WeightsError(f"a stream of kind {flag}, but must be 0 or 1")
        return out

    def finish(self) -> None:
        """Check that nothing is left over."""
        if next(self._flags, None) is not None:
            raise WeightsError("the head speaks of more streams than the network has")
        self._decoder.finish()
