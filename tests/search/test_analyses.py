from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from dse.search.analyses import (
    Analysis,
    Outcome,
    PreviousAnalyses,
    Terms,
    analyses_count,
    analysis_from_dict,
    decision_of,
    open_candidates,
    outcomes_of,
    previous_analyses,
)
from dse.search.engine import StageStarted
from dse.search.finals import Verdict, decide, next_seeds
from dse.search.rungs import Ladder
from dse.stats.comparison import compare, pool_seed_variance
from tests.search.searching import document, ended, pool, run, search
from tests.search.test_finals import finalist, replicates

TERMS = Terms("alexnet", 0.8, 3, margin=0.0, confidence=0.95, seeds=3)
OTHERS = Terms("alexnet", 0.8, 3, margin=0.01, confidence=0.95, seeds=3)
CLAIM = compare(replicates(0.9, 3), 0.8)
ONE_SEED = compare(replicates(0.9, 1), 0.8)

CLAIMED, FAILED = Verdict.CLAIMED, Verdict.FAILED
UNFINISHED, UNTESTED, BROKEN = Verdict.UNFINISHED, Verdict.UNTESTED, Verdict.BROKEN


def look(*verdicts: Verdict, full_count: int = 8, terms: Terms = TERMS) -> Analysis:
    """Of finalists `a`, `b`, … that ended so."""
    tests = [
        Outcome(key, verdict, f"{verdict.value}: so", None if verdict is BROKEN else CLAIM)
        for key, verdict in zip("abcdef", verdicts, strict=False)
    ]
    return Analysis(terms, full_count, 3, tuple(tests))


def test_a_look_is_read_as_it_was_written():
    one = look(CLAIMED, BROKEN, FAILED, UNFINISHED)
    assert analysis_from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert ONE_SEED.standard_error == math.inf
    two = replace(one, outcomes=(replace(one.outcomes[0], comparison=ONE_SEED),))
    text = json.dumps(two.to_dict(), allow_nan=False)
    assert analysis_from_dict(json.loads(text)) == two


def test_a_run_that_asks_the_same_again_repeats_its_look():
    looks = [look(CLAIMED, full_count=4), look(FAILED, full_count=8)]
    again = previous_analyses(looks, TERMS, 8, 3)
    assert (again.earlier, again.repeated, again.is_over) == ((looks[0],), looks[1], True)
    assert again.with_analysis(look(full_count=8)) == looks
    other = previous_analyses(looks, TERMS, 9, 3)  # another candidate was found
    assert (other.earlier, other.repeated, other.is_over) == (tuple(looks), None, False)
    assert previous_analyses(looks, TERMS, 8, 4).repeated is None, "more finalists are asked for"


def test_claims_stand_on_their_own_terms_alone_and_no_look_is_lost():
    looks = [look(CLAIMED), look(FAILED, terms=OTHERS)]
    past = previous_analyses(looks, TERMS, 9, 3)
    assert list(past.kept) == ["a"]
    mine = look(FAILED, full_count=9)
    assert past.with_analysis(mine) == [looks[1], looks[0], mine]
    assert past.with_analysis(look()) == [looks[1], looks[0]], "no finalist, no look"
    assert past.with_analysis(look(UNTESTED)) == [looks[1], looks[0]], "no test, no look"


def test_what_the_budget_ended_or_nobody_tested_may_be_tested_again():
    one = look(CLAIMED, BROKEN, FAILED, UNTESTED)
    assert list(PreviousAnalyses((one,)).before) == ["a", "b", "c"]
    assert PreviousAnalyses((one,)).before["a"].reason == "claimed (an earlier run): so"


def test_a_look_that_its_budget_ended_goes_on_and_keeps_what_it_claimed():
    one = look(CLAIMED, UNTESTED, UNTESTED)
    past = previous_analyses([one], TERMS, 8, 3)
    assert not past.is_over
    assert past.kept == {"a": one.outcomes[0]}, "in its own words, of this run"
    second = Outcome("b", CLAIMED, "claimed", CLAIM)
    (whole,) = past.with_analysis(Analysis(TERMS, 8, 3, (second,)))
    assert whole.outcomes == (one.outcomes[0], second)


