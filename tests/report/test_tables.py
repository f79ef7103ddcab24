from __future__ import annotations

import math

import pytest

from dse.errors import ObjectiveError
from dse.report import front_table, metaparameters, summarise, varying
from dse.study.table import read_trials
from tests.report.rows import row


@pytest.fixture
def trials(write_trials, sweep_rows):
    return read_trials(write_trials(sweep_rows))


def test_metaparameters_and_those_that_vary(trials):
    assert metaparameters(trials) == ("base_e", "squeeze_ratio", "bypass")
    assert varying(trials) == ("squeeze_ratio",)


def test_summary_by_hand(trials):
    summary = summarise(trials)
    assert summary["candidate"].tolist() == [
        "00000000000a",
        "00000000000b",
        "12345e678901",
        "00000000000d",
    ]
    assert summary["label"].tolist() == ["0.125", "0.25", "0.5", "1"]
    assert summary["params_count"].tolist() == [1000, 2000, 3000, 4000]
    assert summary["seeds_count"].tolist() == [2, 2, 1, 0]
    assert summary["failed_count"].tolist() == [0, 0, 1, 1]
    assert summary["on_front"].tolist() == [True, True, False, False]
    first = summary.iloc[0]
    assert first["validation_accuracy_mean"] == pytest.approx(0.92)
    assert first["validation_accuracy_min"] == 0.90
    assert first["validation_accuracy_max"] == 0.94
    # two values 0.04 apart: s = 0.04 / sqrt(2); half width 12.7062 * s / sqrt(2) = 0.254124
    assert first["validation_accuracy_std"] == pytest.approx(0.04 / math.sqrt(2))
    assert first["validation_accuracy_high"] == pytest.approx(0.92 + 0.254124, abs=1e-6)
    assert first["validation_accuracy_low"] == pytest.approx(0.92 - 0.254124, abs=1e-6)
    assert first["test_accuracy_mean"] == pytest.approx(0.91)


def test_what_was_not_measured_is_not_known(trials):
    summary = summarise(trials)
    one_seed, none = summary.iloc[2], summary.iloc[3]
    assert one_seed["validation_accuracy_mean"] == 0.93
    assert math.isnan(one_seed["validation_accuracy_std"])
    assert math.isnan(one_seed["validation_accuracy_low"])
    assert math.isnan(none["validation_accuracy_mean"])
    assert math.isnan(none["test_accuracy_mean"])


def test_another_size_has_another_front(trials):
    assert summarise(trials, size="macs")["on_front"].tolist() == [False, True, True, False]


def test_candidates_of_equal_size_and_accuracy_are_both_on_the_front(write_trials):
    rows = [row("a", 0, 0.9, bypass="none"), row("b", 0, 0.9, bypass="simple")]
    assert summarise(read_trials(write_trials(rows)))["on_front"].tolist() == [True, True]


def test_labels_name_what_varies_where_it_is_more_than_one(write_trials):
    rows = [
        row("a", 0, 0.9, squeeze_ratio=0.25, bypass="none"),
        row("b", 0, 0.9, squeeze_ratio=0.5, bypass="simple"),
    ]
    assert summarise(read_trials(write_trials(rows)))["label"].tolist() == [
        "squeeze_ratio 0.25, bypass none",
        "squeeze_ratio 0.5, bypass simple",
    ]


def test_one_candidate_is_labelled_by_its_key(write_trials):
    summary = summarise(read_trials(write_trials([row("00000000000a", 0, 0.9)])))
    assert summary["label"].tolist() == ["00000000000a"]
    assert summary["on_front"].tolist() == [True]


def test_a_study_of_failures_and_one_without_trials(write_trials):
    failed = read_trials(write_trials([row("a", 0, None), row("a", 1, None)]))
    assert summarise(failed)["on_front"].tolist() == [False]
    assert len(front_table(failed)) == 0
    empty = read_trials(write_trials([]))
    assert list(summarise(empty).columns) == list(summarise(failed).columns)
    assert len(front_table(empty)) == 0


def test_front_table_is_sorted_by_size_and_says_what_varied(write_trials, sweep_rows):
    table = front_table(read_trials(write_trials(sweep_rows[::-1])))
    assert table.columns.tolist()[:2] == ["squeeze_ratio", "params_count"]
    assert table["squeeze_ratio"].tolist() == [0.125, 0.25]
    assert table["params_count"].tolist() == [1000, 2000]
    assert table["validation_accuracy_mean"].tolist() == pytest.approx([0.92, 0.96])
    assert front_table(read_trials(write_trials(sweep_rows)), size="macs")["macs"].tolist() == [
        30_000,
        70_000,
    ]


def test_an_unknown_size_is_refused_with_the_known_ones(trials):
    with pytest.raises(
        ObjectiveError, match="'flops' is not a size; choose one of params_count, m"
    ):
        summarise(trials, size="flops")
