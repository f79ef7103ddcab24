"""Parallel coordinates: one line a finished candidate, across everything that varied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.architecture import ALL_OBJECTIVES
from dse.report.figures.axes import nice_ticks, round_values
from dse.report.figures.captions import search_captions, search_title
from dse.report.figures.layout import new_plate
from dse.report.figures.marks import Key, key
from dse.report.figures.search_front import marked
from dse.report.style import GREY, INK, VERMILLION
from dse.report.tables.series import Floats, ended_summary
from dse.report.tables.summary import StudyTable, varying
from dse.study.answer import Answer
from dse.text import short_count, short_value

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEAST_CANDIDATES_COUNT = 5
"""Of fewer a table says more."""
_MOST_STEPS_COUNT = 8
_MOST_NAMES_COUNT = 6
_LINE_DOWN = -0.045
_FAN = 0.035
_COLOURS = "viridis"  # even in lightness, and told apart by the colour-blind
_STRIP_WIDTH = 0.05
_LONGEST_WORD_COUNT = 14
_MOST_TICKS_COUNT = 16
_ANSWER: dict[str, Any] = {"color": VERMILLION, "linewidth": 2.6}


@dataclass(frozen=True)
class Coordinate:
    """One upright axis: its name, each candidate's height in [0, 1], and its ticks."""

    name: str
    heights: Floats
    ticks: tuple[tuple[float, str], ...]
    is_stepped: bool

    @property
    def fan(self) -> Floats:
        """By how much each line is shifted, so that many of one value can be told apart."""
        return np.linspace(-_FAN, _FAN, len(self.heights)) * self.is_stepped


def coordinates(
    study: StudyTable, *, size: str = "params_count"
) -> tuple[pd.DataFrame, list[Coordinate]] | None:
    """The finished candidates, the least accurate first, and the axes across which they lie.

    Returns:
        None where fewer than five candidates finished.
    """
    summary = ended_summary(study, size)
    summary = summary[(summary["seeds_count"] > 0).to_numpy()]
    if len(summary) < LEAST_CANDIDATES_COUNT:
        return None
    summary = summary.sort_values("validation_accuracy_mean", kind="stable")
    axes = [_metaparameter_axis(summary[name], name) for name in varying(study.trials)]
    percents = 100 * summary["validation_accuracy_mean"].to_numpy(dtype=float)
    return summary, [*axes, _size_axis(summary, size), _linear_axis("accuracy, %", percents)]


def parallel_figure(
    study: StudyTable, answer: Answer | None, *, size: str = "params_count"
) -> Figure | None:
    """A line for each finished candidate across metaparameters, size and accuracy.

    Where an axis has few values they stand at equal distances, words in the order of the
    alphabet; there the lines are fanned out a little by accuracy, so that many of one value
    can be told apart. Colour is accuracy, as on the last axis; the answer is bold.

    Returns:
        None where fewer than five candidates finished.
    """
    found = coordinates(study, size=size)
    if found is None:
        return None
    summary, axes_of = found
    plate = new_plate()
    axes = plate.axes
    keys = _draw_lines(axes, axes_of, summary, answer)
    _draw_axes(axes, axes_of)
    caption = search_captions(
        study,
        f"one line per finished candidate ({len(summary):,}), coloured by its validation accuracy "
        "(last axis; mean over its seeds), the most accurate on top; fanned out by accuracy at "
        "axes with few values",
    )
    plate.finish(
        search_title(study, "What the finished candidates are"),
        [keys],
        caption,
    )
    return plate.figure


