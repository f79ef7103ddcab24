from __future__ import annotations

import contextlib
import csv
import dataclasses
import fcntl
import os
from pathlib import Path

import numpy as np
import pytest

from dse.config import load_yaml_dict, space_from_dict
from dse.data import Dataset, Split
from dse.errors import StudyError, StudyMismatchError, TrainingError
from dse.execution.job import Ended
from dse.execution.local import LocalExecutor
from dse.search.engine import SweepStarted
from dse.search.engine import run as run_study
from dse.search.plan import Sweep
from dse.space import Categorical, Fixed, FloatRange, IntRange, SearchSpace
from dse.space.enumerate import survey
from dse.study.events import EventReader
from dse.study.table import read_trials
from dse.training import Recipe


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """Ten classes of 8x8x1; the fake worker never looks at them."""
    split = Split(np.zeros((10, 8, 8, 1), np.uint8), np.arange(10, dtype=np.int32))
    return Dataset(
        name="blank",
        directory=tmp_path / "data",
        classes=tuple("abcdefghij"),
        input_shape=(8, 8, 1),
        train=split,
        validation=split,
        test=split,
        mean=(0.0,),
        std=(1.0,),
        fingerprint="f" * 32,
        warnings=(),
    )


def run(sweep, dataset, tmp_path: Path, **options):
    events: list[object] = []
    on_event = options.pop("on_event", events.append)
    result = run_study(
        sweep,
        dataset,
        LocalExecutor(options.pop("workers", 2)),
        results=tmp_path / "results",
        on_event=on_event,
        **options,
    )
    return result, events


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_table_has_a_row_for_each_candidate_and_seed_in_order(
    sweep, dataset, tmp_path, fake_worker
):
    result, _ = run(sweep, dataset, tmp_path)
    table = rows(result.trials_path)
    assert [(r["squeeze_ratio"], r["seed"], r["status"]) for r in table] == [
        ("0.25", "0", "finished"),
        ("0.25", "1", "finished"),
        ("0.5", "0", "finished"),
        ("0.5", "1", "finished"),
        ("1.0", "0", "failed"),
        ("1.0", "1", "failed"),
    ]
    assert (table[1]["validation_accuracy"], table[1]["test_accuracy"]) == ("0.5725", "0.4625")
    assert table[4]["reason"] == "the loss became nan at step 7"
    assert table[4]["validation_accuracy"] == ""
    for row, job in zip(table, sweep.jobs, strict=True):
        assert int(row["params_count"]) == sweep.costs[job.candidate].params_count
        assert row["candidate"] == job.candidate.key
    assert (result.finished_count, result.failed_count, result.trained_count) == (4, 2, 6)


def test_the_log_tells_what_happened(sweep, dataset, tmp_path, fake_worker):
    result, events = run(sweep, dataset, tmp_path)
    first, *logged, last = EventReader(result.directory).read()
    assert (first.kind, first.is_alive) == ("run", True)
    assert (last.kind, last.text) == ("over", "finished")
    assert len(logged) == len(events) - 1
    ended = [event for event in logged if event.kind == "ended"]
    assert [event.status for event in ended][-1] == "6 of 6 done"
    found = {(e.candidate, e.replicate): (e.accuracy, e.params_count, e.text) for e in ended}
    assert found == {
        (row["candidate"], int(row["seed"])): (
            float(row["validation_accuracy"]) if row["validation_accuracy"] else None,
            int(row["params_count"]),
            row["reason"],
        )
        for row in rows(result.trials_path)
    }
    assert all(set(event.values) == {"squeeze_ratio"} for event in ended)


def test_the_report_can_read_the_table(sweep, dataset, tmp_path, fake_worker):
    result, _ = run(sweep, dataset, tmp_path)
    assert len(read_trials(result.trials_path)) == 6


def test_the_description_holds_the_resolved_space_and_the_fingerprint(
    sweep, dataset, tmp_path, fake_worker
):
    result, _ = run(sweep, dataset, tmp_path, command="dse sweep ratios.yaml")
    plain = load_yaml_dict(result.directory / "study.yaml")
    assert space_from_dict(plain["space"]).key == sweep.space.key
    assert plain["data"]["fingerprint"] == "f" * 32
    assert plain["recipe"] == sweep.recipe.to_dict()
    assert plain["seeds"] == 2
    assert plain["command"] == "dse sweep ratios.yaml"
    assert {"dse", "jax", "optuna", "python"} <= set(plain["versions"])


def test_what_is_recorded_is_not_trained_again(sweep, dataset, tmp_path, fake_worker):
    first, _ = run(sweep, dataset, tmp_path)
    before = first.trials_path.read_bytes()
    second, events = run(sweep, dataset, tmp_path)
    (event,) = events
    assert isinstance(event, SweepStarted)
    assert (event.pending, event.recorded) == ((), sweep.jobs)
    assert second.trained_count == 0
    assert second.trials_path.read_bytes() == before


