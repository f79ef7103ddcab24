from __future__ import annotations

from dataclasses import replace

import pytest

from dse.errors import StudyError
from dse.search.budget import parse_budget
from dse.search.forecast import Forecast

TWO_WORKERS = Forecast(workers_count=2, full_s=10.0, least_s=2.0, seeds=6)


def test_a_claim_takes_one_candidate_and_its_finals():
    # Six trainings on two workers are three rounds; 6 s to start and 10 s to end.
    assert TWO_WORKERS.finals_s == 30
    assert TWO_WORKERS.claim_s == 6 + 10 + 30 + 10
    assert replace(TWO_WORKERS, reference_s=100.0).claim_s == 156


def test_the_default_budget_is_in_minutes_and_grows_with_the_work():
    # Sixteen candidates are eight rounds: 6 + 80 + 30 + 10 = 126 s.
    assert str(TWO_WORKERS.default_budget()) == "3m"
    assert str(replace(TWO_WORKERS, full_s=1.0).default_budget()) == "1m"
    assert str(replace(TWO_WORKERS, full_s=1000.0).default_budget()) == "1h"


def test_the_stages_share_out_all_of_a_time():
    stages = {s.name: s.seconds for s in TWO_WORKERS.stages(parse_budget("4m"))}
    assert stages == pytest.approx({"start": 6, "search": 134.4, "finals": 89.6, "end": 10})
    # The finals' trainings come first: 64 s less 30 of them and 16 leave 18 to the search.
    short = {s.name: s.seconds for s in TWO_WORKERS.stages(parse_budget("64s"))}
    assert short == pytest.approx({"start": 6, "search": 18, "finals": 30, "end": 10})
    trials = {s.name: s.seconds for s in TWO_WORKERS.stages(parse_budget("8trials"))}
    assert trials["search"] == 40


def test_a_budget_that_is_too_short_is_told_beforehand():
    assert TWO_WORKERS.check(parse_budget("60s"), "best") == ""
    assert TWO_WORKERS.check(parse_budget("1trials"), "best") == ""
    assert TWO_WORKERS.check(parse_budget("50s"), "best") == (
        "a claim takes about 56 s here, more than the budget of 50s: expect none, or give "
        "--budget 1m"
    )
    with pytest.raises(
        StudyError, match=r"7s is too small: to start and train one.*about 8 s, .*1m"
    ):
        TWO_WORKERS.check(parse_budget("7s"), "best")
    with pytest.raises(StudyError, match=r"alexnet takes about 10 min 00 s to train.*best.*11m"):
        replace(TWO_WORKERS, reference_s=600.0).check(parse_budget("4m"), "alexnet")
