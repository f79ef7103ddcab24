"""What is drawn of each study: its candidates' places, colours and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dse.report.style import DOT
from dse.report.tables.summary import StudyTable, summarise, varying
from dse.text import short_value

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]

# Okabe and Ito 2008, "Color Universal Design": colours that the colour-blind tell apart.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# The same, dark enough for small letters on white.
_LABEL_COLOURS = ("#005A8E", "#A84A00", "#00745A", "#A04A7C", "#8F6400", "#1F7AAE", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "p")
# Published points stand apart from every study: no colour, and shapes of their own.
_PUBLISHED_COLOUR, _PUBLISHED_MARKERS = "#444444", ("*", "h", "8", "d")
_DODGE_PT, _WIDEST_DODGE_PT = 6.0, 30.0
_LONGEST_LABEL_COUNT = 32
_REACH = 1.25


@dataclass(frozen=True, kw_only=True)
class Series:
    """The candidates of one study, as they are drawn.

    Attributes:
        summary: as `summarise` returns it, one row a candidate.
        colour: of the marks.
        label_colour: a darker tone of it.
        marker: matplotlib's name of the points' shape.
        sizes: float array (candidate,).
        dodges_pt: float array (candidate,), how far right of its place each one is drawn,
            so that candidates of exactly one size stand side by side.
        labels: what was swept, for each candidate; empty where nothing was.
        is_published: whether these are a paper's numbers and not measured ones.
        reach: largest size that the front's line goes on to; beside published points it ends
            with the measured ones, because it says nothing about other data.
    """

    study: StudyTable
    summary: pd.DataFrame
    colour: str
    label_colour: str
    marker: str
    sizes: Floats
    dodges_pt: Floats
    labels: tuple[str, ...]
    is_published: bool = False
    reach: float = math.inf

    @property
    def is_measured(self) -> NDArray[np.bool_]:
        """Which candidates have a finished trial."""
        return self.summary["seeds_count"].to_numpy(dtype=int) > 0

    @property
    def is_on_front(self) -> NDArray[np.bool_]:
        """Which candidates no other of the study dominates."""
        return self.summary["on_front"].to_numpy(dtype=bool)

    @property
    def varies_a_number(self) -> bool:
        """Whether the candidates differ in one number, so that a line may join them."""
        names = varying(self.study.trials)
        return len(names) == 1 and self.study.trials[names[0]].dtype.kind in "if"

    def percent(self, statistic: str) -> Floats:
        """Validation accuracies' mean, min or max over the seeds, in percent (candidate,)."""
        return 100 * self.summary[f"validation_accuracy_{statistic}"].to_numpy(dtype=float)

    @property
    def has_intervals(self) -> bool:
        """Whether bars are intervals by the number of images, and not the spread of seeds."""
        return self.study.scored_count is not None

    def bars_percent(self) -> tuple[Floats, Floats]:
        """Ends of each candidate's bar, in percent (candidate,)."""
        intervals = [self.study.interval(mean / 100) for mean in self.percent("mean")]
        lows, highs = self.percent("min"), self.percent("max")
        for at, interval in enumerate(intervals):
            if interval is not None:
                lows[at], highs[at] = 100 * interval[0], 100 * interval[1]
        return lows, highs

    def seeds_percent(self) -> list[Floats]:
        """Each candidate's validation accuracies, one per finished seed, in percent."""
        trials = self.study.trials
        finished = trials[trials["status"] == "finished"]
        by_candidate = {
            key: 100 * group.to_numpy(dtype=float)
            for key, group in finished.groupby("candidate")["validation_accuracy"]
        }
        return [by_candidate.get(key, np.empty(0)) for key in self.summary["candidate"]]


def make_series(
    studies: Sequence[StudyTable], size: str, *, published: Sequence[StudyTable] = ()
) -> list[Series]:
    """The studies' series, then the published ones, each with a look of its own.

    Candidates whose every trial was stopped early have no place in them: their accuracies are
    ones after fewer epochs.
    """
    tables = [*studies, *published]
    summaries = [ended_summary(study, size) for study in tables]
    sizes = [summary[size].to_numpy(dtype=float) for summary in summaries]
    every_size = np.concatenate(sizes)
    dodges_pt = np.zeros(len(every_size))
    for value in np.unique(every_size):
        same = np.flatnonzero(every_size == value)
        step = min(_DODGE_PT, _WIDEST_DODGE_PT / len(same))
        dodges_pt[same] = step * (np.arange(len(same)) - (len(same) - 1) / 2)
    ends = np.cumsum([len(values) for values in sizes])
    measured = np.concatenate(sizes[: len(studies)])
    reach = _REACH * float(measured.max()) if published and len(measured) else math.inf
    return [
        Series(
            study=study,
            summary=summary,
            colour=_COLOURS[index % len(_COLOURS)] if index < len(studies) else _PUBLISHED_COLOUR,
            label_colour=_LABEL_COLOURS[index % len(_COLOURS)]
            if index < len(studies)
            else _PUBLISHED_COLOUR,
            marker=_MARKERS[index % len(_MARKERS)]
            if index < len(studies)
            else _PUBLISHED_MARKERS[(index - len(studies)) % len(_PUBLISHED_MARKERS)],
            sizes=values,
            dodges_pt=dodges_pt[end - len(values) : end],
            labels=tuple(
                f"{text[: _LONGEST_LABEL_COUNT - 1]}…" if len(text) > _LONGEST_LABEL_COUNT else text
                for row in summary[list(varying(study.trials))].itertuples(index=False, name=None)
                for text in [DOT.join(map(short_value, row))]
            ),
            is_published=index >= len(studies),
            reach=reach,
        )
        for index, (study, summary, values, end) in enumerate(
            zip(tables, summaries, sizes, ends, strict=True)
        )
    ]


def ended_summary(study: StudyTable, size: str) -> pd.DataFrame:
    """`summarise` without the candidates that were only ever stopped early."""
    summary = summarise(study.trials, size=size)
    has_ended = (summary["seeds_count"] + summary["failed_count"]).to_numpy(dtype=int) > 0
    return summary[has_ended].reset_index(drop=True)
