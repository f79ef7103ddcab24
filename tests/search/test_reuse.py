from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dse.errors import StudyError, StudyMismatchError
from dse.execution.job import Ended
from dse.execution.local import LocalExecutor
from dse.search.engine import SearchStarted
from dse.search.engine import run as run_study
from dse.search.plan import Sweep
from dse.space import Categorical, Fixed, SearchSpace
from dse.space.enumerate import make_pool, survey
from dse.study.table import read_trials
from tests.search.searching import (
    RATIOS,
    RECIPE,
    dataset,
    document,
    ended,
    run,
    search,
)

SWEPT = (0.25, 0.5, 0.75, 1.0)


def space_of(ratios) -> SearchSpace:
    domains = {"base_e": Fixed(16), "incr_e": Fixed(16), "squeeze_ratio": Categorical(ratios)}
    return SearchSpace("swept", "squeezenet", domains)


@pytest.fixture
def sweep(tmp_path, fake_worker, monkeypatch):
    """Run a sweep of candidates by the closed form; gives the study's folder."""

    def run_it(ratios=SWEPT, *, seeds: int = 1, study_seed: int = 0, data=None, **changes) -> Path:
        monkeypatch.setenv("DSE_FAKE_CLOSED_FORM", "1")
        space = space_of(ratios)
        recipe = dataclasses.replace(RECIPE, **changes)
        swept = Sweep("swept", space, survey(space, (8, 8, 1), 10), recipe, seeds, study_seed)
        images = data or dataset(tmp_path)
        result = run_study(swept, images, LocalExecutor(1), results=tmp_path / "results")
        return result.directory

    return run_it


def opened(events) -> SearchStarted:
    return next(event for event in events if isinstance(event, SearchStarted))


def test_a_sweep_is_brought_in_and_its_candidates_are_known(tmp_path, sweep):
    swept = sweep()
    result, events = run(search("6trials"), tmp_path, reuse=[swept])
    assert opened(events).imported.count == 4
    assert opened(events).imported.left_out == ()
    searched = [(ratio, epochs) for ratio, replicate, epochs, _ in ended(events) if not replicate]
    assert not {ratio for ratio, _ in searched} & set(SWEPT), "a reused one was trained again"
    assert len({ratio for ratio, _ in searched}) == 6, "reused ones count as asked for"
    frame = read_trials(result.trials_path)
    reused = frame[frame["stage"] == "reused"].sort_values("squeeze_ratio")
    assert reused["squeeze_ratio"].tolist() == list(SWEPT)
    table = read_trials(swept / "trials.csv")
    assert reused["validation_accuracy"].tolist() == table["validation_accuracy"].tolist()
    assert reused["params_count"].tolist() == table["params_count"].tolist()
    cost = document(result)["cost"]
    assert cost["reused"] == 4
    assert cost["epochs"] == frame[frame["stage"] != "reused"]["epochs"].sum()


def test_reused_trials_are_brought_in_once(tmp_path, sweep):
    swept = sweep()
    first, _ = run(search("3trials"), tmp_path, reuse=[swept])
    again, events = run(search("3trials"), tmp_path, reuse=[swept, swept])
    assert opened(events).imported.count == 0
    assert not [event for event in events if isinstance(event, Ended)]
    assert document(again) == document(first)
    without, _ = run(search("3trials"), tmp_path)
    assert document(without) == document(first), "once brought in, they stay"


def test_a_space_that_was_swept_whole_needs_only_finals(tmp_path, sweep):
    swept = sweep(RATIOS)
    result, events = run(search("16trials"), tmp_path, reuse=[swept])
    assert all(replicate > 0 for _, replicate, _, _ in ended(events))
    assert document(result)["found"] is True


def test_more_seeds_of_a_sweep_are_fresh_ones(tmp_path, sweep, fake_worker):
    swept = sweep(RATIOS, seeds=4)
    result, events = run(search("16trials"), tmp_path, reuse=[swept])
    assert not [job for job in ended(events) if job[3] == "train"]
    found = document(result)
    assert found["answer"]["seeds_count"] == 3
    assert {seed["weights"] for seed in found["answer"]["seeds"]} == {None}
    assert found["cost"]["epochs"] == 0


def test_weights_come_along_and_are_scored_on_the_test_images(tmp_path, sweep, fake_worker):
    swept = sweep(RATIOS, seeds=4)
    for path in swept.glob("trials.csv"):
        for candidate, seed in zip(*read_trials(path)[["candidate", "seed"]].T.values, strict=True):
            (swept / "weights" / f"{candidate}-seed{seed}.safetensors").write_text("weights")
    result, events = run(search("16trials"), tmp_path, reuse=[swept])
    answer = document(result)["answer"]
    assert [seed["weights"] for seed in answer["seeds"]] == [
        f"weights/{answer['candidate']}-seed{replicate}.safetensors" for replicate in (1, 2, 3)
    ]
    assert (result.directory / answer["seeds"][0]["weights"]).read_text() == "weights"
    assert answer["test_accuracy"] is not None
    assert len([job for job in ended(events) if job[3] == "test"]) == 3


def test_a_search_is_brought_in(tmp_path, fake_worker):
    first, _ = run(search("8trials"), tmp_path)
    frame = read_trials(first.trials_path)
    whole = frame[frame["status"] == "finished"]
    assert (frame["status"] == "stopped").any()
    other = dataclasses.replace(search("2trials"), name="second", sampler="tpe")
    result, events = run(other, tmp_path, reuse=[first.directory])
    assert opened(events).imported.count == len(whole)
    reused = read_trials(result.trials_path).query("stage == 'reused'")
    columns = ["candidate", "seed", "validation_accuracy", "params_count", "epochs"]
    assert reused[columns].values.tolist() == whole[columns].values.tolist()


