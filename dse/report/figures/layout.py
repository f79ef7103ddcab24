"""Where the blocks of a plate stand: heading and legends above the axes, caption below.

The text is measured first and the figure made as high as it needs, so nothing is clipped;
constrained layout would shrink the axes instead (docs/decisions/0045).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dse.report.figures.canvas import new_figure, wrap
from dse.report.figures.marks import Key
from dse.report.style import DPI, GREY, INK, WIDTH_IN

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend
    from matplotlib.text import Text

PLOT_HEIGHT_IN = 4.4
_EDGE_IN, _GAP_IN = 0.14, 0.07
_KEY_PT, _CAPTION_PT = 9.5, 9.0
_TEXT_WIDTH_IN = WIDTH_IN - 2 * _EDGE_IN
_LEGEND_KEY_IN = 0.4


def draw_paragraph(
    figure: Figure,
    renderer: RendererAgg,
    words: str,
    colour: str,
    *,
    size_pt: float,
    bold: bool = False,
) -> Text:
    """Text as wide as the figure at most, broken where it must be."""
    text = figure.text(
        0,
        0,
        words,
        fontsize=size_pt,
        fontweight="bold" if bold else "normal",
        color=colour,
        verticalalignment="top",
        linespacing=1.35,
    )
    wrap(text, renderer, _TEXT_WIDTH_IN * DPI)
    return text


def draw_legend(figure: Figure, renderer: RendererAgg, keys: Sequence[Key]) -> Legend | None:
    """A legend in as few rows as fit the figure's width; none where nothing is drawn."""
    if not keys:
        return None
    # The stubs leave out that a handle may be several artists, one over the other.
    handles: list[Any] = [key for _, key in keys]
    names = []
    for name, _ in keys:
        measured = figure.text(0, 0, name, fontsize=_KEY_PT)
        wrap(measured, renderer, (_TEXT_WIDTH_IN - _LEGEND_KEY_IN) * DPI)
        measured.remove()
        names.append(measured.get_text())
    for columns_count in range(len(keys), 0, -1):
        legend = figure.legend(
            handles,
            names,
            loc="upper left",
            ncols=columns_count,
            fontsize=_KEY_PT,
            labelcolor="#222222",
            frameon=False,
            borderpad=0,
            borderaxespad=0,
            handlelength=1.4,
            handletextpad=0.5,
            columnspacing=1.6,
        )
        width_px = legend.get_window_extent(renderer).width
        if width_px <= _TEXT_WIDTH_IN * DPI or columns_count == 1:
            break
        legend.remove()
    return legend


def lay_out(
    figure: Figure,
    renderer: RendererAgg,
    *,
    above: Sequence[Text | Legend],
    below: Text,
    height_in: float = PLOT_HEIGHT_IN,
) -> None:
    """Set the figure's height and every block's place, from the top down, for good.

    Between the blocks matplotlib's constrained layout fits the plots with all their labels.

    Args:
        figure: as `new_figure` makes it.
        renderer: of the figure.
        above: heading and legends, from the top.
        below: the caption.
        height_in: of the plots with their labels, in inches.
    """
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    heights_in = [block.get_window_extent(renderer).height / DPI for block in above]
    below_in = below.get_window_extent(renderer).height / DPI
    above_in = _EDGE_IN + sum(heights_in) + _GAP_IN * (len(above) + 1)
    caption_in = below_in + 2 * _EDGE_IN
    total_in = above_in + height_in + caption_in
    figure.set_size_inches(WIDTH_IN, total_in)
    left = _EDGE_IN / WIDTH_IN
    top_in = _EDGE_IN
    for block, block_in in zip(above, heights_in, strict=True):
        _move(figure, block, left, 1 - top_in / total_in)
        top_in += block_in + _GAP_IN
    _move(figure, below, left, (_EDGE_IN + below_in) / total_in)
    box = (left, caption_in / total_in, 1 - 2 * left, height_in / total_in)
    engine = ConstrainedLayoutEngine(rect=box, w_pad=0, h_pad=0)
    figure.set_layout_engine(engine)
    engine.execute(figure)
    figure.set_layout_engine("none")  # labels of points are put where the points are now


def _move(figure: Figure, block: Text | Legend, x: float, y: float) -> None:
    from matplotlib.legend import Legend

    if isinstance(block, Legend):
        block.set_bbox_to_anchor((x, y), transform=figure.transFigure)
    else:
        block.set_position((x, y))


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
        height_in: float = PLOT_HEIGHT_IN,
    ) -> None:
        """Write the words around the plot and give everything its place.

        Args:
            heading: what the figure shows.
            legends: one below the other; an empty one is left out.
            caption: lines below the plot.
            height_in: of the plot with its labels, in inches.
        """
        title = draw_paragraph(self.figure, self.renderer, heading, INK, size_pt=13, bold=True)
        drawn = [draw_legend(self.figure, self.renderer, keys) for keys in legends]
        footer = draw_paragraph(
            self.figure, self.renderer, "\n".join(caption), GREY, size_pt=_CAPTION_PT
        )
        lay_out(
            self.figure,
            self.renderer,
            above=[title, *filter(None, drawn)],
            below=footer,
            height_in=height_in,
        )


def new_plate() -> Plate:
    """An empty plate."""
    figure, renderer = new_figure()
    return Plate(figure, renderer, figure.add_subplot())
