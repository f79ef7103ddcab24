"""The race by hand, and how often simulated searches claim what is not so."""

from __future__ import annotations

import importlib.util
import math
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from dse.errors import ObjectiveError
from dse.search.finals import (
    Finalist,
    choose_finalists,
    decide,
    next_seeds,
    order_of_tests,
    selection_noise,
)
from dse.stats.comparison import compare

NAN = math.nan
IMAGES = 400


def replicates(accuracy: float, seeds: int) -> np.ndarray:
    """Right on the first images, one more or less from seed to seed."""
    right = [round(accuracy * IMAGES) + change for change in (0, 1, -1, 2, -2)[:seeds]]
    return np.arange(IMAGES) < np.array(right, dtype=int).reshape(-1, 1)


def finalist(key: str, size: float, selection: float, judged: float, seeds: int) -> Finalist:
    return Finalist(key, (size,), selection, replicates(judged, seeds))


REFERENCE = replicates(0.80, 5)


def column(*sizes: float) -> np.ndarray:
    return np.array(sizes, dtype=float)[:, None]


def test_finalists_are_the_smallest_of_each_step_of_certainty():
    # Noise of 1 point, steps at 0, 1, 2, 3 and 4 points over 0.80.
    sizes = column(10, 20, 30, 40, 50, 60, 70, 80)
    accuracies = np.array([0.7901, 0.805, 0.812, 0.8001, 0.841, 0.825, 0.835, 0.86])
    # 0: 20; 1: 30; 2: 50 (84%); 3: 70, as 50 is taken; 4: 80.
    assert choose_finalists(sizes, accuracies, 0.80, noise=0.01) == [1, 2, 4, 6, 7]
    # With a margin of a point 10 reaches the first step, 20 the second, 30 the third.
    assert choose_finalists(sizes, accuracies, 0.80, noise=0.01, margin=0.01) == [0, 1, 2, 4, 6]
    assert choose_finalists(sizes, accuracies, 0.80, noise=0.01, most=2) == [1, 4]
    assert choose_finalists(sizes, accuracies, 0.80, noise=0.01, most=1) == [4]


def test_finalists_where_few_or_none_reach_the_reference():
    sizes = column(10, 20, 30)
    far = np.array([0.5, 0.7, NAN])
    assert choose_finalists(sizes, far, 0.80, noise=0.01) == [1]
    assert choose_finalists(sizes, np.array([0.81, 0.70, 0.82]), 0.80, noise=0.01) == [0, 2]
    assert choose_finalists(sizes, np.full(3, NAN), 0.80, noise=0.01) == []
    assert choose_finalists(np.empty((0, 1)), np.empty(0), 0.80, noise=0.01) == []


def test_of_equally_small_candidates_the_second_objective_and_then_accuracy_decide():
    sizes = np.array([[10, 7], [10, 5], [10, 5]], dtype=float)
    accuracies = np.array([0.9, 0.85, 0.86])
    chosen = choose_finalists(sizes, accuracies, 0.80, noise=0.01, most=3)
    assert chosen == [2, 1, 0]


def test_selection_noise_is_the_binomial_one_and_never_zero():
    assert selection_noise(0.8, 2500) == pytest.approx(0.008)
    assert selection_noise(1.0, 100) == pytest.approx(0.01)


def test_tests_go_from_the_most_accurate_in_the_search_to_the_least_whatever_is_judged():
    entries = [finalist("a", 10, 0.81, 0.99, 5), finalist("b", 30, 0.84, 0.10, 5)]
    entries += [finalist("c", 20, 0.81, 0.50, 2), finalist("d", 40, 0.83, 0.90, 0)]
    assert order_of_tests(entries) == (1, 3, 2, 0)


def test_at_the_start_all_may_be_trained_safest_first():
    entries = [finalist("small", 10, 0.81, 0.9, 0), finalist("large", 30, 0.84, 0.9, 0)]
    assert next_seeds(entries, REFERENCE, seeds=3) == [
        (1, 1), (1, 2), (1, 3), (0, 1), (0, 2), (0, 3),
    ]  # fmt: skip


def test_replicates_that_ended_out_of_turn_are_not_trained_again():
    entry = replace(finalist("a", 10, 0.81, 0.9, 2), replicates=(2, 4))
    assert next_seeds([entry], REFERENCE) == [(0, 1), (0, 3), (0, 5)]


