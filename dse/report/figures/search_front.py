"""The front of a search: what finished, what was stopped, the reference and the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dse.architecture import ALL_OBJECTIVES
from dse.report.figures.axes import set_limits, set_ticks
from dse.report.figures.captions import search_captions, search_title
from dse.report.figures.labels import draw_callout
from dse.report.figures.layout import Plate, new_plate
from dse.report.figures.marks import Key, draw_reference, front_corners, key
from dse.report.style import (
    ANSWER_LOOK,
    BAND_ALPHA,
    BLUE,
    DOMINATED,
    FRONT_LINE,
    NEAREST_LOOK,
    ON_FRONT,
    REUSED,
    STOPPED,
    VERMILLION,
    WHISKER,
)
from dse.report.tables.series import Floats, Series, make_series
from dse.report.tables.summary import StudyTable
from dse.study.answer import Answer, Found
from dse.text import counted, points, times_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Stopped trials may stretch the accuracy axis by this share of what the finished ones take.
_STOPPED_REACH = 0.35


def search_front_figure(
    study: StudyTable, answer: Answer | None, *, size: str = "params_count"
) -> Figure:
    """Accuracy against size of everything that a search measured; call inside `canvas.style`.

    Finished candidates stand at the mean over their seeds, with a whisker from the lowest to
    the highest; the line is what is reachable with at most a size. The reference is a dashed
    line in its 95% band. Stopped candidates stand faintly at their last accuracy, and far
    below the others they are counted only. The answer's star, as the reference, stands at what
    `answer.json` says: an accuracy on other validation images than those that chose it.
    """
    (series,) = make_series([study], size)
    stopped = stopped_trials(study)
    heights, below_count = _heights(series, stopped, answer)
    size_name, unit = ALL_OBJECTIVES[size].title, ALL_OBJECTIVES[size].tick_unit
    plate = new_plate()
    axes = plate.axes
    shown = marked(answer)
    own_size = [float(getattr(shown, size))] if shown else []
    sizes = np.array([*series.sizes, *stopped[size], *own_size], dtype=float)
    set_limits(axes, sizes, heights)
    set_ticks(axes, unit)
    axes.set_xlabel(f"{size_name} (logarithmic)", labelpad=5)
    axes.set_ylabel("validation accuracy, %", labelpad=6)
    claims = _draw_claims(axes, answer, size) if answer else []
    keys = [*_draw_finished(axes, series, study), *_draw_stopped(axes, stopped, size, below_count)]
    what, sides = f"Few {size_name}, high accuracy", ""
    if answer:
        is_network = answer.reference.params_count is not None
        aim = "non-inferior to" if is_network else "at"
        what = f"Fewest {size_name} {aim} {answer.reference.called}"
        sides = (
            "accuracies: over all validation images; the claim: over the confirmation "
            "split of them, with fresh seeds"
        )
    plate.finish(search_title(study, what), [claims, keys], search_captions(study, sides))
    if shown and answer:
        _label_answer(plate, shown, answer, series, stopped, size)
    return plate.figure


def marked(answer: Answer | None) -> Found | None:
    """The candidate that is marked: the answer, or the nearest where nothing qualified."""
    return (answer.answer or answer.nearest) if answer else None


def stopped_trials(study: StudyTable) -> pd.DataFrame:
    """Rows of the candidates that were stopped early and never finished, where measured."""
    trials = study.trials
    finished = set(trials.loc[trials["status"] == "finished", "candidate"])
    is_stopped = (trials["status"] == "stopped") & ~trials["candidate"].isin(finished)
    return trials[is_stopped & trials["validation_accuracy"].notna()]


def _label_answer(
    plate: Plate,
    found: Found,
    answer: Answer,
    series: Series,
    stopped: pd.DataFrame,
    size: str,
) -> None:
    """Write the callout clear of every point, of the star's interval and of the lines."""
    place, percent = getattr(found, size), 100 * found.validation_accuracy
    low, high = found.validation_low, found.validation_high
    own = np.empty(0)
    if low is not None and high is not None:
        own = np.linspace(100 * low, 100 * high, 12)
    lasts = 100 * stopped["validation_accuracy"].to_numpy(dtype=float)
    left, right = plate.axes.get_xlim()
    level = 100 * answer.reference.validation_accuracy
    levels = [np.array([(left, y), (right, y)]) for y in (level, level - 100 * answer.margin)]
    draw_callout(
        plate.axes,
        plate.renderer,
        callout(found, answer, size),
        (place, percent),
        marks=np.vstack(
            [
                np.column_stack([series.sizes, series.percent("mean")])[series.is_measured],
                np.column_stack([stopped[size].to_numpy(dtype=float), lasts]),
                *_along_bars(series),
            ]
        ),
        own_marks=np.column_stack([np.full(len(own), float(place)), own]),
        lines=[front_corners(series, right), *levels],
    )


def _along_bars(series: Series) -> list[Floats]:
    """Places (mark, 2) along the bars of the front."""
    shown = series.is_measured & series.is_on_front
    bars = zip(series.sizes, *series.bars_percent(), shown, strict=True)
    return [
        np.column_stack([np.full(12, at), np.linspace(low, high, 12)])
        for at, low, high, is_shown in bars
        if is_shown
    ]


def callout(found: Found, answer: Answer, size: str) -> str:
    """The words beside the star: size, times fewer, and what is missing where it is no answer."""
    lines = [ALL_OBJECTIVES[size].text(getattr(found, size))]
    if found.times_fewer is not None:
        times = f"{times_text(found.times_fewer)} fewer"
        what = "" if size == "params_count" else " parameters"
        lines.append(f"{times}{what} than {answer.reference.called}")
    if not answer.found:
        shortfall = f"{points(found.difference)} points"
        if found.difference is None:
            shortfall = "no fresh seed was trained"
        elif found.difference_low is None:
            shortfall += ", of one seed"
        else:
            shortfall += f", lower bound {points(found.difference_low)}"
        lines.append(f"non-inferiority not shown:\n{shortfall}")
    return "\n".join(lines)


