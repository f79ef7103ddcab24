"""The published points of the SqueezeNet paper, with sizes that dse counts itself.

The tables are `results/paper/*.csv`; in a wheel they lie inside this package. Accuracies
are the paper's (ImageNet), networks are rebuilt from the metaparameters in the table.

Source: Iandola et al. 2016 (arXiv 1602.07360), tables 2 and 3, figure 3.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dse.architecture import (
    FAMILIES,
    OBJECTIVES,
    PRESETS,
    Candidate,
    Cost,
    build,
    cost,
    make_candidate,
)
from dse.errors import StudyError
from dse.report.tables.studies import recorded_value
from dse.report.tables.summary import StudyTable, varying

SWEEPS = ("squeeze_ratio", "pct_3x3", "bypass")
"""Tables named after the metaparameter that varies in them."""

NETWORKS = "compression"
"""The table of AlexNet and SqueezeNet, compressed and not."""

PAPER = "SqueezeNet paper (arXiv 1602.07360)"


@dataclass(frozen=True)
class PublishedPoint:
    """A row of a table.

    Attributes:
        candidate: the network, before any compression.
        cost: its exact cost with the paper's images and classes.
        size_mb: as printed; None where the table has none.
        compression: `none` but in the table of that name.
        top1_accuracy, top5_accuracy: fractions of ImageNet's validation images; None
            where they are not printed.
        source: paper, table or figure.
    """

    network: str
    candidate: Candidate
    cost: Cost
    size_mb: float | None
    compression: str
    top1_accuracy: float | None
    top5_accuracy: float | None
    source: str


def published_folder() -> Path:
    """The folder of the tables: inside the wheel, in `results/paper` of a checkout."""
    inside = Path(__file__).parents[1] / "published_tables"
    return inside if inside.is_dir() else Path(__file__).parents[3] / "results" / "paper"


def read_published(name: str) -> tuple[PublishedPoint, ...]:
    """The rows of a table: one of `SWEEPS`, or `NETWORKS`.

    Raises:
        StudyError: it is not there.
    """
    path = published_folder() / f"{name}.csv"
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from error
    points = []
    for row in rows:
        preset = PRESETS[row["network"]]
        family = preset.candidate.family
        known = FAMILIES[family].metaparameters
        values = {name: recorded_value(row[name], known[name]) for name in row if name in known}
        candidate = make_candidate(family, preset.candidate.metaparameters | values)
        points.append(
            PublishedPoint(
                network=row["network"],
                candidate=candidate,
                cost=cost(build(candidate, preset.input_shape, preset.classes_count)),
                size_mb=_number(row.get("size_mb")),
                compression=row.get("compression", "none"),
                top1_accuracy=_number(row.get("top1_accuracy")),
                top5_accuracy=_number(row.get("top5_accuracy")),
                source=row["source"],
            )
        )
    return tuple(points)


def published_beside(studies: Sequence[StudyTable]) -> tuple[StudyTable, ...]:
    """The published points that belong beside these studies, as tables of their own.

    For each metaparameter that varies in one of them the paper's sweep of it; where there is
    none, the networks themselves, uncompressed. `validation_accuracy` holds the top-5.
    """
    varied = {name for study in studies for name in varying(study.trials)}
    names = [name for name in SWEEPS if name in varied] or [NETWORKS]
    return tuple(_table(name) for name in names)


def _table(name: str) -> StudyTable:
    import pandas as pd

    label = "network" if name == NETWORKS else name
    rows = [
        {
            "candidate": point.candidate.key,
            label: point.network if name == NETWORKS else point.candidate.metaparameters[name],
            "seed": 0,
            "status": "finished",
            "reason": "",
            **{size: getattr(point.cost, size) for size in OBJECTIVES},
            "validation_accuracy": point.top5_accuracy,
            "test_accuracy": math.nan,
            "epochs": math.nan,
        }
        for point in read_published(name)
        if point.compression == "none" and point.top5_accuracy is not None
    ]
    return StudyTable(f"{PAPER}, ImageNet top-5, as published", pd.DataFrame(rows))


def _number(text: str | None) -> float | None:
    return float(text) if text else None