def test_a_clear_loser_ends_the_race_for_itself_and_those_after_it():
    entries = [finalist("small", 10, 0.81, 0.9, 0), finalist("large", 30, 0.84, 0.6, 1)]
    assert next_seeds(entries, REFERENCE) == []
    decision = decide(entries, REFERENCE)
    assert decision.answer is None
    assert decision.nearest == 1
    assert decision.order == (1, 0)
    assert "-20.00 points" in decision.reasons[1]
    assert decision.reasons[1].endswith("a clear loser after 1 of 5 seeds")
    assert decision.reasons[0] == "not tested, as large did not pass: that is tested before it"
    assert decision.comparisons[0] is None


def test_a_loser_after_a_winner_leaves_the_winner():
    entries = [
        finalist("small", 10, 0.81, 0.7, 1),
        finalist("middle", 20, 0.82, 0.9, 5),
        finalist("large", 30, 0.84, 0.95, 5),
    ]
    assert next_seeds(entries, REFERENCE) == []
    decision = decide(entries, REFERENCE)
    assert decision.answer == 1
    assert decision.nearest is None
    assert decision.reasons[1].startswith("non-inferior: +10.00 points, at 95%")


def test_the_answer_is_the_smallest_that_passed_not_the_last():
    entries = [finalist("large", 30, 0.82, 0.95, 5), finalist("small", 10, 0.84, 0.95, 5)]
    assert decide(entries, REFERENCE).answer == 1


def test_one_that_would_pass_is_not_claimed_after_one_that_did_not():
    entries = [finalist("small", 10, 0.81, 0.95, 5), finalist("large", 30, 0.84, 0.80, 5)]
    decision = decide(entries, REFERENCE)
    assert decision.answer is None
    assert decision.comparisons[0] is not None
    assert decision.comparisons[0].is_non_inferior
    assert decision.nearest == 0
    assert decision.reasons[1].endswith("all 5 seeds measured")
    # … and with a margin both are level.
    assert decide(entries, REFERENCE, margin=0.02).answer == 0


def test_a_failed_training_takes_its_finalist_out_and_no_other():
    entries = [
        finalist("small", 10, 0.81, 0.9, 5),
        replace(finalist("large", 30, 0.84, 0.9, 1), is_failed=True),
    ]
    assert next_seeds(entries, REFERENCE) == []
    decision = decide(entries, REFERENCE)
    assert decision.answer == 0
    assert decision.reasons[1] == "left out: a training of it failed"
    all_failed = [replace(entry, is_failed=True) for entry in entries]
    assert next_seeds(all_failed, REFERENCE) == []
    assert decide(all_failed, REFERENCE).answer is None
    assert decide(all_failed, REFERENCE).nearest is None


def test_without_finalists_there_is_nothing_to_do_and_no_answer():
    assert next_seeds([], REFERENCE) == []
    decision = decide([], REFERENCE)
    assert (decision.answer, decision.nearest, decision.reasons) == (None, None, ())


def test_a_budget_that_ends_early_claims_with_three_seeds_and_not_with_two():
    for seeds, answer in ((2, None), (3, 0)):
        decision = decide([finalist("a", 10, 0.84, 0.9, seeds)], REFERENCE)
        assert decision.answer == answer
    decision = decide([finalist("a", 10, 0.84, 0.9, 2)], REFERENCE)
    assert decision.reasons[0].endswith("the budget ended after 2 of 5 seeds")
    nothing = decide([finalist("a", 10, 0.84, 0.9, 0)], REFERENCE)
    assert nothing.nearest == 0
    assert nothing.reasons[0].endswith("nothing measured; the budget ended after 0 of 5 seeds")


@pytest.mark.parametrize("reference", [0.80, REFERENCE[:1]])
def test_a_number_or_a_single_replicate_is_a_reference(reference):
    first = [finalist("a", 10, 0.84, 0.9, 1)]
    # One seed, and no second one anywhere: nothing is known about the seeds.
    assert next_seeds(first, reference) == [(0, 2), (0, 3), (0, 4), (0, 5)]
    assert "no second seed of any network" in decide(first, reference).reasons[0]
    assert decide([finalist("a", 10, 0.84, 0.9, 5)], reference).answer == 0


@pytest.mark.parametrize(("reference", "answer"), [(0.0, 0), (1.0, None)])
def test_the_extreme_numbers_are_references(reference, answer):
    perfect = Finalist("a", (10,), 1.0, np.ones((5, IMAGES), dtype=bool))
    assert decide([perfect], reference).answer == answer
    assert next_seeds([replace(perfect, correct=perfect.correct[:1])], reference)


