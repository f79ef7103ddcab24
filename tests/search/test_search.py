from __future__ import annotations

import csv
import json
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from dse.errors import StudyError
from dse.execution.job import Ended, EpochDone, Started
from dse.search.engine import SearchStarted, StageStarted
from dse.study.fidelity import Fidelity
from dse.study.table import parse_curve, read_trials
from tests.search import searching
from tests.search.searching import InProcess, document, ended, run, search

EVERY_KIND = (SearchStarted, StageStarted, Started, Ended)
TIMES = {"train_s", "compile_s", "images_per_s", "ended_s"}


def table(results: Path) -> list[dict[str, str]]:
    """The rows of `trials.csv` in their order, without times."""
    with (results / "ratios" / "trials.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def answer(results: Path) -> dict[str, object]:
    found = json.loads((results / "ratios" / "answer.json").read_text())
    del found["cost"]["wall_s"]
    return found


@pytest.fixture
def jobs_log(tmp_path, monkeypatch) -> Path:
    """A file with a line for each job that was trained or scored."""
    path = tmp_path / "jobs"
    path.touch()
    monkeypatch.setenv("DSE_FAKE_LOG", str(path))
    return path


@pytest.mark.parametrize(
    ("budget", "kinds"),
    [
        ("2trials", (SearchStarted, StageStarted, Started)),
        ("36epochs", (Ended,)),  # which end in the middle of the finals
        pytest.param(
            "6trials", (SearchStarted, StageStarted, Started, Ended), marks=pytest.mark.slow
        ),
        pytest.param(
            "100epochs", (SearchStarted, StageStarted, Started, Ended), marks=pytest.mark.slow
        ),
    ],
)
def test_killed_at_any_event_it_ends_as_if_it_had_not_been(tmp_path, in_process, budget, kinds):
    wanted = search(budget, finalists=2)
    moments: list[str] = []

    def keep(event) -> None:  # what a process that is killed at this moment leaves behind
        moments.append(type(event).__name__)
        if isinstance(event, kinds):  # EpochDone leaves what Started does
            shutil.copytree(tmp_path / "results", tmp_path / f"{len(moments)}" / "results")

    run(wanted, tmp_path, on_event=keep)
    expected = (table(tmp_path / "results"), answer(tmp_path / "results"))
    assert {row["status"] for row in expected[0]} >= {"finished"}
    for number, moment in enumerate(moments, 1):
        folder = tmp_path / f"{number}"
        if not folder.exists():
            continue
        before = sum(kind == "Ended" for kind in moments[:number])
        _, events = run(wanted, folder)
        assert (table(folder / "results"), answer(folder / "results")) == expected, moment
        assert len(ended(events)) == moments.count("Ended") - before


@pytest.mark.parametrize("count", [2, 7, 16])
def test_interrupted_with_a_worker_at_work_it_goes_on(tmp_path, fake_worker, jobs_log, count):
    wanted = search("3trials", finalists=2)
    run(wanted, tmp_path / "whole")
    whole_count = len(jobs_log.read_text().splitlines())
    jobs_log.write_text("")
    seen = []

    def stop(event) -> None:
        seen.append(event)
        if len(seen) == count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(wanted, tmp_path, on_event=stop)
    run(wanted, tmp_path)
    assert table(tmp_path / "results") == table(tmp_path / "whole" / "results")
    assert answer(tmp_path / "results") == answer(tmp_path / "whole" / "results")
    # What was being trained at that moment is trained again, and nothing else.
    assert len(jobs_log.read_text().splitlines()) <= whole_count + 1


def test_a_search_that_is_over_trains_and_starts_nothing(tmp_path, fake_worker, monkeypatch):
    first, _ = run(search("3trials"), tmp_path)
    monkeypatch.setenv("DSE_FAKE_SILENT", "1")  # a worker would die
    before = first.trials_path.read_bytes()
    second, events = run(search("3trials"), tmp_path)
    assert [type(event) for event in events] == [SearchStarted, StageStarted, StageStarted]
    assert second.answer == first.answer
    assert first.trials_path.read_bytes() == before


def test_candidates_climb_the_rungs_and_none_is_asked_for_twice(tmp_path, in_process):
    result, events = run(search("12trials"), tmp_path)
    trained = [job for job in ended(events) if job[3] == "train"]
    assert len(set(trained)) == len(trained), "something was trained twice"
    rungs: dict[float, list[int]] = {}
    for ratio, replicate, epochs, _ in trained:
        if replicate == 0:
            rungs.setdefault(ratio, []).append(epochs)
    assert len(rungs) == 12
    assert all(climbed == [1, 3, 9][: len(climbed)] for climbed in rungs.values())
    assert Counter(map(len, rungs.values()))[3] < 12, "nobody was stopped"
    frame = read_trials(result.trials_path)
    searched = frame[frame["stage"] == "search"]
    assert dict(zip(searched["squeeze_ratio"], searched["epochs"], strict=True)) == {
        ratio: climbed[-1] for ratio, climbed in rungs.items()
    }
    stopped = searched[searched["status"] == "stopped"]
    assert stopped["reason"].str.contains("of its size or smaller").all()
    # Every third ratio is bad for its size, and that is seen early.
    bad = {ratio for ratio in rungs if 16 * ratio % 3 == 0}
    assert {row.squeeze_ratio for row in stopped.itertuples()} >= bad - {min(rungs)}
    for text in frame["curve"]:
        curve = parse_curve(text)
        assert all(before[1] <= after[1] for before, after in pairwise(curve))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("amount", [15, 30, 120])
def test_a_budget_of_epochs_is_never_exceeded(tmp_path, fake_worker, amount, workers):
    result, _ = run(search(f"{amount}epochs"), tmp_path, workers=workers)
    frame = read_trials(result.trials_path)
    spent = frame["epochs"].sum()
    assert spent == document(result)["cost"]["epochs"]
    assert spent <= amount
    searched = frame[frame["stage"] == "search"]
    assert 0.5 * amount <= searched["epochs"].sum() <= 0.6 * amount
    assert searched["epochs"].max() == 9, "the smallest budgets end with a candidate in full too"


def test_a_budget_that_reaches_to_no_full_training_is_refused_at_once(tmp_path, in_process):
    with pytest.raises(StudyError) as error:
        run(search("14epochs"), tmp_path)
    assert str(error.value) == (
        "the budget of 14 epochs is too small: a candidate takes 9 epochs to full fidelity, and "
        "the search has 60% of the budget (the finals have the rest): give --budget 15epochs or "
        "more, or take fewer --epochs"
    )
    result, _ = run(search("15epochs"), tmp_path)
    assert document(result)["cost"]["epochs"] == 9


def test_more_budget_goes_on_with_what_was_stopped(tmp_path, in_process):
    run(search("30epochs"), tmp_path)
    before = {row["candidate"]: row for row in table(tmp_path / "results")}
    stopped = {row["squeeze_ratio"]: row for row in before.values() if row["status"] == "stopped"}
    result, events = run(search("200epochs"), tmp_path)
    rows = table(tmp_path / "results")
    assert len({(row["candidate"], row["seed"]) for row in rows}) == len(rows)
    after = {row["candidate"]: row for row in rows if row["seed"] == "0"}
    assert list(after)[: len(before)] == list(before), "the order of asking is kept"
    gone_on = [key for key in before if after[key]["epochs"] != before[key]["epochs"]]
    assert gone_on, "no stopped candidate was taken up again"
    for key in gone_on:
        assert after[key]["curve"].startswith(before[key]["curve"] + " ")
    for ratio, _, epochs, task in ended(events):
        if task == "train" and str(ratio) in stopped:
            assert (epochs or 9) > int(stopped[str(ratio)]["epochs"]), "trained twice"
    assert 100 < document(result)["cost"]["epochs"] <= 200


def test_a_small_space_is_searched_whole(tmp_path, in_process):
    result, events = run(search("40trials"), tmp_path)
    assert document(result)["cost"]["trials"] - document(result)["cost"]["finals"] == 16
    assert sum(isinstance(event, Started) for event in events) == len(ended(events))


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "gp", "level"])
def test_every_sampler_goes_on_as_it_would_have(tmp_path, in_process, sampler):
    wanted = search("6trials", sampler=sampler)
    run(wanted, tmp_path / "whole")
    for count in (1, 3):
        seen = []

        def stop(event, seen=seen, count=count) -> None:
            seen.append(event)
            if sum(isinstance(e, Ended) for e in seen) > count:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            run(wanted, tmp_path, on_event=stop)
    run(wanted, tmp_path)
    assert table(tmp_path / "results") == table(tmp_path / "whole" / "results")


