"""What a page shows of a study: its candidates with their networks, its answer, its curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.architecture import (
    ALL_OBJECTIVES,
    LATENCY,
    OBJECTIVES,
    Architecture,
    Cost,
    Value,
    build,
    cost,
)
from dse.deployment.chip import chip_memory
from dse.deployment.devices import devices
from dse.deployment.footprint import Deployment, deployment
from dse.deployment.link import parse_link
from dse.errors import DseError, StudyError
from dse.report.tables.importance import Importances, importances
from dse.report.tables.studies import open_study, studied_candidate, study_directory
from dse.report.tables.summary import StudyTable, metaparameters, summarise, varying
from dse.stats.pareto import front
from dse.study.answer import Answer, Found, find_answer
from dse.study.table import is_search, parse_curve

if TYPE_CHECKING:
    import pandas as pd

WORKERS_COUNT, LINK, UPDATE_LINK = 8, "1Gbit", "10Mbit"
"""What the deployment sheet assumes, as `dse describe` does."""


@dataclass(frozen=True)
class Network:
    """A candidate's layers, exact costs and deployment sheet."""

    architecture: Architecture
    cost: Cost
    sheet: Deployment


@dataclass(frozen=True, kw_only=True)
class Point:
    """A candidate as it was measured.

    Attributes:
        key: of the candidate.
        anchor: where the page describes it.
        kind: finished, reused, paused or failed.
        values: metaparameters that vary in the study.
        sizes: by name, exact; latency where it was measured.
        accuracy: mean validation accuracy over the seeds, of a paused one its last; None where
            it failed.
        low, high: lowest and highest seed.
        bar: 95% interval by the number of images; lowest and highest seed where that is not known.
        seeds_count: finished trainings.
        epochs: of its training.
        test_accuracy: mean; None where it was not measured.
        fronts: sizes in which no other candidate dominates it.
        curve: (epochs, validation accuracy) after each rung, of its first seed.
        network: None where it cannot be built any more, and `problem` says why.
        reason: why it failed or was paused.
    """

    key: str
    anchor: str
    kind: str
    values: Mapping[str, Value]
    sizes: Mapping[str, float]
    accuracy: float | None
    low: float | None
    high: float | None
    bar: tuple[float, float] | None
    seeds_count: int
    epochs: int
    test_accuracy: float | None
    fronts: frozenset[str]
    curve: tuple[tuple[int, float], ...]
    network: Network | None
    problem: str
    reason: str


@dataclass(frozen=True)
class Contents:
    """A study as the page shows it.

    Attributes:
        table: its trials and its description.
        answer: of a search that has ended.
        points: its candidates, by size.
        importances: of what varies, where there is enough to tell.
        problems: what could not be read.
    """

    table: StudyTable
    answer: Answer | None
    points: tuple[Point, ...]
    importances: Importances | None
    problems: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The study's name."""
        return self.table.name

    @property
    def is_search(self) -> bool:
        """Whether it is a search and no sweep."""
        return is_search(self.table.trials) or self.table.description.kind == "search"

    @property
    def found(self) -> Found | None:
        """The answer, or the nearest where nothing qualified."""
        return (self.answer.answer or self.answer.nearest) if self.answer else None

    @property
    def finished(self) -> tuple[Point, ...]:
        """The candidates that were trained to full fidelity."""
        return tuple(point for point in self.points if point.seeds_count)

    @property
    def shown(self) -> Point | None:
        """The candidate that stands for the study: the answer, else the most accurate."""
        found = self.found
        for point in self.points:
            if found and point.key == found.candidate:
                return point
        return max(self.finished, key=lambda point: point.accuracy or 0.0, default=None)


def read_contents(results: Path, name: str, *, at: int = 0) -> Contents:
    """All that the files of a study say.

    Args:
        results: folder of all studies.
        name: the study's name, or its folder.
        at: place of the study on the page.

    Raises:
        StudyError, ConfigError: it is not there, or its table cannot be read.
    """
    study = open_study(results, name)
    problems: list[str] = []
    answer = None
    try:
        answer = find_answer(study_directory(results, name))
    except StudyError as error:  # everything else can be shown
        problems.append(str(error).splitlines()[0])
    points = _points(study, at)
    return Contents(study, answer, points, importances(study), tuple(problems))


