"""The table of a compression's front, and its image."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Text

from dse.errors import StudyError
from dse.report.canvas import style
from dse.report.compression_front import (
    compression_figure,
    plot_compression,
    read_compression_table,
)


def setting(file_bytes: int, accuracy: float, **changes: Any) -> dict[str, Any]:
    return {
        "density": 0.5,
        "price": 0.04,
        "values_trained": False,
        "nonzero_count": 900,
        "file_bytes": file_bytes,
        "validation_accuracy": accuracy,
        "test_accuracy": None,
        "on_front": True,
        "chosen": False,
    } | changes


DOCUMENT: dict[str, Any] = {
    "schema": 1,
    "candidate": "0123456789ab",
    "params_count": 1800,
    "data": "digits",
    "epochs": 4,
    "float32_bytes": 7999,
    "alexnet_bytes": 800_000,
    "max_loss": 0.01,
    "given": {"validation_accuracy": 0.95},
    "settings": [
        setting(500, 0.70),  # far below
        setting(800, 0.91),
        setting(1000, 0.945, values_trained=True, chosen=True, test_accuracy=0.94),
        setting(1100, 0.93, on_front=False),
        setting(2000, 0.95),
    ],
}


@pytest.fixture
def write(tmp_path):
    def write(document: object, name: str = "net-front.json") -> Path:
        path = tmp_path / name
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return write


def words(path: Path) -> list[str]:
    with style():
        figure = compression_figure(read_compression_table(path))
        return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def test_the_table_says_what_was_tried(write) -> None:
    table = read_compression_table(write(DOCUMENT))
    assert table.name == "net"
    assert [point.file_bytes for point in table.points] == [500, 800, 1000, 1100, 2000]
    assert [point.is_on_front for point in table.points] == [True, True, True, False, True]
    (chosen,) = [point for point in table.points if point.is_chosen]
    assert (chosen.accuracy, chosen.test_accuracy, chosen.is_trained) == (0.945, 0.94, True)
    assert (table.given, table.max_loss) == (0.95, 0.01)


def test_the_image_says_what_it_shows(write) -> None:
    text = "\n".join(words(write(DOCUMENT)))
    # 7,999 / 1,000 is never rounded up.
    assert "1,000 bytes\n7.9× smaller than float32\n800× smaller than AlexNet" in text
    assert "before compression: 95.00%, 7,999 bytes of float32" in text
    assert "less 1 points" in text
    assert "1 more lose over 8 points" in text
    assert "network 0123456789ab, 1,800 parameters" in text


def test_each_point_stands_where_it_was_measured(write) -> None:
    with style():
        axes = compression_figure(read_compression_table(write(DOCUMENT))).axes[0]
    lines = {line.get_label(): line for line in axes.get_lines()}
    trained = lines["values trained"].get_xydata()
    assert trained.tolist() == [[1000, 94.5]]
    untrained = lines["values shared, not trained"].get_xydata()
    assert untrained.tolist() == [[800, 91], [1100, 93], [2000, 95]]


def test_nothing_chosen_and_no_alexnet_are_left_out(write) -> None:
    document = copy.deepcopy(DOCUMENT) | {"alexnet_bytes": None}
    for row in document["settings"]:
        row["chosen"] = False
    text = "\n".join(words(write(document)))
    assert "smaller than" not in text
    assert "the file that was written" not in text


def test_the_same_table_gives_the_same_bytes(write, tmp_path) -> None:
    table = read_compression_table(write(DOCUMENT))
    for suffix in (".png", ".svg"):
        paths = [tmp_path / f"{name}{suffix}" for name in "ab"]
        for path in paths:
            plot_compression(table, [path])
        assert paths[0].read_bytes() == paths[1].read_bytes()


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "net-front.json: is no JSON"),
        ({}, "is no table of `dse compress --front`: KeyError 'settings'"),
        (DOCUMENT | {"settings": []}, "no settings"),
        (DOCUMENT | {"settings": [setting(0, 0.5)]}, "one of no bytes"),
        (DOCUMENT | {"float32_bytes": "many"}, "is no table"),
        ([], "is no table"),
    ],
)
def test_other_files_are_refused(write, document, message) -> None:
    with pytest.raises(StudyError, match=message):
        read_compression_table(write(document))


def test_a_missing_file_is_refused(tmp_path) -> None:
    with pytest.raises(StudyError, match="cannot be read: No such file"):
        read_compression_table(tmp_path / "x-front.json")