def test_a_finalist_that_did_not_pass_and_gets_more_seeds_has_another_look():
    one = look(CLAIMED, UNFINISHED)
    past = previous_analyses([one], TERMS, 8, 3)
    same = Analysis(TERMS, 8, 3, (one.outcomes[1],))
    assert past.with_analysis(same) == [one], "the same command again, with nothing left to spend"
    other = Analysis(TERMS, 8, 3, (Outcome("b", CLAIMED, "claimed: so", CLAIM),))
    first, second = past.with_analysis(other)
    assert first == one
    assert second.outcomes == (one.outcomes[0], *other.outcomes)
    assert analyses_count([first, second]) == 2


def test_a_look_that_is_over_is_told_as_it_was():
    one = look(CLAIMED, FAILED, UNTESTED)
    past = previous_analyses([one], TERMS, 8, 3)
    assert past.is_over
    assert list(past.kept.values()) == list(one.outcomes)


@pytest.mark.parametrize(
    ("looks", "count"),
    [
        ([], 0),
        ([look(CLAIMED)], 1),
        ([look(CLAIMED), look(CLAIMED, FAILED)], 1),
        ([look(FAILED), look(CLAIMED)], 2),
        ([look(UNFINISHED), look(FAILED), look(FAILED)], 3),
        ([look(BROKEN), look(CLAIMED)], 1),
        ([look(CLAIMED, UNTESTED), look(CLAIMED)], 1),
        ([look(CLAIMED), look(CLAIMED, terms=OTHERS)], 2),
    ],
)
def test_each_set_of_terms_and_each_failure_is_a_further_look(looks, count):
    assert analyses_count(looks) == count


@pytest.mark.parametrize(
    ("looks", "left"),
    [
        ((), ["a", "b", "c", "d"]),  # the first look, whoever is level
        ((look(UNTESTED),), ["a", "b", "c", "d"]),
        ((look(FAILED),), ["b", "d"]),  # c is below in the search
        ((look(UNTESTED, CLAIMED),), ["d"]),  # a is larger than what was claimed
    ],
)
def test_finalists_are_chosen_among_those_that_can_still_be_the_answer(looks, left):
    keys, sizes = ["a", "b", "c", "d"], [(40.0,), (30.0,), (20.0,), (10.0,)]
    accuracies = [0.9, 0.85, 0.7, 0.8]
    places = open_candidates(PreviousAnalyses(looks), keys, sizes, accuracies, 0.8)
    assert [keys[place] for place in places] == left


def test_the_record_keeps_what_was_tested_in_the_order_of_the_tests():
    finalists = [
        finalist("small", 1.0, 0.80, 0.5, 3),
        finalist("middle", 2.0, 0.85, 0.5, 3),
        finalist("large", 3.0, 0.95, 0.95, 3),
    ]
    decision = decide(finalists, 0.8, seeds=3)
    outcomes = outcomes_of(finalists, decision)
    assert [(o.candidate_key, o.verdict) for o in outcomes] == [
        ("large", CLAIMED),
        ("middle", FAILED),
        ("small", UNTESTED),
    ]
    assert outcomes[0].comparison == decision.comparisons[2]
    assert decision_of(finalists, {o.candidate_key: o for o in outcomes}) == decision


def test_fewer_seeds_than_a_test_needs_are_no_test_and_three_of_five_are_one():
    two = [finalist("a", 1.0, 0.9, 0.8325, 2)]
    assert decide(two, 0.8, seeds=5).verdicts == (UNTESTED,)
    three = [finalist("a", 1.0, 0.9, 0.8325, 3)]
    assert decide(three, 0.8, seeds=5).verdicts == (UNFINISHED,)


def test_the_answer_is_the_smallest_claim_of_all_looks():
    finalists = [
        finalist("a", 5.0, 0.9, 0.9, 3),
        finalist("b", 4.0, 0.9, 0.9, 3),
        finalist("c", 3.0, 0.9, 0.5, 3),
    ]
    tests = {test.candidate_key: test for test in look(CLAIMED, CLAIMED, FAILED).outcomes}
    kept = decision_of(finalists, tests)
    assert (kept.answer, kept.nearest, kept.order) == (1, None, (0, 1, 2))
    assert kept.comparisons[1] == CLAIM
    tests["c"] = replace(tests["c"], verdict=CLAIMED)
    assert decision_of(finalists, tests).answer == 2


