"""The plate: validation accuracy against model size, with the front of each study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dse.errors import StudyError
from dse.report.canvas import new_figure, save, style
from dse.report.captions import PUBLISHED_CAPTION, captions, title
from dse.report.formats import short_count
from dse.report.labels import draw_labels
from dse.report.layout import draw_legend, draw_paragraph, lay_out
from dse.report.marks import draw_marks, mark_keys, study_keys
from dse.report.published import published_beside
from dse.report.series import Series, make_series
from dse.report.tables import StudyTable
from dse.report.ticks import minor_ticks, nice_ticks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _GREY, _FAINT = "#222222", "#666666", "#e8e8e8"
_MEASURE = "validation accuracy, %"
_SIZES = {
    "params_count": ("parameters", ""),
    "macs": ("multiply-accumulates", ""),
    "weight_bytes": ("weight bytes", "B"),
    "peak_activation_bytes": ("peak activation bytes", "B"),
}


def plot_accuracy_against_size(
    studies: Sequence[StudyTable],
    *,
    png_path: Path | None = None,
    svg_path: Path | None = None,
    size: str = "params_count",
    with_published: bool = False,
) -> None:
    """Draw the studies' candidates and fronts in one picture and write it.

    The mean over the seeds with whiskers from the lowest to the highest and a faint dot for
    each seed; the front as the line of what is reachable with at most that size; what is
    dominated is hollow, a candidate without a finished seed a cross at the lower edge.
    Candidates of exactly one size stand side by side. The same table gives the same bytes,
    and a file is complete or not there.

    Args:
        studies: at least one.
        png_path: where to write the PNG, if anywhere.
        svg_path: where to write the SVG, if anywhere.
        size: params_count, macs, weight_bytes or peak_activation_bytes.
        with_published: draw the SqueezeNet paper's points beside them (ImageNet top-5).

    Raises:
        StudyError: no studies, or a file cannot be written.
        ObjectiveError: another `size`.
    """
    if not studies:
        raise StudyError("there is no study to plot; name at least one")
    with style():
        published = published_beside(studies) if with_published else ()
        figure = accuracy_figure(studies, size=size, published=published)
        for path in (png_path, svg_path):
            if path is not None:
                save(figure, path)


def accuracy_figure(
    studies: Sequence[StudyTable],
    *,
    size: str = "params_count",
    published: Sequence[StudyTable] = (),
) -> Figure:
    """The figure that `plot_accuracy_against_size` writes; call it inside `canvas.style`."""
    all_series = make_series(studies, size, published=published)
    size_name, unit = _SIZES[size]
    figure, renderer = new_figure()
    axes = figure.add_axes((0, 0, 1, 1))
    _set_limits(axes, all_series)
    _set_ticks(axes, unit)
    axes.set_xlabel(f"{size_name} (logarithmic)", color=_INK, labelpad=5)
    measure = "accuracy, %: validation; published: ImageNet top-5" if published else _MEASURE
    axes.set_ylabel(measure, color=_INK, labelpad=6)
    for series in all_series:
        draw_marks(axes, series)
    heading = draw_paragraph(
        figure, renderer, title(studies, size_name), _INK, size_pt=11, bold=True
    )
    rows = [study_keys(all_series)] if len(all_series) > 1 else []
    legends = [draw_legend(figure, renderer, keys) for keys in [*rows, mark_keys(all_series)]]
    lines = captions(studies) + ([PUBLISHED_CAPTION] if published else [])
    footer = draw_paragraph(figure, renderer, "\n".join(lines), _GREY, size_pt=7.5)
    lay_out(figure, renderer, axes, above=[heading, *filter(None, legends)], below=footer)
    draw_labels(axes, all_series, renderer)
    return figure


def _set_limits(axes: Axes, all_series: Sequence[Series]) -> None:
    sizes = np.log10(np.maximum(np.concatenate([series.sizes for series in all_series]), 1))
    axes.set_xscale("log")
    if len(sizes):
        # Room for labels on the left, where the front leaves it; one size alone gets 10%.
        margin = max(0.07 * (sizes.max() - sizes.min()), 0.02)
        axes.set_xlim(10 ** (sizes.min() - 1.5 * margin), 10 ** (sizes.max() + margin))
    else:
        axes.set_xlim(1e3, 1e6)
    ends = [(series, end) for series in all_series for end in ("min", "max")]
    known = np.concatenate([series.percent(end)[series.is_measured] for series, end in ends])
    if len(known):
        margin = max(0.1 * (known.max() - known.min()), 0.5)
        axes.set_ylim(known.min() - margin, known.max() + margin)
    else:
        axes.set_ylim(0, 100)
        axes.text(0.5, 0.5, "no finished trial", ha="center", color=_GREY, transform=axes.transAxes)


def _set_ticks(axes: Axes, unit: str) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullFormatter

    ticks = nice_ticks(*axes.get_xlim())
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_major_formatter(FixedFormatter([short_count(tick, unit) for tick in ticks]))
    axes.xaxis.set_minor_locator(FixedLocator(minor_ticks(*axes.get_xlim())))
    axes.xaxis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    percents = MaxNLocator(8, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    percents = [percent for percent in percents if max(low, 0) <= percent <= min(high, 100)]
    axes.yaxis.set_major_locator(FixedLocator(percents))
    axes.yaxis.set_major_formatter(FixedFormatter([f"{percent:.6g}" for percent in percents]))
    axes.grid(axis="y", color=_FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_GREY)
    axes.tick_params(which="both", color=_GREY, labelcolor=_INK, labelsize=8)
