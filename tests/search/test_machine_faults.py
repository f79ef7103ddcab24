"""Faults of the machine: no record keeps them, and the same call ends as an undisturbed one."""

from __future__ import annotations

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from dse.data import Dataset
from dse.errors import MachineError, StudyError
from dse.execution.job import Ended, Started
from dse.execution.local import ATTEMPTS, LocalExecutor
from dse.search.engine import ReferenceAwaited
from dse.search.engine import run as run_study
from dse.search.plan import Search
from dse.search.reference import ReferencePlan
from dse.search.train_reference import find_reference
from dse.study.measurement import Measurement
from dse.study.record import open_record
from dse.study.trial import FINALS, SEARCH, Trial
from tests.search.searching import dataset as blank
from tests.search.searching import document, run, search

DIED = Measurement(status="failed", reason="the worker died 3 times (signal SIGKILL); it may need")
"""What versions before 0.3 recorded of a machine without memory."""


@pytest.fixture
def deaths(tmp_path, monkeypatch, fake_worker) -> Path:
    folder = tmp_path / "deaths"
    folder.mkdir()
    monkeypatch.setenv("DSE_FAKE_DEATHS", str(folder))
    return folder


def kill_all(deaths: Path, name: str, times: int = ATTEMPTS) -> None:
    for number in range(times):
        (deaths / f"{name}-{number}").touch()


def measured(path: Path) -> list[str]:
    """The lines of `trials.csv`; the fake's times are always the same."""
    return path.read_text().splitlines()


def sweep_it(sweep, tmp_path: Path, results: str):
    executor = LocalExecutor(2)
    data: Dataset = blank(tmp_path)
    return run_study(sweep, data, executor, results=tmp_path / results)


def test_a_sweep_trains_the_others_says_so_and_is_whole_the_next_time(sweep, tmp_path, deaths):
    kill_all(deaths, "0.5-0")
    kill_all(deaths, "0.5-1")
    with pytest.raises(MachineError) as error:
        sweep_it(sweep, tmp_path, "results")
    assert str(error.value).startswith(
        f"1 candidate of {tmp_path / 'results' / 'ratios'} could not be trained, which is the "
        "machine's fault and not recorded as theirs; "
    )
    assert "the worker died 3 times (signal SIGKILL); there may be too little memory" in str(
        error.value
    )
    table = tmp_path / "results" / "ratios" / "trials.csv"
    assert len(measured(table)) == 1 + 4
    again = sweep_it(sweep, tmp_path, "results")
    assert again.trained_count == 2
    undisturbed = sweep_it(sweep, tmp_path, "undisturbed")
    assert measured(table) == measured(undisturbed.trials_path)


def told_analysis(tmp_path: Path, wanted: Search) -> dict[str, Any]:
    with open_record(tmp_path / "results", wanted.definition(blank(tmp_path)), wanted.space) as r:
        (analysis,) = r.note("analyses")
    return analysis


def without_times(found: dict) -> dict:
    del found["cost"]["wall_s"]
    return found


@pytest.mark.parametrize("stage", [SEARCH, FINALS])
def test_a_search_stops_and_ends_as_if_nothing_had_been(tmp_path, deaths, stage):
    undisturbed, _ = run(search(), tmp_path / "undisturbed")
    victim = [trial for trial in undisturbed.trials.values() if trial.stage == stage][1]
    kill_all(deaths, f"{victim.candidate.metaparameters['squeeze_ratio']}-{victim.replicate}")
    with pytest.raises(MachineError, match="could not be trained, which is the machine's fault"):
        run(search(), tmp_path)
    found, _ = run(search(), tmp_path)
    assert without_times(document(found)) == without_times(document(undisturbed))
    assert [t.key for t in found.trials.values()] == [t.key for t in undisturbed.trials.values()]


def test_a_reference_is_trained_again(tmp_path, deaths):
    from tests.search.test_reference import plan

    wanted: ReferencePlan = plan(seeds=2)
    data = blank(tmp_path, input_shape=(32, 32, 3))
    kill_all(deaths, "network-1")
    with pytest.raises(MachineError, match="could not be trained"):
        find_reference(wanted, data, LocalExecutor(1), results=tmp_path / "results")
    found = find_reference(wanted, data, LocalExecutor(1), results=tmp_path / "results")
    assert [replicate.replicate for replicate in found.replicates] == [0, 1]


def test_a_sweep_retries_what_an_older_version_recorded(sweep, tmp_path, fake_worker):
    data = blank(tmp_path)
    undisturbed = sweep_it(sweep, tmp_path, "undisturbed")
    with open_record(tmp_path / "results", sweep.definition(data), sweep.space) as record:
        for job in sweep.jobs:
            trial = Trial(job.candidate, job.replicate, sweep.costs[job.candidate].by_name, SEARCH)
            trial.add(record.full, DIED, 1.0)
            record.add_whole(trial)
        assert all(trial.is_failed for trial in record.trials.values())
    result = sweep_it(sweep, tmp_path, "results")
    assert result.trained_count == len(sweep.jobs)
    assert measured(result.trials_path) == measured(undisturbed.trials_path)