def test_without_a_claim_the_nearest_of_all_looks_is_told():
    finalists = [finalist("a", 5.0, 0.8, 0.79, 3), finalist("b", 3.0, 0.9, 0.5, 3)]
    better, worse = (compare(replicates(share, 3), 0.8) for share in (0.79, 0.5))
    tests = {
        "a": Outcome("a", FAILED, "non-inferiority not shown", better),
        "b": Outcome("b", FAILED, "non-inferiority not shown", worse),
    }
    held = decision_of(finalists, tests)
    assert (held.answer, held.nearest) == (None, 0)


def test_networks_of_earlier_looks_tell_of_the_seeds():
    new = [finalist("a", 10, 0.84, 0.9, 3)]
    others = [replicates(0.9, 3), replicates(0.85, 3)]
    alone, pooled = decide(new, 0.8, seeds=3), decide(new, 0.8, seeds=3, others=others)
    seeds = pool_seed_variance([*others, new[0].correct])
    assert pooled.comparisons[0] == compare(new[0].correct, 0.8, seed_variance=seeds)
    assert alone.comparisons[0] == compare(new[0].correct, 0.8)
    assert next_seeds(new, 0.8, seeds=4, others=others) == [(0, 4)]


# In whole searches: ceilings of 16 candidates, all trained in full.


@pytest.fixture
def ceilings(monkeypatch):
    """Set the ceiling of all candidates, and of some by squeeze ratio."""

    def put(everybody: float, values: dict[float, float] | None = None) -> None:
        every = {str(k / 16): everybody for k in range(1, 17)}
        plain = every | {str(ratio): ceiling for ratio, ceiling in (values or {}).items()}
        monkeypatch.setenv("DSE_FAKE_CEILINGS", json.dumps(plain))

    return put


def wanted(budget: str, **changes):
    return search(budget, ladder=Ladder.of_epochs(9), **changes)


def ratio_of(found) -> float:
    return found["metaparameters"]["squeeze_ratio"]


def verdicts(found) -> dict[float, str]:
    by_key = {pool().candidate(i).key: (i + 1) / 16 for i in range(16)}
    return {by_key[f["candidate"]]: f["verdict"].partition(":")[0] for f in found["finalists"]}


def flattered(ceilings, events, values: dict[float, float]):
    """Once the finals begin, these candidates are worse than the search saw them."""

    def on_event(event) -> None:
        events.append(event)
        if isinstance(event, StageStarted) and event.name == "finals":
            ceilings(0.3, values)

    return on_event


def first_run(tmp_path, ceilings) -> float:
    """Four candidates, all level; gives the squeeze ratio of the answer, the smallest."""
    ceilings(0.9)
    found = document(run(wanted("4trials"), tmp_path)[0])
    assert found["analyses_count"] == 1
    return ratio_of(found["answer"])


def test_a_larger_budget_does_not_take_back_what_was_claimed(tmp_path, in_process, ceilings):
    answer = first_run(tmp_path, ceilings)
    assert answer > 1 / 16, "there are smaller ones left to be found"
    # A smaller one looks better than all others in the search, and is not.
    ceilings(0.3, {1 / 16: 0.99})
    events: list = []
    on_event = flattered(ceilings, events, {1 / 16: 0.5})
    result, _ = run(wanted("16trials"), tmp_path, on_event=on_event)
    found = document(result)
    assert ratio_of(found["answer"]) == answer
    assert verdicts(found)[answer] == "non-inferior (an earlier run)"
    assert verdicts(found)[1 / 16] == "non-inferiority not shown"
    assert found["analyses_count"] == 1, "all had passed, so the sequence went on"
    finals = {ratio for ratio, replicate, *_ in ended(events) if replicate}
    assert finals == {1 / 16}, "what was claimed is not trained again"
    again, events = run(wanted("16trials"), tmp_path)
    assert ended(events) == []
    assert document(again) == found


def test_a_smaller_one_that_passes_is_the_new_answer(tmp_path, in_process, ceilings):
    answer = first_run(tmp_path, ceilings)
    ceilings(0.3, {1 / 16: 0.9, 15 / 16: 0.99})
    result, _ = run(wanted("16trials"), tmp_path)
    found = document(result)
    assert ratio_of(found["answer"]) == 1 / 16
    assert verdicts(found)[answer] == "non-inferior (an earlier run)"
    assert 15 / 16 not in verdicts(found), "larger than what was claimed: of no use"
    assert found["tested_count"] == 2


