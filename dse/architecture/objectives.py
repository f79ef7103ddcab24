"""What a search makes small: the exact costs and the measured latency, each with its words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LATENCY = "latency_s"


@dataclass(frozen=True)
class Objective:
    """One of them.

    Attributes:
        name: of the attribute of `Cost`, the limit and the column.
        title: of an axis or a column of a table.
        noun: behind a value; the unit where there is one.
        description: what is counted or measured.
        tick_unit: behind a value with a decimal prefix: "B" in 12.5 kB.
    """

    name: str
    title: str
    noun: str
    description: str
    tick_unit: str = ""

    def text(self, value: float) -> str:
        """A value for people: `1,248,424 parameters`, `3.21 ms`."""
        if self.name == LATENCY:
            return f"{1000 * value:.3g} ms"
        return f"{value:,.0f} {self.noun}"

    @property
    def stacked_title(self) -> str:
        """The title of a narrow column, on two lines where it has several words."""
        return "\n".join(self.title.rsplit(" ", 1))


ALL_OBJECTIVES: Mapping[str, Objective] = {
    objective.name: objective
    for objective in (
        Objective("params_count", "parameters", "parameters", "trained values"),
        Objective("macs", "MACs", "MACs", "multiply-accumulates for one image"),
        Objective(
            "weight_bytes",
            "weight bytes",
            "bytes of weights",
            "bytes of all stored values in float32",
            tick_unit="B",
        ),
        Objective(
            "peak_activation_bytes",
            "peak activation bytes",
            "bytes of activations",
            "most bytes of activations held at once, one image, float32",
            tick_unit="B",
        ),
        Objective(LATENCY, "latency", "ms", "seconds for one image on one CPU thread", "s"),
    )
}

OBJECTIVES = tuple(name for name in ALL_OBJECTIVES if name != LATENCY)
"""The exact costs: what limits, axes and fronts may speak of."""
