"""How a search's front grew: hypervolume against search time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dse.architecture import ALL_OBJECTIVES
from dse.report.figures.axes import quieten, round_values
from dse.report.figures.captions import search_captions, search_title
from dse.report.figures.layout import new_plate
from dse.report.figures.marks import Key, key
from dse.report.figures.search_front import marked
from dse.report.style import ANSWER_LOOK, BLUE, MARK_GREY, NEAREST_LOOK
from dse.report.tables.summary import StudyTable, summarise
from dse.stats.pareto import hypervolume
from dse.study.answer import Answer
from dse.text import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = NDArray[np.float64]

LEAST_TIMES_COUNT = 2
_SIZE_ROOM = 1.1
_LINE: dict[str, Any] = {"color": BLUE, "linewidth": 1.8}
_MEMBER: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 6.0,
    "mfc": BLUE,
    "mec": "white",
    "mew": 0.9,
}
_FINALS: dict[str, Any] = {"color": MARK_GREY, "linewidth": 1.0, "linestyle": ":"}


@dataclass(frozen=True)
class HypervolumeCurve:
    """Hypervolume after each moment at which a trial finished.

    Attributes:
        times_s: float array (moment,), rising; what was reused is there from 0.0.
        volumes: float array (moment,), in decades of size times percentage points.
        reference_size: size of the reference point; a network that big adds nothing.
        reference_accuracy: fraction; an accuracy that low adds nothing.
        arrivals_s: by candidate on the final front, when its first trial finished.
        end_s: when the last measurement of any kind came.
        finals_s: when the last trial of the search itself finished, if finals followed.
        unknown_count: finished trials whose time is not in the table; they are left out.
    """

    times_s: Floats
    volumes: Floats
    reference_size: float
    reference_accuracy: float
    arrivals_s: dict[str, float]
    end_s: float
    finals_s: float | None
    unknown_count: int


def hypervolume_curve(study: StudyTable, *, size: str = "params_count") -> HypervolumeCurve | None:
    """The hypervolume of (log10 size, accuracy) of what had finished by each moment.

    A candidate counts with its mean over the seeds that had finished by then, so the curve
    falls where a further seed lowers a mean. The reference point is 1.1 times the largest
    finished candidate, at the accuracy of guessing (1 / classes; 0 where they are not known).

    Returns:
        The curve; None where no finished trial has a time.
    """
    trials = study.trials
    finished = trials[trials["status"] == "finished"]
    times_s = np.where(finished["stage"] == "reused", 0.0, finished["ended_s"].to_numpy())
    timed = finished.assign(ended_s=times_s)[~np.isnan(times_s)]
    if timed.empty:
        return None
    reference_size = _SIZE_ROOM * float(timed[size].max())
    classes = study.description.data.classes
    chance = 1 / len(classes) if classes else 0.0
    reference_point = (np.log10(reference_size), -100 * chance)
    moments = np.unique(timed["ended_s"].to_numpy(dtype=float))
    volumes = []
    for moment in moments:
        known = timed[timed["ended_s"] <= moment].groupby("candidate", sort=False)
        means = known["validation_accuracy"].mean().to_numpy(dtype=float)
        logs = np.log10(np.maximum(known[size].first().to_numpy(dtype=float), 1))
        volumes.append(hypervolume(np.column_stack([logs, -100 * means]), reference_point))
    firsts = timed.groupby("candidate")["ended_s"].min()
    searched, raced = (
        trials.loc[trials["stage"] == stage, "ended_s"].max() for stage in ("search", "finals")
    )
    summary = summarise(trials, size=size)
    on_front = summary.loc[summary["on_front"], "candidate"]
    return HypervolumeCurve(
        times_s=moments,
        volumes=np.array(volumes),
        reference_size=reference_size,
        reference_accuracy=chance,
        arrivals_s={str(name): float(firsts[name]) for name in on_front if name in firsts.index},
        end_s=float(np.nanmax([*trials["ended_s"], moments[-1]])),
        finals_s=float(searched) if searched < raced else None,
        unknown_count=len(finished) - len(timed),
    )


def hypervolume_figure(
    study: StudyTable, answer: Answer | None, curve: HypervolumeCurve, *, size: str
) -> Figure:
    """The curve with the moments at which the final front's members came."""
    plate = new_plate()
    axes = plate.axes
    # Whichever unit gives numbers of two digits or so.
    units = (("s", 1.0, 180), ("min", 60.0, 3 * 3600), ("h", 3600.0, np.inf))
    unit, seconds, _ = next(u for u in units if curve.end_s < u[2])
    times = np.append(curve.times_s, curve.end_s) / seconds
    volumes = np.append(curve.volumes, curve.volumes[-1])
    axes.step(times, volumes, where="post", zorder=2, **_LINE)
    keys: list[Key] = [("area below the front", key(**_LINE))]
    arrivals = np.array(sorted(curve.arrivals_s.values()))
    axes.plot(arrivals / seconds, _at(curve, arrivals), zorder=3, label="member", **_MEMBER)
    keys.append(("member of the final front", key(**_MEMBER)))
    keys += _draw_answer(axes, study, answer, curve, seconds)
    if curve.finals_s is not None:
        axes.axvline(curve.finals_s / seconds, zorder=1, **_FINALS)
        keys.append(("finals alone from here", key(**_FINALS)))
    low, high = 0.0 if curve.times_s[0] == 0 else float(times[0]), float(times[-1])
    margin = 0.03 * max(high - low, 1e-9)
    axes.set_xlim(low - margin, high + margin)
    least, most = float(volumes.min()), float(volumes.max())
    room = max(0.08 * (most - least), 0.01 * most, 1e-9)
    axes.set_ylim(least - room, most + room)
    axes.set_xticks(round_values(*axes.get_xlim(), bounds=(0, np.inf)))
    axes.set_yticks(round_values(*axes.get_ylim(), bounds=(0, np.inf)))
    axes.set_xlabel(f"search time, {unit}", labelpad=5)
    axes.set_ylabel("area below the front", labelpad=6)
    quieten(axes)
    objective = ALL_OBJECTIVES[size]
    caption = search_captions(
        study,
        "The area between the front of the finished candidates and a worst point (hypervolume): "
        f"points of validation accuracy above {100 * curve.reference_accuracy:g}%, times powers of "
        f"ten in size below {objective.text(curve.reference_size)} (1.1 times the largest). It "
        "grows with every candidate that is smaller or more accurate than what there was",
        f"{counted(curve.unknown_count, 'finished trial')} without a time left out"
        if curve.unknown_count
        else "",
    )
    plate.finish(search_title(study, "How the front grew"), [keys], caption)
    return plate.figure


def _draw_answer(
    axes: Axes, study: StudyTable, answer: Answer | None, curve: HypervolumeCurve, seconds: float
) -> list[Key]:
    """The moment at which the answer's first trial finished."""
    found = marked(answer)
    if answer is None or found is None:
        return []
    trials = study.trials
    own = trials[(trials["status"] == "finished") & (trials["candidate"] == found.candidate)]
    times_s = np.where(own["stage"] == "reused", 0.0, own["ended_s"].to_numpy(dtype=float))
    if not len(times_s) or np.isnan(times_s).all():
        return []
    moment = np.array([np.nanmin(times_s)])
    look = ANSWER_LOOK if answer.found else NEAREST_LOOK
    name = "the answer" if answer.found else "the nearest; nothing qualified"
    axes.plot(moment / seconds, _at(curve, moment), zorder=4, label=name, **look)
    return [(name, key(**(look | {"markersize": 11})))]


def _at(curve: HypervolumeCurve, moments_s: Floats) -> Floats:
    """The curve's heights just after these moments."""
    index = np.searchsorted(curve.times_s, moments_s, side="right") - 1
    return curve.volumes[np.maximum(index, 0)]
