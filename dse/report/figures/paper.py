"""The SqueezeNet paper's figure 3 drawn again: sizes counted by dse, accuracies published.

Both sweeps come from the shipped search spaces (`paper/squeeze_ratio`, `paper/pct_3x3`), so
that every candidate of them has its exact size; the text of the paper names the accuracy of
some, the others stand as ticks on the axis.

Source: Iandola et al. 2016 (arXiv 1602.07360), sections 5.2 and 5.3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.config import load_space, shipped_spaces
from dse.report.figures.axes import quieten
from dse.report.figures.canvas import new_figure, save
from dse.report.figures.layout import Plate
from dse.report.figures.marks import Key, key
from dse.report.style import GREY, INK, style
from dse.report.tables.published import NETWORKS, PAPER, PublishedPoint, read_published
from dse.space.enumerate import survey
from dse.text import short_count, short_value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INPUT_SHAPE, CLASSES_COUNT = (227, 227, 3), 1000
BYTES_PER_MIB = 2**20

_COLOURS = {"squeeze_ratio": "#0072B2", "pct_3x3": "#D55E00"}
_TITLES = {
    "squeeze_ratio": "squeeze ratio, at half 3×3 filters",
    "pct_3x3": "share of 3×3 filters, at squeeze ratio 0.5",
}
_PARAMS_LIMITS = (0.9e6, 6.7e6)
_PERCENT_LIMITS = (72.8, 88.4)


@dataclass(frozen=True)
class SweptSize:
    """A candidate of one of the paper's sweeps.

    Attributes:
        value: of the metaparameter that is swept.
        params_count: counted at 1000 classes.
        published: the paper's row for exactly this network, if its text gives one.
    """

    value: float
    params_count: int
    published: PublishedPoint | None

    @property
    def percent(self) -> float:
        """The published top-5 accuracy, NaN where there is none."""
        share = self.published.top5_accuracy if self.published else None
        return math.nan if share is None else 100 * share

    @property
    def weight_mib(self) -> float:
        """Float32 weights in MiB, which is what the paper's MB are."""
        return 4 * self.params_count / BYTES_PER_MIB


def swept_sizes(name: str) -> tuple[SweptSize, ...]:
    """Every candidate of the paper's sweep of `squeeze_ratio` or `pct_3x3`, in its order."""
    space = load_space(dict(shipped_spaces())[f"paper/{name}"])
    published = {_widths(p.candidate.metaparameters): p for p in read_published(name)}
    return tuple(
        SweptSize(
            float(candidate.metaparameters[name]),  # type: ignore[arg-type]
            cost.params_count,
            published.get(_widths(candidate.metaparameters)),
        )
        for candidate, cost in survey(space, INPUT_SHAPE, CLASSES_COUNT).feasible
    )


def plot_figure_3(*, png_path: Path | None = None, svg_path: Path | None = None) -> None:
    """Draw figure 3 and write it.

    Raises:
        StudyError: a file cannot be written, or the published tables are missing.
    """
    with style():
        figure = figure_3()
        for path in (png_path, svg_path):
            if path is not None:
                save(figure, path)


def figure_3() -> Figure:
    """The figure that `plot_figure_3` writes; call it inside `canvas.style`."""
    figure, renderer = new_figure()
    panels = figure.subplots(1, len(_TITLES), sharey=True)
    for name, axes in zip(_TITLES, panels, strict=True):
        _draw_panel(axes, name)
    panels[0].set_ylabel("ImageNet top-5 accuracy, %, as published", color=INK, labelpad=6)
    keys: list[Key] = [
        ("accuracy published", key(color=GREY, **_POINT)),
        ("size counted, accuracy not in the text", key(color=GREY, **_TICK)),
        (
            "AlexNet, 80.3% with 60,965,224 parameters",
            key(color=GREY, linewidth=0.9, linestyle=(0, (4, 2))),
        ),
    ]
    heading = "What squeeze ratio and 3×3 filters buy (SqueezeNet, figure 3)"
    Plate(figure, renderer, panels[0]).finish(heading, [keys], [_CAPTION])
    return figure