def test_a_comparison_in_the_finals_knows_the_seeds_of_all_finalists():
    entries = [finalist("a", 10, 0.84, 0.9, 3), finalist("b", 20, 0.85, 0.9, 3)]
    comparison = decide(entries, 0.8).comparisons[0]
    alone = compare(entries[0].correct, 0.8)
    assert comparison is not None
    assert comparison.difference == alone.difference
    assert comparison.degrees_of_freedom >= alone.degrees_of_freedom


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: next_seeds([], 0.8, seeds=2), "need 3 seeds or more .* but got 2"),
        (lambda: decide([], 0.8, seeds=2), "need 3 seeds or more .* but got 2"),
        (
            lambda: choose_finalists(column(1, 2), np.array([0.5]), 0.8, noise=0.01),
            r"sizes=\(2, 1\), accuracies=\(1,\)",
        ),
        (lambda: choose_finalists(column(1), np.array([0.5]), 0.8, noise=0.0), "noise=0.0"),
    ],
)
def test_bad_input_is_refused_with_what_was_found(call, message):
    with pytest.raises(ObjectiveError, match=message):
        call()


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "finals.py"
    spec = importlib.util.spec_from_file_location("benchmarks_finals", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def false_claims(benchmark: ModuleType, truth: str, repetitions: int, **settings) -> int:
    scenario = benchmark.Scenario("test", truth, **{"images_count": 135, **settings})
    count = 0
    for repetition in range(repetitions):
        search = benchmark.simulate(scenario, np.random.default_rng([11, repetition]))
        answer, _ = benchmark.race(search, scenario.margin)
        count += answer is not None and search.accuracies[search.chosen[answer]] < search.level
    return count


@pytest.mark.parametrize("truth", ["at", "below"])
def test_false_claims_over_1000_searches_are_at_most_five_percent(benchmark, truth):
    """Every candidate is below the reference, by 0.01 or by 0.1 to 0.5 points."""
    assert false_claims(benchmark, truth, 1000) <= 50


def test_false_claims_stay_rare_with_a_margin_and_against_a_number(benchmark):
    # Three standard deviations of a binomial count above 5% of 300.
    most = 15 + 3 * math.sqrt(300 * 0.05 * 0.95)
    assert false_claims(benchmark, "at", 300, margin=0.02) <= most
    assert false_claims(benchmark, "at", 300, is_number=True) <= most


@pytest.mark.parametrize("truth", ["top", "steep"])
def test_false_claims_stay_rare_against_the_best_of_the_search_itself(benchmark, truth):
    """Whose accuracy on the selection images flatters it, and whose fresh seeds do not."""
    most = 15 + 3 * math.sqrt(300 * 0.05 * 0.95)
    assert false_claims(benchmark, truth, 300, margin=0.05, is_best=True) <= most


@pytest.mark.slow
@pytest.mark.parametrize("truth", ["at", "below", "slow"])
def test_false_claims_over_1000_searches_with_as_many_images_as_cifar(benchmark, truth):
    assert false_claims(benchmark, truth, 1000, images_count=2500) <= 50


def test_confirmation_by_the_images_that_chose_would_claim_too_much(benchmark):
    """What the two halves and the fresh replicates are for."""
    scenario = benchmark.Scenario("test", "at", 135)
    claims = 0
    for repetition in range(300):
        search = benchmark.simulate(scenario, np.random.default_rng([13, repetition]))
        claims += benchmark.with_all_seeds(search, 0.0)["same images"] is not None
    assert claims > 30


def test_a_search_that_goes_on_never_loses_its_answer_nor_takes_a_larger_one(benchmark):
    scenario = benchmark.Scenario("test", "steep", 135)
    lost = 0
    for repetition in range(60):
        answers = benchmark.go_on(scenario, np.random.default_rng([7, repetition]))
        sizes = np.array(answers["claims stand"])[:, 0]
        known = sizes[~np.isnan(sizes)]
        assert np.isnan(sizes[: len(sizes) - len(known)]).all(), "once there, it stays"
        assert (np.diff(known) <= 0).all()
        anew = np.isnan(np.array(answers["anew"])[:, 0])
        lost += bool((~anew[:-1] & anew[1:]).any())
    assert lost, "which is what confirmation anew did"
