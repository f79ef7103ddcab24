"""One network, one recipe: a sweep of a single candidate, and what is reported of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dse.data import DataDescription, Dataset
from dse.search.engine import RunResult
from dse.search.plan import Sweep
from dse.stats.comparison import accuracy_ends
from dse.stats.intervals import Interval, wilson_interval
from dse.study.description import TEST_SEEN
from dse.study.measurement import unpack_bits
from dse.study.paths import WEIGHTS_FOLDER


@dataclass(frozen=True)
class SeedResult:
    """One training; accuracies are fractions, None where it failed."""

    seed: int
    validation_accuracy: float | None
    test_accuracy: float | None
    train_s: float
    compile_s: float
    weights: str
    reason: str


@dataclass(frozen=True)
class TrainedReport:
    """What `dse train` says of a network.

    Attributes:
        study: name.
        network: name of its space.
        candidate: key.
        params_count: parameters.
        seeds: each training.
        validation, test: mean accuracy over the seeds with its 95% interval over images and
            seeds (over images alone for one seed); None where every seed failed.
        weights: of the seed with the highest validation accuracy; None where every seed failed.
        init: the weights that it started from (file, digest); None for none.
        note: what a reader should know of the test accuracy.
    """

    study: str
    network: str
    candidate: str
    params_count: int
    seeds: tuple[SeedResult, ...]
    validation: Interval | None
    test: Interval | None
    weights: Path | None
    init: Mapping[str, Any] | None
    note: str

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return asdict(self) | {"weights": None if self.weights is None else str(self.weights)}


def as_training(plan: Sweep, data: Dataset | DataDescription, study: str | None) -> Sweep:
    """A sweep of one candidate under the name of a training, `NETWORK-DATA-train`.

    Args:
        plan: of a space with one candidate.
        data: the images.
        study: the user's own name for it.
    """
    from dse.search.plan import check_study_name

    return replace(plan, name=check_study_name(study or f"{plan.space.name}-{data.name}-train"))


def trained_report(plan: Sweep, result: RunResult, dataset: Dataset) -> TrainedReport:
    """What was measured of the one candidate of a training."""
    (candidate, cost), *_ = plan.survey.feasible
    seeds, folder = [], result.directory / WEIGHTS_FOLDER
    bits: dict[str, list[np.ndarray]] = {"validation": [], "test": []}
    for job in plan.jobs:
        measured = result.trials[job.key].latest
        assert measured is not None
        path = folder / job.weights_name
        weights = str(path) if measured.status == "finished" and path.exists() else ""
        seeds.append(
            SeedResult(
                job.replicate,
                measured.validation_accuracy,
                measured.test_accuracy,
                measured.train_s,
                measured.compile_s,
                weights,
                measured.reason,
            )
        )
        for split, found in bits.items():
            if text := getattr(measured, f"{split}_correct"):
                found.append(unpack_bits(text, len(getattr(dataset, split))))
    best = max(
        (seed for seed in seeds if seed.weights),
        key=lambda seed: seed.validation_accuracy or 0.0,
        default=None,
    )
    return TrainedReport(
        study=plan.name,
        network=plan.space.name,
        candidate=candidate.key,
        params_count=cost.params_count,
        seeds=tuple(seeds),
        validation=accuracy_interval(bits["validation"]),
        test=accuracy_interval(bits["test"]),
        weights=Path(best.weights) if best else None,
        init=plan.definition(dataset).init,
        note=TEST_SEEN if plan.given else "",
    )


def accuracy_interval(correct: list[np.ndarray]) -> Interval | None:
    """Mean accuracy with its 95% interval over images and seeds.

    Args:
        correct: of each seed bool (image,); one seed has Wilson's interval, over images.

    Returns:
        None for no seed.
    """
    if not correct:
        return None
    if len(correct) == 1:
        return wilson_interval(int(correct[0].sum()), len(correct[0]))
    low, high = accuracy_ends(np.stack(correct))
    mean = float(np.mean(correct))
    return Interval(mean, 0.0 if low is None else low, 1.0 if high is None else high)
