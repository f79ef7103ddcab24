"""Faults of the machine: no record keeps them, and the same call ends as an undisturbed one."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from dse.data import Dataset
from dse.errors import MachineError
from dse.execution.local import ATTEMPTS, LocalExecutor
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
