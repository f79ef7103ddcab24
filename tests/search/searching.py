"""A small search by the closed form: sixteen candidates, rungs of 1, 3 and 9 epochs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dse.data import Dataset, Split
from dse.execution.artifacts import FolderStore
from dse.execution.job import Ended, EpochDone, Started
from dse.execution.local import LocalExecutor
from dse.search.budget import parse_budget
from dse.search.engine import run as run_study
from dse.search.plan import Search
from dse.search.reference import Reference
from dse.search.rungs import Ladder
from dse.space import Categorical, Fixed, SearchSpace
from dse.space.enumerate import make_pool
from dse.study.measurement import Measurement
from dse.training import Recipe
from tests.fakes.closed_form import IMAGES, answer

RATIOS = tuple(k / 16 for k in range(1, 17))
RECIPE = Recipe(epochs=9, batch_size=10, crop_px=0, flip=False)
SPACE = SearchSpace(
    "ratios",
    "squeezenet",
    {"base_e": Fixed(16), "incr_e": Fixed(16), "squeeze_ratio": Categorical(RATIOS)},
)
NUMBER = Reference("0.7", accuracy=0.7)


@cache
def pool(space: SearchSpace = SPACE):
    return make_pool(space, (8, 8, 1), 10)


def search(budget: str = "8trials", **changes: Any) -> Search:
    values = {"ladder": Ladder.of_epochs(1, 3, 9), "sampler": "random", "pool": pool()} | changes
    return Search("ratios", recipe=RECIPE, budget=parse_budget(budget), **values)


def dataset(tmp_path: Path, **changes: Any) -> Dataset:
    """Ten classes of 8x8x1, with as many images as the closed form has."""
    validation, test = (
        Split(np.zeros((count, 8, 8, 1), np.uint8), (np.arange(count) % 10).astype(np.int32))
        for count in IMAGES
    )
    values: dict[str, Any] = {
        "name": "blank",
        "directory": tmp_path / "data",
        "classes": tuple("abcdefghij"),
        "input_shape": (8, 8, 1),
        "train": test,
        "validation": validation,
        "test": test,
        "mean": (0.0,),
        "std": (1.0,),
        "fingerprint": "f" * 32,
        "warnings": (),
    }
    return Dataset(**values | changes)


def run(wanted: Search, tmp_path: Path, reference: Reference = NUMBER, **options: Any):
    """Search; gives the result and the events."""
    events: list[Any] = []
    result = run_study(
        wanted,
        options.pop("dataset", dataset(tmp_path)),
        make_executor(options.pop("workers", 1)),
        results=tmp_path / "results",
        reference=reference,
        on_event=options.pop("on_event", events.append),
        **options,
    )
    return result, events


make_executor = LocalExecutor
"""Of so many workers; tests put another one here."""


class InProcess:
    """An executor of one worker without a process; what it is given to do ends at once."""

    def __init__(self, workers_count: int) -> None:
        self.workers_count = workers_count

    def session(self, setup: Any, artifacts: Any, logs: Path) -> InProcess:
        self.setup, self.store = setup, FolderStore(artifacts)
        return self

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def serve(self, source: Any, **_: Any) -> Iterator[Any]:
        while not source.is_over():
            job = source.next_job("", frozenset())
            if job is None:
                return
            yield Started(job, 0)
            yield EpochDone(job, 0, 1, 0.5)
            plain = answer(self.setup.to_dict(), job.to_dict())
            yield Ended(job, 0, Measurement(**plain))


def ended(events: list[Any]) -> list[tuple[float, int, int | None, str]]:
    """(squeeze ratio, replicate, epochs, task) of each job that ended, in order."""
    return [
        (
            event.job.candidate.metaparameters["squeeze_ratio"],
            event.job.replicate,
            event.job.fidelity.epochs if event.job.fidelity else None,
            event.job.task,
        )
        for event in events
        if isinstance(event, Ended)
    ]


def told(record: Any) -> list[dict[str, Any]]:
    """All that a record says of its trials, but for times and Optuna's numbers."""
    found = []
    for trial in record.trials.values():
        plain = dataclasses.asdict(trial)
        del plain["trial_id"], plain["ended_s"]
        found.append(plain | {"is_failed": trial.is_failed, "epochs": trial.epochs})
    return found


def document(result: Any) -> dict[str, Any]:
    """`answer.json`."""
    found: dict[str, Any] = json.loads((result.directory / "answer.json").read_text())
    return found
