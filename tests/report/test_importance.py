from __future__ import annotations

import math

import numpy as np
import pytest

from dse.report import StudyTable
from dse.report.tables.importance import importances
from dse.study.table import read_trials
from tests.report.rows import HEADER, row
from tests.report.searches import SEARCH_HEADER, big_search, search_row

RATIOS, BYPASSES = (0.125, 0.25, 0.5, 1.0), ("none", "simple", "complex")


def surface(gain, *, count=120, noise=0.004, seed=1):
    """Candidates of a surface: quadratic in log size, and `gain(ratio, bypass)` besides."""
    random = np.random.default_rng(seed)
    drawn = []
    for index in range(count):
        ratio, bypass = RATIOS[random.integers(4)], BYPASSES[random.integers(3)]
        size = round(1000 * 10 ** (2 * random.random()))
        log = math.log10(size)
        accuracy = 0.5 + 0.2 * (log - 3) - 0.03 * (log - 3) ** 2 + gain(ratio, bypass)
        accuracy += random.normal(0, noise)
        drawn.append((f"{index:x}", {"squeeze_ratio": ratio, "bypass": bypass}, size, accuracy))
    return drawn


@pytest.fixture
def sweep(write_trials):
    def make(drawn):
        rows = [row(key, 0, acc, params_count=size, **varied) for key, varied, size, acc in drawn]
        return StudyTable("s", read_trials(write_trials(rows, HEADER)))

    return make


def test_the_one_that_matters_is_found_and_its_share_is_the_variance(sweep):
    # The bypass adds 0.03 in one of three cases: variance 0.0002, besides noise of 0.000016.
    found = importances(sweep(surface(lambda _, bypass: 0.03 * (bypass == "simple"))))
    assert found is not None
    first, second = found.parts
    assert (first.name, second.name) == ("bypass", "squeeze_ratio")
    assert first.mean == pytest.approx(0.0002 / 0.000216, abs=0.15)
    assert first.low > 0.5
    assert abs(second.mean) < 0.03
    assert found.explained == pytest.approx(0.0002 / 0.000216, abs=0.1)
    assert (found.candidates_count, found.finished_count) == (120, 120)


def test_where_none_matters_every_interval_reaches_0(sweep):
    found = importances(sweep(surface(lambda *_: 0.0)))
    assert found is not None
    assert all(part.low < 0.02 and abs(part.mean) < 0.1 for part in found.parts)
    assert found.explained < 0.05


def test_two_that_matter_only_together_both_count(sweep):
    found = importances(
        sweep(surface(lambda ratio, bypass: 0.03 * (ratio > 0.3) * (bypass != "none")))
    )
    assert found is not None
    assert all(part.low > 0.1 for part in found.parts)


def test_size_itself_is_no_merit(sweep):
    # squeeze_ratio sets the size, and accuracy follows from size alone.
    drawn = [
        (key, values, round(size * (0.3 + values["squeeze_ratio"])), 0.0)
        for key, values, size, _ in surface(lambda *_: 0.0)
    ]
    random = np.random.default_rng(5)
    exact = [
        (key, values, size, 0.3 + 0.1 * math.log10(size) + random.normal(0, 0.003))
        for key, values, size, _ in drawn
    ]
    found = importances(sweep(exact))
    assert found is not None
    assert all(abs(part.mean) < 0.1 for part in found.parts)


def test_stopping_does_not_hide_what_stopped_them(write_trials):
    """Without a bypass candidates are worse, and all of them are stopped at the first rung."""
    rows = []
    for key, values, size, accuracy in surface(lambda _, bypass: 0.05 * (bypass != "none")):
        curve = {1: accuracy - 0.1, 3: accuracy - 0.05, 9: accuracy}
        reached = {1: curve[1]} if values["bypass"] == "none" else curve
        rows.append(search_row(key, 0, reached, params_count=size, **values))
    study = StudyTable("s", read_trials(write_trials(rows, SEARCH_HEADER)))
    found = importances(study)
    assert found is not None
    assert (found.parts[0].name, found.candidates_count) == ("bypass", 120)
    assert found.parts[0].low > 0.5
    assert found.finished_count < 120


def test_a_whole_search(write_trials):
    study = StudyTable("s", read_trials(write_trials(big_search(), SEARCH_HEADER)))
    found = importances(study)
    assert found is not None
    assert found.parts[0].name == "bypass"
    assert found.parts[0].low > 0.3 > found.parts[1].high
    assert found == importances(study)  # the same table, the same numbers


def test_too_few_or_nothing_that_differs(sweep):
    drawn = surface(lambda *_: 0.0)
    assert importances(sweep(drawn[:19])) is None
    assert importances(sweep(drawn[:20])) is not None
    assert importances(sweep([(k, {}, size, accuracy) for k, _, size, accuracy in drawn])) is None
    assert importances(sweep([(k, values, 1000, 0.5) for k, values, _, _ in drawn])) is None
    assert importances(sweep([])) is None
