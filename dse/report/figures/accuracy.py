"""The plate: validation accuracy against model size, with the front of each study."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dse.architecture import ALL_OBJECTIVES
from dse.errors import StudyError
from dse.report.figures.axes import set_limits, set_ticks
from dse.report.figures.canvas import save
from dse.report.figures.captions import PUBLISHED_CAPTION, captions, title
from dse.report.figures.labels import draw_labels
from dse.report.figures.layout import new_plate
from dse.report.figures.marks import draw_marks, mark_keys, study_keys
from dse.report.style import INK, style
from dse.report.tables.published import published_beside
from dse.report.tables.series import make_series
from dse.report.tables.summary import StudyTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MEASURE = "validation accuracy, %"


def plot_accuracy_against_size(
    studies: Sequence[StudyTable],
    *,
    png_path: Path | None = None,
    svg_path: Path | None = None,
    size: str = "params_count",
    with_published: bool = False,
) -> None:
    """Draw the studies' candidates and fronts in one figure and write it.

    The mean over the seeds, with the 95% interval that the number of its images gives (the
    lowest to the highest seed where that is not known) and a faint dot for each seed; the front
    as the line of what is reachable with at most that size; what is dominated is hollow, a
    candidate without a finished seed a cross at the lower edge.
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
    size_name, unit = ALL_OBJECTIVES[size].title, ALL_OBJECTIVES[size].tick_unit
    plate = new_plate()
    axes = plate.axes
    ends = [
        (s, e) for s in all_series for e in (*s.bars_percent(), s.percent("min"), s.percent("max"))
    ]
    set_limits(
        axes,
        np.concatenate([series.sizes for series in all_series]),
        np.concatenate([end[series.is_measured] for series, end in ends]),
    )
    set_ticks(axes, unit)
    axes.set_xlabel(f"{size_name} (logarithmic)", color=INK, labelpad=5)
    measure = "accuracy, %: validation; published: ImageNet top-5" if published else _MEASURE
    axes.set_ylabel(measure, color=INK, labelpad=6)
    for series in all_series:
        draw_marks(axes, series)
    rows = [study_keys(all_series)] if len(all_series) > 1 else []
    lines = captions(studies) + ([PUBLISHED_CAPTION] if published else [])
    plate.finish(title(studies, size_name), [*rows, mark_keys(all_series)], lines)
    draw_labels(axes, all_series, plate.renderer)
    return plate.figure
