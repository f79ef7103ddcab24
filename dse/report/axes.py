"""Axes as every plate has them: logarithmic sizes, percents, quiet lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dse.report.ticks import minor_ticks, nice_ticks
from dse.text import short_count

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GREY, FAINT = "#222222", "#666666", "#e8e8e8"


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
    from matplotlib.ticker import MaxNLocator

    values = MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [float(v) for v in values if max(low, bounds[0]) <= v <= min(high, bounds[1])]


def quieten(axes: Axes) -> None:
    """Thin grey lines: two spines, a grid across."""
    axes.grid(axis="y", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.tick_params(which="both", color=GREY, labelcolor=INK, labelsize=8)
