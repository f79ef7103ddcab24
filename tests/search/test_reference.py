from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dse.architecture import PRESETS, build, cost, make_candidate
from dse.data import parse_data
from dse.errors import ConfigError, StudyError
from dse.execution.job import Ended
from dse.execution.local import LocalExecutor
from dse.search.confirmation import confirmation_split
from dse.search.reference import (
    Reference,
    ReferencePlan,
    held_reference,
    plan_reference,
    reference_recipe,
)
from dse.search.train_reference import train_reference
from dse.training import Recipe, default_recipe
from tests.fakes.closed_form import right
from tests.search.searching import RECIPE, dataset

ALEXNET = make_candidate("alexnet", {})


@pytest.fixture
def images(tmp_path):
    """Thirty-two pixels a side, which AlexNet fits."""
    return dataset(tmp_path, input_shape=(32, 32, 3))


def plan(**changes) -> ReferencePlan:
    return ReferencePlan("alexnet", ALEXNET, RECIPE, **changes)


def measure(wanted: ReferencePlan, images, tmp_path: Path):
    events = []
    reference = train_reference(
        wanted, images, LocalExecutor(1), results=tmp_path / "results", on_event=events.append
    )
    replicates = [event.job.replicate for event in events if isinstance(event, Ended)]
    return reference, replicates


def planned(text: str, **options):
    return plan_reference(text, parse_data("digits"), dataset(Path()), **options)


def test_the_names_and_numbers_of_a_reference():
    assert planned("alexnet").candidate == ALEXNET
    for name in PRESETS.keys() - {"alexnet"}:
        assert planned(name).candidate == PRESETS[name].candidate
    assert planned("0.803") == Reference("0.803", accuracy=0.803)
    assert planned("8e-1").accuracy == 0.8


def test_the_plan_of_a_network_is_its_recipe_with_what_is_changed():
    found = planned("alexnet", changes=["epochs=7"], seeds=2, study_seed=5)
    own = reference_recipe(ALEXNET, "digits", (8, 8, 1), 200)
    assert found == ReferencePlan("alexnet", ALEXNET, replace(own, epochs=7), 2, 5)


@pytest.mark.parametrize("text", ["0", "1", "1.0", "-0.5", "80.3", "nan", "inf", "1e400"])
def test_a_number_that_is_no_accuracy_is_refused(text):
    with pytest.raises(ConfigError, match="an accuracy is a fraction between 0 and 1, such as"):
        planned(text)


@pytest.mark.parametrize(
    ("text", "hint"), [("alexnett", "did you mean alexnet?"), ("", ""), ("80%", "0.803")]
)
def test_a_name_that_nothing_has_is_refused(text, hint):
    with pytest.raises(ConfigError, match="unknown network") as error:
        planned(text)
    assert hint in str(error.value)


def test_it_is_measured_once(tmp_path, images, fake_worker, monkeypatch):
    assert held_reference(plan(), images, tmp_path / "results") is None
    reference, trained = measure(plan(), images, tmp_path)
    assert trained == [0, 1, 2]
    # The closed form: 0.8 * (1 - 2**-9 / 2) of 200 images are 160.
    assert reference.validation_accuracy == pytest.approx(0.8)
    assert reference.test_accuracy == pytest.approx(0.8)
    counted = cost(build(ALEXNET, (32, 32, 3), 10))
    assert reference.costs["params_count"] == counted.params_count
    for replicate in reference.replicates:
        assert replicate.validation.tolist() == right(200, 0.8, replicate.replicate)
    mask = confirmation_split(200)
    assert reference.on(mask).shape == (3, 100)
    assert reference.on(mask)[1].tolist() == np.array(right(200, 0.8, 1))[mask].tolist()
    assert reference.on_test().shape == (3, 200)

    monkeypatch.setenv("DSE_FAKE_SILENT", "1")  # no worker could start
    held = held_reference(plan(), images, tmp_path / "results")
    same = ("name", "candidate", "costs", "recipe", "path")
    assert [getattr(held, n) for n in same] == [getattr(reference, n) for n in same]
    for one, other in zip(held.replicates, reference.replicates, strict=True):
        assert (one.replicate, one.epochs, one.train_s) == (
            other.replicate,
            other.epochs,
            other.train_s,
        )
        assert (one.validation == other.validation).all()
        assert (one.test == other.test).all()
    again, trained = measure(plan(), images, tmp_path)
    assert trained == []
    assert again.validation_accuracy == reference.validation_accuracy


