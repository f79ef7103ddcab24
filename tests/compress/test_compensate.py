"""Values shared with second moments: against brute force, closed forms and plain rounding."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from dse.compress.compensate import _round, share_with_moments
from dse.compress.quantize import share_by_lambda

MEAN = np.array([0.5, 1.0, -0.3, 0.2, 0.7, 0.1])


def moments_of(x: np.ndarray) -> np.ndarray:
    rows = np.concatenate([x, np.ones((len(x), 1))], 1)
    return rows.T @ rows / len(rows)


@pytest.fixture(scope="module")
def layer():
    """What a 1x1 convolution reads, correlated, and its arrays."""
    draws = np.random.default_rng(0)
    mix = draws.normal(0, 1, (6, 6)) + np.eye(6)
    x = draws.normal(0, 1, (500, 6)) @ mix + MEAN
    kernel = draws.normal(0, 0.3, (1, 1, 6, 40)).astype(np.float32)
    kernel[0, 0, 2, :5] = 0
    return x, {"conv1/kernel": kernel, "conv1/bias": np.zeros(40, np.float32)}


def test_a_round_of_two_weights_is_what_brute_force_finds() -> None:
    # After w0 is rounded to c0, the best w1 is w1 + h01/h11 (w0 - c0), and only it is rounded.
    covariance = np.array([[2.0, 1.2], [1.2, 1.5]])
    spread = np.linalg.cholesky(np.linalg.inv(covariance)).T
    centres = np.array([-1.0, 0.0, 1.0])
    weights = np.array([[0.6, -0.9, 0.4], [0.3, 0.8, -0.45]])
    codes, moved = _round(weights, spread, centres, np.zeros(3), np.ones(3))
    for column, (first, second) in enumerate(weights.T):
        c0 = centres[np.argmin(np.abs(centres - first))]
        better = second + 1.2 / 1.5 * (first - c0)
        assert moved[1, column] == pytest.approx(better)
        errors = {
            pair: np.array([first - pair[0], second - pair[1]])
            @ covariance
            @ np.array([first - pair[0], second - pair[1]])
            for pair in itertools.product([c0], centres)
        }
        assert tuple(centres[codes[:, column]]) == min(errors, key=errors.get)


def test_outputs_stay_nearer_than_with_weights_rounded_for_themselves(layer) -> None:
    x, arrays = layer
    wanted = x @ arrays["conv1/kernel"][0, 0]

    def measured(mixed) -> tuple[float, float]:
        shared = mixed["conv1/kernel"]
        error = x @ shared.values[0, 0] + mixed["conv1/bias"] - wanted
        counts = np.unique(shared.codes, return_counts=True)[1]
        share = counts / counts.sum()
        return float(np.mean(error**2)), float(-np.sum(share * np.log2(share)))

    rate_lambda = 0.02 / 240
    found = share_with_moments(arrays, {"conv1": moments_of(x)}, rate_lambda)
    plain_error, plain_bits = measured(share_by_lambda(arrays, rate_lambda))
    error, bits = measured(found)
    energy = float(np.mean((wanted - wanted.mean(0)) ** 2))
    assert bits < plain_bits
    assert error / energy + 0.02 * bits < 0.9 * (plain_error / energy + 0.02 * plain_bits)
    given = x @ found["conv1/kernel"].values[0, 0] + found["conv1/bias"]
    np.testing.assert_allclose(given.mean(0), wanted.mean(0), atol=1e-5)  # biases see to that


def test_zeros_stay_and_a_layer_without_moments_is_shared_for_itself(layer) -> None:
    x, arrays = layer
    found = share_with_moments(arrays, {"conv1": moments_of(x)}, 1e-4)["conv1/kernel"]
    assert not found.values[0, 0, 2, :5].any()
    alone = share_with_moments(arrays, {}, 1e-4)["conv1/kernel"]
    plain = share_by_lambda(arrays, 1e-4)["conv1/kernel"]
    np.testing.assert_array_equal(alone.values, plain.values)
    assert not share_with_moments(
        {p: np.zeros_like(a) for p, a in arrays.items()}, {"conv1": moments_of(x)}, 1e-4
    )["conv1/kernel"].values.any()


def test_behind_a_norm_its_mean_makes_up_for_the_constant(layer) -> None:
    x, arrays = layer
    normed = arrays | {f"conv1/{part}": np.ones(40, np.float32) for part in ("scale", "variance")}
    normed["conv1/mean"] = np.zeros(40, np.float32)
    found = share_with_moments(normed, {"conv1": moments_of(x)}, 1e-3)
    left = x @ found["conv1/kernel"].values[0, 0] - found["conv1/mean"]
    wanted = x @ arrays["conv1/kernel"][0, 0]
    np.testing.assert_allclose(left.mean(0), wanted.mean(0), atol=1e-5)
    np.testing.assert_array_equal(found["conv1/bias"], arrays["conv1/bias"])
