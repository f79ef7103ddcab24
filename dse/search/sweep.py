"""The sweep: every feasible candidate of a finite space, with every seed, once."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dse.architecture import Candidate, Cost
from dse.config import space_to_dict
from dse.data import DataDescription, Dataset
from dse.execution.job import Ended, Event, Job, Setup
from dse.execution.local import Executor
from dse.search.estimate import COMPILE_S, train_s
from dse.search.schedule import handing_out
from dse.space import SearchSpace, Survey
from dse.study.storage import (
    CORRECT,
    Definition,
    StudyRecord,
    open_record,
    peek,
    storage_errors,
    write_description,
)
from dse.training import Recipe, check_fits

Recorded = Mapping[tuple[str, int], Mapping[str, Any]]
"""By (candidate key, replicate): `row`, as in `trials.csv`, and `CORRECT`, by split."""

TABLE_EVERY_S = 2.0
"""`trials.csv` is written again at most this often while a sweep runs, and at its end."""


@dataclass(frozen=True)
class Sweep:
    """What is to be trained, known before anything is.

    Attributes:
        name: of the study.
        space: a finite space.
        survey: its candidates for the images of the study.
        recipe: how each is trained.
        seeds: replicates of each candidate.
        study_seed: with the replicate, the source of all noise.
        skipped: replicates below `seeds` that are known from elsewhere.
    """

    name: str
    space: SearchSpace
    survey: Survey
    recipe: Recipe
    seeds: int = 1
    study_seed: int = 0
    skipped: frozenset[int] = frozenset()

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """One job for each feasible candidate and seed, candidate by candidate."""
        return tuple(
            Job(candidate, replicate)
            for candidate, _ in self.survey.feasible
            for replicate in range(self.seeds)
            if replicate not in self.skipped
        )

    @cached_property
    def costs(self) -> Mapping[Candidate, Cost]:
        """The exact cost of each feasible candidate."""
        return dict(self.survey.feasible)

    def definition(self, data: Dataset | DataDescription) -> Definition:
        """What makes this study this study, as far as that is known of its images."""
        return Definition(
            self.name,
            space_to_dict(self.space),
            self.recipe.to_dict(),
            data_facts(data),
            self.study_seed,
        )


def data_facts(dataset: Dataset | DataDescription) -> dict[str, Any]:
    """What a record says of its images, as far as it is known."""
    if isinstance(dataset, DataDescription):
        return {
            "input_shape": list(dataset.input_shape),
            "classes": list(dataset.classes),
            "train_count": dataset.train_count,
        }
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "input_shape": list(dataset.input_shape),
        "classes": list(dataset.classes),
        "images": {
            "train": len(dataset.train),
            "validation": len(dataset.validation),
            "test": len(dataset.test),
        },
    }


@dataclass(frozen=True)
class Begun:
    """The record is open: `pending` jobs are to be trained, `recorded` ones are not."""

    pending: tuple[Job, ...]
    recorded: tuple[Job, ...]


@dataclass(frozen=True)
class SweepResult:
    """Where a sweep's results lie, and how many there are."""

    directory: Path
    trials_path: Path
    finished_count: int
    failed_count: int
    trained_count: int
    wall_s: float


def pending_jobs(
    sweep: Sweep, data: Dataset | DataDescription, *, results: Path, retry_failed: bool = False
) -> tuple[Job, ...]:
    """What a run would train, from the record; nothing is begun.

    Raises:
        StudyMismatchError: a study of that name holds something else.
        StudyError: the record cannot be read.
    """
    with peek(results, sweep.definition(data)) as study:
        if study is None:
            return sweep.jobs
        record = StudyRecord(results / sweep.name, study, sweep.space)
        return tuple(job for job in sweep.jobs if not _is_recorded(record, job, retry_failed))


