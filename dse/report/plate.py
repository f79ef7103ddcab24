"""A plate from its parts: heading, legends, one plot, caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dse.report.axes import GREY, INK
from dse.report.canvas import new_figure
from dse.report.layout import (
    LEFT_IN,
    PLOT_HEIGHT_IN,
    RIGHT_IN,
    draw_legend,
    draw_paragraph,
    lay_out,
)
from dse.report.marks import Key

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Plate:
    """A figure with one plot, as yet without words; make it inside `canvas.style`."""

    figure: Figure
    renderer: RendererAgg
    axes: Axes

    def finish(
        self,
        heading: str,
        legends: Sequence[Sequence[Key]],
        caption: Sequence[str],
        *,
        left_in: float = LEFT_IN,
        right_in: float = RIGHT_IN,
        height_in: float = PLOT_HEIGHT_IN,
    ) -> None:
        """Write the words around the plot and give everything its place.

        Args:
            heading: what the figure shows.
            legends: one below the other; an empty one is left out.
            caption: lines below the plot.
            left_in: width for the labels of the y axis, in inches.
            right_in: width that stays free on the right, in inches.
            height_in: of the plot, in inches.
        """
        title = draw_paragraph(self.figure, self.renderer, heading, INK, size_pt=11, bold=True)
        drawn = [draw_legend(self.figure, self.renderer, keys) for keys in legends]
        footer = draw_paragraph(self.figure, self.renderer, "\n".join(caption), GREY, size_pt=7.5)
        lay_out(
            self.figure,
            self.renderer,
            self.axes,
            above=[title, *filter(None, drawn)],
            below=footer,
            left_in=left_in,
            right_in=right_in,
            height_in=height_in,
        )


def new_plate() -> Plate:
    """An empty plate."""
    figure, renderer = new_figure()
    return Plate(figure, renderer, figure.add_axes((0, 0, 1, 1)))
