from __future__ import annotations

import contextlib
import csv
import dataclasses
import json
from pathlib import Path

import optuna
import pytest

from dse.errors import StudyError, StudyMismatchError
from dse.execution.job import Job
from dse.search.rungs import Ladder
from dse.study.fidelity import Fidelity
from dse.study.measurement import Measurement
from dse.study.record import Record, open_record, peek_trials, read_study
from dse.study.table import parse_curve, read_trials
from dse.study.trial import FINALS, REUSED, SEARCH, Trial
from tests.fakes.closed_form import answer
from tests.search import searching

DEFINITION = searching.search().definition(searching.dataset(Path()))
FAILED = Measurement(status="failed", reason="the loss became nan at step 7", epochs=1)


@contextlib.contextmanager
def opened(tmp_path: Path, definition=DEFINITION):
    with open_record(tmp_path, definition, searching.SPACE) as record:
        yield record


def measured(job: Job) -> Measurement:
    setup = {"recipe": searching.RECIPE.to_dict(), "scores_test": False}
    return Measurement(**answer(setup, job.to_dict()))


def ask(record: Record, index: int):
    pool = searching.pool()
    return record.begin(pool.candidate(index), pool.costs_of(index))


def add(record: Record, trial, epochs: int, ended_s: float) -> None:
    record.add(trial, measured(Job(trial.candidate, 0, Fidelity(epochs))), ended_s)


def whole(job: Job, costs, stage: str, ended_s: float) -> Trial:
    trial = Trial(job.candidate, job.replicate, dict(costs), stage)
    trial.add(Fidelity(9), measured(job), ended_s)
    return trial


def fill(record: Record) -> None:
    """0 full, 1 stopped, 2 stopped and on again, 3 failed at its second rung, 4 only asked for."""
    for index in range(5):
        ask(record, index)
    trials = record.searched
    for number, (row, epochs) in enumerate([(0, 1), (1, 1), (0, 3), (2, 1), (3, 1), (0, 9)]):
        add(record, trials[row], epochs, number + 0.5)
    record.add(trials[3], FAILED, 7.0)
    record.stop(trials[1], "others were better")
    record.stop(trials[2], "others were better")
    add(record, record.resume(trials[2]), 3, 8.0)
    record.add_whole(whole(Job(trials[0].candidate, 1), trials[0].costs, FINALS, 9.25))


