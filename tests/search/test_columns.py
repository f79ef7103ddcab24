from __future__ import annotations

import numpy as np

from dse.search.columns import Columns
from dse.search.rungs import Ladder
from tests.study.test_record import FAILED, add, ask, fill, opened

LADDER, OBJECTIVES = Ladder.of_epochs(1, 3, 9), ("params_count", "macs")


def accuracy(trial, fidelity) -> float:
    measured = trial.rungs[fidelity].validation_accuracy
    return float("nan") if measured is None else measured


def columns_of(record) -> Columns:
    return Columns(record, LADDER, OBJECTIVES, accuracy)


def assert_as_read_anew(columns: Columns, record) -> None:
    """The slow and obvious version: every array from the trials themselves."""
    trials = record.searched
    nan = float("nan")
    np.testing.assert_array_equal(
        columns.sizes, [[t.costs[name] for name in OBJECTIVES] for t in trials]
    )
    np.testing.assert_array_equal(
        columns.accuracies,
        [[accuracy(t, f) if f in t.rungs else nan for f in LADDER.fidelities] for t in trials],
    )
    assert columns.epochs.tolist() == [max((f.epochs for f in t.rungs), default=0) for t in trials]
    assert columns.is_failed.tolist() == [t.is_failed for t in trials]


def test_columns_follow_every_change_of_the_record(tmp_path):
    with opened(tmp_path) as record:
        columns = columns_of(record)
        assert len(columns.epochs) == 0
        for index in range(4):
            ask(record, index)
            assert_as_read_anew(columns, record)
        for row, epochs in [(0, 1), (1, 1), (0, 3), (0, 9), (2, 1)]:
            add(record, record.searched[row], epochs, 1.0)
            assert_as_read_anew(columns, record)
        record.add(record.searched[1], FAILED, 2.0)
        assert_as_read_anew(columns, record)
        record.stop(record.searched[2], "others were better")
        add(record, record.resume(record.searched[2]), 3, 3.0)
        assert_as_read_anew(columns, record)
        assert columns.epochs.tolist() == [9, 2, 3, 0]  # a failure is the last word
        assert columns.is_failed.tolist() == [False, True, False, False]


def test_columns_of_a_record_that_is_opened_again(tmp_path):
    with opened(tmp_path) as record:
        fill(record)
    with opened(tmp_path) as record:
        columns = columns_of(record)
        assert_as_read_anew(columns, record)
        assert len(columns.epochs) == 5  # the replicate of the finals is none of them


def test_columns_grow(tmp_path, monkeypatch):
    monkeypatch.setattr("dse.search.columns._FIRST_ROWS", 1)
    with opened(tmp_path) as record:
        columns = columns_of(record)
        for index in range(5):
            add(record, ask(record, index), 1, 1.0)
        assert_as_read_anew(columns, record)
        assert len(columns.epochs) == 5