def run_sweep(
    sweep: Sweep,
    dataset: Dataset,
    *,
    results: Path,
    workers_count: int,
    compile_cache: Path | None = None,
    retry_failed: bool = False,
    command: str = "",
    on_event: Callable[[Begun | Event], None] = lambda event: None,
    on_recorded: Callable[[Recorded], None] = lambda recorded: None,
) -> SweepResult:
    """Train whatever of the sweep is not in the record yet.

    Interrupt it in any way and call it again: what is recorded is not trained again, and
    the results are those of a run that was never interrupted.

    Args:
        sweep: what to train.
        dataset: prepared images.
        results: folder of all studies; this one goes to `results/<name>`.
        workers_count: worker processes.
        compile_cache: folder for compiled programs.
        retry_failed: train recorded failures again.
        command: kept in `study.yaml`.
        on_event: told of everything that happens, from this process.
        on_recorded: given at the end what the record holds of each job of the sweep.

    Raises:
        TrainingError: the recipe does not fit the images.
        StudyMismatchError: a study of that name holds something else.
        StudyError: the record is in use, or cannot be read or written.
    """
    started = time.perf_counter()
    check_fits(
        sweep.recipe,
        dataset.name,
        input_shape=dataset.input_shape,
        train_count=len(dataset.train.labels),
    )
    definition = sweep.definition(dataset)
    with open_record(
        results, definition, lambda directory, study, _: StudyRecord(directory, study, sweep.space)
    ) as record:
        seeds = max([sweep.seeds, *(1 + replicate for _, replicate in record.rows)])
        recorded = tuple(job for job in sweep.jobs if _is_recorded(record, job, retry_failed))
        pending = tuple(job for job in sweep.jobs if not _is_recorded(record, job, retry_failed))
        # With nothing to train, the command and the machine that made the results stay named.
        if pending or not (record.directory / "study.yaml").exists():
            trials_count = len(sweep.survey.feasible) * seeds
            plain = definition.to_dict() | {"seeds": seeds, "trials_count": trials_count}
            write_description(record.directory, plain, command=command)
        on_event(Begun(pending, recorded))
        setup = Setup(
            dataset.directory.resolve(),
            sweep.recipe,
            sweep.study_seed,
            (record.directory / "weights").resolve(),
            compile_cache.resolve() if compile_cache else None,
            (record.directory / "checkpoints").resolve(),
        )
        all_jobs = tuple(
            Job(candidate, replicate)
            for candidate, _ in sweep.survey.feasible
            for replicate in range(seeds)
        )
        try:
            if pending:
                executor = Executor(setup, workers_count, record.directory / "logs")
                order = _in_order(sweep, pending, len(dataset.train.labels), workers_count)
                for event in _recorded_events(sweep, executor, record, order, all_jobs):
                    on_event(event)
        finally:
            path = record.write_table(all_jobs)
        statuses = [record.rows[job.key]["status"] for job in sweep.jobs]
        on_recorded(
            {
                job.key: {"row": record.rows[job.key], CORRECT: record.correct[job.key]}
                for job in sweep.jobs
            }
        )
    return SweepResult(
        directory=record.directory,
        trials_path=path,
        finished_count=statuses.count("finished"),
        failed_count=statuses.count("failed"),
        trained_count=len(pending),
        wall_s=time.perf_counter() - started,
    )


def _in_order(sweep: Sweep, jobs: Sequence[Job], train_count: int, workers_count: int) -> list[Job]:
    """Jobs as workers are to take them: by candidate, so that no worker waits long at the end."""
    by_candidate: dict[Candidate, list[Job]] = {}
    for job in jobs:
        by_candidate.setdefault(job.candidate, []).append(job)
    groups = list(by_candidate.values())

    def length_s(group: list[Job]) -> float:
        macs = sweep.costs[group[0].candidate].macs
        return COMPILE_S + len(group) * train_s(macs, sweep.recipe, train_count)

    lengths = [length_s(group) for group in groups]
    return [job for place in handing_out(lengths, workers_count) for job in groups[place]]


def _is_recorded(record: StudyRecord, job: Job, retry_failed: bool) -> bool:
    row: Mapping[str, Any] | None = record.rows.get(job.key)
    return row is not None and not (retry_failed and row["status"] == "failed")


def _recorded_events(
    sweep: Sweep,
    executor: Executor,
    record: StudyRecord,
    pending: Sequence[Job],
    table_jobs: tuple[Job, ...],
) -> Iterator[Event]:
    """Run the pending jobs; each event comes when what it says is in the record."""
    written = time.monotonic()
    make_directories(executor.setup, record.directory)
    with executor:
        for event in executor.run(pending):
            if isinstance(event, Ended):
                record.add(event.job, sweep.costs[event.job.candidate], event.measurement)
                drop_checkpoint(executor.setup, event.job)
                if time.monotonic() - written > TABLE_EVERY_S:
                    record.write_table(table_jobs)
                    written = time.monotonic()
            yield event


def make_directories(setup: Setup, directory: Path) -> None:
    """Make the folders that workers write to.

    Raises:
        StudyError: one cannot be made.
    """
    with storage_errors(directory):
        for folder in (setup.weights_directory, setup.checkpoints_directory):
            if folder:
                folder.mkdir(parents=True, exist_ok=True)


def drop_checkpoint(setup: Setup, job: Job) -> None:
    """Remove a run that is recorded to its end."""
    if setup.checkpoints_directory:
        with contextlib.suppress(OSError):
            (setup.checkpoints_directory / job.weights_name).unlink(missing_ok=True)
