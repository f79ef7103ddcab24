"""The reference that a search chooses itself: the most accurate network that it finds."""

from __future__ import annotations

import numpy as np
import pytest

from dse.search.finals import choose_finalists
from dse.search.reference import BestReference
from dse.study.answer import read_answer
from dse.study.table import read_trials
from tests.search.searching import document, ended, run, search

CEILINGS = '{"1.0": 0.9, "0.9375": 0.86, "0.5": 0.895, "0.25": 0.7, "0.0625": 0.5}'
"""Of the others the formula's, which are at most 0.85."""


@pytest.fixture(autouse=True)
def _ceilings(in_process, monkeypatch):
    monkeypatch.setenv("DSE_FAKE_CEILINGS", CEILINGS)


def test_the_most_accurate_is_the_reference_and_a_smaller_one_the_answer(tmp_path):
    wanted = search("16trials", margin=0.1)
    result, events = run(wanted, tmp_path, BestReference(3))
    held = document(result)["reference"]
    assert held["metaparameters"]["squeeze_ratio"] == 1.0
    assert held["name"] == "best"
    assert held["chosen"].startswith("the most accurate of ")
    assert held["recipe"] == wanted.recipe.to_dict()
    assert len(held["seeds"]) == held["seeds_count"] == 3
    answer = document(result)["answer"]
    assert answer["metaparameters"]["squeeze_ratio"] == 0.5
    assert answer["times_fewer"] == held["params_count"] / answer["params_count"] > 1
    # Its fresh seeds come first of the finals, and no finalist is it or larger.
    finals = [job for job in ended(events) if job[1] > 0 and job[3] == "train"]
    assert finals[:3] == [(1.0, seed, None, "train") for seed in (1, 2, 3)]
    largest = max(f.params_count for f in read_answer(result.directory / "answer.json").finalists)
    assert largest < held["params_count"]
    # Test images are scored for the answer and what it is compared with, once, by fresh seeds.
    tested = sorted(job[:2] for job in ended(events) if job[3] == "test")
    assert tested == [(ratio, seed) for ratio in (0.5, 1.0) for seed in (1, 2, 3)]
    assert document(result)["answer"]["test_difference"] is not None


def test_it_ends_as_if_it_had_not_been_interrupted(tmp_path):
    wanted = search("100epochs", margin=0.1)
    whole, events = run(wanted, tmp_path / "whole", BestReference(3))
    count = len(ended(events))
    for stop in range(1, count, 8):
        seen = []

        def until(event, seen=seen, stop=stop):
            seen.append(event)
            if len(ended(seen)) > stop:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(wanted, tmp_path / f"{stop}", BestReference(3), on_event=until)
        resumed, more = run(wanted, tmp_path / f"{stop}", BestReference(3))
        assert len(ended(seen)) + len(ended(more)) == count
        sides = [document(side) for side in (whole, resumed)]
        for side in sides:
            del side["cost"]["wall_s"]
        assert sides[0] == sides[1]


def test_a_budget_of_epochs_reserves_the_seeds_of_the_reference_and_of_a_finalist(tmp_path):
    # Six trainings of 9 epochs are for the finals: 18 of 72 are left to the search.
    result, _ = run(search("72epochs"), tmp_path, BestReference(3))
    trials = read_trials(result.trials_path)
    assert trials["epochs"].sum() <= 72
    assert document(result)["reference"]["seeds_count"] == 3
    searched = trials[trials["seed"] == 0]["epochs"].sum()
    assert searched <= 18


def test_a_budget_that_ends_before_the_reference_is_measured_tests_nothing(tmp_path):
    result, _ = run(search("30epochs"), tmp_path, BestReference(3))
    found = document(result)
    assert not found["found"]
    assert all("seeds of the reference" in one["verdict"] for one in found["finalists"])
    assert found["analyses_count"] == 0


def test_a_reference_whose_training_fails_gives_way_to_the_next(tmp_path, monkeypatch):
    monkeypatch.setenv("DSE_FAKE_FAILS", '{"1.0-2": 5}')
    result, _ = run(search("16trials", margin=0.1), tmp_path, BestReference(3))
    assert document(result)["reference"]["metaparameters"]["squeeze_ratio"] == 0.5


def test_steps_end_where_the_most_accurate_of_the_smaller_stands():
    # In noise units they stand 0.2, 1.1, 2 and 0.9 above the level: steps of 0, 1 and 2.
    sizes = np.array([[1.0], [2.0], [3.0], [4.0]])
    accuracies = 0.8 + 0.01 * np.array([0.2, 1.1, 2.0, 0.9])
    chosen = choose_finalists(sizes, accuracies, 0.8, noise=0.01, most=3, is_best=True)
    assert chosen == [0, 1, 2]
    below = choose_finalists(sizes, accuracies, 0.9, noise=0.01, most=3, is_best=True)
    assert below == [2], "none reaches the level: the most accurate alone"
