"""Comparisons against hand-computed numbers, closed forms and simulated networks."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dse.errors import ObjectiveError
from dse.stats.comparison import (
    SeedVariance,
    churn,
    compare,
    images_to_resolve,
    pool_seed_variance,
    resolvable_difference,
)
from dse.stats.intervals import student_t_probability, student_t_quantile

# These very weights: the trainings are left out.
NO_SEEDS = SeedVariance(0.0, 1)


def images(*rows: str) -> np.ndarray:
    """One row a seed, one digit an image: "110" is right, right, wrong."""
    return np.array([[digit == "1" for digit in row] for row in rows])


def networks(shape=(3, 12)):
    return arrays(np.bool_, shape)


def test_two_seeds_by_hand():
    # Shares 1, 1, 1/2, 0 and 1, 1/2, 0, 0: differences 0, 1/2, 1/2, 0. Squares about the mean:
    # 4 * 1/16, and 1 for the added half images: 1.25 / 3 / 4. The seeds' accuracies (3/4, 1/2
    # and 1/4, 1/2) vary as much as the one image that changes makes them, so they add nothing.
    comparison = compare(images("1110", "1100"), images("1000", "1100"))
    assert comparison.difference == 0.25
    assert comparison.standard_error == pytest.approx(math.sqrt(1.25 / 12))
    # (5/48)^2 / ((5/48)^2 / 3 + (1/32)^2 / 2) = 2.64, rounded down.
    assert comparison.degrees_of_freedom == 2
    half_width = 2.9200 * 0.32275  # the table's t for two degrees of freedom
    assert comparison.lower == pytest.approx(0.25 - half_width, abs=1e-4)
    assert comparison.upper == pytest.approx(0.25 + half_width, abs=1e-4)
    # Two degrees of freedom: P(T > t) = 1/2 - t / (2 sqrt(2 + t^2)).
    t = 0.25 / math.sqrt(1.25 / 12)
    assert comparison.p_value == pytest.approx(0.5 - t / (2 * math.sqrt(2 + t * t)))
    assert not comparison.is_non_inferior


def test_seeds_that_differ_on_all_images_by_hand():
    # All right, then all wrong, against 1/2: images 1 / 3 / 4, seeds 1/2 / 2.
    comparison = compare(images("1111", "0000"), 0.5)
    assert comparison.difference == 0.0
    assert comparison.standard_error == pytest.approx(math.sqrt(1 / 12 + 1 / 4))
    assert comparison.degrees_of_freedom == 1
    assert comparison.lower == pytest.approx(-6.31375 * math.sqrt(1 / 3), abs=1e-4)
    assert comparison.p_value == pytest.approx(0.5)


def test_the_churn_of_a_network_by_hand():
    # Shares 1, 1, 1/2, 0, seeds 1/8 above and below: residuals 1/8 (six times), 3/8 (twice).
    assert churn(images("1110", "1100")) == pytest.approx((6 / 64 + 2 * 9 / 64) / 3)
    assert churn(images("1110")) == 0.0
    assert churn(images("1111", "0000")) == 0.0


def test_one_seed_against_another_is_mcnemars_test_with_half_images():
    both, only_candidate, only_reference, neither = 60, 10, 2, 28
    candidate = images("1" * (both + only_candidate) + "0" * (only_reference + neither))
    reference = images("1" * both + "0" * only_candidate + "1" * only_reference + "0" * neither)
    comparison = compare(candidate, reference, seed_variance=NO_SEEDS)
    assert comparison.difference == pytest.approx(0.08)
    # (10 + 2 - 100 * 0.08^2 + 1) / 99 / 100
    assert comparison.standard_error == pytest.approx(math.sqrt(12.36 / 9900))
    assert comparison.degrees_of_freedom == 99
    mcnemar = (only_candidate - only_reference) / math.sqrt(only_candidate + only_reference)
    assert 0.08 / comparison.standard_error == pytest.approx(mcnemar, rel=0.03)
    assert comparison.is_non_inferior


def test_one_seed_against_a_number_is_the_score_test():
    comparison = compare(images("1" * 90 + "0" * 10), 0.8, seed_variance=NO_SEEDS)
    assert comparison.standard_error == pytest.approx(math.sqrt(0.8 * 0.2 / 100))
    assert comparison.p_value == pytest.approx(
        1 - student_t_probability(2.5, degrees_of_freedom=99)
    )
    with_margin = compare(images("1" * 90 + "0" * 10), 0.9, margin=0.1, seed_variance=NO_SEEDS)
    assert with_margin.p_value == pytest.approx(comparison.p_value)


def test_pooled_variance_by_hand():
    # Accuracies 3/4, 1/2 and 1, 0, 1/2: squares 1/32 and 1/2, degrees of freedom 1 and 2.
    pooled = pool_seed_variance(
        [images("1110", "1100"), images("1111", "0000", "1100"), images("1111")]
    )
    assert pooled == SeedVariance(pytest.approx((1 / 32 + 1 / 2) / 3), 3)
    assert pool_seed_variance([]) == SeedVariance(0.0, 0)


def test_one_replicate_of_each_claims_nothing():
    comparison = compare(images("11111111"), images("00000000"), margin=0.5)
    assert comparison.difference == 1.0
    assert comparison.degrees_of_freedom == 0
    assert (comparison.lower, comparison.upper) == (-math.inf, math.inf)
    assert comparison.p_value == 1.0
    assert not comparison.is_non_inferior


def test_one_replicate_of_the_reference_takes_the_variance_of_the_candidate():
    candidate = images("11110000" * 4, "11111100" * 4, "11000000" * 4)
    reference = images("11110000" * 4)
    alone = compare(candidate, 0.5)
    comparison = compare(candidate, reference)
    assert comparison.degrees_of_freedom == 2
    assert comparison.standard_error > alone.standard_error


def test_more_seed_variance_elsewhere_widens_the_bounds_and_less_does_not_narrow_them():
    candidate = images("1" * 90 + "0" * 10, "1" * 80 + "0" * 20)
    own = compare(candidate, 0.5)
    # Accuracies 0.9 and 0.8: their variance is 0.005.
    assert compare(candidate, 0.5, seed_variance=SeedVariance(0.02, 9)).standard_error > (
        own.standard_error
    )
    assert compare(candidate, 0.5, seed_variance=SeedVariance(0.0, 9)).standard_error == (
        pytest.approx(own.standard_error)
    )


@pytest.mark.parametrize("reference", [1.0, np.ones((3, 135), dtype=bool)])
def test_networks_without_a_mistake_are_not_certain(reference):
    comparison = compare(np.ones((3, 135), dtype=bool), reference)
    assert comparison.difference == 0.0
    assert comparison.standard_error == pytest.approx(1 / math.sqrt(134 * 135))
    assert comparison.p_value == 0.5
    assert not comparison.is_non_inferior
    assert not compare(np.ones((3, 135), dtype=bool), reference, margin=0.005).is_non_inferior
    assert compare(np.ones((3, 135), dtype=bool), reference, margin=0.02).is_non_inferior


def test_a_network_without_a_mistake_against_a_number_near_one():
    # 0.98^135 = 0.065: at 98% such a run of luck is not rare, and 1% more is needed to say so.
    right = np.ones((3, 135), dtype=bool)
    assert compare(right, 0.98).p_value == pytest.approx(0.05, abs=0.015)
    assert compare(right, 0.0).is_non_inferior
    assert not compare(~right, 1.0, margin=0.9).is_non_inferior


@given(networks(), networks(), st.sampled_from([0.0, 0.01, 0.2]))
def test_the_claim_the_bound_and_the_p_value_say_the_same(candidate, reference, margin):
    comparison = compare(candidate, reference, margin=margin)
    assert comparison.is_non_inferior == (comparison.p_value < 0.05)
    assert comparison.lower < comparison.difference < comparison.upper
    quantile = student_t_quantile(0.95, degrees_of_freedom=comparison.degrees_of_freedom)
    assert comparison.difference - comparison.lower == pytest.approx(
        quantile * comparison.standard_error
    )


@given(networks((3, 12)), networks((4, 12)))
def test_swapped_networks_give_the_mirrored_comparison(a, b):
    one, other = compare(a, b), compare(b, a)
    assert one.difference == pytest.approx(-other.difference)
    assert one.standard_error == pytest.approx(other.standard_error)
    assert one.lower == pytest.approx(-other.upper)


@given(networks())
def test_a_network_is_level_with_itself_but_that_is_no_proof(network):
    comparison = compare(network, network)
    assert comparison.difference == 0.0
    assert comparison.p_value == pytest.approx(0.5)


@pytest.mark.parametrize("seed_sd", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("own_sd", [0.0, 0.6])
def test_claims_about_equal_networks_are_as_rare_as_stated(seed_sd, own_sd):
    """Latent normal effects of image, network and image, seed, and chance of a training."""
    rng = np.random.default_rng(7)
    claims = 0
    for _ in range(600):
        difficulty = rng.normal(size=200)

        def network(seeds: int, difficulty=difficulty) -> np.ndarray:
            own = difficulty + own_sd * rng.normal(size=200) + 1
            return own + seed_sd / 10 * rng.normal(size=(seeds, 1)) > rng.normal(
                scale=0.5, size=(seeds, 200)
            )

        candidate, reference = network(3), network(5)
        pooled = pool_seed_variance([candidate, reference, network(4)])
        claims += compare(candidate, reference, seed_variance=pooled).is_non_inferior
    # Three standard deviations of a binomial count above 5% of 600.
    assert claims <= 30 + 3 * math.sqrt(600 * 0.05 * 0.95)
    assert claims >= 5


def test_the_standard_error_is_that_of_the_draws():
    """Without differences between trainings: the spread of the estimate itself, by simulation."""
    rng = np.random.default_rng(3)
    estimates, errors = [], []
    for _ in range(800):
        difficulty, own = rng.normal(size=(2, 300))
        seeds = rng.normal(scale=0.1, size=(4, 1))
        right = difficulty + own + seeds + 1 > rng.normal(size=(4, 300))
        comparison = compare(right, difficulty[None] + 1 > 0, seed_variance=NO_SEEDS)
        errors.append(comparison.standard_error)
        estimates.append(comparison.difference)
    # 800 draws know a standard deviation to 2.5%.
    assert np.std(estimates) == pytest.approx(np.mean(errors), rel=0.08)


def test_the_t_distribution_and_its_quantiles_agree_with_closed_forms():
    for t in (-3.0, -0.5, 0.0, 1.0, 12.7062):
        one = student_t_probability(t, degrees_of_freedom=1)
        assert one == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-12)
        two = student_t_probability(t, degrees_of_freedom=2)
        assert two == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)), abs=1e-12)
        three = student_t_probability(t, degrees_of_freedom=3)
        x = t / math.sqrt(3)
        closed = 0.5 + (x / (1 + x * x) + math.atan(x)) / math.pi
        assert three == pytest.approx(closed, abs=1e-12)
    many = student_t_probability(1.96, degrees_of_freedom=100_000)
    assert many == pytest.approx(NormalDist().cdf(1.96), abs=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare(images("110"), 80.3), r"reference is 80.3; 80.3% is written 0.803"),
        (lambda: compare(images("110"), math.nan), "the reference is nan"),
        (
            lambda: compare(images("110"), images("11")),
            r"the shapes are \(1, 3\) and \(1, 2\)",
        ),
        (lambda: compare(np.ones((0, 3), dtype=bool), 0.5), r"the shapes are \(0, 3\)"),
        (lambda: compare(images("1"), 0.5), r"the shapes are \(1, 1\)"),
        (lambda: compare(images("110"), 0.5, margin=2), r"\(margin=2, confidence=0.95\)"),
        (lambda: compare(images("110"), 0.5, confidence=95), "confidence=95"),
        (lambda: student_t_probability(math.nan, degrees_of_freedom=1), "value=nan"),
        (lambda: student_t_probability(1.0, degrees_of_freedom=0), "degrees_of_freedom=0"),
    ],
)
def test_bad_input_is_refused_with_what_was_found(call, message):
    with pytest.raises(ObjectiveError, match=message):
        call()


def test_the_resolvable_difference_is_what_an_equal_network_passes_in_four_of_five_cases():
    # 600 images: (0.08 * 600 + 1) / 599 / 600 + 2 * 0.005**2 / 3 = 0.0123695**2 of variance;
    # quantiles of Student's t with 599 degrees of freedom: 1.6474 and 0.8421.
    assert resolvable_difference(600) == pytest.approx(2.4895 * 0.0123695, rel=1e-3)
    assert resolvable_difference(2) == 1.0
    found = images_to_resolve(0.05)
    assert resolvable_difference(found) <= 0.05 < resolvable_difference(found - 1)
    assert images_to_resolve(0.001) == 1_000_000, "below what the seeds vary by"
