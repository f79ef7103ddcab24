from __future__ import annotations

import math

import numpy as np
import pytest

from dse.report import StudyTable
from dse.report.figures.hypervolume import hypervolume_curve
from dse.study.table import read_trials
from tests.report.rows import described
from tests.report.searches import SEARCH_HEADER, search_row, small_search

INFO = {"data": {"name": "digits", "classes": list("0123456789")}}


@pytest.fixture
def study(write_trials):
    return lambda rows: StudyTable(
        "s", read_trials(write_trials(rows, SEARCH_HEADER)), described(INFO)
    )


def test_the_curve_by_hand(study):
    curve = hypervolume_curve(study(small_search()))
    assert curve is not None
    # Reused from the start: 50,000 at 75%; the reference point is 55,000 at 10% (ten classes).
    # 10 s: 1,000 at 70%; 30 s: 10,000 at 80%, which dominates the 50,000; 50 s: a second seed of
    # 74% lifts the 70% to a mean of 72%. Stopped ones (12 s, 31 s) change nothing.
    far = math.log10(55_000)
    e, a, c = far - math.log10(50_000), far - 3, far - 4
    assert curve.times_s.tolist() == [0, 10, 30, 50]
    assert curve.volumes == pytest.approx(
        [e * 65, a * 60 + e * 5, a * 60 + c * 10, a * 62 + c * 8], rel=1e-12
    )
    assert (curve.reference_size, curve.reference_accuracy) == (pytest.approx(55_000), 0.1)
    assert curve.arrivals_s == {"a": 10.0, "c": 30.0}
    assert (curve.end_s, curve.finals_s, curve.unknown_count) == (50.0, 31.0, 0)


def test_a_further_seed_may_lower_it(study):
    rows = [
        search_row("a", 0, {9: 0.8}, ended_s=1),
        search_row("a", 1, {9: 0.6}, ended_s=2, stage="finals"),
    ]
    curve = hypervolume_curve(study(rows))
    assert curve is not None
    assert curve.volumes == pytest.approx(np.array([70, 60]) * math.log10(1.1))


def test_what_has_no_time_is_left_out_and_counted(study):
    rows = [search_row("a", 0, {9: 0.8}), search_row("b", 0, {9: 0.7}, ended_s=5)]
    curve = hypervolume_curve(study(rows))
    assert curve is not None
    assert (curve.times_s.tolist(), curve.unknown_count) == ([5.0], 1)
    assert hypervolume_curve(study(rows[:1])) is None
    assert hypervolume_curve(study([search_row("a", 0, {1: 0.8}, ended_s=5)])) is None
