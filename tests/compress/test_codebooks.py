"""Codebooks against an exact dynamic programme, and what entropy-coded bits buy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.compress.codebooks import (
    cheapest_codes,
    entropy_codebook,
    kmeans_codebook,
    nearest_codes,
    share_by_kmeans,
)
from dse.weights.dsz.shared import SharedWeights


def least_error(values: np.ndarray, codes_count: int) -> float:
    """The least squared error of so many values: a programme over where each cluster ends."""
    ordered = np.sort(values.astype(np.float64))
    sums = np.concatenate([[0], np.cumsum(ordered)])
    squares = np.concatenate([[0], np.cumsum(ordered**2)])
    first, stop = np.ogrid[: len(sums), : len(sums)]
    with np.errstate(invalid="ignore", divide="ignore"):
        inner = squares[stop] - squares[first] - (sums[stop] - sums[first]) ** 2 / (stop - first)
    errors = np.where(stop > first, inner, np.where(stop == first, 0, np.inf))
    best = errors[0]  # of one cluster, by how many weights it takes
    for _ in range(codes_count - 1):
        best = (best[:, None] + errors).min(0)
    return float(best[-1])


def squared_error(values: np.ndarray, found: np.ndarray) -> float:
    return float(((values.astype(np.float64) - found) ** 2).sum())


def nearest(values: np.ndarray, codebook: np.ndarray) -> np.ndarray:
    return codebook[nearest_codes(values, codebook)]


def drawn(name: str, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    match name:
        case "normal":
            values = rng.normal(size=count)
        case "laplace":
            values = rng.laplace(size=count)
        case "even":
            values = rng.random(count)
        case "heavy tails":
            values = rng.standard_t(3, count)
        case _:  # pruned: the smallest magnitudes are gone
            values = rng.laplace(size=20 * count)
            values = values[np.abs(values) > 1][:count]
    return values.astype(np.float32)


NAMES = ["normal", "laplace", "even", "heavy tails", "pruned"]


def test_the_programme_itself_worked_out_by_hand() -> None:
    values = np.array([0, 1, 5, 7, 8], np.float32)
    assert least_error(values, 1) == pytest.approx(50.8)  # mean 4.2
    assert least_error(values, 2) == pytest.approx(0.5 + 14 / 3)  # 0 1 and 5 7 8
    assert least_error(values, 3) == pytest.approx(1.0)  # 0 1, 5 and 7 8
    assert least_error(values, 5) == pytest.approx(0)


@pytest.mark.parametrize("name", NAMES)
def test_kmeans_is_near_the_least_error(name: str) -> None:
    """Lloyd's iteration ends where no single step helps: as a rule within 2%, always 15%."""
    for codes_count in (2, 4, 8):
        ratios = []
        for seed in range(7):
            values = drawn(name, 800, seed)
            error = squared_error(values, nearest(values, kmeans_codebook(values, codes_count)))
            ratios.append(error / least_error(values, codes_count))
        assert min(ratios) >= 1 - 1e-9
        assert np.median(ratios) < 1.02
        assert max(ratios) < 1.15


@pytest.mark.parametrize("name", NAMES)
def test_kmeans_over_few_different_values_is_exact(name: str) -> None:
    for codes_count in (1, 2, 5, 12):
        for seed in range(3):
            values = np.round(drawn(name, 400, seed), 1) + np.float32(10 * seed)
            assert len(np.unique(values)) < 300
            error = squared_error(values, nearest(values, kmeans_codebook(values, codes_count)))
            least = least_error(values, codes_count)
            assert error == pytest.approx(least, rel=1e-4, abs=1e-6)


def test_many_codes_for_many_weights() -> None:
    """Panter and Dite 1951: N codes for a Gaussian leave √3 π / 2 / N² of its variance."""
    for codes_count in (32, 64, 128):
        values = drawn("normal", 50_000)
        error = squared_error(values, nearest(values, kmeans_codebook(values, codes_count)))
        asymptotic = np.sqrt(3) * np.pi / 2 / codes_count**2 * 50_000
        assert 0.9 * asymptotic < error < 1.02 * asymptotic


