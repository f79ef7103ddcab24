"""The trials of a study as tables: one row per candidate, and the front."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dse.architecture import OBJECTIVES
from dse.errors import ObjectiveError
from dse.stats.intervals import mean_interval, wilson_interval
from dse.stats.pareto import front
from dse.study.description import Description
from dse.text import short_value

if TYPE_CHECKING:  # pandas takes a second and more to import: only who reads a table pays
    import pandas as pd


@dataclass(frozen=True)
class StudyTable:
    """A study's trials with the words that stand beside them.

    Attributes:
        name: the study's name.
        trials: as `read_trials` returns them.
        description: what its `study.yaml` says.
    """

    name: str
    trials: pd.DataFrame
    description: Description = field(default_factory=Description)

    @property
    def scored_count(self) -> int | None:
        """Images that every accuracy is of: those for validation.

        None where they are not known, and where candidates are cross-validated: then seeds of
        the finals are scored on other images than those of the search.
        """
        count = self.description.data.images.get("validation")
        is_one = isinstance(count, int) and count > 0 and not self.description.search.get("folds")
        return count if is_one else None

    @property
    def bar_words(self) -> str:
        """What a bar at a point is."""
        if self.scored_count is None:
            return "lowest to highest seed"
        return f"95% interval of {self.scored_count:,} images"

    def interval(self, accuracy: float) -> tuple[float, float] | None:
        """95% interval of an accuracy by the number of its images (binomial, Wilson)."""
        if (count := self.scored_count) is None or not 0 <= accuracy <= 1:
            return None
        found = wilson_interval(round(accuracy * count), count)
        return found.low, found.high


def metaparameters(trials: pd.DataFrame) -> tuple[str, ...]:
    """Names of the metaparameter columns, in their order."""
    names = list(trials.columns)
    return tuple(names[names.index("candidate") + 1 : names.index("seed")])


def varying(trials: pd.DataFrame) -> tuple[str, ...]:
    """Names of the metaparameters with more than one value, in their order."""
    return tuple(name for name in metaparameters(trials) if trials[name].nunique() > 1)


def summarise(trials: pd.DataFrame, *, size: str = "params_count") -> pd.DataFrame:
    """One row for each candidate, in the order of their first trial.

    Only finished trials count: one that was stopped was measured after fewer epochs. Columns:
    candidate, label, the metaparameters, the four sizes, seeds_count (finished),
    stopped_count, failed_count, validation_accuracy_mean, _min, _max, _std (over seeds, with
    n - 1), _low and _high (95% interval of the mean, Student's t), test_accuracy_mean, and
    on_front: whether no other candidate is at most as big (by `size`) and as accurate, and
    better in one. What was not measured is NaN; a candidate without a finished trial is not
    on the front.
    """
    import pandas as pd

    if size not in OBJECTIVES:
        raise ObjectiveError(f"{size!r} is not a size; choose one of {', '.join(OBJECTIVES)}")
    swept = varying(trials)
    names = metaparameters(trials)
    rows = []
    for _, group in trials.groupby("candidate", sort=False):
        first = group.iloc[0]
        finished = group[group["status"] == "finished"]
        label = short_value(first[swept[0]]) if swept else str(first["candidate"])
        if len(swept) > 1:
            label = ", ".join(f"{name} {short_value(first[name])}" for name in swept)
        rows.append(
            {
                "candidate": first["candidate"],
                "label": label,
                **{name: first[name] for name in (*names, *OBJECTIVES)},
                "seeds_count": len(finished),
                "stopped_count": int((group["status"] == "stopped").sum()),
                "failed_count": int((group["status"] == "failed").sum()),
                **_spread(finished["validation_accuracy"].to_numpy()),
                "test_accuracy_mean": finished["test_accuracy"].mean(),
            }
        )
    columns = ["candidate", "label", *names, *OBJECTIVES]
    columns += ["seeds_count", "stopped_count", "failed_count", *_spread(np.empty(0))]
    summary = pd.DataFrame(rows, columns=[*columns, "test_accuracy_mean"])
    measured = np.flatnonzero(summary["seeds_count"].to_numpy(dtype=int) > 0)
    objectives = np.column_stack(
        [
            summary[size].to_numpy(dtype=float)[measured],
            -summary["validation_accuracy_mean"].to_numpy(dtype=float)[measured],
        ]
    )
    on_front = np.zeros(len(summary), dtype=bool)
    on_front[measured[front(objectives)]] = True
    return summary.assign(on_front=on_front)


def front_table(trials: pd.DataFrame, *, size: str = "params_count") -> pd.DataFrame:
    """The candidates on the front of accuracy against `size`, smallest first.

    Columns: what was varied, the four sizes, the validation accuracy (mean, min, max), the
    test accuracy (mean), seeds_count and the candidate's key. `to_csv(index=False)` of it is
    a good file; `markdown` and `records` give the other forms.
    """
    summary = summarise(trials, size=size)
    columns = [
        *varying(trials),
        *OBJECTIVES,
        "validation_accuracy_mean",
        "validation_accuracy_min",
        "validation_accuracy_max",
        "test_accuracy_mean",
        "seeds_count",
        "candidate",
    ]
    on_front = summary[summary["on_front"].to_numpy()]
    return on_front.sort_values([size, "candidate"])[columns].reset_index(drop=True)


def _spread(accuracies: np.ndarray) -> dict[str, float]:
    names = ("mean", "min", "max", "std", "low", "high")
    if not len(accuracies):
        return {f"validation_accuracy_{name}": math.nan for name in names}
    interval = mean_interval(accuracies)
    values = (
        interval.estimate,
        float(accuracies.min()),
        float(accuracies.max()),
        float(accuracies.std(ddof=1)) if len(accuracies) > 1 else math.nan,
        interval.low,
        interval.high,
    )
    return {f"validation_accuracy_{n}": value for n, value in zip(names, values, strict=True)}
