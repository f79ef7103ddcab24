"""What runs jobs, seen by who has some: the one seam between a study and the machines it uses.

`dse.execution.local.LocalExecutor` is the first implementation: processes of this machine.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from dse.execution.artifacts import ArtifactStore
from dse.execution.job import Event, GivenUp, Job, Setup, WorkerLost

ATTEMPTS = 3
"""How often a job is handed out before it is given up; another run tries it again."""


class JobSource(Protocol):
    """Where an executor gets its jobs from."""

    def next_job(self, compiled: str, elsewhere: Set[str]) -> Job | None:
        """What to do next; None where there is nothing now.

        Args:
            compiled: key of the candidate that the worker trained last.
            elsewhere: keys of those that other workers trained last or are training.
        """

    def is_over(self) -> bool:
        """Whether to stop now, whatever is being trained."""


class Session(Protocol):
    """Workers that hold one setup."""

    @property
    def store(self) -> ArtifactStore:
        """What the jobs read and write."""

    def serve(
        self,
        source: JobSource,
        *,
        most_workers: int | None = None,
        forecast_s: Callable[[Job], float] = lambda job: 0.0,
    ) -> Iterator[Event]:
        """Ask the source for a job whenever a worker is idle; give every event as it comes.

        Ends when no worker has a job and the source has none, or when the source is over:
        then what workers are doing is given up. A job whose worker dies or falls silent is handed
        out again; after some deaths it is `GivenUp` and has no result.

        Args:
            source: of jobs; it may decide by the events that were given so far.
            most_workers: workers that can ever be of use, where that is known.
            forecast_s: seconds that a job is likely to take; a worker that says nothing for many
                times as long has fallen silent.

        Raises:
            MachineError: workers cannot be started, die before they can take a job, or one meets
                what would hit every job (a full disk, say).
        """


class Executor(Protocol):
    """Starts sessions; it is passed to `dse.search.engine`, which knows nothing of machines."""

    @property
    def workers_count(self) -> int:
        """Jobs that run at a time."""

    def session(
        self, setup: Setup, artifacts: Mapping[str, Path], logs: Path
    ) -> AbstractContextManager[Session]:
        """Workers for one setup, which end with the context.

        Args:
            setup: what all jobs share.
            artifacts: for the beginning of an artifact's key, the driver's file or folder that
                holds it or is to hold it.
            logs: folder for what workers write to standard error.
        """


class HandingOut:
    """The jobs of a source, and again those whose workers were lost.

    Args:
        source: of the jobs.
        first: the first one, which is taken from it already.

    Attributes:
        attempts: how often each job was lost.
    """

    def __init__(self, source: JobSource, first: Job) -> None:
        self._source = source
        self._waiting = deque([first])  # for whoever is idle first
        self.attempts: Counter[Job] = Counter()

    def next_job(self, compiled: str, elsewhere: Set[str]) -> Job | None:
        """As `JobSource.next_job`."""
        return (
            self._waiting.popleft() if self._waiting else self._source.next_job(compiled, elsewhere)
        )

    def lost(self, event: WorkerLost, reason: str) -> Event:
        """What becomes of a job whose worker was lost: it waits again, or is given up.

        Args:
            event: of a worker that had a job.
            reason: for giving it up.
        """
        assert event.job is not None
        self.attempts[event.job] += 1
        if self.attempts[event.job] >= ATTEMPTS:
            return GivenUp(event.job, event.worker, reason)
        self._waiting.append(event.job)
        return event


class JobList:
    """Jobs that are known from the start."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._waiting = deque(jobs)

    @property
    def has_jobs(self) -> bool:
        """Whether one is left."""
        return bool(self._waiting)

    def next_job(self, compiled: str, elsewhere: Set[str]) -> Job | None:
        """The first of the candidate that the worker has compiled, or that nobody has."""

        def preference(job: Job) -> int:
            key = job.candidate.key
            return 0 if key == compiled else 2 if key in elsewhere else 1

        if not self._waiting:
            return None
        job = min(self._waiting, key=preference)  # the first of the most preferred
        self._waiting.remove(job)
        return job

    def is_over(self) -> bool:
        """Never: the list ends by itself."""
        return False
