"""Asymmetric numeral systems, by `constriction`: symbols at their entropy.

A table holds one byte a symbol, its level: 0 where it does not occur, else 1 + 4 log2(count)
rounded, that is the count within 9%, which costs about 0.002 bits a symbol and never 0.006.
Both sides compute with the counts that the levels stand for, in whole numbers.

Source: Duda 2009 (arXiv 0902.0271); Bamler 2022 (arXiv 2201.01741) for constriction.
"""

from __future__ import annotations

from typing import Any

import constriction
import numpy as np

from dse.errors import WeightsError

LEVELS_PER_OCTAVE = 4
LEVEL_MAX = 1 + LEVELS_PER_OCTAVE * 32
SYMBOLS_MAX = 2**16

_Categorical = constriction.stream.model.Categorical
_Uniform = constriction.stream.model.Uniform
_Coder = constriction.stream.stack.AnsCoder

_STEPS = np.array([65536, 77936, 92682, 110218], np.float64)  # 2^16 · 2^(0, 1/4, 1/2, 3/4)
_BLOCK = 2**16  # symbols decoded at once; bounds the memory, whatever the length


def levels_of(counts: np.ndarray) -> np.ndarray:
    """The level of each count, uint8."""
    counts = np.asarray(counts, np.float64)
    logs = np.log2(np.maximum(counts, 1))
    return np.where(counts > 0, 1 + np.rint(LEVELS_PER_OCTAVE * logs), 0).astype(np.uint8)


def weights_of(levels: np.ndarray) -> np.ndarray:
    """What a level stands for: whole numbers in proportion to the counts, float64, exact."""
    steps = np.maximum(levels.astype(np.int64) - 1, 0)
    weights = np.ldexp(_STEPS[steps % LEVELS_PER_OCTAVE], steps // LEVELS_PER_OCTAVE - 16)
    return np.where(levels > 0, weights, 0.0)


def _model(levels: np.ndarray) -> tuple[Any, np.ndarray]:
    """The model of the symbols that occur, and which these are."""
    present = np.flatnonzero(levels)
    if not len(present) or levels.max() > LEVEL_MAX:
        raise WeightsError("a table of symbols without one that occurs, or with a level above 129")
    weights = weights_of(levels[present])
    return _Categorical(weights / weights.sum(), perfect=False) if len(
        present
    ) > 1 else None, present


class AnsEncoder:
    """Collects symbols, then gives all their bytes."""

    def __init__(self) -> None:
        self._parts: list[tuple[np.ndarray, Any]] = []

    def table(self, counts: np.ndarray) -> np.ndarray:
        """What a file holds of the counts: their levels."""
        return levels_of(counts)

    def put(self, symbols: np.ndarray, levels: np.ndarray) -> None:
        """Append symbols, coded by what the levels say of their counts."""
        model, present = _model(levels)
        if model is not None:
            self._parts.append((np.searchsorted(present, symbols).astype(np.int32), model))

    def put_uniform(self, symbols: np.ndarray, size: int) -> None:
        """Append symbols below `size` that are all as likely."""
        if size > 1:
            self._parts.append((np.asarray(symbols, np.int32), _Uniform(size)))

    def finish(self) -> bytes:
        """All bytes: words of 32 bits, little-endian."""
        coder = _Coder()
        for symbols, model in reversed(self._parts):
            coder.encode_reverse(symbols, model)
        return bytes(coder.get_compressed().astype("<u4").tobytes())


class AnsDecoder:
    """Gives back, in the same order, what an `AnsEncoder` was given."""

    def __init__(self, content: bytes) -> None:
        if len(content) % 4:
            raise WeightsError(f"{len(content)} bytes of coded symbols, but they come in fours")
        words = np.frombuffer(content, "<u4").astype(np.uint32)
        if len(words) and not words[-1]:
            raise WeightsError("coded symbols that end with an empty word")
        self._coder = _Coder(words)

    def take(self, count: int, levels: np.ndarray, out: np.ndarray) -> None:
        """The next `count` symbols, into `out`.

        Raises:
            WeightsError: the table holds nothing.
        """
        model, present = _model(levels)
        if model is None:
            out[:count] = present[0]
            return
        for start in range(0, count, _BLOCK):
            stop = min(start + _BLOCK, count)
            out[start:stop] = present[self._coder.decode(model, stop - start)]

    def take_uniform(self, count: int, size: int, out: np.ndarray) -> None:
        """The next `count` symbols below `size`, into `out`."""
        if size < 2:
            out[:count] = 0
            return
        for start in range(0, count, _BLOCK):
            stop = min(start + _BLOCK, count)
            out[start:stop] = self._coder.decode(_Uniform(size), stop - start)

    def finish(self) -> None:
        """Check that everything was taken, and no more than there was.

        Raises:
            WeightsError: it was not.
        """
        if not self._coder.is_empty():
            raise WeightsError("the coded symbols are cut off or followed by something else")
