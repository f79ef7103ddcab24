"""Studies and tables that commit abe660b wrote (`tests/fixtures/README.md`) are still read."""

from __future__ import annotations

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import dse
from dse.report.tables.markdown import records
from dse.report.tables.summary import front_table
from dse.search.reference import held_reference, plan_reference
from dse.study.answer import read_answer
from dse.study.compression_front import read_compression_table
from dse.study.measurement import unpack_bits
from dse.study.record import read_study

FIXTURES = Path(__file__).parents[1] / "fixtures"
SWEEP, SEARCH = "tiny-digits", "tiny_search-digits-search"
REFERENCE = "references/alexnet-digits-e049bf6c555e"
DIGITS_IMAGES = "359,359"

FORMER = {
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "warmup_share": 0.3,
    "weight_decay": 0.01,
    "label_smoothing": 0.0,
    "clip_norm": 1.0,
    "schedule": "cosine",
    "keeps_norms": False,
    "rest_rate": 0.2,
    "whitens": False,
    "passes_through": False,
}
"""What the default for digits was when these studies were begun."""


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of both results folders in one; the command runs beside it."""
    for name in ("sweep", "search"):
        shutil.copytree(FIXTURES / name, tmp_path / "results", dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


@pytest.fixture
def trains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is started fails the test."""
    monkeypatch.setattr("dse.execution.local.WORKER_COMMAND", ("no worker is needed here",))