_CAPTION = (
    f"Accuracies: {PAPER}; nothing here was trained. Sizes: counted by dse from the shipped "
    "spaces paper/squeeze_ratio and paper/pct_3x3 at 1000 classes, float32; the paper prints them "
    "in MiB, rounded up (4.8, 13, 19; 5.7, 13, 21). Lines join published points and claim nothing "
    "between them."
)


def _draw_panel(axes: Axes, name: str) -> None:
    colour, sizes = _COLOURS[name], swept_sizes(name)
    _set_scales(axes)
    axes.set_title(_TITLES[name], fontsize=10, color=INK, pad=8)
    alexnet = read_published(NETWORKS)[0]
    assert alexnet.top5_accuracy is not None
    level = 100 * alexnet.top5_accuracy
    axes.axhline(level, color=GREY, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1)
    known = [size for size in sizes if size.published]
    percents = [size.percent for size in known]
    params = [size.params_count for size in known]
    axes.plot(params, percents, color=colour, linewidth=1.0, linestyle=":", zorder=2)
    axes.plot(params, percents, color=colour, zorder=4, **_POINT)
    for size, percent in zip(known, percents, strict=True):
        below = size is not known[-1]
        text = f"{short_value(size.value)}\n{size.weight_mib:.2f} MiB · {percent:.1f}%"
        axes.annotate(
            text,
            (size.params_count, percent),
            xytext=(6, -6) if below else (0, 8),
            textcoords="offset points",
            ha="left" if below else "center",
            va="top" if below else "bottom",
            fontsize=8.5,
            color=INK,
            linespacing=1.3,
        )
    floor = _PERCENT_LIMITS[0] + 0.25
    unknown = [size for size in sizes if size.published is None]
    stagger = 9 if len(unknown) > 3 else 0  # two rows, so that neighbours keep apart
    for index, size in enumerate(unknown):
        axes.plot(size.params_count, floor, color=colour, zorder=3, **_TICK)
        axes.annotate(
            short_value(size.value),
            (size.params_count, floor),
            xytext=(0, 7 + stagger * (index % 2)),
            textcoords="offset points",
            ha="center",
            fontsize=8,
            color=GREY,
        )


def _set_scales(axes: Axes) -> None:
    from matplotlib.ticker import FixedFormatter, FixedLocator

    axes.set_xlim(*_PARAMS_LIMITS)
    axes.set_ylim(*_PERCENT_LIMITS)
    counts = [n * 1_000_000 for n in range(1, 7)]
    axes.xaxis.set_major_locator(FixedLocator(counts))
    axes.xaxis.set_major_formatter(FixedFormatter([short_count(count) for count in counts]))
    axes.yaxis.set_major_locator(FixedLocator(list(range(74, 89, 2))))
    axes.set_xlabel("parameters", color=INK, labelpad=5)
    scales = (lambda params: 4 * params / BYTES_PER_MIB, lambda mib: mib * BYTES_PER_MIB / 4)
    top = axes.secondary_xaxis("top", functions=scales)
    top.xaxis.set_major_locator(FixedLocator([5, 10, 15, 20, 25]))
    top.set_xlabel("MiB of float32 weights", color=GREY, fontsize=8.5, labelpad=3)
    top.tick_params(color=GREY, labelcolor=GREY, labelsize=8.5)
    top.spines["top"].set_color(GREY)
    quieten(axes)


_POINT: dict[str, Any] = {"linestyle": "none", "marker": "*", "markersize": 11.0, "mfc": "white"}
_TICK: dict[str, Any] = {"linestyle": "none", "marker": "|", "markersize": 9.0}


def _widths(metaparameters: dict[str, Any]) -> tuple[Any, ...]:
    """What decides a network's size: stem and pools may be named or follow a rule."""
    names = ("base_e", "incr_e", "freq", "pct_3x3", "squeeze_ratio", "fire_modules", "bypass")
    return tuple(metaparameters[name] for name in names)
