"""Labels beside the points of a plate, clear of points, whiskers and each other."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dse.report.figures.canvas import figure_of
from dse.report.figures.marks import failed_percent, front_corners
from dse.report.figures.placement import nearest_in_box, place_labels
from dse.report.style import INK
from dse.report.tables.series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.text import Text

Floats = NDArray[np.float64]

_ALL_LABELLED_COUNT = 18
_FONT_PT = 10.0
_MARKER_RADIUS_PT, _WHISKER_RADIUS_PT, _LINE_RADIUS_PT = 4.0, 2.0, 1.0
_CALLOUT_RADIUS_PT = 7.0
_LEADER_FROM_PT = 11.0
_POINTS_PER_INCH = 72.0
_INSET = np.array([3.0, 2.0, 0.0, 0.0])  # clear of the axes' own lines


@dataclass(frozen=True)
class _Label:
    text: str
    colour: str
    anchor: Floats


def draw_labels(axes: Axes, all_series: Sequence[Series], renderer: RendererAgg) -> list[Text]:
    """Label the points by what was swept; many points: the fronts alone.

    A label for which no place is free is left out, a dominated candidate's before one on a
    front. Limits and position of the axes must be final.
    """
    wanted = _wanted_labels(axes, all_series)
    texts = [_draw_text(axes, label) for label in wanted]
    sizes = [_points(axes, text.get_window_extent(renderer).size) for text in texts]
    obstacles = [box for series in all_series for box in _obstacles(axes, series)]
    # A label may lie on the dotted line of published points.
    lines = [
        box
        for series in all_series
        if not series.is_published
        for box in _segments(axes, front_corners(series, axes.get_xlim()[1]))
    ]
    labelled = {tuple(label.anchor) for label in wanted}
    places = [place for series in all_series for place in anchors(axes, series)]
    unlabelled = [place for place in places if tuple(place) not in labelled]
    boxes = place_labels(
        np.array([label.anchor for label in wanted]).reshape(-1, 2),
        np.array(sizes).reshape(-1, 2),
        obstacles=np.array(obstacles).reshape(-1, 4),
        lines=np.array(lines).reshape(-1, 4),
        bounds=_points(axes, axes.get_window_extent(renderer).extents) + _INSET,
        unlabelled=np.array(unlabelled).reshape(-1, 2),
    )
    drawn = []
    for text, box, label in zip(texts, boxes, wanted, strict=True):
        if box is None:
            text.remove()
            continue
        text.set_position((box[0] / _POINTS_PER_INCH, box[1] / _POINTS_PER_INCH))
        _draw_leader(axes, label, nearest_in_box(box, label.anchor))
        drawn.append(text)
    return drawn


def draw_callout(
    axes: Axes,
    renderer: RendererAgg,
    words: str,
    place: tuple[float, float],
    *,
    marks: Floats,
    lines: Sequence[Floats],
    own_marks: Floats | None = None,
) -> Text:
    """Label one place, clear of what is drawn, or else just beside it.

    Args:
        axes: with final limits and position.
        renderer: measures the text.
        words: the label, possibly of several lines.
        place: where it belongs, in the axes' data.
        marks: float array (mark, 2), what it must not cover, in the axes' data.
        lines: float arrays (corner, 2), lines that it had better not cover.
        own_marks: float array (mark, 2), as `marks`, of the place's own interval, across which
            a line may lead to the label.
    """
    anchor = _points(axes, axes.transData.transform(place))
    text = _draw_text(axes, _Label(words, INK, anchor))
    size = _points(axes, text.get_window_extent(renderer).size)
    own = np.concatenate([anchor - _CALLOUT_RADIUS_PT, anchor + _CALLOUT_RADIUS_PT])
    (box,) = place_labels(
        anchor[None],
        size[None],
        obstacles=np.vstack([_mark_boxes(axes, marks), own]),
        crossable=None if own_marks is None else _mark_boxes(axes, own_marks),
        lines=np.array([box for line in lines for box in _segments(axes, line)]).reshape(-1, 4),
        bounds=_points(axes, axes.get_window_extent(renderer).extents) + _INSET,
    )
    if box is None:
        box = np.concatenate([anchor, anchor + size]) + _CALLOUT_RADIUS_PT
    text.set_position((box[0] / _POINTS_PER_INCH, box[1] / _POINTS_PER_INCH))
    _draw_leader(axes, _Label(words, INK, anchor), nearest_in_box(box, anchor))
    return text


def _mark_boxes(axes: Axes, marks: Floats) -> Floats:
    """Boxes (mark, 4) around places in the axes' data, in points."""
    if not len(marks):
        return np.empty((0, 4))
    places = _points(axes, axes.transData.transform(marks))
    return np.concatenate([places - _MARKER_RADIUS_PT, places + _MARKER_RADIUS_PT], axis=1)


