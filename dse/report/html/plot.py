"""The frame of a plot: scales in percent of its box, so that it is as wide as the page is.

Letters and points keep their size at any width, as only their places are in percent; lines that
are not straight stand in an inner SVG that is stretched.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dse.report.figures.axes import minor_ticks, nice_ticks, round_values
from dse.report.html.markup import Html, Part, tag
from dse.text import short_count

_FEW_COUNT = 4


@dataclass(frozen=True)
class Scale:
    """From values to percent of the box.

    Attributes:
        low, high: values at its ends, low < high; above 0 where it is logarithmic.
        is_log: whether equal factors are equally far apart.
    """

    low: float
    high: float
    is_log: bool = False

    def at(self, value: float) -> float:
        """Percent from `low`, in [0, 100] for values inside."""
        if self.is_log:
            return 100 * math.log(max(value, 1e-9) / self.low) / math.log(self.high / self.low)
        return 100 * (value - self.low) / (self.high - self.low)


def log_scale(values: Iterable[float]) -> Scale:
    """A logarithmic one with room around the values; from 1 to 10 where there are none."""
    logs = [math.log10(max(value, 1e-9)) for value in values] or [0.0, 1.0]
    margin = max(0.06 * (max(logs) - min(logs)), 0.03)
    return Scale(10 ** (min(logs) - margin), 10 ** (max(logs) + margin), is_log=True)


def linear_scale(values: Iterable[float], *, least: float = 1e-9) -> Scale:
    """A linear one with room around the values; from 0 to 1 where there are none.

    Args:
        values: that it holds.
        least: room on either side.
    """
    held = list(values) or [0.0, 1.0]
    margin = max(0.08 * (max(held) - min(held)), least)
    return Scale(min(held) - margin, max(held) + margin)


def share_ticks(scale: Scale) -> list[tuple[float, str]]:
    """Ticks of a scale of fractions, in percent."""
    ends = (100 * scale.low, 100 * scale.high)
    return [(v / 100, f"{v:.6g}%") for v in round_values(*ends, bounds=(0, 100))]


def count_ticks(scale: Scale, unit: str = "") -> list[tuple[float, str]]:
    """Ticks of a logarithmic scale of counts."""
    return [(value, short_count(value, unit)) for value in nice_ticks(scale.low, scale.high)]


def plot(
    x: Scale,
    y: Scale,
    marks: Sequence[Part],
    *,
    x_ticks: Sequence[tuple[float, str]],
    y_ticks: Sequence[tuple[float, str]],
    x_title: str,
    y_title: str,
    label: str,
    stretched: Sequence[Part] = (),
    behind: Sequence[Part] = (),
    **attributes: object,
) -> Html:
    """A plot with axes.

    Args:
        x: scale across.
        y: scale upwards.
        marks: with places in percent of the box.
        x_ticks: (value, text).
        y_ticks: likewise.
        x_title: of the axis.
        y_title: likewise.
        label: what the plot shows, for who cannot see it.
        stretched: lines and areas in a box of 100 by 100, from the top left.
        behind: marks below everything.
        attributes: of the box around it.
    """
    keep = _kept(x_ticks)
    grid = [
        tag("line", x1=0, x2="100%", y1=pc(100 - y.at(v)), y2=pc(100 - y.at(v)), class_="grid")
        for v, _ in y_ticks
    ]
    minor = minor_ticks(x.low, x.high) if x.is_log else []
    axis = [
        tag("line", x1=pc(x.at(v)), x2=pc(x.at(v)), y1="100%", y2="101.2%", class_="tick")
        for v in [*minor, *(v for v, _ in x_ticks)]
    ]
    words = [
        tag("text", text, x=pc(x.at(v)), y="100%", dy=22, class_="t c" + " wide" * (at not in keep))
        for at, (v, text) in enumerate(x_ticks)
    ]
    words += [
        tag("text", text, x=0, dx=-8, y=pc(100 - y.at(v)), dy=4, class_="t e")
        for v, text in y_ticks
    ]
    drawing = tag(
        "svg",
        *behind,
        *grid,
        tag("line", x1=0, x2="100%", y1="100%", y2="100%", class_="axis"),
        *axis,
        *words,
        tag("svg", *stretched, viewBox="0 0 100 100", preserveAspectRatio="none", class_="s")
        if stretched
        else None,
        *marks,
        role="group",
        aria_label=label,
    )
    return tag(
        "div",
        tag("div", y_title, class_="ytitle"),
        tag("div", drawing, class_="box"),
        tag("div", x_title, class_="xtitle"),
        **({"class_": "plot"} | attributes),
    )


def _kept(ticks: Sequence[tuple[float, str]]) -> set[int]:
    """Which ticks stay on a narrow page."""
    step = max(1, math.ceil(len(ticks) / _FEW_COUNT))
    return set(range(0, len(ticks), step))


def pc(percent: float) -> str:
    """A place in percent, as an attribute has it."""
    return f"{percent:.4g}%"


def points_text(places: Iterable[tuple[float, float]]) -> str:
    """Places in a box of 100 by 100, as a polyline has them; y from below."""
    return " ".join(f"{x:.4g},{100 - y:.4g}" for x, y in places)


def legend(entries: Iterable[tuple[str, Part]]) -> Html:
    """Looks, each by a class of its swatch, and their words."""
    return tag(
        "ul",
        *(tag("li", tag("i", class_=f"sw {look}"), tag("span", words)) for look, words in entries),
        class_="legend",
    )


def interval_row(
    scale: Scale,
    value: float,
    low: float | None,
    high: float | None,
    *,
    lines: Sequence[float] = (),
) -> Html:
    """A point and its interval on a line of its own, hollow where the interval holds a line.

    Args:
        scale: of the row.
        value: of the point.
        low: end of the interval; None where there is none on that side.
        high: likewise.
        lines: values that are marked.
    """
    ends = (scale.low if low is None else low, scale.high if high is None else high)
    is_clear = bool(lines) and not ends[0] <= lines[0] <= ends[1]
    known = low is not None or high is not None
    return tag(
        "svg",
        tag("line", x1=0, x2="100%", y1=10, y2=10, class_="grid"),
        *(
            tag("line", x1=pc(scale.at(v)), x2=pc(scale.at(v)), y1=0, y2=20, class_="at")
            for v in lines
        ),
        tag("line", x1=pc(scale.at(ends[0])), x2=pc(scale.at(ends[1])), y1=10, y2=10, class_="ci")
        if known
        else None,
        tag(
            "circle",
            cx=pc(scale.at(value)),
            cy=10,
            r=4.5,
            class_="dot" + " hollow" * (not is_clear and bool(lines)),
        ),
        class_="row",
        aria_hidden="true",
    )