@pytest.mark.parametrize("name", NAMES)
def test_each_value_is_the_mean_of_those_that_share_it(name: str) -> None:
    values = drawn(name, 5000)
    codebook = kmeans_codebook(values, 16)
    codes = nearest_codes(values, codebook)
    assert (np.diff(codebook) > 0).all()
    for code, centre in enumerate(codebook):
        assert centre == pytest.approx(values[codes == code].mean(dtype=np.float64), rel=1e-5)


def test_two_clumps_worked_out_by_hand() -> None:
    values = np.array([[1, 2, 3], [11, 12, 13]], np.float32)
    assert kmeans_codebook(values, 2).tolist() == [2, 12]
    assert kmeans_codebook(values, 1).tolist() == [7]
    shared = share_by_kmeans(values, 2)
    assert shared.codes.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert shared.values.tolist() == [[2, 2, 2], [12, 12, 12]]


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=60), st.integers(11, 300))
def test_few_different_values_are_kept_exactly(numbers: list[int], codes_count: int) -> None:
    values = np.array(numbers, np.float32) / 3
    np.testing.assert_array_equal(share_by_kmeans(values, codes_count).values, values)
    np.testing.assert_array_equal(kmeans_codebook(values, codes_count), np.unique(values))


def test_the_nearest_code_worked_out_by_hand() -> None:
    codebook = np.array([-1, 0, 3], np.float32)
    values = np.array([[-9, -0.6, -0.5], [0.4, 1.5, 1.6]], np.float32)
    assert nearest_codes(values, codebook).tolist() == [[0, 0, 1], [1, 2, 2]]


