"""Intervals against published tables."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.errors import ObjectiveError
from dse.stats.intervals import (
    mean_interval,
    paired_lower_bound,
    student_t_quantile,
    wilson_interval,
)


@pytest.mark.parametrize(
    ("degrees", "at_0_95", "at_0_975", "at_0_995"),
    [  # NIST/SEMATECH e-Handbook of Statistical Methods, section 1.3.6.7.2
        (1, 6.314, 12.706, 63.657),
        (2, 2.920, 4.303, 9.925),
        (3, 2.353, 3.182, 5.841),
        (4, 2.132, 2.776, 4.604),
        (5, 2.015, 2.571, 4.032),
        (9, 1.833, 2.262, 3.250),
        (10, 1.812, 2.228, 3.169),
        (30, 1.697, 2.042, 2.750),
        (100, 1.660, 1.984, 2.626),
    ],
)
def test_student_t_quantiles_of_the_published_table(degrees, at_0_95, at_0_975, at_0_995):
    for probability, value in ((0.95, at_0_95), (0.975, at_0_975), (0.995, at_0_995)):
        found = student_t_quantile(probability, degrees_of_freedom=degrees)
        assert found == pytest.approx(value, abs=5.1e-4)


@given(st.floats(0.001, 0.999))
def test_student_t_closed_forms_for_one_and_two_degrees_of_freedom(p):
    one = student_t_quantile(p, degrees_of_freedom=1)
    assert one == pytest.approx(math.tan(math.pi * (p - 0.5)), rel=1e-9, abs=1e-9)
    two = student_t_quantile(p, degrees_of_freedom=2)
    closed = (2 * p - 1) / math.sqrt(2 * p * (1 - p))
    assert two == pytest.approx(closed, rel=1e-9, abs=1e-9)


def test_student_t_nears_the_normal_distribution_and_is_odd():
    many = student_t_quantile(0.975, degrees_of_freedom=100_001)
    assert many == pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-4)
    assert student_t_quantile(0.5, degrees_of_freedom=4) == 0.0
    assert student_t_quantile(0.1, degrees_of_freedom=4) == -student_t_quantile(
        0.9, degrees_of_freedom=4
    )


def test_mean_interval_by_hand():
    # mean 0.92, deviations -0.02, 0, 0.02: s = 0.02, half width 4.3027 * 0.02 / sqrt(3)
    interval = mean_interval([0.90, 0.92, 0.94])
    assert interval.estimate == pytest.approx(0.92)
    assert interval.high - 0.92 == pytest.approx(0.049683, abs=1e-6)
    assert 0.92 - interval.low == pytest.approx(0.049683, abs=1e-6)


def test_mean_interval_of_one_replicate_is_not_known():
    interval = mean_interval([0.5])
    assert interval.estimate == 0.5
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_mean_interval_covers_the_true_mean_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(size=(2000, 4))
    intervals = [mean_interval(row, confidence=0.9) for row in draws]
    covered = sum(interval.low <= 0 <= interval.high for interval in intervals)
    # 3 standard deviations of a binomial count with 2000 draws: 40.
    assert covered == pytest.approx(1800, abs=40)


@pytest.mark.parametrize(
    ("correct", "total", "low", "high"),
    [  # Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_of_the_published_table(correct, total, low, high):
    interval = wilson_interval(correct, total)
    assert interval.estimate == correct / total
    assert interval.low == pytest.approx(low, abs=5.1e-5)
    assert interval.high == pytest.approx(high, abs=5.1e-5)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_interval_holds_the_share_and_is_symmetric(counts):
    correct, total = counts
    interval = wilson_interval(correct, total)
    mirrored = wilson_interval(total - correct, total)
    assert 0 <= interval.low <= interval.estimate <= interval.high <= 1
    assert mirrored.low == pytest.approx(1 - interval.high, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_interval([]), r"needs a list of values, but the shape is \(0,\)"),
        (lambda: mean_interval([1, math.nan]), "needs finite values, but one is nan"),
        (lambda: mean_interval([1, 2], confidence=95), r"must be in \(0, 1\), but it is 95"),
        (lambda: wilson_interval(5, 4), r"\(correct_count=5, total_count=4\)"),
        (lambda: wilson_interval(0, 0), r"\(correct_count=0, total_count=0\)"),
        (lambda: student_t_quantile(1.0, degrees_of_freedom=3), "probability=1.0"),
        (lambda: student_t_quantile(0.5, degrees_of_freedom=0), "degrees_of_freedom=0"),
    ],
)
def test_bad_input_is_refused_with_what_was_found(call, message):
    with pytest.raises(ObjectiveError, match=message):
        call()


def test_a_paired_bound_by_hand():
    # Of 100 images 6 get worse and 2 get better: mean -0.04, variance 0.08 - 0.0016, and with
    # half an image each way (100 * 0.0784 + 1) / 99 = 0.089293; its root over 10 is 0.029882.
    before = np.arange(100) < 80
    after = before.copy()
    after[:6], after[80:82] = False, True
    assert paired_lower_bound(before, after) == pytest.approx(-0.04 - 1.644854 * 0.029882, abs=1e-6)
    # Equal answers are not certainty: sqrt(1 / 99 / 100).
    assert paired_lower_bound(before, before) == pytest.approx(-1.644854 * 0.0100504, abs=1e-6)
    assert paired_lower_bound(before, after, confidence=0.5) == pytest.approx(-0.04)


def test_a_paired_bound_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    truth, covered = -0.01, 0
    for _ in range(2000):  # of each 100 images 5 get worse and 4 better
        change = rng.choice([-1, 0, 1], 2500, p=[0.05, 0.91, 0.04])
        before = np.where(change == 0, rng.random(2500) < 0.8, change < 0)
        covered += paired_lower_bound(before, np.where(change == 0, before, change > 0)) <= truth
    assert 0.935 < covered / 2000 < 0.97


@pytest.mark.parametrize(("before", "after"), [((3,), (4,)), ((1,), (1,)), ((2, 2), (2, 2))])
def test_a_paired_bound_needs_the_same_images(before, after):
    with pytest.raises(ObjectiveError, match="the same two or more images are needed"):
        paired_lower_bound(np.ones(before, bool), np.ones(after, bool))
