"""How long a list of trainings will still take, corrected by how long those so far took."""

from __future__ import annotations

import heapq
import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dse.architecture import Candidate
from dse.execution.job import Job
from dse.study.measurement import Measurement


@dataclass
class _Running:
    """Moments of a training: of its start, of its first and of its latest complete epoch."""

    started: float
    first: tuple[float, float] | None = None
    latest: tuple[float, float] | None = None

    @property
    def share(self) -> float:
        """Of its epochs that are complete."""
        return self.latest[1] if self.latest else 0.0


class TimeLeft:
    """Follows the jobs of a run; compilation, once a candidate, counts apart from training.

    Args:
        train_s: expected seconds of a job's training; only their ratios matter once one of
            them has taken its time.
        compile_s: expected seconds of a candidate's compilation, until one is measured.
        workers_count: jobs that run at a time.
        clock: seconds.
    """

    def __init__(
        self,
        train_s: Callable[[Job], float],
        *,
        compile_s: float,
        workers_count: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._train_s, self._compile_s = train_s, compile_s
        self._workers_count, self._clock = workers_count, clock
        self._waiting: dict[Job, None] = {}
        self._running: dict[Job, _Running] = {}
        self._compiled: set[Candidate] = set()
        self._compilations: list[float] = []
        self._measured_s = self._expected_s = 0.0

    def begin(self, jobs: Iterable[Job]) -> None:
        """These are to be trained, about in this order."""
        self._waiting = dict.fromkeys(jobs)

    def started(self, job: Job) -> None:
        """A worker has taken the job, for the first time or again."""
        self._waiting.pop(job, None)
        self._running[job] = _Running(self._clock())

    def progressed(self, job: Job, share: float) -> None:
        """So much of its epochs (a fraction) is complete."""
        running = self._running[job]
        running.latest = (self._clock(), share)
        running.first = running.first or running.latest

    def ended(self, job: Job, measurement: Measurement) -> None:
        """The job is over, finished or failed."""
        self._running.pop(job, None)
        self._waiting.pop(job, None)
        if measurement.status == "finished":
            self._measured_s += measurement.train_s
            self._expected_s += self._train_s(job)
        if measurement.compile_s:
            self._compiled.add(job.candidate)
            self._compilations.append(measurement.compile_s)

    def seconds(self) -> float:
        """Expected seconds to the end; NaN while nothing tells how fast this machine is."""
        rate, now = self._rate(), self._clock()
        if math.isnan(rate):
            return rate
        compile_s = self._compile_s
        if self._compilations:
            compile_s = sum(self._compilations) / len(self._compilations)
        free_in = [
            self._left_of(job, running, now, rate, compile_s)
            for job, running in self._running.items()
        ]
        free_in += [0.0] * (self._workers_count - len(free_in))
        heapq.heapify(free_in)
        begun = self._compiled | {job.candidate for job in self._running}
        for job in self._waiting:  # each goes to the worker that is free first
            own_s = rate * self._train_s(job) + (0.0 if job.candidate in begun else compile_s)
            begun.add(job.candidate)
            heapq.heapreplace(free_in, free_in[0] + own_s)
        return max(free_in)

    def _left_of(
        self, job: Job, running: _Running, now: float, rate: float, compile_s: float
    ) -> float:
        whole = rate * self._train_s(job)
        if running.latest is None:
            waited = now - running.started
            compilation = 0.0 if job.candidate in self._compiled else compile_s
            return whole + max(0.0, compilation - waited)
        moment, share = running.latest
        return max(0.0, whole * (1 - share) - (now - moment))

    def _rate(self) -> float:
        """Measured seconds for an expected one, of what is over and of what is running."""
        measured, expected = self._measured_s, self._expected_s
        for job, running in self._running.items():
            if running.first and running.latest:
                measured += running.latest[0] - running.first[0]
                expected += (running.latest[1] - running.first[1]) * self._train_s(job)
        return measured / expected if measured > 0 and expected > 0 else math.nan
