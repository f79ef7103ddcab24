"""Progress of a sweep: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path

from dse.cli.display import Display
from dse.execution.job import Ended, EpochDone, GivenUp, Job, Started, WorkerLost
from dse.search.engine import ReferenceAwaited, RunEvent, SweepStarted
from dse.search.status import SweepStatus
from dse.text import duration, percent, values_text

SAID_COMPILE_S = 0.5
"""A compilation of less, out of the cache, is not worth a word."""


class SweepProgress:
    """Follows the events of a sweep and says how far it is, on standard error.

    Args:
        varying: the metaparameters that name a candidate.
        epochs: of each job.
        seeds: of each candidate; a job is named by its seed where there are several.
        name: of a candidate where nothing varies; its key unless that is given.
        intro: said when the training begins.
    """

    def __init__(
        self,
        varying: Sequence[str],
        *,
        epochs: int,
        seeds: int,
        name: str = "",
        intro: str = "",
    ) -> None:
        self._fixed_name, self._intro = name, intro
        self._varying, self._epochs, self._seeds = varying, epochs, seeds
        self._status: SweepStatus | None = None
        self._doing = ("", 0.0, math.nan)
        self.display = Display(self.doing)

    def __call__(self, event: RunEvent) -> None:
        """Take note of an event and show it."""
        if isinstance(event, SweepStarted):
            self._start(event)
        elif isinstance(event, Started):
            self._show(event.worker, event.job, 0, "compiling")
        elif isinstance(event, EpochDone):
            self._show(event.worker, event.job, event.epochs, f"loss {event.loss:.3f}")
        elif isinstance(event, Ended):
            self._end(event)
        elif isinstance(event, WorkerLost):
            job = f"; {self._name(event.job)} starts again" if event.job else ""
            self.display.say(f"worker {event.worker} died ({event.status}){job}")
        elif isinstance(event, ReferenceAwaited):
            self.display.say(f"waiting for another search, which trains it in {event.directory}")
        elif isinstance(event, GivenUp):
            self.display.say(f"{self._name(event.job)} is given up for now: {event.reason}")
            self.display.end(event.worker)

    def doing(self) -> str:
        """One line: how many are done, what is being trained, time left; from any thread."""
        text, moment, seconds = self._doing
        if not text or math.isnan(seconds):
            return text
        return f"{text}; about {duration(max(1.0, seconds - (time.monotonic() - moment)))} left"

    def interrupted(self, directory: Path) -> None:
        """Say what an interrupted sweep keeps."""
        if self._status:
            self.display.say(f"{self._count()} done and kept in {directory}")
            self.display.say("the same command resumes")

    def _start(self, event: SweepStarted) -> None:
        self._status = event.status
        if self._intro:
            self.display.say(self._intro)
        if event.recorded:
            self.display.say(f"{self._count()} in the record")
        self.display.state(f"{self._count()}, starting")

    def _end(self, event: Ended) -> None:
        assert self._status is not None
        measured = event.measurement
        if measured.status == "failed":
            text = f"failed: {measured.reason}"
        else:
            text = (
                f"validation accuracy {percent(measured.validation_accuracy)}, "
                f"{measured.train_s:.1f} s, {measured.images_per_s:,.0f} images/s"
            )
            if measured.compile_s >= SAID_COMPILE_S:
                text += f", compiled in {measured.compile_s:.1f} s"
        left = self._status.left()
        self.display.say(
            f"[{self._status.done}/{self._status.count}] {self._name(event.job)}: {text}"
            + (f"; {left}" if left else "")
        )
        self.display.end(event.worker)
        self.display.state(f"{self._count()}, {left}")
        if self._status.done == self._status.count:
            self._doing = ("", 0.0, math.nan)

    def _show(self, worker: int, job: Job, epochs: int, doing: str) -> None:
        assert self._status is not None
        running = f"{self._count()} done; {self._name(job)}, "
        running += f"epoch {epochs} of {self._epochs}" if epochs else doing
        self._doing = (running, time.monotonic(), self._status.left_s())
        if self.display.is_live:
            self.display.show(worker, f"{self._name(job)}  {doing}", epochs, self._epochs)
            self.display.state(f"{self._count()}, {self._status.left()}")

    def _count(self) -> str:
        return f"{self._status.done} of {self._status.count}" if self._status else ""

    def _name(self, job: Job) -> str:
        name = values_text(job.candidate.metaparameters, self._varying)
        name = name or self._fixed_name or job.candidate.key
        return f"{name}, seed {job.replicate}" if self._seeds > 1 else name