def test_the_longest_are_trained_first(sweep, dataset, tmp_path, fake_worker):
    _, events = run(sweep, dataset, tmp_path, workers=1)
    jobs = [event.job for event in events if isinstance(event, Ended)]
    macs = [sweep.costs[job.candidate].macs for job in jobs]
    assert macs == sorted(macs, reverse=True)
    assert macs[0] > macs[-1]


def test_with_nothing_to_train_the_description_stays(sweep, dataset, tmp_path, fake_worker):
    first, _ = run(sweep, dataset, tmp_path, command="dse sweep ratios.yaml --seeds 2")
    before = (first.directory / "study.yaml").read_bytes()
    run(dataclasses.replace(sweep, seeds=1), dataset, tmp_path, command="dse sweep ratios.yaml")
    assert (first.directory / "study.yaml").read_bytes() == before


def test_a_space_may_be_described_in_other_words(sweep, dataset, tmp_path, fake_worker):
    run(sweep, dataset, tmp_path)
    space = dataclasses.replace(sweep.space, description="the same in other words")
    result, _ = run(dataclasses.replace(sweep, space=space), dataset, tmp_path)
    assert result.trained_count == 0


def test_a_recipe_that_does_not_fit_the_images_is_refused_before_anything_is_made(
    sweep, dataset, tmp_path, fake_worker
):
    recipe = Recipe(batch_size=11, crop_px=8)
    with pytest.raises(TrainingError) as error:
        run(dataclasses.replace(sweep, recipe=recipe), dataset, tmp_path)
    assert str(error.value) == (
        "blank has 10 training images, fewer than one batch of 11; a smaller one would help: "
        "--recipe batch_size=…\n"
        "crop_px is 8, but must be less than the side of an image, and those of blank are 8x8: "
        "--recipe crop_px=…"
    )
    assert not (tmp_path / "results").exists()


def test_an_error_while_telling_ends_the_workers_at_once(sweep, dataset, tmp_path, fake_worker):
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
    before = children.read_text()

    def stop(event):
        if isinstance(event, Ended):
            raise RuntimeError("the listener broke")

    with pytest.raises(RuntimeError, match="the listener broke") as error:
        run(sweep, dataset, tmp_path, on_event=stop)
    assert children.read_text() == before, error  # the trace, which holds the frames, is alive


def test_a_list_of_layers_may_be_written_in_any_order(sweep, dataset, tmp_path, fake_worker):
    pools = Categorical((("fire2", "conv1"), "auto"))
    domains = {**sweep.space.domains, "fire_modules": Fixed(2), "pools": pools}
    space = dataclasses.replace(sweep.space, domains=domains)
    wider = dataclasses.replace(sweep, space=space, survey=survey(space, (32, 32, 1), 10))
    result, _ = run(wider, dataset, tmp_path)
    assert {row["pools"] for row in rows(result.trials_path)} == {"auto", "conv1 fire2"}


def test_ranges_that_end_between_two_steps_give_no_warning(sweep, dataset, tmp_path, fake_worker):
    domains = {"base_e": IntRange(8, 17, 4), "pct_3x3": FloatRange(0.25, 0.6, 0.25)}
    space = SearchSpace("steps", "squeezenet", domains | {"squeeze_ratio": Fixed(0.5)})
    stepped = Sweep("steps", space, survey(space, (8, 8, 1), 10), sweep.recipe)
    result, _ = run(stepped, dataset, tmp_path)
    found = {(row["base_e"], row["pct_3x3"]) for row in rows(result.trials_path)}
    assert found == {(e, p) for e in ("8", "12", "16") for p in ("0.25", "0.5")}


@pytest.mark.parametrize("name", ["what?", "{ratios}"])
def test_a_name_that_sqlite_would_take_apart_is_refused(
    sweep, dataset, tmp_path, fake_worker, name
):
    with pytest.raises(StudyError, match=r"has no room for \?, \{ and \}; choose another --study"):
        run(dataclasses.replace(sweep, name=name), dataset, tmp_path)
    assert not list(tmp_path.rglob("study.db*"))


def test_more_seeds_train_only_what_is_new(sweep, dataset, tmp_path, fake_worker):
    run(dataclasses.replace(sweep, seeds=1), dataset, tmp_path)
    result, _ = run(sweep, dataset, tmp_path)
    assert result.trained_count == 3
    fewer, _ = run(dataclasses.replace(sweep, seeds=1), dataset, tmp_path)
    assert fewer.trained_count == 0
    assert len(rows(fewer.trials_path)) == 6, "the second seeds are still in the table"


def test_failures_are_trained_again_on_request(sweep, dataset, tmp_path, fake_worker):
    run(sweep, dataset, tmp_path)
    result, _ = run(sweep, dataset, tmp_path, retry_failed=True)
    assert result.trained_count == 2
    assert len(rows(result.trials_path)) == 6