@pytest.fixture
def closed_form(fake_worker: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DSE_FAKE_CLOSED_FORM", "1")
    monkeypatch.setenv("DSE_FAKE_IMAGES", DIGITS_IMAGES)


def sweep(results: Path, *, seeds: int = 2) -> dse.Study:
    space = FIXTURES / "spaces" / "tiny.yaml"
    return dse.sweep(space, seeds=seeds, epochs=2, recipe=FORMER, results=results, workers=1)


def search(results: Path, **changes) -> dse.Study:
    options = {
        "reference": "alexnet",
        "reference_recipe": {"epochs": 2},
        "margin": 0.1,
        "epochs": 8,
        "recipe": FORMER,
        "first_rung": 2,
        "budget": "8trials",
        "finalists": 2,
        "results": results,
        "workers": 1,
    }
    return dse.search(FIXTURES / "spaces" / "tiny_search.yaml", **options | changes)


def rows_of(directory: Path) -> list[dict[str, str]]:
    with (directory / "trials.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def wordless(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """All columns but those of words that were reworded since."""
    return [{k: v for k, v in row.items() if k not in ("reason", "status")} for row in rows]


def expected_front(name: str) -> list[dict[str, object]]:
    return json.loads((FIXTURES / "outputs" / f"{name}-front.json").read_text())["front"]


def test_a_sweep_is_complete_and_its_table_is_written_with_the_same_numbers(
    results, trains_nothing
):
    (results / SWEEP / "trials.csv").unlink()
    study = sweep(results)
    assert rows_of(results / SWEEP) == rows_of(FIXTURES / "sweep" / SWEEP)
    assert records(study.front()) == expected_front("sweep")


def test_a_sweep_gets_a_third_seed(results, closed_form):
    sweep(results, seeds=3)
    rows = rows_of(results / SWEEP)
    assert [(row["candidate"], row["seed"]) for row in rows] == [
        (candidate, seed) for candidate in ("ab8d5a51b77f", "771710a55817") for seed in "012"
    ]
    assert [row for row in rows if row["seed"] != "2"] == rows_of(FIXTURES / "sweep" / SWEEP)


def test_a_search_resumes_with_nothing_to_train(results, trains_nothing):
    old = read_answer(FIXTURES / "search" / SEARCH / "answer.json")
    (results / SEARCH / "trials.csv").unlink()
    (results / SEARCH / "answer.json").unlink()
    study = search(results)
    before = rows_of(FIXTURES / "search" / SEARCH)
    assert wordless(rows_of(results / SEARCH)) == wordless(before)
    found = study.answer.answer
    unsaid = dict.fromkeys(("int8_accuracy", "int8_difference", "int8_images_count"))
    assert replace(found, **unsaid) == old.answer
    assert abs(found.int8_difference) < 0.05
    reference = study.answer.reference  # says more than it did then
    untold = dict.fromkeys(("candidate", "metaparameters", "recipe"))
    assert replace(reference, **untold) == old.reference
    assert reference.recipe is not None
    assert reference.recipe["epochs"] == 2
    assert study.answer.cost == old.cost
    assert study.answer.analyses_count == old.analyses_count == 1
    assert study.answer.tested_count == old.tested_count == 1


def test_a_search_goes_on_with_a_larger_budget(results, closed_form):
    study = search(results, budget="10trials")
    before = {(r["candidate"], r["seed"]): r for r in rows_of(FIXTURES / "search" / SEARCH)}
    after = {(r["candidate"], r["seed"]): r for r in rows_of(results / SEARCH)}
    finished = [key for key, row in before.items() if row["status"] == "finished"]
    assert len(finished) == 10
    assert wordless([after[key] for key in finished]) == wordless([before[key] for key in finished])
    assert len({candidate for candidate, _ in after}) == 10
    assert study.answer.tested_count >= 1


def test_the_answer_of_a_search():
    answer = read_answer(FIXTURES / "search" / SEARCH / "answer.json")
    assert answer.found
    assert answer.answer.candidate == "d4f0207cf2ad"
    assert answer.answer.params_count == 1147
    assert answer.answer.difference_low == -0.0028471223293609765
    assert answer.answer.test_accuracy == 0.9090064995357474
    assert [seed.validation_accuracy for seed in answer.answer.seeds] == [
        0.924791086350975,
        0.8802228412256268,
        0.8913649025069638,
    ]
    assert answer.confirmation_images == 180
    assert answer.analyses_count == 1
    assert [finalist.selection_accuracy for finalist in answer.finalists] == [
        0.9329608938547486,
        0.9441340782122905,
    ]
    assert answer.cost.epochs == 92
    assert answer.reference.seeds == (0.8635097493036211, 0.8635097493036211, 0.8997214484679665)


@pytest.mark.parametrize(
    ("name", "study", "trials_count"), [("sweep", SWEEP, 4), ("search", SEARCH, 14)]
)
def test_a_study_is_opened(results, name, study, trials_count):
    opened = dse.load_study(results / study)
    assert len(opened.trials) == trials_count
    answer = opened.answer.answer if opened.answer else None
    rows = records(front_table(opened.trials))
    for row in rows:
        if answer and row["candidate"] == answer.candidate:
            row["test_accuracy_mean"] = answer.test_accuracy
    assert rows == expected_front(name)
    held, trials = read_study(results / study)
    assert held["data"]["fingerprint"] == "e049bfea3e3b5d78a7346605784f2719"
    assert len(trials) == trials_count
    for trial in trials:
        correct = unpack_bits(trial.latest.validation_correct, 359)
        assert correct.mean() == pytest.approx(trial.latest.validation_accuracy, abs=1e-15)
    accuracies = [float(r["validation_accuracy"]) for r in rows_of(FIXTURES / name / study)]
    latest = [trial.latest.validation_accuracy for trial in trials if not trial.stopped]
    assert set(latest) <= set(accuracies)


def test_both_studies_are_reused(results, closed_form):
    """Into a search of the same recipe: the sweep's two and the search's finished ones."""
    common = {"study": "later", "reference": 0.5, "budget": "1trials", "recipe": FORMER}
    both = [results / SWEEP, results / SEARCH]
    space = dse.load_space(FIXTURES / "spaces" / "tiny_search.yaml")
    swept = dse.load_space(
        FIXTURES / "spaces" / "tiny.yaml", {"bypass": "{values: [none, simple]}"}
    )
    from_search = dse.search(space, **common, epochs=8, reuse=both[1:], results=results, workers=1)
    assert from_search.answer.cost.reused == 10
    rows = {(r["candidate"], r["seed"]): r for r in rows_of(results / "later")}
    for row in rows_of(FIXTURES / "search" / SEARCH):
        if row["status"] == "finished":
            found = rows[row["candidate"], row["seed"]]
            assert found["validation_accuracy"] == row["validation_accuracy"]
            assert found["stage"] == "reused"
    common["study"] = "later-swept"
    from_sweep = dse.search(swept, **common, epochs=2, reuse=both[:1], results=results, workers=1)
    assert from_sweep.answer.cost.reused == 4


def test_the_reference_is_read(results):
    digits = dse.parse_data("digits")
    dataset = dse.prepare_data(digits)
    plan = plan_reference("alexnet", digits, dataset, changes=["epochs=2"])
    reference = held_reference(plan, dataset, results)
    assert reference.path == results / REFERENCE / "reference.json"
    assert reference.costs["params_count"] == 1463994
    assert reference.validation_accuracy == pytest.approx(0.8755803156917362, abs=1e-15)
    assert reference.test_accuracy == pytest.approx(0.8774373259052924, abs=1e-15)
    assert [int(r.validation.sum()) for r in reference.replicates] == [310, 310, 323]
    assert [int(r.test.sum()) for r in reference.replicates] == [306, 319, 320]
    assert reference.recipe.epochs == 2


def test_the_table_of_a_compression_front():
    path = FIXTURES / "front" / "batch-norm-front.json"
    table, plain = read_compression_table(path), json.loads(path.read_text())
    assert len(table.settings) == 57
    assert sum(setting.on_front for setting in table.settings) == 10
    for setting, old in zip(table.settings, plain["settings"], strict=True):
        assert setting.rate_lambda == old["price"]
        assert setting.file_bytes == old["file_bytes"]
        assert setting.validation_accuracy == old["validation_accuracy"]
    chosen = (FIXTURES / "front" / "batch-norm.dsz").stat().st_size
    assert table.chosen.file_bytes == chosen == 2880
    assert table.given_accuracy == 0.9972144846796658
    assert table.baselines_bytes["zstd"] == 39002
