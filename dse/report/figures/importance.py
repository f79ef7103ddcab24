"""The importance of each metaparameter at equal size, with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dse.architecture import ALL_OBJECTIVES
from dse.report.figures.axes import round_values
from dse.report.figures.captions import search_captions, search_title
from dse.report.figures.layout import new_plate
from dse.report.style import BLUE, FAINT, GREY, INK
from dse.report.tables.importance import Importances
from dse.report.tables.summary import StudyTable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW_IN = 0.42
_POINT: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 7.0, "mew": 1.2}


def importance_figure(study: StudyTable, found: Importances, *, size: str) -> Figure:
    """A row for each metaparameter: mean and 95% interval; hollow where that reaches 0."""
    plate = new_plate()
    axes = plate.axes
    rows = np.arange(len(found.parts))
    for row, part in zip(rows, found.parts, strict=True):
        is_sure = part.low > 0
        axes.plot([part.low, part.high], [row, row], color=BLUE, linewidth=1.6, zorder=2)
        axes.plot(
            [part.mean],
            [row],
            color=BLUE,
            mfc=BLUE if is_sure else "white",
            zorder=3,
            label=part.name,
            **_POINT,
        )
    low = min(0.0, *(part.low for part in found.parts))
    high = max(0.1, *(part.high for part in found.parts))
    axes.set_xlim(low - 0.03 * (high - low), high + 0.03 * (high - low))
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(0, color=GREY, linewidth=0.9, zorder=1)
    ticks = round_values(*axes.get_xlim())
    axes.set_xticks(ticks, [f"{100 * tick:.6g}" for tick in ticks])
    axes.set_yticks(rows, [part.name for part in found.parts])
    axes.set_xlabel("importance, % of the variance at equal size", labelpad=5)
    axes.grid(axis="x", color=FAINT, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(GREY)
    axes.tick_params(axis="x", color=GREY, labelcolor=INK, labelsize=10)
    axes.tick_params(axis="y", length=0, labelcolor=INK, labelsize=10)
    size_name = ALL_OBJECTIVES[size].title
    plate.finish(
        search_title(study, f"What matters for accuracy at equal {size_name}"),
        (),
        search_captions(study, *_method(found, size_name)),
        height_in=_ROW_IN * len(rows) + 0.7,
    )
    return plate.figure


def _method(found: Importances, size_name: str) -> list[str]:
    verdict = (
        f"all together predict {100 * found.explained:.0f}% of the variance"
        if found.explained > 0
        else "together they predict nothing: these are differences that cannot be told from noise"
    )
    counts = f"{found.candidates_count:,} candidates, {found.finished_count:,} trained to the end"
    return [
        f"at each rung accuracy less a quadratic fit on log10 of the {size_name} is predicted from "
        "the metaparameters by a random forest; importance: half of what the squared error rises "
        "when one metaparameter is shuffled, over the variance, for candidates that the forest has "
        "not seen; line: 95% of 30 draws; hollow: cannot be told from 0",
        f"{verdict} ({counts})",
    ]
