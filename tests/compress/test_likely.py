"""Accuracies estimated from probabilities."""

from __future__ import annotations

import numpy as np
import pytest

from dse.compress.likely import least_difference, likely_correct, sureness, views_of
from dse.data import Split


def test_of_two_classes_by_hand() -> None:
    scores = np.log([[0.8, 0.2], [0.8, 0.2], [0.2, 0.8]])
    assert sureness(scores) == pytest.approx(0.8)
    labels = np.array([0, 0, 0])
    assert likely_correct(scores, labels, 0.8) == pytest.approx(np.array([0.8, 0.8, 0.2]))
    assert likely_correct(scores, labels, 0.9) == pytest.approx(np.array([0.9, 0.9, 0.1]))
    # As three views of one image:
    assert likely_correct(scores, labels[:1], 0.8) == pytest.approx(np.array([0.6]))


def test_how_sure_a_network_is_makes_no_difference() -> None:
    draws = np.random.default_rng(0)
    scores, labels = draws.normal(0, 2, (50, 4)), draws.integers(0, 4, 50)
    wanted = likely_correct(scores, labels, 0.7)
    assert likely_correct(0.1 * scores + 5, labels, 0.7) == pytest.approx(wanted)


def test_a_loss_is_bounded_image_by_image() -> None:
    before = np.array([0.9, 0.5, 0.7, 0.3])
    assert least_difference(before, before) == 0
    # Differences -0.1, 0.1, -0.1, 0.1: mean 0, standard error 0.2 / sqrt(3) / 2.
    after = before + np.array([-0.1, 0.1, -0.1, 0.1])
    assert least_difference(before, after) == pytest.approx(-1.645 * 0.2 / 3**0.5 / 2)
    assert least_difference(before[:1], after[:1]) == -1


def test_true_losses_are_bounded_nineteen_times_of_twenty() -> None:
    draws = np.random.default_rng(1)
    before = draws.uniform(0.5, 1, (2000, 24))
    after = before + draws.normal(-0.05, 0.1, before.shape)
    kept = [least_difference(*pair) <= -0.05 for pair in zip(before, after, strict=True)]
    assert 0.93 < np.mean(kept) < 0.96


def test_views_are_mirrored_and_moved_and_many_images_stay_alone() -> None:
    images = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3, 1)
    split = Split(images, np.array([0, 1]))
    found = views_of(split, 1, flips=True)
    assert found.labels.tolist() == [0, 1] * 6
    np.testing.assert_array_equal(found.images[:2], images)
    np.testing.assert_array_equal(found.images[2:4], images[:, :, ::-1])
    assert found.images[4, :, :, 0].tolist() == [[0, 0, 1], [0, 0, 1], [3, 3, 4]]
    assert len(views_of(split, 1, flips=False).labels) == 6
    assert len(views_of(split, 0, flips=True).labels) == 4
    many = Split(np.zeros((200, 3, 3, 1), np.uint8), np.zeros(200, int))
    assert views_of(many, 1, flips=True) is many
