from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from dse.architecture import build, make_candidate
from dse.compress.quantize import compressed_bytes
from dse.compress.stages import CompressionPlan, compress_network
from dse.compress.tuner import NoImages
from dse.errors import StudyError
from dse.execution.job import Job
from dse.report.figures.search_front import callout
from dse.search.reference import Reference, Replicate
from dse.study.answer import read_answer
from dse.study.measurement import unpack_bits
from dse.study.table import read_trials
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import trained_preprocessing
from dse.weights.safetensors import save_weights
from tests.fakes.closed_form import accuracy, right
from tests.search.searching import document, ended, pool, run, search

FULL = 1 - 2.0**-9 / 2
"""Share of its ceiling that a candidate has after nine epochs."""


@pytest.fixture
def ceilings(monkeypatch):
    """Set the ceiling of candidates by squeeze ratio; the others stay far below."""

    def put(values: dict[float, float]) -> None:
        every = {str(k / 16): 0.3 for k in range(1, 17)}
        plain = every | {str(ratio): ceiling for ratio, ceiling in values.items()}
        monkeypatch.setenv("DSE_FAKE_CEILINGS", json.dumps(plain))

    return put


def network(ceiling: float, seeds: int = 3) -> Reference:
    """A reference of so many seeds by the closed form."""
    replicates = [
        Replicate(r, 9, 1.0, np.array(right(200, ceiling, r)), np.array(right(200, ceiling, r)))
        for r in range(seeds)
    ]
    candidate = pool().candidate(15)
    return Reference(
        "big", candidate=candidate, costs={"params_count": 10**6}, replicates=tuple(replicates)
    )


def scored(events) -> list[tuple[float, int]]:
    return [(ratio, replicate) for ratio, replicate, _, task in ended(events) if task == "test"]


def test_the_smallest_that_is_clearly_level_is_the_answer(tmp_path, in_process, ceilings):
    ceilings({0.25: 0.9, 0.5: 0.95, 1.0: 0.96})
    result, events = run(search("16trials"), tmp_path)
    found = document(result)
    assert found["found"] is True
    assert found["nearest"] is None
    answer = found["answer"]
    assert answer["metaparameters"]["squeeze_ratio"] == 0.25
    index = pool().find(pool().candidate(3))
    assert answer["params_count"] == pool().costs["params_count"][index]
    assert answer["validation_accuracy"] == round(0.9 * FULL * 200) / 200
    assert answer["test_accuracy"] == round(0.9 * FULL * 200) / 200
    assert answer["test_low"] < answer["test_accuracy"] < answer["test_high"]
    assert answer["times_fewer"] is None, "a number has no size"
    assert answer["difference_low"] > 0
    assert scored(events) == [(0.25, 1), (0.25, 2), (0.25, 3)]
    assert found["tested_count"] == 1
    assert [seed["replicate"] for seed in answer["seeds"]] == [1, 2, 3]
    frame = read_trials(result.trials_path)
    assert found["cost"]["epochs"] == frame["epochs"].sum()
    assert found["cost"]["finals"] == (frame["stage"] == "finals").sum()
    assert found["cost"]["trials"] == len(frame)


def test_the_difference_is_that_of_the_confirmation_split(tmp_path, in_process, ceilings):
    ceilings({0.25: 0.9})
    result, _ = run(search("16trials"), tmp_path, network(0.7))
    found = document(result)
    from dse.search.confirmation import confirmation_split

    mask = confirmation_split(200)
    share = accuracy("0.25", 9)
    ours = np.mean([np.array(right(200, share, r))[mask].mean() for r in (1, 2, 3)])
    theirs = np.mean([np.array(right(200, 0.7, r))[mask].mean() for r in (0, 1, 2)])
    assert found["answer"]["difference"] == pytest.approx(ours - theirs)
    assert found["confirmation_images"] == 100
    assert found["answer"]["times_fewer"] == 10**6 / found["answer"]["params_count"]
    assert found["reference"]["validation_accuracy"] == pytest.approx(0.7)
    assert found["reference"]["seeds"] == pytest.approx([0.7] * 3)
    assert found["answer"]["test_difference"] == pytest.approx(0.9 - 0.7)


