from __future__ import annotations

import os
import socket
import subprocess

import pytest

from dse.study.events import EVENTS_NAME, EventLog, EventReader, LogEvent


def epoch(number: int, **more) -> LogEvent:
    return LogEvent(kind="epoch", time_s=1.5, candidate="a1", epochs=number, loss=0.25, **more)


def test_events_come_back_as_they_were_written(tmp_path):
    log, reader = EventLog(tmp_path), EventReader(tmp_path)
    assert reader.read() == []
    events = [
        epoch(1, worker=0, values={"squeeze_ratio": 0.5, "bypass": "simple"}, status="1 of 2 done"),
        LogEvent(kind="ended", time_s=2.0, accuracy=0.5, test_accuracy=0.0, text="é\n\u2028<b>"),
    ]
    for event in events:
        log.write(event)
    assert reader.read() == events
    assert reader.read() == []
    assert (tmp_path / EVENTS_NAME).read_bytes().count(b"\n") == 2


def test_a_torn_last_line_is_passed_over_and_swallows_nothing(tmp_path):
    EventLog(tmp_path).write(epoch(1))
    path = tmp_path / EVENTS_NAME
    whole = path.read_bytes()
    reader = EventReader(tmp_path)
    for length in (*range(1, len(whole)), len(whole) // 2):
        path.write_bytes(whole + whole[:length])
        assert EventReader(tmp_path).read() == [epoch(1)]
    assert reader.read() == [epoch(1)]
    EventLog(tmp_path).write(epoch(2))  # the process that resumes
    assert reader.read() == [epoch(2)]
    assert EventReader(tmp_path).read() == [epoch(1), epoch(2)]


@pytest.mark.parametrize(
    "line", [b"{}", b"[1]", b"\xff", b"[" * 5000, b'{"kind": "epoch", "time_s": "now"}', b"NaN"]
)
def test_what_is_no_event_is_passed_over(tmp_path, line):
    (tmp_path / EVENTS_NAME).write_bytes(line + b"\n")
    EventLog(tmp_path).write(epoch(1))
    assert EventReader(tmp_path).read() == [epoch(1)]


def test_the_log_is_bounded_and_a_reader_sees_every_event_all_the_same(tmp_path):
    log, reader = EventLog(tmp_path, most_bytes=2000), EventReader(tmp_path)
    seen = []
    for number in range(1, 201):
        log.write(epoch(number))
        assert os.path.getsize(tmp_path / EVENTS_NAME) <= 2000 + 100
        seen += reader.read()
    assert [event.epochs for event in dict.fromkeys(map(_Hashed, seen))] == [*range(1, 201)]


class _Hashed:
    """An event that is the same as another one of the same epoch."""

    def __init__(self, event: LogEvent) -> None:
        self.epochs = event.epochs

    def __hash__(self) -> int:
        return self.epochs

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Hashed) and self.epochs == other.epochs


def test_a_reader_at_the_end_sees_only_what_follows(tmp_path):
    log = EventLog(tmp_path)
    log.write(epoch(1))
    reader = EventReader(tmp_path, at_end=True)
    log.write(epoch(2))
    assert reader.read() == [epoch(2)]


def test_a_link_is_not_written_through_and_nothing_fails(tmp_path):
    (tmp_path / "other").write_text("mine")
    (tmp_path / EVENTS_NAME).symlink_to(tmp_path / "other")
    EventLog(tmp_path).write(epoch(1))
    assert (tmp_path / "other").read_text() == "mine"


def test_whether_a_process_is_there():
    def run(pid: int, host: str = socket.gethostname()) -> LogEvent:
        return LogEvent(kind="run", time_s=1.0, pid=pid, host=host)

    gone = subprocess.Popen(["true"])
    gone.wait()
    assert run(os.getpid()).is_alive
    assert not run(gone.pid).is_alive
    assert run(gone.pid, "elsewhere").is_alive, "this machine cannot tell"
