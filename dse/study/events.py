"""`events.jsonl`: what happens while a study is trained, one JSON object per line.

The record says what was measured; this log says what is going on, for whoever follows a run from
outside: `dse watch`, TensorBoard. The process that holds the record appends to it. It is bounded,
a line that a kill has torn is passed over, and nothing is decided by it.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from dse.errors import StudyError
from dse.files import open_itself, open_ordinary, replacing
from dse.study.fields import Count, Seconds, Share, Words, from_dict

EVENTS_NAME = "events.jsonl"
MOST_BYTES = 4_000_000
"""Of the log; where it grows beyond, the older half is dropped."""


@dataclass(frozen=True, kw_only=True)
class LogEvent:
    """One line of the log; what does not apply to its kind is empty.

    Attributes:
        kind: `run` (a process opened the record), `stage`, `started`, `epoch`, `ended` (a job),
            `lost` (a worker), `given_up`, or `over` (the run).
        time_s: when, in Unix time.
        candidate, replicate: what is trained.
        values: of the metaparameters that vary.
        worker: that trains it.
        epochs, full_epochs: that are complete, and at which the job ends.
        loss: mean training loss of the epoch.
        accuracy: mean validation accuracy of the candidate's measurement, a fraction.
        test_accuracy: where it was measured.
        params_count: of the candidate.
        text: name of the stage, why a job failed, how the run ended (`finished`, `interrupted`
            or what went wrong).
        status: how far the whole is, in words.
        pid, host: of the process that runs it.
    """

    kind: Literal["run", "stage", "started", "epoch", "ended", "lost", "given_up", "over"]
    time_s: Seconds
    candidate: str = ""
    replicate: Count = 0
    values: Words = field(default_factory=dict)
    worker: Count | None = None
    epochs: Count = 0
    full_epochs: Count = 0
    loss: float | None = None
    accuracy: Share | None = None
    test_accuracy: Share | None = None
    params_count: Count | None = None
    text: str = ""
    status: str = ""
    pid: Count = 0
    host: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fields that say something."""
        told = {f.name: (getattr(self, f.name), f.default) for f in fields(self)}
        return {
            name: value for name, (value, default) in told.items() if value not in (default, {})
        }

    @property
    def is_alive(self) -> bool:
        """Whether the process of a `run` is still there, as far as this machine can tell."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except OSError:  # another user's
            return True
        return True


class EventLog:
    """Appends to the log of a study's folder.

    What cannot be written is left out: the record, which fails loudly, holds all that counts.

    Args:
        directory: of the study; this process holds its record.
        most_bytes: beyond which the older half is dropped.
    """

    def __init__(self, directory: Path, most_bytes: int = MOST_BYTES) -> None:
        self._path, self._most_bytes = directory / EVENTS_NAME, most_bytes
        # A line that a kill has torn must not swallow the next one.
        self._before = b"\n" if self._is_torn() else b""

    def _is_torn(self) -> bool:
        with contextlib.suppress(OSError), open_ordinary(self._path) as file:
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                return file.read(1) != b"\n"
        return False

    def write(self, event: LogEvent) -> None:
        """Append one event."""
        line = json.dumps(event.to_dict(), ensure_ascii=False, allow_nan=False).encode()
        with (
            contextlib.suppress(OSError),
            open_itself(self._path, os.O_WRONLY | os.O_APPEND) as file,
        ):
            file.write(self._before + line + b"\n")
            file.flush()
            self._before = b""
            if file.tell() > self._most_bytes:
                self._drop_half()

    def _drop_half(self) -> None:
        content = self._path.read_bytes()
        start = content.find(b"\n", len(content) // 2) + 1
        with replacing(self._path) as file:
            file.write(content[start:])


class EventReader:
    """Follows the log of a study, from its beginning or from now on.

    Args:
        directory: of the study; there may be no log yet.
        at_end: leave out what is there already.
    """

    def __init__(self, directory: Path, *, at_end: bool = False) -> None:
        self._path = directory / EVENTS_NAME
        self._file, self._offset = 0, 0
        if at_end:
            self.read()

    def read(self) -> list[LogEvent]:
        """The events since the last call; lines that are no events are passed over."""
        try:
            with open_ordinary(self._path) as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self._file or found.st_size < self._offset:
                    self._file, self._offset = found.st_ino, 0  # the older half was dropped
                file.seek(self._offset)
                content = file.read(2 * MOST_BYTES)
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]  # the last line may be half written
        self._offset += len(whole)
        events = map(_parse, whole.splitlines())
        return [event for event in events if event is not None]


def _parse(line: bytes) -> LogEvent | None:
    with contextlib.suppress(StudyError, ValueError, RecursionError):
        values = json.loads(line)
        if isinstance(values, Mapping):
            return from_dict(LogEvent, values, EVENTS_NAME)
    return None
