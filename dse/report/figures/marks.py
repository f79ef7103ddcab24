"""The marks of a plate: points, whiskers, seeds, the front's line, and the keys to them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.report.figures.canvas import figure_of
from dse.report.figures.captions import legend_name
from dse.report.style import GREY, LEAST_LOOK, REFERENCE_LOOK
from dse.report.tables.series import Floats, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Transform

# A name in a legend with the line or lines, one over the other, that are drawn beside it.
Key = tuple[str, "Line2D | tuple[Line2D, Line2D]"]

_POINT: dict[str, Any] = {"linestyle": "none", "markersize": 6.0, "markeredgewidth": 1.1}
_SEED: dict[str, Any] = {
    "linestyle": "none",
    "marker": ".",
    "markersize": 7.5,
    "markeredgewidth": 0.0,
    "alpha": 0.4,
}
# The line is pale and wide, the whisker thin and dark: a riser runs through every whisker.
_LINE: dict[str, Any] = {"linewidth": 2.4, "alpha": 0.32, "solid_joinstyle": "miter"}
_DOTTED: dict[str, Any] = {"linewidth": 1.0, "linestyle": ":", "alpha": 0.8}
_PUBLISHED_POINT: dict[str, Any] = {**_POINT, "markersize": 9.0}
_WHISKER: dict[str, Any] = {"linewidth": 0.9, "marker": "_", "markersize": 6.0}


def draw_marks(axes: Axes, series: Series) -> None:
    """Draw one study's front, whiskers, seeds and points; the axes' limits must be final."""
    if series.is_published:  # hollow points, joined by dots where one number varies
        order = np.argsort(series.sizes, kind="stable")
        places = (series.sizes[order], series.percent("mean")[order])
        if series.varies_a_number:
            axes.plot(*places, color=series.colour, zorder=2, **_DOTTED)
        for size, percent, dodge_pt in zip(*places, series.dodges_pt[order], strict=True):
            transform = _aside(axes, dodge_pt)
            axes.plot(size, percent, transform=transform, zorder=4, **_published_look(series))
        return
    axes.plot(*front_corners(series, axes.get_xlim()[1]).T, color=series.colour, zorder=2, **_LINE)
    seeds = series.seeds_percent()
    (lows, highs), means = series.bars_percent(), series.percent("mean")
    for index, (size, dodge_pt) in enumerate(zip(series.sizes, series.dodges_pt, strict=True)):
        look: dict[str, Any] = {"color": series.colour, "transform": _aside(axes, dodge_pt)}
        if not series.is_measured[index]:
            axes.plot(size, failed_percent(axes), marker="x", zorder=4, **look, **_POINT)
            continue
        if series.has_intervals or len(seeds[index]) > 1:
            ends = [lows[index], highs[index]]
            axes.plot([size, size], ends, zorder=2.5, **look, **_WHISKER)
        if len(seeds[index]) > 1:
            axes.plot([size] * len(seeds[index]), seeds[index], zorder=3, **look, **_SEED)
        axes.plot(
            size,
            means[index],
            marker=series.marker,
            markerfacecolor=series.colour if series.is_on_front[index] else "white",
            zorder=4,
            **look,
            **_POINT,
        )


def _published_look(series: Series) -> dict[str, Any]:
    return {"color": series.colour, "marker": series.marker, "mfc": "white", **_PUBLISHED_POINT}


def failed_percent(axes: Axes) -> float:
    """Where candidates without a finished seed stand: just above the lower edge."""
    low, high = axes.get_ylim()
    return low + 0.025 * (high - low)


def front_corners(series: Series, largest_size: float) -> Floats:
    """Corners (corner, 2) of the line of what is reachable with at most a size.

    In size and percent; it goes on level to `largest_size`, or as far as the series reaches.
    """
    on_front = np.flatnonzero(series.is_on_front)
    by_size = on_front[np.argsort(series.sizes[on_front], kind="stable")]
    points = np.column_stack([series.sizes, series.percent("mean")])[by_size]
    return step_corners(points, min(largest_size, series.reach))


def step_corners(points: Floats, largest_size: float) -> Floats:
    """Corners (corner, 2) of the steps through points (point, 2) of a front, by rising size.

    They go on level to `largest_size`.
    """
    if not len(points):
        return points
    corners = [points[0]]
    for before, after in itertools.pairwise(points):
        corners += [np.array([after[0], before[1]]), after]
    return np.array([*corners, [largest_size, points[-1, 1]]])


def study_keys(all_series: Sequence[Series]) -> list[Key]:
    """The studies' names with their colours and markers."""
    keys: list[Key] = []
    for series in all_series:
        lines: Line2D | tuple[Line2D, Line2D] = _front_key(series.colour, series.marker)
        if series.is_published:
            point = key(**_published_look(series))
            dotted = key(color=series.colour, **_DOTTED)
            lines = (dotted, point) if series.varies_a_number else point
        keys.append((legend_name(series.study), lines))
    return keys


def mark_keys(all_series: Sequence[Series]) -> list[Key]:
    """What the marks of the measured studies mean: those that are in the figure."""
    all_series = [series for series in all_series if not series.is_published]
    is_one = len(all_series) == 1
    colour = all_series[0].colour if is_one else GREY
    marker = all_series[0].marker if is_one else "o"
    measured = np.concatenate([series.is_measured for series in all_series])
    on_front = np.concatenate([series.is_on_front for series in all_series])
    has_seeds = any(len(seeds) > 1 for series in all_series for seeds in series.seeds_percent())
    keys: list[Key] = []
    if on_front.any():
        name = "mean, on the front" if has_seeds else "on the front"
        keys.append((name, _front_key(colour, marker)))
    if (measured & ~on_front).any():
        keys.append(("dominated", key(color=colour, marker=marker, mfc="white", **_POINT)))
    if has_seeds:
        keys.append(("one seed", key(color=colour, **_SEED)))
    whisker = {"linestyle": "none", "marker": "|", "markersize": 10.0}
    bars = [s for s in all_series if s.has_intervals or any(len(f) > 1 for f in s.seeds_percent())]
    for words in dict.fromkeys(series.study.bar_words for series in bars):
        keys.append((words, key(color=colour, **whisker)))
    if not measured.all():
        keys.append(("every seed failed", key(color=colour, marker="x", **_POINT)))
    return keys


def draw_reference(
    axes: Axes, percent: float, words: str, *, margin_points: float = 0.0, margin_words: str = ""
) -> list[Key]:
    """Draw the level that is to be reached and, where it has words, what may be missing to it."""
    axes.axhline(percent, zorder=1.2, **REFERENCE_LOOK)
    keys: list[Key] = [(words, key(**REFERENCE_LOOK))]
    if margin_words:
        axes.axhline(percent - margin_points, zorder=1.2, **LEAST_LOOK)
        keys.append((margin_words, key(**LEAST_LOOK)))
    return keys


def key(**look: Any) -> Line2D:
    """What stands beside a name in a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], **look)


def _front_key(colour: str, marker: str) -> tuple[Line2D, Line2D]:
    return (key(color=colour, **_LINE), key(color=colour, marker=marker, **_POINT))


def _aside(axes: Axes, dodge_pt: float) -> Transform:
    from matplotlib.transforms import ScaledTranslation

    inches = figure_of(axes).dpi_scale_trans
    return axes.transData + ScaledTranslation(dodge_pt / 72, 0, inches)