@given(
    st.integers(1, 40), st.integers(2, 20), st.sampled_from([0.0, 0.1, 0.9]), st.integers(0, 2**32)
)
@settings(max_examples=60)
def test_zeros_stay_zero_and_no_others_become_so(
    side: int, codes_count: int, density: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.normal(0.3, 1, (side, 7)).astype(np.float32)
    values[rng.random(values.shape) >= density] = 0
    shared = share_by_kmeans(values, codes_count)
    assert len(shared.codebook) <= codes_count
    assert (np.diff(shared.codebook) > 0).all()
    np.testing.assert_array_equal(shared.values == 0, values == 0)
    assert shared.nonzero_count == np.count_nonzero(values)
    nonzero = values[values != 0]
    others = shared.codebook[shared.codebook != 0]
    if len(nonzero):
        np.testing.assert_array_equal(shared.values[values != 0], nearest(nonzero, others))


def test_minus_zero_becomes_zero() -> None:
    values = np.array([-0.0, 0, 1], np.float32)
    for shared in (share_by_kmeans(values, 3), entropy_codebook(values, 1e-6)):
        assert not np.signbit(shared.values).any()
        assert shared.nonzero_count == 1


@given(st.integers(1, 30), st.integers(0, 2**32 - 1))
def test_thecheapest_codes_code_is_that_of_brute_force(codes_count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    centres = np.sort(rng.normal(size=codes_count))
    prices = rng.exponential(rng.choice([0, 0.1, 1, 10]), codes_count)
    starts, chosen = cheapest_codes(centres, prices)
    assert (np.diff(chosen) > 0).all()
    assert (np.diff(starts) > 0).all()
    weights = np.concatenate([rng.normal(size=200) * 3, [-1e3, 1e3]])
    costs = (weights[:, None] - centres) ** 2 + prices
    found = chosen[np.searchsorted(starts, weights)]
    np.testing.assert_array_equal(found, costs.argmin(1))


def test_thecheapest_codes_code_worked_out_by_hand() -> None:
    # The middle code costs 1.5; at 0, where it serves best, its neighbours cost 1.
    starts, chosen = cheapest_codes(np.array([-1.0, 0.0, 1.0]), np.array([0.0, 1.5, 0.0]))
    assert (starts.tolist(), chosen.tolist()) == ([0], [0, 2])
    starts, chosen = cheapest_codes(np.array([-1.0, 0.0, 1.0]), np.array([0.0, 0.5, 0.0]))
    # (w + 1)² = w² + 0.5 at w = -0.25.
    assert (starts.tolist(), chosen.tolist()) == ([-0.25, 0.25], [0, 1, 2])


def coded_bits(shared: SharedWeights) -> float:
    counts = np.bincount(shared.codes.reshape(-1))
    counts = counts[counts > 0]
    return float((counts * np.log2(counts.sum() / counts)).sum())


def lagrangian(values: np.ndarray, shared: SharedWeights, price: float) -> float:
    return squared_error(values, shared.values) + price * coded_bits(shared)


PRICES = 10.0 ** np.arange(-7, 2.5, 0.5)


@pytest.mark.parametrize("name", ["normal", "laplace", "sparse"])
def test_expensive_bits_are_fewer_and_the_error_larger(name: str) -> None:
    values = drawn(name.replace("sparse", "normal"), 10_000)
    if name == "sparse":
        values[np.random.default_rng(0).random(10_000) < 0.7] = 0
    found = [entropy_codebook(values, price) for price in PRICES]
    bits = [coded_bits(shared) for shared in found]
    errors = [squared_error(values, shared.values) for shared in found]
    assert (np.diff(bits) <= 0).all()
    assert (np.diff(errors) >= 0).all()
    assert errors[0] < 1e-6 * (values.astype(np.float64) ** 2).sum()
    assert bits[-1] == 0
    assert found[-1].codebook.tolist() == [0]


@pytest.mark.parametrize("name", NAMES)
def test_the_trade_is_no_worse_than_that_of_kmeans(name: str) -> None:
    """An even spread is the best case of k-means; there the value 0 that is kept costs a bit."""
    values = drawn(name, 10_000)
    for price in PRICES:
        entropy = lagrangian(values, entropy_codebook(values, price), price)
        for codes_count in (4, 16, 64):
            kmeans = lagrangian(values, share_by_kmeans(values, codes_count), price)
            assert entropy < kmeans * (1.05 if name == "even" else 1), (price, codes_count)


def test_bits_are_spent_as_high_rate_theory_says() -> None:
    """Gish and Pierce 1968: an error of step² / 12 at price = ln 2 / 6 · step²."""
    values = drawn("normal", 50_000)
    for price in (1e-4, 1e-3, 1e-2):
        shared = entropy_codebook(values, price)
        step = np.sqrt(6 * price / np.log(2))
        assert squared_error(values, shared.values) / 50_000 == pytest.approx(step**2 / 12, rel=0.1)
        # The entropy of the Gaussian, less that of a step.
        bits = np.log2(np.sqrt(2 * np.pi * np.e) / step)
        assert coded_bits(shared) / 50_000 == pytest.approx(bits, abs=0.03)


@pytest.mark.parametrize("price", [1e-6, 1e-2, 1.0])
def test_weights_that_are_zero_stay_zero(price: float) -> None:
    values = drawn("normal", 3000).reshape(30, 100) + np.float32(0.5)
    values[::2] = 0
    shared = entropy_codebook(values, price)
    assert (shared.values[::2] == 0).all()
    assert (np.diff(shared.codebook) > 0).all()
    assert shared.codes.shape == values.shape
    assert np.unique(shared.codes).tolist() == list(range(len(shared.codebook)))


@pytest.mark.parametrize(
    "values", [np.zeros((2, 3), np.float32), np.full((2, 3), 0.25, np.float32), np.ones((1, 1))]
)
def test_one_value_is_kept(values: np.ndarray) -> None:
    shared = entropy_codebook(values.astype(np.float32), 1e-6)
    np.testing.assert_array_equal(shared.values, values)
    assert len(shared.codebook) == 1
