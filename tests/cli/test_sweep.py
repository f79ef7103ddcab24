from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from dse.architecture import build, cost, make_candidate
from dse.study.table import read_trials
from tests.cli.conftest import SPACE

COUNTS = {
    ratio: cost(
        build(
            make_candidate("squeezenet", {"base_e": 8, "incr_e": 8, "squeeze_ratio": ratio}),
            (8, 8, 1),
            10,
        )
    ).params_count
    for ratio in (0.25, 0.5, 1.0)
}


@pytest.fixture(autouse=True)
def _space(tmp_path, monkeypatch):
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "cache"))
    Path("toy.yaml").write_text(SPACE)


def test_it_ends_with_the_table_the_trials_and_the_plots(run, fake_worker):
    result = run("sweep", "toy.yaml", "--seeds", "2", "--workers", "2")
    assert result.exit_code == 0, result.output
    # The fake says 0.5 + ratio / 4 + seed / 100 for validation and 0.4 + ratio / 4 for test.
    cells = [line.split() for line in result.stdout.splitlines()[-2:]]
    assert cells == [
        ["0.25", f"{COUNTS[0.25]:,}", "56.75%", "56.25%", "57.25%", "46.25%", "2", "*"],
        ["0.5", f"{COUNTS[0.5]:,}", "63.00%", "62.50%", "63.50%", "52.50%", "2", "*"],
    ]
    folder = Path("results/toy-digits")
    assert len(read_trials(folder / "trials.csv")) == 4
    for path in (folder / "trials.csv", Path("plots/toy-digits.png"), Path("plots/toy-digits.svg")):
        assert f"written: {path}" in result.stderr
        assert path.stat().st_size > 100


def test_progress_in_plain_lines_names_each_run_and_the_count(run, fake_worker):
    lines = run("sweep", "toy.yaml", "--seeds", "2", "--workers", "1").stderr.splitlines()
    ends = [line for line in lines if line.startswith("[")]
    assert [line.split(":")[0] for line in ends] == [
        "[1/4] squeeze_ratio 0.5, seed 0",
        "[2/4] squeeze_ratio 0.5, seed 1",
        "[3/4] squeeze_ratio 0.25, seed 0",
        "[4/4] squeeze_ratio 0.25, seed 1",
    ]
    assert "validation accuracy 56.25%, 2.0 s, 100 images/s" in ends[2]
    assert "left" not in ends[-1]


def test_the_same_command_again_trains_nothing(run, fake_worker):
    run("sweep", "toy.yaml")
    again = run("sweep", "toy.yaml", "--json")
    assert "2 of 2 in the record" in again.stderr
    assert json.loads(again.stdout)["trained_count"] == 0


def test_json_is_the_only_thing_on_stdout(run, fake_worker):
    document = json.loads(run("sweep", "toy.yaml", "--json").stdout)
    assert (document["finished_count"], document["failed_count"]) == (2, 0)
    assert [c["params_count"] for c in document["candidates"]] == [COUNTS[0.25], COUNTS[0.5]]
    assert [c["validation_accuracy_mean"] for c in document["candidates"]] == [0.5625, 0.625]


def test_a_failed_run_is_told_and_the_others_are_shown(run, fake_worker):
    result = run("sweep", "toy.yaml", "--set", "squeeze_ratio={values: [0.25, 1.0]}")
    assert result.exit_code == 0
    assert "squeeze_ratio 1: failed: the loss became nan at step 7" in result.stderr
    assert "1 failed; the reasons are in results/toy-digits/trials.csv" in result.stderr
    assert "--retry-failed" in result.stderr
    assert "56.25%" in result.stdout


def test_dry_run_shows_sizes_and_time_and_leaves_nothing(run):
    result = run("sweep", "toy.yaml", "--dry-run", "--seeds", "3", "--json")
    document = json.loads(result.stdout)
    assert [c["params_count"] for c in document["candidates"]] == [COUNTS[0.25], COUNTS[0.5]]
    assert document["train_count"] == 1079
    assert document["estimated_s"] > 0
    assert os.listdir() == ["toy.yaml"]
    text = run("sweep", "toy.yaml", "--dry-run", "--seeds", "3").stdout
    assert "6 (2 candidates x 3 seeds)" in text
    assert f"{COUNTS[0.5]:,}" in text


