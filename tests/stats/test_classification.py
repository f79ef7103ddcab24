"""Recall, precision and calibration against hand-computed numbers and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
)

from dse.stats.classification import Outcomes, calibration
from dse.stats.intervals import Interval


def outcomes(labels, best, probabilities=None, *, classes=("healthy", "ill")) -> Outcomes:
    best = np.atleast_2d(np.asarray(best).T).T
    shares = np.full(best.shape, 0.5) if probabilities is None else np.asarray(probabilities)
    return Outcomes(tuple(classes), np.asarray(labels), best, shares)


def test_a_class_that_is_never_found_shows():
    found = outcomes([0] * 190 + [1] * 10, [0] * 200)
    assert found.is_correct.mean() == 0.95
    assert found.balanced_accuracy == 0.5
    assert found.largest == ("healthy", 0.95)
    healthy, ill = found.recall
    assert (healthy.estimate, ill.estimate) == (1.0, 0.0)
    # Wilson, 0 of 10: z² / (10 + z²) with z = 1.96.
    assert ill.high == pytest.approx(1.96**2 / (10 + 1.96**2), abs=1e-4)
    assert found.precision == [
        Interval(0.95, pytest.approx(0.9104, abs=1e-4), pytest.approx(0.9726, abs=1e-4)),
        None,
    ]
    assert found.confusion.tolist() == [[190, 0], [10, 0]]
    assert found.confused() == [(1, 0, 10)]


@pytest.mark.parametrize("seed", range(5))
def test_as_scikit_learn(seed):
    random = np.random.default_rng(seed)
    count = int(random.integers(2, 8))
    labels = random.integers(count, size=300)
    predicted = np.where(random.random(300) < 0.6, labels, random.integers(count, size=300))
    found = outcomes(labels, predicted, classes=map(str, range(count)))
    names = list(range(count))
    precision, recall, _, support = precision_recall_fscore_support(labels, predicted, labels=names)
    np.testing.assert_array_equal(
        found.confusion, confusion_matrix(labels, predicted, labels=names)
    )
    np.testing.assert_allclose([share.estimate for share in found.recall], recall)
    np.testing.assert_allclose([share.estimate for share in found.precision], precision)
    np.testing.assert_array_equal(found.images, support)
    assert found.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, predicted))


def test_a_class_without_images_is_left_out_of_the_balance():
    found = outcomes([0, 0, 2], [0, 1, 2], classes="abc")
    assert found.recall[1] is None
    assert found.balanced_accuracy == 0.75


def test_the_worst_are_wrong_and_most_confident():
    best = [[0, 1], [1, 0], [0, 1], [1, 0]]
    shares = [[0.6, 0.4], [0.7, 0.3], [0.99, 0.01], [0.8, 0.2]]
    found = outcomes([1, 1, 1, 0], best, shares)
    assert found.worst().tolist() == [2, 3, 0]
    assert found.true_probability(2) == pytest.approx(0.01)
    assert outcomes([1], [[0]], [[0.9]]).true_probability(0) is None


def test_calibration_by_hand_and_by_a_slow_obvious_version():
    # Bin (0.6, 0.8]: 0.7 and 0.8, one of two right; bin (0.8, 1]: 0.9, right.
    found = calibration(outcomes([0, 1, 0], [0, 0, 0], [[0.7], [0.8], [0.9]]), bins_count=5)
    assert [(b.count, b.accuracy) for b in found.bins] == [(2, 0.5), (1, 1.0)]
    assert found.error == pytest.approx((2 * abs(0.5 - 0.75) + abs(1 - 0.9)) / 3)
    assert found.confidence == pytest.approx(0.8)
    random = np.random.default_rng(0)
    shares = random.random((500, 1))
    scored = outcomes(random.integers(2, size=500), random.integers(2, size=500), shares)
    slow = 0.0
    for low in range(15):
        held = [i for i in range(500) if low / 15 < shares[i, 0] <= (low + 1) / 15]
        right = sum(scored.is_correct[i] for i in held) / len(held)
        slow += len(held) / 500 * abs(right - sum(shares[i, 0] for i in held) / len(held))
    assert calibration(scored).error == pytest.approx(slow)
