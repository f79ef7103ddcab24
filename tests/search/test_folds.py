"""Few images: cross-validation on the training images selects, all validation images confirm."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dse.data import DataDescription, parse_data
from dse.errors import ConfigError, StudyError, UsageError
from dse.search import SearchOptions, plan_search
from dse.search.reference import BestReference
from dse.search.rungs import Ladder
from dse.search.state import SearchState
from dse.study.table import read_trials
from tests.search.searching import NUMBER, RECIPE, SPACE, dataset, document, run, search

FULL = Ladder.of_epochs(RECIPE.epochs)


def described(validation_count: int, train_count: int = 1000) -> DataDescription:
    halves = validation_count // 2
    counts = {
        "train": (train_count // 2, train_count - train_count // 2),
        "validation": (validation_count - halves, halves),
        "test": (50, 50),
    }
    return DataDescription("pets", (8, 8, 1), ("cat", "dog"), train_count, (), counts)


def planned(data: DataDescription, **options):
    return plan_search(SPACE, parse_data("folder:pets"), data, SearchOptions(**options)).search


def test_the_folds_choose_and_every_validation_image_confirms(tmp_path, in_process, monkeypatch):
    monkeypatch.setenv("DSE_FAKE_LOG", str(tmp_path / "jobs"))
    monkeypatch.setenv("DSE_FAKE_CEILINGS", '{"1.0": 0.9, "0.5": 0.895}')
    wanted = search("16trials", folds=4, ladder=FULL, margin=0.05)
    result, _ = run(wanted, tmp_path, BestReference(3))
    found = document(result)
    assert found["confirmation_images"] == 200, "all of them"
    assert found["selection"] == "cross-validated on 160 training images (4 of 5 folds)"
    assert found["answer"]["metaparameters"]["squeeze_ratio"] == 0.5
    jobs = [json.loads(line) for line in (tmp_path / "jobs").read_text().splitlines()]
    trained = [job for job in jobs if job["task"] == "train"]
    assert {job["folds"] for job in trained if job["replicate"] == 0} == {4}
    assert {job["folds"] for job in trained if job["replicate"] > 0} == {0}
    rows = read_trials(result.trials_path)
    assert rows["validation_accuracy"].notna().all()
    again, _ = run(wanted, tmp_path, BestReference(3))
    assert document(again) == found


def test_trials_of_other_studies_are_refused(tmp_path, in_process):
    with pytest.raises(StudyError, match="--folds 0"):
        run(search(folds=4, ladder=FULL), tmp_path, reuse=[tmp_path])


@pytest.mark.parametrize(
    ("validation_count", "train_count", "folds"),
    [(24, 221, 5), (100, 800, 4), (600, 5400, 1), (999, 9000, 1), (1000, 9000, 0)],
)
def test_as_many_folds_as_hold_500_images(validation_count, train_count, folds):
    wanted = planned(described(validation_count, train_count))
    assert wanted.folds == folds
    if folds:
        assert wanted.ladder.epochs == (wanted.recipe.epochs,)
        assert wanted.definition(described(24)).search["folds"] == folds


def test_a_network_that_is_trained_on_all_images_leaves_the_halves():
    data = described(100)
    assert planned(data, reference="alexnet").folds == 0
    assert planned(data, folds=0).folds == 0
    assert planned(data, folds=2, reference="0.8").folds == 2
    with pytest.raises(UsageError, match="--folds 2 does not go with --reference alexnet"):
        planned(data, folds=2, reference="alexnet")
    assert "folds" not in planned(data, folds=0).definition(data).search


def test_a_margin_follows_from_the_confirmation_images_where_none_is_given():
    assert planned(described(24)).margin == 0.05, "never more than five points"
    assert planned(described(2000, 9000)).margin == 0.03
    assert planned(described(100_000, 9000)).margin == 0.02
    assert planned(described(100), margin="0.2").margin == 0.2
    assert planned(described(100), reference="0.8").margin == 0


def test_an_accuracy_that_the_largest_class_has_is_no_reference():
    data = replace(described(100), class_counts={"train": (1,), "validation": (30, 70)})
    with pytest.raises(ConfigError, match=r"largest class, dog, has an accuracy of 70\.00%"):
        planned(data, reference="0.7")
    assert planned(data, reference="0.71").name


def test_a_short_budget_takes_fewer_folds_and_a_study_keeps_its_own(tmp_path, in_process):
    data = described(24, 221)
    folds = [planned(data, budget=f"{minutes}m").folds for minutes in (1, 2, 4, 60)]
    assert folds == sorted(folds)
    assert (folds[0], folds[-1]) == (1, 5)
    assert planned(data, budget="1m", folds=4).folds == 4, "as the user says"

    def folds_with(results: Path) -> int:
        options = SearchOptions(study="ratios", budget="1m")
        spec = parse_data("folder:pets")
        return plan_search(SPACE, spec, data, options, results=results).search.folds

    assert folds_with(tmp_path) == 1
    wanted = search("4trials", folds=3, ladder=FULL)
    result, _ = run(wanted, tmp_path, BestReference(3))
    assert folds_with(result.directory.parent) == 3


def test_a_study_keeps_its_sampler(tmp_path, in_process):
    options = SearchOptions(study="ratios", budget="4trials", reference="0.7", first_rung=9)
    spec, data = parse_data("folder:pets"), described(2000, 4000)
    assert plan_search(SPACE, spec, data, options).search.sampler == "level"
    result, _ = run(search("4trials", sampler="nsga2", ladder=FULL), tmp_path)
    results = result.directory.parent
    assert plan_search(SPACE, spec, data, options, results=results).search.sampler == "nsga2"
    named = replace(options, sampler="tpe")
    assert plan_search(SPACE, spec, data, named, results=results).search.sampler == "tpe"


def test_an_aim_goes_from_what_is_enough_to_what_can_be_shown(tmp_path, in_process):
    """1,000 images confirm: 0.69 and 1.645 times the root of 0.69 · 0.31 / 1,000 above it."""
    search_plan = search("4trials", ladder=FULL, margin=0.01)
    state = SearchState(search_plan, None, dataset(tmp_path), NUMBER, lambda: 0.0)
    state.confirmation = np.ones(1000, dtype=bool)
    assert state.aim(np.array([np.nan])) is None, "nothing is measured"
    assert state.aim(np.array([0.9, 0.5])) == pytest.approx((0.69, 0.714056), abs=1e-5)
    assert state.aim(np.array([0.7, 0.5])) == pytest.approx((0.69, 0.7)), "what there is"
    assert state.aim(np.array([0.5])) == pytest.approx((0.69, 0.69))
