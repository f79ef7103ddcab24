"""Trainings of compression on the workers of an executor."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dse.architecture import cost
from dse.compress.quantize import Mixed
from dse.compress.tuning import (
    InProcess,
    OnTuningEpoch,
    Runner,
    Tuning,
    TuningTrainer,
    read_packed,
)
from dse.data import Dataset
from dse.errors import MachineError, TrainingError
from dse.execution.executor import Executor, JobList, Session
from dse.execution.gpus import gpu_count
from dse.execution.job import Ended, EpochDone, GivenUp, Job, Setup
from dse.execution.local import LocalExecutor
from dse.search.estimate import COMPILE_S, train_s
from dse.study.paths import write_file


@dataclass(frozen=True)
class OnWorkers:
    """Trains on the workers of a session.

    Attributes:
        session: of the workers.
        setup: what it was made for.
        at_once: its workers.
        images_count: of training.
        alone: where a training is done that is alone; None is on a worker too.
    """

    session: Session
    setup: Setup
    at_once: int
    images_count: int
    alone: Runner | None

    def train(
        self, network: TuningTrainer, tunings: Sequence[Tuning], on_epoch: OnTuningEpoch
    ) -> Iterator[Mixed]:
        """See `Runner.train`."""
        if self.alone is not None and len(tunings) == 1:
            yield from self.alone.train(network, tunings, on_epoch)
            return
        store, jobs, missing = self.session.store, {}, []
        macs = cost(network.architecture).macs
        for tuning in tunings:
            job = Job(network.candidate, 0, task="tune", tuning=tuning.name)
            if store.fetch(job.artifact("weights", self.setup)) is None:
                with store.writing(job.artifact("tunings", self.setup)) as path:
                    write_file(path, tuning.content)
                missing.append(job)
            jobs[job] = tuning
        for event in self.session.serve(
            JobList(missing),
            most_workers=len(missing),
            forecast_s=lambda job: COMPILE_S + train_s(macs, jobs[job].recipe, self.images_count),
        ):
            if isinstance(event, EpochDone):
                tuning = jobs[event.job]
                on_epoch(tuning.stage, event.epochs, tuning.recipe.epochs, event.loss)
            elif isinstance(event, GivenUp):
                raise MachineError(f"{jobs[event.job].stage}: {event.reason}")
            elif isinstance(event, Ended) and event.measurement.status == "failed":
                raise TrainingError(f"{jobs[event.job].stage}: {event.measurement.reason}")
        for job, tuning in jobs.items():
            found = store.fetch(job.artifact("weights", self.setup))
            if found is None:
                raise MachineError(f"{tuning.stage}: what a worker made of it is gone")
            yield read_packed(found)[0]


@contextlib.contextmanager
def runner_on(
    executor: Executor,
    setup: Setup,
    dataset: Dataset,
    directory: Path,
    given: Mapping[str, Path] | None = None,
) -> Iterator[Runner]:
    """What trains for compression on an executor, and keeps runs in a folder.

    On this machine a training that is alone is done in this process, with all cores; others run
    side by side, as workers with one thread each. So is all of it where this process has the GPU.

    Args:
        executor: of the workers.
        setup: its recipe is not used, as each training has its own.
        dataset: prepared images.
        directory: where runs are kept.
        given: files of the setup's weights, by artifact key.
    """
    here = InProcess(directory) if isinstance(executor, LocalExecutor) else None
    if here is not None and (executor.workers_count == 1 or gpu_count()):
        yield here
        return
    folders = {f"{kind}/{setup.key}": directory / kind for kind in ("tunings", "weights")}
    folders[f"checkpoints/{setup.key}"] = directory
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    artifacts = {setup.data_key: dataset.directory, **folders, **(given or {})}
    with executor.session(setup, artifacts, directory / "logs") as session:
        yield OnWorkers(session, setup, executor.workers_count, len(dataset.train), here)