def test_what_was_reused_may_be_reused(tmp_path, sweep):
    swept = sweep()
    first, _ = run(search("1trials"), tmp_path, reuse=[swept])
    other = dataclasses.replace(search("1trials"), name="second")
    _, events = run(other, tmp_path, reuse=[first.directory])
    assert opened(events).imported.count >= 4


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"learning_rate": 0.05}, "recipe.learning_rate: 0.1 wanted, 0.05 in the study"),
        ({"epochs": 3}, "recipe.epochs: 9 wanted, 3 in the study"),
        ({"study_seed": 7}, "study_seed: 0 wanted, 7 in the study"),
    ],
)
def test_what_was_trained_differently_is_refused(tmp_path, sweep, changes, difference):
    swept = sweep((0.5,), **changes)
    with pytest.raises(StudyMismatchError) as error:
        run(search(), tmp_path, reuse=[swept])
    lines = str(error.value).splitlines()
    assert lines[0].startswith(f"--reuse {swept}: its candidates were not trained as this")
    assert lines[1:-1] == [f"  {difference}"]


def test_other_images_are_refused_but_not_another_name_of_theirs(tmp_path, sweep):
    images = dataclasses.replace(dataset(tmp_path), name="moved")
    swept = sweep((0.5,), data=images)
    _, events = run(search("1trials"), tmp_path, reuse=[swept])
    assert opened(events).imported.count == 1
    other = dataclasses.replace(dataset(tmp_path), fingerprint="e" * 32)
    with pytest.raises(StudyMismatchError, match=r"data\.fingerprint: e+ wanted, f+ in the"):
        run(search("1trials"), tmp_path / "b", reuse=[swept], dataset=other)


def test_what_is_outside_the_space_is_left_out_and_told(tmp_path, sweep):
    swept = sweep()
    smaller = make_pool(space_of((0.25, 0.3125, 0.375, 0.4375)), (8, 8, 1), 10)
    _, events = run(search("2trials", pool=smaller), tmp_path, reuse=[swept])
    assert opened(events).imported.count == 1
    assert opened(events).imported.left_out == (
        f"{swept}: 3 finished trials are outside this space",
    )


def test_trials_that_do_not_say_which_images_were_right_are_left_out(tmp_path, sweep, monkeypatch):
    from dse.study.trial import Trial

    def without_images(trial, fidelity, measurement, ended_s):
        measurement = dataclasses.replace(measurement, validation_correct="", test_correct="")
        return written(trial, fidelity, measurement, ended_s)

    # As an older version of dse recorded them.
    written = Trial.rung_attribute
    monkeypatch.setattr(Trial, "rung_attribute", without_images)
    swept = sweep()
    monkeypatch.undo()
    monkeypatch.setattr("dse.execution.local.WORKER_COMMAND", _worker())
    _, events = run(search("1trials"), tmp_path, reuse=[swept])
    assert opened(events).imported.count == 0
    (line,) = opened(events).imported.left_out
    assert line.startswith(f"{swept}: 4 finished trials do not say which images were correct")


def _worker():
    from tests import fakes

    return fakes.WORKER


def test_failed_ones_are_not_brought_in(tmp_path, sweep, monkeypatch):
    monkeypatch.setenv("DSE_FAKE_FAILS", '{"0.5": 2}')
    swept = sweep()
    _, events = run(search("1trials"), tmp_path, reuse=[swept])
    assert opened(events).imported.count == 3


def test_a_folder_that_is_no_study_is_refused(tmp_path, in_process):
    with pytest.raises(StudyError, match=r"--reuse .*nowhere: no study\.db found; only studies"):
        run(search(), tmp_path, reuse=[tmp_path / "nowhere"])


def test_a_record_that_is_none_is_refused(tmp_path, in_process):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "study.db").write_bytes(b"not a database at all, certainly" * 100)
    with pytest.raises(StudyError, match="file is not a database"):
        run(search(), tmp_path, reuse=[tmp_path / "other"])
    (tmp_path / "other" / "study.db").write_bytes(b"")
    with pytest.raises(StudyError, match=r"its study\.db holds no study"):
        run(search(), tmp_path, reuse=[tmp_path / "other"])


def test_a_sweep_and_a_search_of_one_name_are_told_apart(tmp_path, sweep):
    swept = sweep()
    before = (swept / "trials.csv").read_bytes()
    named = dataclasses.replace(
        search(), name="swept", pool=make_pool(space_of(SWEPT), (8, 8, 1), 10)
    )
    with pytest.raises(StudyMismatchError) as error:
        run(named, tmp_path)
    lines = str(error.value).splitlines()
    assert lines[1:-1] == ["  kind: search wanted, sweep in the study"]
    assert (swept / "trials.csv").read_bytes() == before
    result, _ = run(dataclasses.replace(named, name="found"), tmp_path)
    space = dataclasses.replace(space_of(SWEPT))
    sweep_of_it = Sweep("found", space, survey(space, (8, 8, 1), 10), RECIPE)
    with pytest.raises(StudyMismatchError) as error:
        run_study(sweep_of_it, dataset(tmp_path), LocalExecutor(1), results=tmp_path / "results")
    lines = str(error.value).splitlines()
    assert lines[1:-1] == ["  kind: sweep wanted, search in the study"]
    assert np.isfinite(read_trials(result.trials_path)["ended_s"]).all()