def test_nothing_qualifies(tmp_path, in_process, ceilings):
    ceilings({0.25: 0.60, 0.5: 0.65, 1.0: 0.62})
    result, events = run(search("16trials"), tmp_path)
    found = document(result)
    assert (found["found"], found["answer"], found["tested_count"]) == (False, None, 0)
    assert found["nearest"]["metaparameters"]["squeeze_ratio"] == 0.5
    assert found["nearest"]["test_accuracy"] is None
    assert found["nearest"]["difference"] < 0
    assert scored(events) == [], "the test images are looked at for an answer alone"
    answer = read_answer(result.directory / "answer.json")
    assert (answer.found, answer.answer) == (False, None)
    assert answer.nearest.seeds_count == found["nearest"]["seeds_count"] > 0


def test_a_margin_and_the_claim_may_change_without_new_training(tmp_path, in_process, ceilings):
    ceilings({0.25: 0.68, 0.5: 0.69})
    refused, _ = run(search("16trials"), tmp_path)
    assert document(refused)["found"] is False
    accepted, events = run(search("16trials", margin=0.2), tmp_path)
    assert document(accepted)["answer"]["metaparameters"]["squeeze_ratio"] == 0.25
    assert {replicate for _, replicate, _, _ in ended(events)} <= {1, 2, 3}


def test_the_test_images_are_scored_once(tmp_path, in_process, ceilings):
    ceilings({0.25: 0.9, 0.5: 0.95})
    first, events = run(search("16trials"), tmp_path)
    assert len(scored(events)) == 3
    again, events = run(search("16trials"), tmp_path)
    assert ended(events) == []
    assert document(again) == document(first)
    # Another claim, another answer: that is told.
    other, events = run(search("16trials", margin=0.0, confidence=0.9999), tmp_path)
    assert document(other)["tested_count"] >= 1
    assert all(ratio != 0.25 for ratio, _ in scored(events))


def test_a_test_that_was_interrupted_scores_what_is_missing(tmp_path, in_process, ceilings):
    ceilings({0.25: 0.9})
    seen = []

    def stop(event) -> None:
        seen.append(event)
        if len(scored(seen)) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(search("16trials"), tmp_path, on_event=stop)
    result, events = run(search("16trials"), tmp_path)
    assert scored(events) == [(0.25, 3)]
    whole, _ = run(search("16trials"), tmp_path / "whole")
    assert document(result)["answer"] == document(whole)["answer"]


def test_finalists_without_a_fresh_seed_have_no_difference(tmp_path, in_process, ceilings):
    ceilings({0.25: 0.75, 1.0: 0.78})
    # The most accurate is tested first and does not pass, so the others are not trained at all.
    result, _ = run(search("16trials", confidence=0.99999), tmp_path)
    found = document(result)
    known = {f["candidate"]: f["seeds_count"] for f in found["finalists"]}
    assert sorted(known.values()) == [0, 2], "a clear loser after two of three seeds"
    answer = read_answer(result.directory / "answer.json")
    for finalist in answer.finalists:
        assert (finalist.difference is None) == (known[finalist.candidate] == 0)
        assert finalist.verdict
    assert answer.found is False


def test_no_finals_at_all_still_give_an_answer_that_can_be_read(tmp_path, in_process, ceilings):
    ceilings({0.5: 0.9})
    # 0.6 of 15 epochs are one candidate in full; the other 6 are no fresh seed of 9.
    result, _ = run(search("15epochs"), tmp_path)
    found = document(result)
    assert found["found"] is False
    assert found["nearest"]["seeds_count"] == 0
    assert found["nearest"]["difference"] is None
    answer = read_answer(result.directory / "answer.json")
    assert callout(answer.nearest, answer, "params_count").endswith("no fresh seed was trained")


