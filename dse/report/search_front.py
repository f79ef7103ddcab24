"""The front of a search: what finished, what was stopped, the reference and the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dse.architecture import ALL_OBJECTIVES
from dse.report.axes import set_limits, set_ticks
from dse.report.captions import search_captions, search_title
from dse.report.labels import draw_callout
from dse.report.marks import Key, front_corners, key
from dse.report.plate import Plate, new_plate
from dse.report.series import Floats, Series, make_series
from dse.report.tables import StudyTable
from dse.study.answer import Answer, Found
from dse.text import points, times_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito 2008: blue, vermillion and grey stay apart for the colour-blind, and in print.
BLUE, PALE_BLUE, VERMILLION, GREY = "#0072B2", "#A6CDE4", "#D55E00", "#777777"
FRONT_LINE: dict[str, Any] = {"color": BLUE, "linewidth": 2.4, "alpha": 0.32}
_POINT: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5.5}
_ON_FRONT: dict[str, Any] = {**_POINT, "mfc": BLUE, "mec": BLUE, "mew": 1.1}
_DOMINATED: dict[str, Any] = {**_POINT, "mfc": PALE_BLUE, "mec": PALE_BLUE, "mew": 1.1}
_REUSED: dict[str, Any] = {**_POINT, "mfc": "white", "mec": BLUE, "mew": 1.1}
_WHISKER: dict[str, Any] = {"color": BLUE, "linewidth": 0.9}
_STOPPED: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 2.6,
    "color": GREY,
    "mew": 0,
    "alpha": 0.45,
}
REFERENCE_LOOK: dict[str, Any] = {"color": VERMILLION, "linewidth": 1.2, "linestyle": (0, (6, 3))}
LEAST_LOOK: dict[str, Any] = {"color": VERMILLION, "linewidth": 1.0, "linestyle": ":"}
_BAND_ALPHA = 0.13
ANSWER_LOOK: dict[str, Any] = {
    "linestyle": "none",
    "marker": "*",
    "markersize": 15,
    "mfc": VERMILLION,
    "mec": "white",
    "mew": 0.9,
}
NEAREST_LOOK: dict[str, Any] = {**ANSWER_LOOK, "mfc": "white", "mec": VERMILLION, "mew": 1.1}
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
    claims = _draw_claims(axes, answer, size)
    keys = [*_draw_finished(axes, series, study), *_draw_stopped(axes, stopped, size, below_count)]
    heading = search_title(study, _what(answer, size_name))
    plate.finish(heading, [claims, keys], search_captions(study, _sides(answer)))
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
            ]
        ),
        own_marks=np.column_stack([np.full(len(own), float(place)), own]),
        lines=[front_corners(series, right), *levels],
    )


def callout(found: Found, answer: Answer, size: str) -> str:
    """The words beside the star: size, times fewer, and what is missing where it is no answer."""
    lines = [ALL_OBJECTIVES[size].text(getattr(found, size))]
    if found.times_fewer is not None:
        times = f"{times_text(found.times_fewer)} fewer"
        what = "" if size == "params_count" else " parameters"
        lines.append(f"{times}{what} than {answer.reference.name}")
    if not answer.found:
        lines.append(f"not proven: {_shortfall_text(found)}")
    return "\n".join(lines)


def _shortfall_text(found: Found) -> str:
    if found.difference is None:
        return "no fresh seed was trained"
    difference = f"{points(found.difference)} points"
    if found.difference_low is None:
        return f"{difference}, of one seed"
    return f"{difference}, surely not under {points(found.difference_low)}"


def _what(answer: Answer | None, size_name: str) -> str:
    if answer is None:
        return f"Few {size_name}, high accuracy"
    is_network = answer.reference.params_count is not None
    aim = f"{answer.reference.name} level" if is_network else answer.reference.name
    return f"Fewest {size_name} at {aim}"


def _sides(answer: Answer | None) -> str:
    """What the accuracies are measured on, and the claim is not."""
    if answer is None:
        return ""
    return (
        "accuracies: over all validation images; the claim: over the half of them that judges, "
        "with fresh seeds"
    )


def _heights(series: Series, stopped: pd.DataFrame, answer: Answer | None) -> tuple[Floats, int]:
    """Percents that the axis has to hold, and how many stopped trials lie below it."""
    wanted = [
        *series.percent("min")[series.is_measured],
        *series.percent("max")[series.is_measured],
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


def _draw_claims(axes: Axes, answer: Answer | None, size: str) -> list[Key]:
    """The answer or the nearest, and the reference."""
    if answer is None:
        return []
    found = marked(answer)
    keys = _draw_answer(axes, found, answer, size) if found else []
    return keys + _draw_reference(axes, answer)


def _draw_reference(axes: Axes, answer: Answer) -> list[Key]:
    reference = answer.reference
    percent = 100 * reference.validation_accuracy
    axes.axhline(percent, zorder=1.2, **REFERENCE_LOOK)
    words = f"{percent:.2f}%"
    if reference.low is not None and reference.high is not None and reference.seeds_count:
        low, high = 100 * reference.low, 100 * reference.high
        axes.axhspan(low, high, color=VERMILLION, alpha=_BAND_ALPHA, linewidth=0, zorder=0.6)
        seeds = f"{reference.seeds_count} seed{'s' * (reference.seeds_count != 1)}"
        words += f" (band: 95% of the mean, {low:.2f} to {high:.2f}%, {seeds})"
    if reference.params_count is not None:
        words = f"{reference.name}, {reference.params_count:,} parameters: {words}"
    else:
        words = f"reference: {words}"
    keys: list[Key] = [(words, key(**REFERENCE_LOOK))]
    if answer.margin:
        axes.axhline(percent - 100 * answer.margin, zorder=1.2, **LEAST_LOOK)
        points = f"{100 * answer.margin:g}"
        name = f"less the margin of {points} point{'' if points == '1' else 's'}"
        keys.append((name, key(**LEAST_LOOK)))
    return keys


def _draw_finished(axes: Axes, series: Series, study: StudyTable) -> list[Key]:
    axes.plot(*front_corners(series, axes.get_xlim()[1]).T, zorder=2, **FRONT_LINE)
    lows, means, highs = (series.percent(name) for name in ("min", "mean", "max"))
    is_many = series.summary["seeds_count"].to_numpy(dtype=int) > 1
    axes.vlines(series.sizes[is_many], lows[is_many], highs[is_many], zorder=2.5, **_WHISKER)
    is_new = _is_new(series, study)
    on_front, measured = series.is_on_front, series.is_measured
    groups = (
        ("finished, not on the front", measured & is_new & ~on_front, _DOMINATED),
        ("reused from another study", measured & ~is_new, _REUSED),
        ("finished, on the front", on_front & is_new, _ON_FRONT),
    )
    keys: list[Key] = []
    for index, (name, of_group, look) in enumerate(groups):
        if of_group.any():
            axes.plot(
                series.sizes[of_group], means[of_group], zorder=3 + index / 10, label=name, **look
            )
            keys.append((name, key(**look)))
    whisker = {"color": BLUE, "linestyle": "none", "marker": "|", "markersize": 10.0}
    seeds: list[Key] = [("lowest to highest seed", key(**whisker))] if is_many.any() else []
    return [*keys[::-1], *seeds]


def _is_new(series: Series, study: StudyTable) -> Any:
    """Which candidates finished a trial in this search itself."""
    trials = study.trials
    own = trials[(trials["status"] == "finished") & (trials["stage"] != "reused")]
    return series.summary["candidate"].isin(set(own["candidate"])).to_numpy(dtype=bool)


def _draw_stopped(axes: Axes, stopped: pd.DataFrame, size: str, below_count: int) -> list[Key]:
    if stopped.empty:
        return []
    axes.plot(
        stopped[size].to_numpy(dtype=float),
        100 * stopped["validation_accuracy"].to_numpy(dtype=float),
        zorder=1.5,
        label="stopped",
        **_STOPPED,
    )
    epochs = sorted({int(count) for count in stopped["epochs"].dropna()})
    least_most = f"{epochs[0]}" if len(epochs) == 1 else f"{epochs[0]} to {epochs[-1]}"
    below = f"; {below_count:,} of them below the figure" if below_count else ""
    words = f"stopped after {least_most} epoch{'s' * (epochs != [1])}{below}"
    return [(words, key(**(_STOPPED | {"markersize": 4.0, "alpha": 0.7})))]


def _draw_answer(axes: Axes, found: Found, answer: Answer, size: str) -> list[Key]:
    look = ANSWER_LOOK if answer.found else NEAREST_LOOK
    place = getattr(found, size)
    ends = (found.validation_low, found.validation_high)
    words = "the answer" if answer.found else "nothing qualified; the nearest"
    accuracy = f"{100 * found.validation_accuracy:.2f}%"
    if ends[0] is not None and ends[1] is not None:
        low, high = 100 * ends[0], 100 * ends[1]
        axes.vlines([place], [low], [high], color=VERMILLION, linewidth=1.2, zorder=4.5)
        accuracy += f" (95%: {low:.2f} to {high:.2f}%)"
    axes.plot([place], [100 * found.validation_accuracy], zorder=5, label=words, **look)
    return [
        (
            f"{words}: {found.params_count:,} parameters, {accuracy}",
            key(**(look | {"markersize": 11})),
        )
    ]
