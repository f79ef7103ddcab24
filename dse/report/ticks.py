"""Ticks for a logarithmic axis of counts that stay readable over any range.

Matplotlib labels decades, and every minor tick where there is no decade: 6 x 10^4 beside
2 x 10^4. Here a range gets four to nine round numbers, whether it spans six decades or 5%.
"""

from __future__ import annotations

import math

# Coarse to fine; the first with enough ticks in the range is taken.
_MANTISSAS: tuple[tuple[float, ...], ...] = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
)
_ENOUGH_COUNT = 4


def nice_ticks(low: float, high: float) -> list[float]:
    """Round numbers in [low, high] for a logarithmic axis, at least three.

    Args:
        low: positive.
        high: above `low`.
    """
    for mantissas in _MANTISSAS:
        ticks = _multiples(mantissas, low, high)
        if len(ticks) >= _ENOUGH_COUNT:
            return ticks
    step = _round_step((high - low) / _ENOUGH_COUNT)
    indices = range(math.ceil(low / step), math.floor(high / step * 1.000001) + 1)
    return [index * step for index in indices]


def minor_ticks(low: float, high: float) -> list[float]:
    """Unlabelled ticks at 1, 2 … 9 of each decade; none where they would say too little."""
    if not 3 <= high / low <= 1e5:
        return []
    return _multiples((1, 2, 3, 4, 5, 6, 7, 8, 9), low, high)


def _multiples(mantissas: tuple[float, ...], low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.floor(math.log10(high)) + 1)
    ticks = [mantissa * 10.0**decade for decade in decades for mantissa in mantissas]
    return [tick for tick in ticks if low <= tick <= high]


def _round_step(step: float) -> float:
    """The largest of 1, 2, 2.5 and 5 times a power of ten that is at most `step`."""
    decade = 10.0 ** math.floor(math.log10(step))
    return max(factor for factor in (1, 2, 2.5, 5) if factor * decade <= step * 1.000001) * decade
