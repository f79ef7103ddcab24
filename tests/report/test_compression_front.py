"""The table of a compression's front, and its image."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from matplotlib.text import Text

from dse.errors import StudyError
from dse.report.figures.compression_front import compression_figure, plot_compression
from dse.report.style import style
from dse.study.compression_front import read_compression_table, write_compression_table


def setting(file_bytes: int, accuracy: float, **changes: Any) -> dict[str, Any]:
    return {
        "density": 0.5,
        "rate_lambda": 0.04,
        "values_trained": False,
        "nonzero_count": 900,
        "file_bytes": file_bytes,
        "difference_low": -0.02,
        "validation_accuracy": accuracy,
        "test_accuracy": None,
        "on_front": True,
        "chosen": False,
    } | changes


DOCUMENT: dict[str, Any] = {
    "schema": 1,
    "weights": "net.safetensors",
    "out": "net.dsz",
    "command": "dse compress net.safetensors --out net.dsz --data digits --front",
    "seed": 0,
    "baselines_bytes": {"gzip": 7000},
    "densities": [],
    "candidate": "0123456789ab",
    "params_count": 1800,
    "data": "digits",
    "epochs": 4,
    "float32_bytes": 7999,
    "alexnet_bytes": 800_000,
    "max_loss": 0.01,
    "given": {
        "name": "given",
        "nonzero_count": 1800,
        "file_bytes": 6000,
        "validation_accuracy": 0.95,
        "test_accuracy": 0.94,
        "kept": True,
    },
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
    assert table.out == "net.dsz"
    assert [setting.file_bytes for setting in table.settings] == [500, 800, 1000, 1100, 2000]
    assert [setting.on_front for setting in table.settings] == [True, True, True, False, True]
    (chosen,) = [setting for setting in table.settings if setting.chosen]
    assert chosen == table.chosen
    assert (chosen.validation_accuracy, chosen.test_accuracy) == (0.945, 0.94)
    assert chosen.values_trained
    assert (table.given_accuracy, table.max_loss) == (0.95, 0.01)


def test_what_was_written_is_read(write, tmp_path) -> None:
    int8 = {"int8_flash_bytes": 3000, "int8_accuracy": 0.94, "int8_difference": -0.01}
    table = read_compression_table(write(DOCUMENT | int8))
    write_compression_table(tmp_path / "new-front.json", table)
    assert json.loads((tmp_path / "new-front.json").read_text()) == DOCUMENT | int8
    assert read_compression_table(tmp_path / "new-front.json") == table


def test_an_older_table_calls_lambda_the_price(write) -> None:
    older = copy.deepcopy(DOCUMENT)
    for row in older["settings"]:
        row["price"] = row.pop("rate_lambda")
    assert read_compression_table(write(older)) == read_compression_table(write(DOCUMENT))


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
        ("{", "net-front.json: not a JSON file"),
        ({}, "net-front.json: schema is None, but this version of dse reads 1"),
        ({"schema": 1}, "net-front.json: settings is missing"),
        (DOCUMENT | {"settings": []}, "settings and given.validation_accuracy must not be empty"),
        (DOCUMENT | {"settings": [setting(0, 0.5)]}, r"settings\[0\].file_bytes is 0, but must be"),
        (DOCUMENT | {"float32_bytes": "many"}, 'float32_bytes is "many", but must be'),
        ([], "must hold an object with the table of `dse compress --front`"),
    ],
)
def test_other_files_are_refused(write, document, message) -> None:
    with pytest.raises(StudyError, match=message):
        read_compression_table(write(document))


def test_a_missing_file_is_refused(tmp_path) -> None:
    with pytest.raises(StudyError, match="cannot be read: No such file"):
        read_compression_table(tmp_path / "x-front.json")