def _heights(series: Series, stopped: pd.DataFrame, answer: Answer | None) -> tuple[Floats, int]:
    """Percents that the axis has to hold, and how many stopped trials lie below it."""
    bars = series.bars_percent() if series.has_intervals else (None, None)
    on_front = series.is_measured & series.is_on_front
    wanted = [
        *series.percent("min")[series.is_measured],
        *series.percent("max")[series.is_measured],
        *(end for ends in bars if ends is not None for end in ends[on_front]),
    ]
    if answer:
        reference, shown = answer.reference, marked(answer)
        known = [reference.low, reference.validation_accuracy, reference.high]
        known += [reference.validation_accuracy - answer.margin]
        if shown:
            known += [shown.validation_low, shown.validation_accuracy, shown.validation_high]
        wanted += [100 * value for value in known if value is not None]
    lasts = 100 * stopped["validation_accuracy"].to_numpy(dtype=float)
    if not wanted:
        return lasts, 0
    floor = min(wanted) - _STOPPED_REACH * max(max(wanted) - min(wanted), 5.0)
    is_in = lasts >= floor
    return np.array([*wanted, *lasts[is_in]]), int((~is_in).sum())


def _draw_claims(axes: Axes, answer: Answer, size: str) -> list[Key]:
    """The answer or the nearest, and the reference."""
    keys: list[Key] = []
    if found := marked(answer):
        look = ANSWER_LOOK if answer.found else NEAREST_LOOK
        place, percent = getattr(found, size), 100 * found.validation_accuracy
        words = "the answer" if answer.found else "nothing qualified; the nearest"
        accuracy = f"{percent:.2f}%"
        if found.validation_low is not None and found.validation_high is not None:
            low, high = 100 * found.validation_low, 100 * found.validation_high
            axes.vlines([place], [low], [high], color=VERMILLION, linewidth=1.2, zorder=4.5)
            accuracy += f" (95%: {low:.2f} to {high:.2f}%)"
        axes.plot([place], [percent], zorder=5, label=words, **look)
        name = f"{words}: {found.params_count:,} parameters, {accuracy}"
        keys.append((name, key(**(look | {"markersize": 11}))))
    reference = answer.reference
    level = 100 * reference.validation_accuracy
    words = f"{level:.2f}%"
    if reference.low is not None and reference.high is not None and reference.seeds_count:
        low, high = 100 * reference.low, 100 * reference.high
        axes.axhspan(low, high, color=VERMILLION, alpha=BAND_ALPHA, linewidth=0, zorder=0.6)
        seeds = counted(reference.seeds_count, "seed")
        words += f" (band: 95% of the mean, {low:.2f} to {high:.2f}%, {seeds})"
    is_network = reference.params_count is not None
    name = (
        f"{reference.called}, {reference.params_count:,} parameters" if is_network else "reference"
    )
    margin = f"{100 * answer.margin:g}"
    return keys + draw_reference(
        axes,
        level,
        f"{name}: {words}",
        margin_points=100 * answer.margin,
        margin_words=f"less the margin of {margin} point{'s' * (margin != '1')}"
        if answer.margin
        else "",
    )


def _draw_finished(axes: Axes, series: Series, study: StudyTable) -> list[Key]:
    axes.plot(*front_corners(series, axes.get_xlim()[1]).T, zorder=2, **FRONT_LINE)
    (lows, highs), means = series.bars_percent(), series.percent("mean")
    has_bar = series.summary["seeds_count"].to_numpy(dtype=int) > 1
    if series.has_intervals:  # of the front alone: of hundreds they would hide each other
        has_bar = series.is_on_front
    axes.vlines(series.sizes[has_bar], lows[has_bar], highs[has_bar], zorder=2.5, **WHISKER)
    trials = study.trials
    own = trials[(trials["status"] == "finished") & (trials["stage"] != "reused")]
    is_new = series.summary["candidate"].isin(set(own["candidate"])).to_numpy(dtype=bool)
    on_front, measured = series.is_on_front, series.is_measured
    groups = (
        ("finished, not on the front", measured & is_new & ~on_front, DOMINATED),
        ("reused from another study", measured & ~is_new, REUSED),
        ("finished, on the front", on_front & is_new, ON_FRONT),
    )
    keys: list[Key] = []
    for index, (name, of_group, look) in enumerate(groups):
        if of_group.any():
            axes.plot(
                series.sizes[of_group], means[of_group], zorder=3 + index / 10, label=name, **look
            )
            keys.append((name, key(**look)))
    whisker = {"color": BLUE, "linestyle": "none", "marker": "|", "markersize": 10.0}
    bars: list[Key] = [(study.bar_words, key(**whisker))] if has_bar.any() else []
    return [*keys[::-1], *bars]


def _draw_stopped(axes: Axes, stopped: pd.DataFrame, size: str, below_count: int) -> list[Key]:
    if stopped.empty:
        return []
    axes.plot(
        stopped[size].to_numpy(dtype=float),
        100 * stopped["validation_accuracy"].to_numpy(dtype=float),
        zorder=1.5,
        label="stopped",
        **STOPPED,
    )
    epochs = sorted({int(count) for count in stopped["epochs"].dropna()})
    least_most = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
    below = f"; {below_count:,} of them below the figure" if below_count else ""
    words = f"stopped after {least_most} epoch{'s' * (epochs != [1])}{below}"
    return [(words, key(**(STOPPED | {"markersize": 4.0, "alpha": 0.7})))]