def test_fewer_seeds_take_the_first_and_more_go_on(tmp_path, images, fake_worker):
    whole, _ = measure(plan(), images, tmp_path)
    results = tmp_path / "results"
    # So that another search's seeds do not change what this one is held against.
    (first,) = held_reference(plan(seeds=1), images, results).replicates
    assert first.replicate == 0
    assert (first.validation == whole.replicates[0].validation).all()
    assert held_reference(plan(seeds=5), images, results) is None
    more, trained = measure(plan(seeds=5), images, tmp_path)
    assert trained == [3, 4]
    assert [r.replicate for r in more.replicates] == [0, 1, 2, 3, 4]
    # The file alone is enough: somebody else may have measured the first ones.
    for name in ("study.db", "trials.csv"):
        (more.path.parent / name).unlink()
    most, trained = measure(plan(seeds=6), images, tmp_path)
    assert trained == [5]
    assert len(held_reference(plan(seeds=6), images, results).replicates) == 6
    assert most.validation_accuracy == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("changes", "data"),
    [
        ({"recipe": replace(RECIPE, epochs=8)}, {}),
        ({"recipe": replace(RECIPE, learning_rate=0.2)}, {}),
        ({"study_seed": 4}, {}),
        ({}, {"fingerprint": "e" * 32}),
    ],
)
def test_another_recipe_seed_or_other_images_give_another_reference(
    tmp_path, images, fake_worker, changes, data
):
    first, _ = measure(plan(seeds=1), images, tmp_path)
    before = first.path.read_bytes()
    other_plan, other_images = replace(plan(seeds=1), **changes), replace(images, **data)
    assert held_reference(other_plan, other_images, tmp_path / "results") is None
    other, trained = measure(other_plan, other_images, tmp_path)
    assert trained == [0]
    assert other.path != first.path
    assert first.path.read_bytes() == before


def test_the_same_images_under_another_name_have_the_same_reference(tmp_path, images, fake_worker):
    first, _ = measure(plan(seeds=1), images, tmp_path)
    again, trained = measure(plan(seeds=1), replace(images, name="other"), tmp_path)
    assert trained == []
    assert again.path == first.path


def test_one_that_fails_is_refused(tmp_path, images, fake_worker, monkeypatch):
    monkeypatch.setenv("DSE_FAKE_FAILS", json.dumps({"network": 5}))
    with pytest.raises(StudyError) as error:
        measure(plan(), images, tmp_path)
    assert str(error.value) == (
        "the reference alexnet does not train (seed 0): the loss became nan at step 7; without it "
        "there is nothing to compare with: change its recipe with --reference-recipe KEY=VALUE, or "
        "give an accuracy such as --reference 0.803"
    )
    assert not list(tmp_path.rglob("reference.json"))
    # It stays refused, and at once: nothing is trained again.
    monkeypatch.setenv("DSE_FAKE_SILENT", "1")
    with pytest.raises(StudyError, match="does not train"):
        measure(plan(), images, tmp_path)


def test_one_that_stays_at_chance_is_refused(tmp_path, images, fake_worker, monkeypatch):
    monkeypatch.setenv("DSE_FAKE_CEILINGS", json.dumps({"network": 0.12}))
    with pytest.raises(StudyError) as error:
        measure(plan(), images, tmp_path)
    assert (
        "the reference alexnet does not train: seed 0 has a validation accuracy of "
        "12.00%, and always naming the most frequent class 10.00%"
    ) in str(error.value)
    assert not list(tmp_path.rglob("reference.json"))


def test_one_that_does_not_fit_the_images_is_refused(tmp_path, fake_worker):
    name = "alexnet_torchvision"
    big = ReferencePlan(name, PRESETS[name].candidate, RECIPE)
    with pytest.raises(ConfigError, match=f"--reference {name} does not fit the images"):
        measure(big, dataset(tmp_path), tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        lambda plain: "",
        lambda plain: "{",
        lambda plain: "[]",
        lambda plain: "{}",
        lambda plain: json.dumps({**plain, "replicates": 3}),
        lambda plain: json.dumps({**plain, "family": "alexnett"}),
        lambda plain: json.dumps({**plain, "metaparameters": {"x": 1}}),
        lambda plain: json.dumps({**plain, "replicates": [{}]}),
        lambda plain: json.dumps(
            {**plain, "replicates": [plain["replicates"][0] | {"test_correct": "oIA="}]}
        ),
        lambda plain: json.dumps({**plain, "data": None}),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, images, fake_worker, damage):
    reference, _ = measure(plan(seeds=1), images, tmp_path)
    reference.path.write_text(damage(json.loads(reference.path.read_text())))
    for ask in (held_reference, lambda p, d, r: measure(p, d, tmp_path)):
        with pytest.raises(StudyError, match=r"reference\.json is damaged .*remove it to measure"):
            ask(plan(seeds=1), images, tmp_path / "results")


def test_a_file_of_a_later_version_is_refused(tmp_path, images, fake_worker):
    reference, _ = measure(plan(seeds=1), images, tmp_path)
    plain = json.loads(reference.path.read_text())
    reference.path.write_text(json.dumps({**plain, "schema": 2}))
    with pytest.raises(StudyError, match="schema is 2, but this version of dse reads 1"):
        held_reference(plan(seeds=1), images, tmp_path / "results")


def test_a_number_is_a_reference_without_images():
    number = Reference("0.8", accuracy=0.8)
    assert number.validation_accuracy == number.on(confirmation_split(10)) == 0.8
    assert (number.test_accuracy, number.on_test(), number.costs) == (None, None, None)


def test_alexnet_has_a_recipe_of_its_own():
    shape, count = (32, 32, 3), 40_000
    usual = default_recipe("folder", shape, count)
    own = reference_recipe(ALEXNET, "folder", shape, count)
    assert own == Recipe(learning_rate=0.05, epochs=30, clip_norm=5.0)
    assert reference_recipe(make_candidate("squeezenet", {}), "folder", shape, count) == usual
    digits: Recipe = reference_recipe(ALEXNET, "digits", (8, 8, 1), 1000)
    assert (digits.optimizer, digits.learning_rate, digits.epochs) == ("adamw", 0.001, 20)
