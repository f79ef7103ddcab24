"""The events of a run as lines of its log (`dse.study.events`)."""

from __future__ import annotations

import contextlib
import math
import os
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from dse.execution.job import Ended, EpochDone, Event, GivenUp, Started, WorkerLost
from dse.space import scalar
from dse.study.events import EventLog, LogEvent
from dse.study.record import Record


class RunLog:
    """Writes what happens in a run.

    Args:
        record: of the study, which this process holds.
        varying: the metaparameters that tell candidates apart.
        full_epochs: of a job without a fidelity of its own.
    """

    def __init__(self, record: Record, varying: Sequence[str], full_epochs: int) -> None:
        self._record, self._varying, self._full_epochs = record, varying, full_epochs
        self._log = EventLog(record.directory)

    def say(self, kind: Any, **told: Any) -> None:
        """Write an event of the run as a whole."""
        self._log.write(LogEvent(kind=kind, time_s=round(time.time(), 3), **told))

    def job(self, event: Event, status: str) -> None:
        """Write what happened to a job or its worker."""
        if isinstance(event, Started):
            told: dict[str, Any] = {"kind": "started"}
        elif isinstance(event, EpochDone):
            loss = event.loss if math.isfinite(event.loss) else None
            told = {"kind": "epoch", "epochs": event.epochs, "loss": loss}
        elif isinstance(event, Ended):
            told = self._ended(event)
        elif isinstance(event, WorkerLost):
            told = {"kind": "lost", "text": event.status}
        else:
            assert isinstance(event, GivenUp)
            told = {"kind": "given_up", "text": event.reason}
        if (job := event.job) is not None:
            values = job.candidate.metaparameters
            told |= {
                "candidate": job.candidate.key,
                "replicate": job.replicate,
                "values": {name: scalar(values[name]) for name in self._varying},
                "full_epochs": job.fidelity.epochs if job.fidelity else self._full_epochs,
            }
        self.say(**told, worker=event.worker, status=status)

    def _ended(self, event: Ended) -> dict[str, Any]:
        measured, trials = event.measurement, self._record.trials
        trial = trials.get(event.job.key) or trials.get((event.job.candidate.key, 0))
        params_count = trial.costs.get("params_count") if trial else None
        if event.job.task == "test":
            measured = replace(measured, validation_accuracy=None)
        return {
            "kind": "ended",
            "epochs": measured.epochs,
            "accuracy": measured.validation_accuracy,
            "test_accuracy": measured.test_accuracy,
            "params_count": None if params_count is None else int(params_count),
            "text": measured.reason if measured.status == "failed" else "",
        }


@contextlib.contextmanager
def logged(record: Record, varying: Sequence[str], full_epochs: int) -> Iterator[RunLog]:
    """The log of a run, with a line for its beginning and one for how it ended."""
    log = RunLog(record, varying, full_epochs)
    log.say("run", pid=os.getpid(), host=socket.gethostname())
    outcome = "interrupted"
    try:
        yield log
        outcome = "finished"
    except Exception as error:
        outcome = (str(error) or type(error).__name__).splitlines()[0]
        raise
    finally:
        log.say("over", text=outcome)