def test_one_fresh_seed_tells_nothing_of_the_seeds(tmp_path, in_process, ceilings):
    ceilings({0.5: 0.9})
    result, _ = run(search("28epochs"), tmp_path)
    nearest = read_answer(result.directory / "answer.json").nearest
    assert nearest.seeds_count == 1
    assert nearest.difference is not None
    assert nearest.difference_low is None
    assert callout(nearest, read_answer(result.directory / "answer.json"), "params_count").endswith(
        "of one seed"
    )


def test_a_finalist_whose_fresh_seed_fails_is_not_the_answer(
    tmp_path, in_process, ceilings, monkeypatch
):
    ceilings({0.25: 0.9, 0.5: 0.95})
    monkeypatch.setenv("DSE_FAKE_FAILS", json.dumps({"0.25-2": 9}))
    result, _ = run(search("16trials"), tmp_path)
    found = document(result)
    assert found["answer"]["metaparameters"]["squeeze_ratio"] == 0.5
    verdicts = {f["candidate"]: f["verdict"] for f in found["finalists"]}
    assert verdicts[pool().candidate(3).key] == "left out: a training of it failed"
    assert found["cost"]["failed"] == 1


def test_every_candidate_fails(tmp_path, in_process, monkeypatch):
    monkeypatch.setenv("DSE_FAKE_FAILS", json.dumps({str(k / 16): 1 for k in range(1, 17)}))
    with pytest.raises(StudyError) as error:
        run(search("4trials"), tmp_path)
    path = tmp_path / "results" / "ratios" / "trials.csv"
    assert str(error.value) == (
        "all 4 candidates failed; the last: the loss became nan at step 7; the reasons are in "
        f"{path}"
    )
    assert read_trials(path)["status"].tolist() == ["failed"] * 4


def test_right_images_of_the_test_are_kept(tmp_path, in_process, ceilings):
    import optuna

    from dse.study.record import NOTES

    ceilings({0.25: 0.9})
    result, _ = run(search("16trials"), tmp_path)
    storage = optuna.storages.RDBStorage(f"sqlite:///{Path(result.directory) / 'study.db'}")
    study = optuna.load_study(study_name="ratios", storage=storage)
    ((key, by_replicate),) = study.user_attrs[NOTES["tested"]]["value"].items()
    storage.engine.dispose()
    assert key == document(result)["answer"]["candidate"]
    for replicate, text in by_replicate.items():
        bits = unpack_bits(text, 200)
        assert bits.tolist() == right(200, accuracy("0.25", 9), int(replicate))


def test_the_bytes_are_those_that_dse_compress_would_write(tmp_path):
    candidate = make_candidate(
        "squeezenet", {"base_e": 16, "incr_e": 8, "fire_modules": 2, "norm": "batch"}
    )
    rng = np.random.default_rng(0)
    arrays = {
        p.path: np.abs(rng.normal(size=p.shape)).astype(np.float32)
        for p in build(candidate, (8, 8, 1), 10).parameters
    }
    metadata = WeightsMetadata(
        family=candidate.family,
        metaparameters=candidate.metaparameters,
        input_shape=(8, 8, 1),
        classes=tuple("abcdefghij"),
        preprocessing=trained_preprocessing((8, 8, 1), (0.3,), (0.3,)),
        extra={"recipe": "{}"},
    )
    paths = [tmp_path / "weights" / Job(candidate, r).weights_name for r in (1, 2)]
    assert compressed_bytes(paths) is None
    save_weights(paths[1], arrays, {}, metadata)
    plan = CompressionPlan(bits=6)
    content = compress_network(arrays, metadata, plan, NoImages()).content
    assert compressed_bytes(paths) == len(content)
