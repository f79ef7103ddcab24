"""Axes as every figure has them: logarithmic sizes, percents, quiet lines, ticks to read.

Matplotlib labels decades, and every minor tick where there is no decade: 6 x 10^4 beside
2 x 10^4. Here a range gets four to nine round numbers, whether it spans six decades or 5%.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dse.report.style import FAINT, GREY, INK
from dse.text import short_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Coarse to fine; the first with enough ticks in the range is taken.
_MANTISSAS: tuple[tuple[float, ...], ...] = (
    (1,),
    (1, 3),
    (1, 2, 5),
    (1, 1.5, 2, 3, 5, 7),
    (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8),
)
_ENOUGH_COUNT = 4


def set_limits(axes: Axes, sizes: NDArray[np.float64], percents: NDArray[np.float64]) -> None:
    """Make x logarithmic and let it hold `sizes`, and y `percents`, with room around them."""
    logs = np.log10(np.maximum(sizes, 1))
    axes.set_xscale("log")
    if len(logs):
        # Room for labels on the left, where the front leaves it; one size alone gets 10%.
        margin = max(0.07 * (logs.max() - logs.min()), 0.02)
        axes.set_xlim(10 ** (logs.min() - 1.5 * margin), 10 ** (logs.max() + margin))
    else:
        axes.set_xlim(1e3, 1e6)
    if len(percents):
        margin = max(0.1 * (percents.max() - percents.min()), 0.5)
        axes.set_ylim(percents.min() - margin, percents.max() + margin)
    else:
        axes.set_ylim(0, 100)
        axes.text(0.5, 0.5, "no finished trial", ha="center", color=GREY, transform=axes.transAxes)


def set_ticks(axes: Axes, unit: str) -> None:
    """Round numbers on a logarithmic x of counts and a y of percents, once limits are set."""
    from matplotlib.ticker import FixedFormatter, FixedLocator, NullFormatter

    ticks = nice_ticks(*axes.get_xlim())
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([short_count(tick, unit) for tick in ticks]))
    axes.xaxis.set_minor_locator(FixedLocator(minor_ticks(*axes.get_xlim())))
    axes.xaxis.set_minor_formatter(NullFormatter())
    percents = round_values(*axes.get_ylim(), bounds=(0, 100))
    axes.yaxis.set_major_locator(FixedLocator(percents))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{percent:.6g}" for percent in percents]))
    quieten(axes)


def round_values(
    low: float, high: float, *, bounds: tuple[float, float] = (-np.inf, np.inf)
) -> list[float]:
    """Up to nine round numbers in [low, high] and in `bounds`, for a linear axis."""
    least = max(high - low, 1e-12) / 8
    decade = 10.0 ** math.floor(math.log10(least))
    # Not matplotlib's MaxNLocator: a page is made without it, in a fifth less memory.
    step = next(f for f in (1, 2, 2.5, 5, 10) if f * decade >= least * 0.999999) * decade
    values = (index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1))
    return [float(f"{v:.12g}") for v in values if bounds[0] <= v <= bounds[1]]


def quieten(axes: Axes) -> None:
    """Thin grey lines: two spines, a grid across."""
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(which="both", color=GREY, labelcolor=INK, labelsize=10)


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
    least = (high - low) / _ENOUGH_COUNT
    decade = 10.0 ** math.floor(math.log10(least))
    step = max(f for f in (1, 2, 2.5, 5) if f * decade <= least * 1.000001) * decade
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