def test_dry_run_counts_what_is_in_the_record_and_refuses_another_study(run, fake_worker):
    run("sweep", "toy.yaml")
    result = run("sweep", "toy.yaml", "--dry-run", "--seeds", "3")
    assert "6 (2 candidates x 3 seeds), 2 of them in the record already" in result.stdout
    document = json.loads(run("sweep", "toy.yaml", "--dry-run", "--json").stdout)
    assert (document["recorded_count"], document["estimated_s"]) == (2, 0.0)
    other = run("sweep", "toy.yaml", "--dry-run", "--epochs", "3")
    assert other.exit_code == 1
    assert "recipe.epochs: 3 wanted, 15 in the study" in other.stderr


def test_what_is_in_the_record_is_counted_with_what_is_done(run, fake_worker):
    run("sweep", "toy.yaml")
    lines = run("sweep", "toy.yaml", "--seeds", "2", "--workers", "1").stderr.splitlines()
    assert "2 of 4 in the record" in lines
    assert [line.split()[0] for line in lines if line.startswith("[")] == ["[3/4]", "[4/4]"]


def test_candidates_that_cannot_be_built_are_left_out_with_the_reason(run):
    result = run("sweep", "toy.yaml", "--dry-run", "--set", "squeeze_ratio={values: [0.01, 0.5]}")
    assert "left out: squeeze_ratio 0.01: fire2: squeeze_ratio 0.01 of 8 expand" in result.stderr


def test_an_infinite_space_points_at_search(run):
    result = run("sweep", "toy.yaml", "--set", "squeeze_ratio={range: [0.1, 1.0]}")
    assert result.exit_code == 1
    assert "toy is an infinite space: squeeze_ratio has a range without a step" in result.stderr
    assert "dse search" in result.stderr
    assert not Path("results").exists()


def test_another_recipe_under_the_same_name_is_refused(run, fake_worker):
    run("sweep", "toy.yaml", "--epochs", "2")
    before = Path("results/toy-digits/trials.csv").read_bytes()
    result = run("sweep", "toy.yaml", "--epochs", "3")
    assert result.exit_code == 1
    assert "recipe.epochs: 3 wanted, 2 in the study" in result.stderr
    assert Path("results/toy-digits/trials.csv").read_bytes() == before


def test_the_folder_of_the_references_is_no_name_for_a_study(run):
    result = run("sweep", "toy.yaml", "--study", "references")
    assert result.exit_code == 2
    assert "that is the folder of the references" in result.stderr
    assert not Path("results").exists()


@pytest.mark.parametrize(
    "name", ["../escape", "a/b", "", ".hidden", " ", "-x", "a\nb", "a?b", "ä" * 101]
)
def test_a_study_name_is_no_path(run, name):
    result = run("sweep", "toy.yaml", "--study", name)
    assert result.exit_code == 2
    assert "must be a plain name of at most 200 bytes" in result.stderr
    assert os.listdir() == ["toy.yaml"]


def test_bad_settings_are_told_at_once_before_anything_is_made(run):
    result = run("sweep", "toy.yaml", "--recipe", "epoch=1", "--recipe", "batch_size=x")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        "error: --recipe epoch=1: epoch is no part of a recipe; did you mean epochs?",
        "error: --recipe batch_size=x: batch_size must be a whole number",
    ]
    assert not Path("results").exists()


def test_nothing_finished_is_no_success(run, fake_worker):
    result = run("sweep", "toy.yaml", "--set", "squeeze_ratio=1.0", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["failed_count"] == 1


def test_a_plot_folder_that_cannot_be_is_refused_before_training(run):
    Path("plots").write_text("a file")
    result = run("sweep", "toy.yaml")
    assert result.exit_code == 1
    assert "--plots plots is a file, but must be a folder" in result.stderr
    assert not Path("results").exists()


def test_a_renamed_study_is_the_same_study(run, fake_worker):
    run("sweep", "toy.yaml", "--study", "a")
    Path("results/a").rename("results/b")
    before = Path("results/b/trials.csv").read_bytes()
    refused = run("sweep", "toy.yaml", "--study", "b", "--epochs", "2")
    assert refused.exit_code == 1
    assert "recipe.epochs: 2 wanted, 15 in the study" in refused.stderr
    assert Path("results/b/trials.csv").read_bytes() == before
    again = run("sweep", "toy.yaml", "--study", "b", "--json")
    assert json.loads(again.stdout)["trained_count"] == 0


def test_an_emptied_record_beside_results_is_refused(run, fake_worker):
    run("sweep", "toy.yaml")
    folder = Path("results/toy-digits")
    before = (folder / "trials.csv").read_bytes()
    (folder / "study.db").write_bytes(b"")
    result = run("sweep", "toy.yaml")
    assert result.exit_code == 1
    assert "study.db is empty, but trials.csv beside it holds results" in result.stderr
    assert (folder / "trials.csv").read_bytes() == before
