from __future__ import annotations

import math

import pytest

from dse.errors import StudyError
from dse.report import metaparameters
from dse.study.table import is_search, parse_curve, read_trials
from tests.report.rows import HEADER, row
from tests.report.searches import SEARCH_HEADER, search_row, small_search


def test_cells_become_what_their_columns_hold(write_trials, sweep_rows):
    trials = read_trials(write_trials(sweep_rows))
    assert list(trials.columns) == HEADER
    assert trials["candidate"].tolist()[4] == "12345e678901"  # not 12345 * 10^678901
    assert trials["squeeze_ratio"].tolist() == [0.125, 0.125, 0.25, 0.25, 0.5, 0.5, 1.0]
    assert trials["base_e"].tolist() == [16] * 7
    assert trials["bypass"].tolist() == ["none"] * 7
    assert trials["params_count"].dtype == "int64"
    assert trials["validation_accuracy"].tolist()[:3] == [0.90, 0.94, 0.95]
    assert math.isnan(trials["validation_accuracy"].tolist()[5])
    assert trials["reason"].tolist()[4:6] == ["", "the loss became nan"]


def test_a_metaparameter_with_words_and_numbers_stays_text(write_trials):
    rows = [row("a", 0, 0.5, squeeze_ratio="auto"), row("b", 0, 0.5, squeeze_ratio=0.25)]
    assert read_trials(write_trials(rows))["squeeze_ratio"].tolist() == ["auto", "0.25"]


def test_a_study_that_has_no_trial_yet(write_trials):
    trials = read_trials(write_trials([]))
    assert len(trials) == 0
    assert list(trials.columns) == HEADER


def changed(column: str, value: object) -> list[object]:
    cells = row("00000000000a", 0, 0.9)
    cells[HEADER.index(column)] = value
    return cells


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("validation_accuracy", "97", r"a fraction in \[0, 1\] or empty"),
        ("validation_accuracy", "inf", r"a fraction in \[0, 1\] or empty"),
        ("test_accuracy", "high", r"a fraction in \[0, 1\] or empty"),
        ("params_count", "1000.5", "a whole number from 0"),
        ("params_count", "-4", "a whole number from 0"),
        ("params_count", str(2**63), "a whole number from 0"),
        ("macs", "", "a whole number from 0"),
        ("seed", "first", "a whole number"),
        ("status", "done", "finished, stopped or failed"),
        ("candidate", "", "a candidate's key"),
        ("train_s", "1 s", "a number or empty"),
    ],
)
def test_a_wrong_cell_is_named_with_its_place(write_trials, column, value, rule):
    path = write_trials([row("00000000000b", 0, 0.9), changed(column, value)])
    with pytest.raises(
        StudyError, match=f"trials.csv:3: {column} is '{value}', but must be {rule}"
    ):
        read_trials(path)


def test_all_wrong_cells_are_named_at_once_up_to_twenty(write_trials):
    rows = [row(f"{index:012x}", 0, 7.5) for index in range(11)]  # validation and test, 22 cells
    with pytest.raises(StudyError) as caught:
        read_trials(write_trials(rows))
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "… and 2 more"


def test_a_trial_that_stands_there_twice(write_trials):
    path = write_trials([row("a", 0, 0.9), row("a", 1, 0.9), row("a", 0, 0.8)])
    with pytest.raises(StudyError, match=r"csv:4: candidate a with seed 0 .* twice, first at .*:2"):
        read_trials(path)


def test_a_finished_trial_without_an_accuracy(write_trials):
    path = write_trials([changed("validation_accuracy", "")])
    with pytest.raises(StudyError, match="csv:2: validation_accuracy is not known, but the status"):
        read_trials(path)


def test_a_line_that_was_cut_off(write_trials):
    path = write_trials([row("a", 0, 0.9), row("b", 0, 0.9)[:7]])
    with pytest.raises(StudyError, match="csv:3: 7 cells, but the header has 18; the line may"):
        read_trials(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "columns are missing: candidate, seed, .*; found: an empty file"),
        (b"candidate,seed\n", "columns are missing: status, reason, .*; found: candidate, seed"),
        (",".join([*HEADER, "macs"]).encode(), "each column must stand there once"),
        (",".join(HEADER[::-1]).encode(), "`candidate` before `seed`"),
        (b"\xff\xfe\x00candidate", "not a CSV file in UTF-8"),
        (b'candidate,"seed', "not a CSV file in UTF-8"),
    ],
)
def test_a_file_that_is_no_table_of_trials(tmp_path, content, message):
    path = tmp_path / "trials.csv"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=message):
        read_trials(path)


def test_a_file_that_is_not_there_and_one_that_is_a_folder(tmp_path):
    with pytest.raises(
        StudyError, match=r"trials\.csv: no such file; `dse sweep` and `dse search` write it"
    ):
        read_trials(tmp_path / "trials.csv")
    with pytest.raises(StudyError, match="cannot be read"):
        read_trials(tmp_path)


def search_cells(column: str, value: object) -> list[object]:
    cells = search_row("a", 0, {1: 0.5, 3: 0.6})
    cells[SEARCH_HEADER.index(column)] = value
    return cells


def test_the_columns_of_a_search(write_trials):
    trials = read_trials(write_trials(small_search(), SEARCH_HEADER))
    assert is_search(trials)
    assert trials["status"].tolist() == [
        *("finished", "stopped", "finished", "stopped", "finished", "finished")
    ]
    assert trials["stage"].tolist() == ["search"] * 4 + ["reused", "finals"]
    assert trials["ended_s"].tolist()[:4] == [10.0, 12.0, 30.0, 31.0]
    assert math.isnan(trials["ended_s"].tolist()[4])
    assert parse_curve(trials["curve"].tolist()[3]) == ((1, 0.5), (3, 0.6))
    assert metaparameters(trials) == ("base_e", "squeeze_ratio", "bypass")


def test_a_table_without_them_is_that_of_a_sweep(write_trials, sweep_rows):
    assert not is_search(read_trials(write_trials(sweep_rows)))


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("status", "paused", "finished, stopped or failed"),
        ("stage", "", "search, finals or reused"),
        ("stage", "final", "search, finals or reused"),
        ("curve", "1:0.5 1:0.6", "epochs:accuracy, as in"),  # epochs must rise
        ("curve", "0:0.5", "epochs:accuracy"),
        ("curve", "1:1.5", "epochs:accuracy"),
        ("curve", "1:nan", "epochs:accuracy"),
        ("curve", "1 0.5", "epochs:accuracy"),
        ("curve", "1.5:0.5", "epochs:accuracy"),
        ("ended_s", "-1", "seconds from 0, or empty"),
        ("ended_s", "inf", "seconds from 0, or empty"),
        ("ended_s", "noon", "seconds from 0, or empty"),
    ],
)
def test_a_wrong_cell_of_a_search(write_trials, column, value, rule):
    path = write_trials([search_cells(column, value)], SEARCH_HEADER)
    with pytest.raises(StudyError, match=f"csv:2: {column} is '{value}', but must be {rule}"):
        read_trials(path)
