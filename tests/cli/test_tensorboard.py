from __future__ import annotations

import struct
from pathlib import Path

import pytest

from dse.cli.tensorboard import TensorBoard
from dse.errors import DseError, StudyError
from dse.study.events import EventLog, LogEvent

pytest.importorskip("tensorboardX", reason="needs tensorboardX")


def scalars(folder: Path) -> list[tuple[str, float, int, float]]:
    """(tag, value, step, time) of all files of a folder: records of length, CRC, event, CRC."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for path in sorted(folder.glob("events.out.tfevents.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (length,) = struct.unpack_from("<Q", content, at)
            event = Event.FromString(content[at + 12 : at + 12 + length])
            at += 12 + length + 4
            found += [
                (value.tag, round(value.simple_value, 6), event.step, event.wall_time)
                for value in event.summary.value
                if value.WhichOneof("value") == "simple_value"
            ]
    return sorted(found, key=lambda one: one[2:])


@pytest.fixture
def study() -> Path:
    folder = Path("results/a")
    folder.mkdir(parents=True)
    return folder


def write(folder: Path, **told) -> None:
    EventLog(folder).write(LogEvent(candidate="c1", full_epochs=4, **told))


def test_losses_and_accuracies_are_there_by_epoch_once(study):
    write(study, kind="epoch", time_s=10.0, epochs=1, loss=2.5)
    board = TensorBoard(Path("boards"), study)
    board()
    write(study, kind="epoch", time_s=11.0, epochs=2, loss=1.5, values={"bypass": "none"})
    board.close()
    folder = Path("boards/a/c1-seed0")
    first = [("loss", 2.5, 1, 10.0), ("loss", 1.5, 2, 11.0)]
    assert scalars(folder) == first
    board = TensorBoard(Path("boards"), study)  # the study resumes
    values = {"squeeze_ratio": 0.5, "bypass": "none"}
    write(
        study,
        kind="ended",
        time_s=12.0,
        epochs=4,
        accuracy=0.75,
        test_accuracy=0.5,
        params_count=1234,
        values=values,
    )
    board()
    assert scalars(folder) == [
        *first,
        ("validation_accuracy", 0.75, 4, 12.0),
        ("test_accuracy", 0.5, 4, 12.0),
    ]
    assert ("params_count", 1234.0) in [found[:2] for found in scalars(folder / "hparams")]
    board.close()


def test_a_lower_rung_is_no_final_result(study):
    write(study, kind="ended", time_s=12.0, epochs=2, accuracy=0.75, params_count=1234)
    board = TensorBoard(Path("boards"), study)
    board.close()
    assert scalars(Path("boards/a/c1-seed0")) == [("validation_accuracy", 0.75, 2, 12.0)]


def test_not_installed_and_no_folder(study, monkeypatch):
    Path("boards").touch()
    with pytest.raises(StudyError, match="--tensorboard boards cannot be written: Not a dir"):
        TensorBoard(Path("boards"), study)
    monkeypatch.setattr("dse.cli.tensorboard.find_spec", lambda name: None)
    with pytest.raises(DseError, match=r"pip install 'dse\[tensorboard\]'"):
        TensorBoard(Path("boards"), study)