def optuna_trials(directory: Path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{directory / 'study.db'}")
    trials = optuna.load_study(study_name="ratios", storage=storage).get_trials()
    storage.engine.dispose()
    return trials


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_opened_again_it_is_what_it_was(tmp_path):
    with opened(tmp_path) as record:
        fill(record)
        before, table = record.trials, record.write_table().read_bytes()
        spent = (record.spent_s, record.spent_epochs)
    with opened(tmp_path) as record:
        assert list(record.trials) == list(before)
        assert record.trials == before
        assert record.write_table().read_bytes() == table
        # 9 of the first, 1 of the second, 3 of the third, 1 and the failed one of the fourth,
        # none of the fifth, 9 in the finals.
        assert (record.spent_s, record.spent_epochs) == spent == (9.25, 9 + 1 + 3 + 2 + 9)


def test_optuna_sees_the_same(tmp_path):
    with opened(tmp_path) as record:
        fill(record)
        accuracy = [t.latest.validation_accuracy for t in record.searched[:3]]
        sizes = [t.costs["params_count"] for t in record.searched]
    trials = optuna_trials(tmp_path / "ratios")
    assert [t.state.name for t in trials] == [
        *("COMPLETE", "PRUNED", "PRUNED", "FAIL", "RUNNING"),
        "RUNNING",  # the third one, on again
        "COMPLETE",  # in the finals
    ]
    assert trials[0].values == [accuracy[0], sizes[0]]
    assert list(trials[0].intermediate_values) == [1, 3, 9]
    assert trials[0].intermediate_values[9] == accuracy[0]
    assert trials[5].intermediate_values == {3: accuracy[2]}
    assert trials[3].intermediate_values.keys() == {1}
    assert [t.params["squeeze_ratio"] for t in trials[:5]] == list(searching.RATIOS[:5])
    assert trials[5].params == trials[2].params


def test_the_table_says_how_each_trial_ended(tmp_path):
    with opened(tmp_path) as record:
        fill(record)
        path = record.write_table()
        first = record.searched[0]
    table = rows(path)
    names = ("squeeze_ratio", "seed", "status", "reason", "epochs", "stage", "ended_s")
    unsaid = "the search had not come to an end"
    assert [tuple(row[name] for name in names) for row in table] == [
        ("0.0625", "0", "finished", "", "9", "search", "5.5"),
        ("0.125", "0", "stopped", "others were better", "1", "search", "1.5"),
        ("0.1875", "0", "stopped", unsaid, "3", "search", "8.0"),
        ("0.25", "0", "failed", FAILED.reason, "1", "search", "7.0"),
        ("0.0625", "1", "finished", "", "9", "finals", "9.25"),
    ]
    assert parse_curve(table[0]["curve"]) == tuple(
        (fidelity.epochs, m.validation_accuracy) for fidelity, m in first.rungs.items()
    )
    assert [len(parse_curve(row["curve"])) for row in table] == [3, 1, 2, 1, 1]
    assert table[3]["validation_accuracy"] == ""
    frame = read_trials(path)
    assert frame["status"].tolist() == [row["status"] for row in table]
    assert frame["test_accuracy"].isna().all(), "a search leaves the test images alone"


@pytest.mark.parametrize(
    ("epochs", "rung"),
    [(0, 2), (1, 2), (2, 2)],  # after a rung of 1 epoch, on the way to 3
)
def test_a_failure_ends_a_trial_behind_its_last_rung(tmp_path, epochs, rung):
    with opened(tmp_path) as record:
        trial = ask(record, 0)
        add(record, trial, 1, 1.0)
        record.add(trial, dataclasses.replace(FAILED, epochs=epochs), 2.0)
        assert list(trial.rungs) == [Fidelity(1), Fidelity(rung)]
        assert trial.is_failed
        assert record.is_over(trial.key)
    with opened(tmp_path) as record:
        assert record.searched == [dataclasses.replace(trial)]
        assert record.searched[0].latest.reason == FAILED.reason


def test_a_record_is_not_written_through_a_link(tmp_path):
    with opened(tmp_path) as record:
        folder = record.directory
    (folder / "study.db").rename(tmp_path / "victim")
    before = (tmp_path / "victim").read_bytes()
    (folder / "study.db").symlink_to(tmp_path / "victim")
    with (
        pytest.raises(StudyError, match=r"study\.db is a symbolic link, which is not written"),
        opened(tmp_path),
    ):
        pass
    assert (tmp_path / "victim").read_bytes() == before


def test_a_failure_before_any_rung_counts_as_one_epoch(tmp_path):
    with opened(tmp_path) as record:
        trial = ask(record, 0)
        record.add(trial, Measurement(status="failed", reason="no"), 2.0)
        assert (record.spent_epochs, trial.latest.reason) == (1, "no")
        assert rows(record.write_table())[0]["curve"] == ""


def test_what_was_killed_before_its_end_was_noted_ends_when_opened(tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    def die(*_):
        raise Killed

    def killed(change) -> None:
        with contextlib.suppress(Killed), opened(tmp_path) as record, monkeypatch.context() as m:
            m.setattr(record._storage, "set_trial_state_values", die)
            change(record)

    with opened(tmp_path) as record:
        for index in range(3):
            add(record, ask(record, index), 1, 1.0)
    killed(lambda record: add(record, record.searched[0], 9, 2.0))
    killed(lambda record: record.add(record.searched[1], FAILED, 2.0))
    killed(lambda record: record.stop(record.searched[2], "others were better"))
    assert [t.state.name for t in optuna_trials(tmp_path / "ratios")][2:] == ["RUNNING"]
    with opened(tmp_path) as record:
        assert [t.stopped for t in record.searched] == ["", "", "others were better"]
        assert [t.epochs for t in record.searched] == [9, 2, 1]
    trials = optuna_trials(tmp_path / "ratios")
    assert [t.state.name for t in trials] == ["COMPLETE", "FAIL", "PRUNED"]
    assert len(trials[0].values) == 2


def test_reused_trials_cost_nothing_and_belong_to_the_search(tmp_path):
    with opened(tmp_path) as record:
        candidate = searching.pool().candidate(3)
        costs = searching.pool().costs_of(3)
        for replicate in (0, 1):
            record.add_whole(whole(Job(candidate, replicate), costs, REUSED, 0.0))
        assert record.spent_epochs == 0
        assert [t.key for t in record.searched] == [(candidate.key, 0)]


def test_what_was_noted_is_kept(tmp_path):
    tested = {"abc": {"1": "AA==", "2": "gA=="}, "def": {"1": "AA=="}}
    with opened(tmp_path) as record:
        assert record.note("tested") is None
        record.set_note("tested", {"abc": {"1": "AA=="}})
        record.set_note("tested", tested)
    with opened(tmp_path) as record:
        assert record.note("tested") == tested
        assert record.note("runs") is None


def test_a_sweeps_trials_are_those_of_a_search_with_one_rung(tmp_path):
    """Its record says the same, its table leaves out what is the same for all."""
    definition = dataclasses.replace(DEFINITION, search=None)
    with opened(tmp_path, definition) as record:
        pool = searching.pool()
        for replicate in (0, 1):
            job = Job(pool.candidate(3), replicate)
            record.add_whole(whole(job, pool.costs_of(3), SEARCH, 2.5))
        table = rows(record.write_table([(pool.candidate(3).key, n) for n in (1, 0, 2)]))
    assert [row["seed"] for row in table] == ["1", "0"]
    assert table[0].keys().isdisjoint({"stage", "curve", "ended_s"})
    held, trials = read_study(tmp_path / "ratios")
    assert held == json.loads(json.dumps(definition.to_dict()))
    assert [(t.stage, t.epochs, t.ended_s) for t in trials] == [("search", 9, [2.5])] * 2
    assert {t.key: t for t in trials} == peek_trials(tmp_path, definition)
    assert [t.state.name for t in optuna_trials(tmp_path / "ratios")] == ["COMPLETE"] * 2


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"sampler": "tpe"}, "search.sampler: tpe wanted, random in the study"),
        (
            {"ladder": Ladder.of_epochs(3, 9)},
            "search.rungs: [3, 9] wanted, [1, 3, 9] in the study",
        ),
        (
            {"objectives": ("macs", "params_count")},
            "search.objectives: ['macs', 'params_count'] wanted, ['params_count'] in the study",
        ),
        ({"study_seed": 5}, "study_seed: 5 wanted, 0 in the study"),
    ],
)
def test_another_search_under_the_name_is_refused(tmp_path, changes, difference):
    with opened(tmp_path) as record:
        fill(record)
    before = optuna_trials(tmp_path / "ratios")
    other = dataclasses.replace(searching.search(), **changes)
    definition = other.definition(searching.dataset(tmp_path))
    with (
        pytest.raises(StudyMismatchError) as error,
        opened(tmp_path, definition),
    ):
        pass
    assert str(error.value).splitlines()[1:-1] == [f"  {difference}"]
    assert "choose another --study name" in str(error.value)
    assert optuna_trials(tmp_path / "ratios") == before


def test_a_record_that_cannot_be_written_says_so(tmp_path, monkeypatch):
    import sqlite3

    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    with opened(tmp_path) as record:
        trial = ask(record, 0)
        monkeypatch.setattr(record._storage, "set_trial_user_attr", full)
        with pytest.raises(StudyError, match=r"disk is full; what was recorded is kept"):
            add(record, trial, 1, 1.0)
        assert trial.rungs == {}, "what is not on the disk is not known"