def anchors(axes: Axes, series: Series) -> Floats:
    """Where the candidates stand in the figure, in points (candidate, 2)."""
    heights = np.where(series.is_measured, series.percent("mean"), failed_percent(axes))
    places = axes.transData.transform(np.column_stack([series.sizes, heights]))
    return _points(axes, places) + np.column_stack([series.dodges_pt, np.zeros(len(places))])


def _wanted_labels(axes: Axes, all_series: Sequence[Series]) -> list[_Label]:
    """The fronts' labels, then, where there are few points, everyone else's."""
    first: list[_Label] = []
    second: list[_Label] = []
    for series in all_series:
        for text, anchor, is_on_front in zip(
            series.labels, anchors(axes, series), series.is_on_front, strict=True
        ):
            label = _Label(text, series.label_colour if len(all_series) > 1 else INK, anchor)
            if text:
                (first if is_on_front else second).append(label)
    return first + (second if len(first) + len(second) <= _ALL_LABELLED_COUNT else [])


def _obstacles(axes: Axes, series: Series) -> list[Floats]:
    """Boxes around the markers and the whiskers, in points."""
    places = anchors(axes, series)
    boxes = [np.concatenate([xy - _MARKER_RADIUS_PT, xy + _MARKER_RADIUS_PT]) for xy in places]
    lows, highs = (
        _points(axes, axes.transData.transform(np.column_stack([series.sizes, values])))[:, 1]
        for values in series.bars_percent()
    )
    for (x, _), low, high, is_measured in zip(places, lows, highs, series.is_measured, strict=True):
        if is_measured:
            r = _WHISKER_RADIUS_PT
            boxes.append(np.array([x - r, low - r, x + r, high + r]))
    return boxes


def _segments(axes: Axes, corners: Floats) -> list[Floats]:
    places = _points(axes, axes.transData.transform(corners)) if len(corners) else corners
    return [
        np.concatenate([np.minimum(a, b) - _LINE_RADIUS_PT, np.maximum(a, b) + _LINE_RADIUS_PT])
        for a, b in itertools.pairwise(places)
    ]


def _draw_text(axes: Axes, label: _Label) -> Text:
    from matplotlib.patheffects import withStroke

    return axes.text(
        0,
        0,
        label.text,
        transform=figure_of(axes).dpi_scale_trans,
        horizontalalignment="left",
        verticalalignment="bottom",
        fontsize=_FONT_PT,
        color=label.colour,
        path_effects=[withStroke(linewidth=2, foreground="white")],
        zorder=5,
    )


def _draw_leader(axes: Axes, label: _Label, end: Floats) -> None:
    """A thin line from the point to a label that stands some way off."""
    offset = end - label.anchor
    distance = float(np.hypot(*offset))
    if distance < _LEADER_FROM_PT:
        return
    start = label.anchor + offset * (_MARKER_RADIUS_PT / distance)
    xs, ys = np.array([start, end]).T / _POINTS_PER_INCH
    axes.plot(
        xs,
        ys,
        transform=figure_of(axes).dpi_scale_trans,
        color=label.colour,
        linewidth=0.5,
        alpha=0.6,
        zorder=1.5,
    )


def _points(axes: Axes, pixels: object) -> Floats:
    return np.asarray(pixels, dtype=float) * _POINTS_PER_INCH / figure_of(axes).dpi