def test_a_search_retries_what_an_older_version_recorded(tmp_path, fake_worker):
    """Every training failed for want of memory, at the first rung, higher, and in the finals."""
    undisturbed, _ = run(search(), tmp_path / "undisturbed")
    wanted = search()
    ended = told_analysis(tmp_path / "undisturbed", wanted)
    with open_record(
        tmp_path / "results", wanted.definition(blank(tmp_path)), wanted.space
    ) as record:
        for place, trial in enumerate(undisturbed.trials.values()):
            if trial.stage == FINALS:
                failed = Trial(trial.candidate, trial.replicate, trial.costs, FINALS)
                failed.add(record.full, DIED, 1.0)
                record.add_whole(failed)
                continue
            begun = record.begin(trial.candidate, trial.costs)
            lowest = min(trial.rungs)
            if place % 2:
                record.add(begun, trial.rungs[lowest], 1.0)
            record.add(begun, dataclasses.replace(DIED, epochs=0), 2.0)
        broken = [o | {"verdict": "broken"} for o in ended["outcomes"]]
        record.set_note("analyses", [ended | {"outcomes": broken}])
    found, _ = run(search(), tmp_path)
    # All were sampled before, so other rungs are reached on the way; the answer is the same.
    both = [document(found), document(undisturbed)]
    assert both[0].pop("cost")["failed"] == both[1].pop("cost")["failed"]
    assert both[0] == both[1]


def rename(folder: Path) -> None:
    (folder / "study.db").rename(folder / "away.db")


def remove(folder: Path) -> None:
    for path in folder.glob("study.db*"):
        path.unlink()


def replace_by_another(folder: Path) -> None:
    rename(folder)
    (folder / "study.db").write_bytes(b"somebody else's")


def rename_all(folder: Path) -> None:
    folder.rename(folder.with_name("renamed"))


@pytest.mark.parametrize("disturb", [rename, remove, replace_by_another, rename_all])
def test_a_record_that_is_not_the_file_of_its_name_any_more_is_saved(
    sweep, tmp_path, fake_worker, disturb
):
    undisturbed = sweep_it(sweep, tmp_path, "undisturbed")
    folder = tmp_path / "results" / sweep.name
    ended: list[Ended] = []

    def on_event(event: object) -> None:
        if isinstance(event, Ended):
            ended.append(event)
            if len(ended) == 2:
                disturb(folder)

    data = blank(tmp_path)
    with pytest.raises(StudyError) as error:
        run_study(sweep, data, LocalExecutor(1), results=folder.parent, on_event=on_event)
    saved = folder / ("study-saved-1.db" if disturb is replace_by_another else "study.db")
    assert str(error.value).startswith(f"{folder / 'study.db'} is not the file any more that this")
    assert f"all that was recorded is saved in {saved}: " in str(error.value)
    assert {path.name for path in folder.glob("*.db*")} - {"away.db"} == {"study.db", saved.name}
    if disturb is replace_by_another:
        assert (folder / "study.db").read_bytes() == b"somebody else's"
        saved.replace(folder / "study.db")
    again = sweep_it(sweep, tmp_path, "results")
    assert again.trained_count == len(sweep.jobs) - 3, "what ended as the file went is kept too"
    assert measured(again.trials_path) == measured(undisturbed.trials_path)


def test_a_search_whose_record_is_renamed_ends_as_if_it_had_not_been(tmp_path, in_process):
    undisturbed, _ = run(search(), tmp_path / "undisturbed")
    ended: list[Ended] = []

    def on_event(event: object) -> None:
        if isinstance(event, Ended):
            ended.append(event)
            if len(ended) == 5:
                rename(tmp_path / "results" / "ratios")

    with pytest.raises(StudyError, match=r"saved in .*study\.db: the same command resumes"):
        run(search(), tmp_path, on_event=on_event)
    found, _ = run(search(), tmp_path)
    assert without_times(document(found)) == without_times(document(undisturbed))


def test_a_second_search_waits_for_the_reference(tmp_path, fake_worker, monkeypatch):
    from tests.search.test_reference import plan

    monkeypatch.setenv("DSE_FAKE_WAIT_S", "0.3")
    data, begun = blank(tmp_path, input_shape=(32, 32, 3)), threading.Event()
    options = {"results": tmp_path / "results"}

    def first():
        def on_event(event: object) -> None:
            if isinstance(event, Started):
                begun.set()

        return find_reference(plan(seeds=2), data, LocalExecutor(1), on_event=on_event, **options)

    events: list[object] = []
    with ThreadPoolExecutor() as threads:
        one = threads.submit(first)
        assert begun.wait(30)
        two = find_reference(
            plan(seeds=2), data, LocalExecutor(1), on_event=events.append, **options
        )
        assert events == [ReferenceAwaited(two.path.parent)], "it trained nothing itself"
        assert two.validation_accuracy == one.result().validation_accuracy