def test_a_worker_that_dies_costs_nothing_but_time(tmp_path, fake_worker, monkeypatch):
    run(search("4trials"), tmp_path / "whole")
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    ratio = table(tmp_path / "whole" / "results")[0]["squeeze_ratio"]
    (deaths / f"{ratio}-0-a").touch()
    (deaths / f"{ratio}-0-b").touch()
    monkeypatch.setenv("DSE_FAKE_DEATHS", str(deaths))
    run(search("4trials"), tmp_path)
    assert not list(deaths.iterdir())
    assert table(tmp_path / "results") == table(tmp_path / "whole" / "results")


def test_a_candidate_that_fails_is_told_and_the_others_go_on(tmp_path, in_process, monkeypatch):
    run(search("5trials"), tmp_path / "whole")
    best = max(table(tmp_path / "whole" / "results"), key=lambda r: float(r["squeeze_ratio"]))
    monkeypatch.setenv("DSE_FAKE_FAILS", json.dumps({best["squeeze_ratio"]: 3}))
    result, _ = run(search("5trials"), tmp_path)
    failed = [row for row in table(tmp_path / "results") if row["status"] == "failed"]
    assert [row["candidate"] for row in failed] == [best["candidate"]]
    assert failed[0]["reason"] == "the loss became nan at step 7"
    assert failed[0]["curve"].startswith("1:")
    assert document(result)["cost"]["failed"] == 1
    assert best["candidate"] not in {f["candidate"] for f in document(result)["finalists"]}