def _metaparameter_axis(values: pd.Series, name: str) -> Coordinate:
    """Few values at equal distances; words that are numbers in their order, then the others."""
    is_number = values.dtype.kind in "if"
    distinct = sorted(set(values)) if is_number else sorted(set(values), key=_as_number)
    if is_number and len(distinct) > _MOST_STEPS_COUNT:
        return _linear_axis(name, values.to_numpy(dtype=float))
    places = np.linspace(0, 1, len(distinct)) if len(distinct) > 1 else np.array([0.5])
    place_of = dict(zip(distinct, places, strict=True))
    ticks = []
    for value, place in place_of.items():
        text = short_value(value) or "none"
        is_long = len(text) > _LONGEST_WORD_COUNT
        ticks.append((float(place), text[: _LONGEST_WORD_COUNT - 1] + "…" if is_long else text))
    thinned = tuple(ticks[:: -(-len(ticks) // _MOST_TICKS_COUNT) or 1])
    return Coordinate(
        name, np.array([place_of[value] for value in values]), thinned, is_stepped=True
    )


def _as_number(value: object) -> tuple[float, str]:
    try:
        return float(str(value)), ""
    except ValueError:
        return np.inf, str(value)


def _size_axis(summary: pd.DataFrame, size: str) -> Coordinate:
    sizes = np.maximum(summary[size].to_numpy(dtype=float), 1)
    name, unit = f"{ALL_OBJECTIVES[size].title} (log)", ALL_OBJECTIVES[size].tick_unit
    low, high = float(sizes.min()), float(sizes.max())
    if low == high:
        return Coordinate(name, np.full(len(sizes), 0.5), ((0.5, short_count(low, unit)),), False)
    span = np.log10(high / low)
    ticks = tuple(
        (float(np.log10(tick / low) / span), short_count(tick, unit))
        for tick in nice_ticks(low, high)
    )
    return Coordinate(name, np.log10(sizes / low) / span, ticks, is_stepped=False)


def _linear_axis(name: str, values: Floats) -> Coordinate:
    low, high = float(values.min()), float(values.max())
    if low == high:
        return Coordinate(name, np.full(len(values), 0.5), ((0.5, f"{low:.6g}"),), is_stepped=False)
    ticks = tuple(((tick - low) / (high - low), f"{tick:.6g}") for tick in round_values(low, high))
    return Coordinate(name, (values - low) / (high - low), ticks, is_stepped=False)


def _draw_lines(
    axes: Axes, axes_of: Sequence[Coordinate], summary: pd.DataFrame, answer: Answer | None
) -> list[Key]:
    import matplotlib
    from matplotlib.colors import ListedColormap

    # Without its palest tenth, which white paper swallows.
    colours = ListedColormap(matplotlib.colormaps[_COLOURS](np.linspace(0, 0.9, 256)))
    count = len(summary)
    heights = np.array([axis.heights + axis.fan for axis in axes_of])  # (axis, line)
    alpha = float(np.clip(12 / count**0.75, 0.25, 0.85))
    found = marked(answer)
    keys: list[Key] = []
    for line, candidate in enumerate(summary["candidate"]):
        is_marked = found is not None and candidate == found.candidate
        look = {"color": colours(axes_of[-1].heights[line]), "linewidth": 1.0, "alpha": alpha}
        axes.plot(
            np.arange(len(axes_of)),
            heights[:, line],
            zorder=4 if is_marked else 2,
            label=str(candidate),
            **(_ANSWER if is_marked else look),
        )
        if is_marked and answer:
            words = "the answer" if answer.found else "nothing qualified; the nearest"
            keys.append((words, key(**_ANSWER)))
    strip = np.linspace(0, 1, 256)[:, None]
    right = len(axes_of) - 1
    axes.imshow(
        strip,
        extent=(right, right + _STRIP_WIDTH, 0, 1),
        origin="lower",
        aspect="auto",
        cmap=colours,
        interpolation="nearest",
        zorder=3,
    )
    return keys


def _draw_axes(axes: Axes, axes_of: Sequence[Coordinate]) -> None:
    from matplotlib.patheffects import withStroke

    last = len(axes_of) - 1
    axes.set_xlim(-0.05, last + 0.12)
    axes.set_ylim(-0.06, 1.06)
    axes.vlines(np.arange(len(axes_of)), -_FAN, 1 + _FAN, color=INK, linewidth=0.8, zorder=3)
    for at, axis in enumerate(axes_of):
        for height, text in axis.ticks:
            offset = _STRIP_WIDTH + 0.03 if at == last else 0.03
            axes.text(
                at + offset,
                height,
                text,
                fontsize=9.5,
                color=INK,
                verticalalignment="center",
                zorder=6,
                path_effects=[withStroke(linewidth=2.5, foreground="white")],
            )
    axes.set_xticks(np.arange(len(axes_of)), [axis.name for axis in axes_of])
    if len(axes_of) > _MOST_NAMES_COUNT:  # they stand close: every second name one line down
        for label in axes.get_xticklabels()[1::2]:
            label.set_y(_LINE_DOWN)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.tick_params(axis="x", length=0, labelcolor=INK, labelsize=10, color=GREY)