def test_interrupted_anywhere_it_goes_on_to_the_same_table(sweep, dataset, tmp_path, fake_worker):
    whole, _ = run(sweep, dataset, tmp_path / "whole")
    trained = 0
    for stop_after in (1, 2, 0, 1, 9):
        seen = []

        def stop(event, seen=seen, stop_after=stop_after):
            seen.append(event)
            if sum(isinstance(e, Ended) for e in seen) > stop_after:
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            result, _ = run(sweep, dataset, tmp_path, on_event=stop, workers=1)
        trained += sum(isinstance(e, Ended) for e in seen)
        table = rows(tmp_path / "results" / "ratios" / "trials.csv")
        assert len(table) == trained, "the table holds what ended, also after an interruption"
    assert trained == 6
    assert result.trials_path.read_bytes() == whole.trials_path.read_bytes()


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        (
            {"recipe": Recipe(epochs=2, batch_size=10, crop_px=0, flip=False)},
            "recipe.epochs: 2 wanted, 1 in the study",
        ),
        ({"study_seed": 3}, "study_seed: 3 wanted, 0 in the study"),
    ],
)
def test_a_study_that_holds_something_else_is_refused(
    sweep, dataset, tmp_path, fake_worker, changes, difference
):
    result, _ = run(sweep, dataset, tmp_path)
    before = {p: p.read_bytes() for p in result.directory.glob("*.[cy]*")}
    with pytest.raises(StudyMismatchError) as error:
        run(dataclasses.replace(sweep, **changes), dataset, tmp_path)
    assert difference in str(error.value)
    assert "choose another --study name" in str(error.value)
    assert {p: p.read_bytes() for p in result.directory.glob("*.[cy]*")} == before


def test_other_images_or_another_space_are_refused(sweep, dataset, tmp_path, fake_worker):
    run(sweep, dataset, tmp_path)
    with pytest.raises(StudyMismatchError, match=r"data\.fingerprint: e+ wanted, f+ in"):
        run(sweep, dataclasses.replace(dataset, fingerprint="e" * 32), tmp_path)
    other = dataclasses.replace(
        sweep.space, domains=sweep.space.domains | {"squeeze_ratio": Categorical((0.25, 0.5))}
    )
    with pytest.raises(StudyMismatchError, match="squeeze_ratio"):
        run(dataclasses.replace(sweep, space=other), dataset, tmp_path)


def test_one_process_at_a_time_holds_a_study(sweep, dataset, tmp_path, fake_worker):
    result, _ = run(sweep, dataset, tmp_path)
    with (result.directory / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(StudyError, match="in use by another dse process"):
            run(sweep, dataset, tmp_path)


def test_a_published_table_is_never_overwritten(sweep, dataset, tmp_path, fake_worker):
    result, _ = run(sweep, dataset, tmp_path)
    (result.directory / "study.db").unlink()
    before = result.trials_path.read_bytes()
    with pytest.raises(StudyError, match=r"holds a trials\.csv but no study\.db"):
        run(sweep, dataset, tmp_path)
    assert result.trials_path.read_bytes() == before


def test_a_damaged_record_is_named(sweep, dataset, tmp_path, fake_worker):
    result, _ = run(sweep, dataset, tmp_path)
    (result.directory / "study.db").write_bytes(b"not a database at all, certainly" * 100)
    with pytest.raises(StudyError, match="file is not a database"):
        run(sweep, dataset, tmp_path)


def test_a_results_folder_that_cannot_be_made_is_named(sweep, dataset, tmp_path, fake_worker):
    (tmp_path / "results").write_text("a file, not a folder")
    with pytest.raises(StudyError, match=r"ratios cannot be read or written: .*Not a directory"):
        run(sweep, dataset, tmp_path)


def test_a_full_disk_keeps_the_old_table_and_says_what_to_do(
    sweep, dataset, tmp_path, fake_worker, monkeypatch
):
    result, _ = run(dataclasses.replace(sweep, seeds=1), dataset, tmp_path)
    before = result.trials_path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StudyError, match="No space left on device; what was recorded is kept"):
        run(sweep, dataset, tmp_path)
    monkeypatch.undo()
    assert result.trials_path.read_bytes() == before
    assert not [name for name in os.listdir(result.directory) if "trials.csv." in name]


def test_the_record_is_an_optuna_study(sweep, dataset, tmp_path, fake_worker):
    import optuna

    result, _ = run(sweep, dataset, tmp_path)
    storage = optuna.storages.RDBStorage(f"sqlite:///{result.directory / 'study.db'}")
    study = optuna.load_study(study_name="ratios", storage=storage)
    trials = study.get_trials()
    storage.engine.dispose()
    assert len(trials) == 6
    best = max(t.values[0] for t in trials if t.values)
    assert best == 0.635
    assert {t.params["squeeze_ratio"] for t in trials} == {0.25, 0.5, 1.0}
    assert [t.state.name for t in trials].count("FAIL") == 2