def test_no_checkpoint_is_left_of_what_is_over(tmp_path, fake_worker, monkeypatch):
    folder = tmp_path / "results" / "ratios" / "checkpoints"

    def keep(event) -> None:  # as a worker does that trains for long
        if isinstance(event, EpochDone):
            (folder / event.job.weights_name).touch()

    run(search("5trials"), tmp_path, on_event=keep)
    stopped = {
        f"{row['candidate']}-seed0.safetensors"
        for row in table(tmp_path / "results")
        if row["status"] == "stopped"
    }
    assert {path.name for path in folder.iterdir()} == stopped


def test_in_process_is_what_a_worker_is(tmp_path, fake_worker, monkeypatch):
    run(search("4trials"), tmp_path / "worker")
    monkeypatch.setattr(searching, "make_executor", InProcess)
    run(search("4trials"), tmp_path)
    assert table(tmp_path / "results") == table(tmp_path / "worker" / "results")
    assert answer(tmp_path / "results") == answer(tmp_path / "worker" / "results")


def test_a_latency_is_measured_once_and_counts_as_a_size(tmp_path, in_process, monkeypatch):
    monkeypatch.setenv("DSE_FAKE_FAILS", json.dumps({"0.5": 1}))
    wanted = search("8trials", objectives=("latency_s", "params_count"), finalists=2)
    result, events = run(wanted, tmp_path)
    timed = [
        event.job for event in events if isinstance(event, Ended) and event.job.measure_latency
    ]
    assert len({job.key for job in timed}) == len(timed) == 8
    assert {job.fidelity for job in timed} == {Fidelity(1)}
    frame = read_trials(result.trials_path)
    failed = frame["status"] == "failed"
    assert failed.sum() == frame["latency_s"].isna().sum() == 1
    measured = frame[~failed]
    assert measured["latency_s"].tolist() == (0.001 * measured["squeeze_ratio"]).tolist()
    stopped = frame[frame["status"] == "stopped"]
    assert stopped["reason"].str.contains(" ms, [0-9,]+ parameters").all()
    assert len(stopped) > 0
    again, events = run(wanted, tmp_path)
    assert ended(events) == []
    assert again.answer == result.answer
    ratio = result.answer.answer.metaparameters["squeeze_ratio"]
    assert result.answer.answer.latency_s == 0.001 * ratio