def sizes_of(studies: Sequence[Contents]) -> tuple[str, ...]:
    """The sizes that a plot can have as its axis: latency where every study measured it."""
    known = [point.sizes for study in studies for point in study.points]
    return tuple(name for name in ALL_OBJECTIVES if known and all(name in sizes for sizes in known))


def _points(study: StudyTable, at: int) -> tuple[Point, ...]:
    trials = study.trials
    rows: list[Any] = summarise(trials).to_dict("records")
    groups = {str(key): group for key, group in trials.groupby("candidate", sort=False)}
    sizes = [_sizes(row, groups[row["candidate"]]) for row in rows]
    fronts = {name: _on_front(rows, sizes, name) for name in ALL_OBJECTIVES}
    found = [
        _point(
            study,
            row,
            groups[row["candidate"]],
            anchor=f"s{at}-{index}",
            sizes=sizes[index],
            fronts=frozenset(name for name, held in fronts.items() if index in held),
        )
        for index, row in enumerate(rows)
    ]
    return tuple(sorted(found, key=lambda point: (point.sizes["params_count"], point.key)))


def _sizes(row: dict[str, Any], group: pd.DataFrame) -> dict[str, float]:
    sizes = {name: float(row[name]) for name in OBJECTIVES}
    if LATENCY in group and not math.isnan(latency := float(group[LATENCY].median())):
        sizes[LATENCY] = latency
    return sizes


def _on_front(rows: list[dict[str, Any]], sizes: list[dict[str, float]], name: str) -> set[int]:
    """Which finished candidates no other dominates in accuracy and this size."""
    held = [at for at, row in enumerate(rows) if row["seeds_count"] and name in sizes[at]]
    accuracies = [rows[at]["validation_accuracy_mean"] for at in held]
    objectives = np.array([[sizes[at][name], -a] for at, a in zip(held, accuracies, strict=True)])
    return {held[at] for at in front(objectives.reshape(len(held), 2))}


def _point(
    study: StudyTable,
    row: dict[str, Any],
    group: pd.DataFrame,
    *,
    anchor: str,
    sizes: dict[str, float],
    fronts: frozenset[str],
) -> Point:
    finished = group[group["status"] == "finished"]
    measured = group[group["validation_accuracy"].notna()]
    kind = "finished" if len(finished) else "paused" if len(measured) else "failed"
    if len(finished) and "stage" in group and (finished["stage"] == "reused").all():
        kind = "reused"
    accuracy = row["validation_accuracy_mean"] if len(finished) else None
    if accuracy is None and len(measured):
        accuracy = float(measured["validation_accuracy"].iloc[-1])
    is_many = len(finished) > 1
    bar = study.interval(accuracy) if len(finished) and accuracy is not None else None
    ends = (row["validation_accuracy_min"], row["validation_accuracy_max"])
    network, problem = _network(study, str(row["candidate"]))
    names = varying(study.trials) or metaparameters(study.trials)[:4]
    epochs = measured["epochs"].dropna()
    return Point(
        key=str(row["candidate"]),
        anchor=anchor,
        kind=kind,
        values={name: row[name] for name in names},
        sizes=sizes,
        accuracy=accuracy,
        low=ends[0] if is_many else None,
        high=ends[1] if is_many else None,
        bar=bar or (ends if is_many else None),
        seeds_count=len(finished),
        epochs=int(epochs.max()) if len(epochs) else 0,
        test_accuracy=None if math.isnan(row["test_accuracy_mean"]) else row["test_accuracy_mean"],
        fronts=fronts,
        curve=parse_curve(group["curve"].iloc[0]) if "curve" in group else (),
        network=network,
        problem=problem,
        reason="" if len(finished) else str(group["reason"].iloc[-1]),
    )


def _network(study: StudyTable, key: str) -> tuple[Network | None, str]:
    """The network of a candidate, or what is in its way: an older family, a changed table."""
    try:
        at = studied_candidate(study, key)
        architecture = build(at.candidate, at.input_shape, at.classes_count)
    except DseError as error:
        return None, str(error).splitlines()[0]
    costs = cost(architecture)
    sheet = deployment(
        costs,
        workers_count=WORKERS_COUNT,
        link=parse_link(LINK),
        update_link=parse_link(UPDATE_LINK),
        devices=devices(),
        chip=chip_memory(architecture),
    )
    return Network(architecture, costs, sheet), ""