def test_nobody_is_tested_behind_a_claim_who_is_below_in_the_search(tmp_path, in_process, ceilings):
    answer = first_run(tmp_path, ceilings)
    ceilings(0.3)
    result, events = run(wanted("16trials"), tmp_path)
    assert all(replicate == 0 for _, replicate, *_ in ended(events))
    assert ratio_of(document(result)["answer"]) == answer


def test_who_failed_is_not_tested_again_and_the_next_is_a_further_look(
    tmp_path, in_process, ceilings
):
    ceilings(0.72)
    result, _ = run(wanted("4trials"), tmp_path)
    found = document(result)
    assert (found["found"], found["analyses_count"]) == (False, 1)
    failed = {r for r, said in verdicts(found).items() if said == "non-inferiority not shown"}
    assert len(failed) == 1
    ceilings(0.9)
    result, events = run(wanted("16trials"), tmp_path)
    found = document(result)
    assert found["found"] is True
    assert found["analyses_count"] == 2
    assert failed.isdisjoint({r for r, replicate, *_ in ended(events) if replicate})
    assert verdicts(found)[failed.pop()] == "non-inferiority not shown (an earlier run)"


def test_a_search_that_is_killed_in_the_finals_has_made_no_look(tmp_path, in_process, ceilings):
    ceilings(0.9)
    seen: list = []

    def stop(event) -> None:
        seen.append(event)
        if sum(replicate > 0 for _, replicate, *_ in ended(seen)) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(wanted("4trials"), tmp_path, on_event=stop)
    result, _ = run(wanted("4trials"), tmp_path)
    whole, _ = run(wanted("4trials"), tmp_path / "whole")
    assert document(result)["finalists"] == document(whole)["finalists"]
    assert document(result)["analyses_count"] == 1


def test_other_terms_judge_anew(tmp_path, in_process, ceilings):
    first_run(tmp_path, ceilings)
    result, _ = run(wanted("4trials", margin=0.1), tmp_path)
    assert document(result)["analyses_count"] == 2
    assert "(an earlier run)" not in str(verdicts(document(result)))


def test_a_budget_that_ended_within_the_finals_goes_on_with_them(tmp_path, in_process, ceilings):
    ceilings(0.9)
    # One candidate in full and two fresh seeds of nine epochs, which are no test.
    short, _ = run(wanted("35epochs"), tmp_path)
    assert (document(short)["found"], document(short)["analyses_count"]) == (False, 0)
    again, events = run(wanted("35epochs"), tmp_path)
    assert ended(events) == []
    assert document(again) == document(short)
    longer, _ = run(wanted("120epochs"), tmp_path)
    assert document(longer)["found"] is True


def test_claims_on_other_terms_are_told(tmp_path, in_process, ceilings):
    ceilings(0.72)
    lenient, _ = run(wanted("4trials", margin=0.2), tmp_path)
    claimed = document(lenient)["answer"]
    assert document(lenient)["other_claims"] == []
    strict, _ = run(wanted("4trials"), tmp_path)
    assert document(strict)["found"] is False
    (other,) = document(strict)["other_claims"]
    assert (other["candidate"], other["margin"]) == (claimed["candidate"], 0.2)
    assert other["params_count"] == claimed["params_count"]


@pytest.mark.parametrize("rungs", [(9,), (1, 3, 9)])
def test_a_larger_budget_is_shared_out_anew_behind_what_was_spent(
    tmp_path, in_process, ceilings, rungs
):
    ceilings(0.9)
    ladder = Ladder.of_epochs(*rungs)
    first = document(run(search("60epochs", ladder=ladder), tmp_path)[0])["cost"]
    # All of the first budget is spent, two fifths of it on finals.
    assert first["finals"] >= 2
    _, events = run(search("60epochs", ladder=ladder), tmp_path)
    assert ended(events) == []
    result, events = run(search("160epochs", ladder=ladder), tmp_path)
    searched = [epochs for _, replicate, epochs, task in ended(events) if not replicate]
    assert len(searched) >= 3, "of 100 epochs the search has 60"
    assert document(result)["cost"]["epochs"] <= 160
