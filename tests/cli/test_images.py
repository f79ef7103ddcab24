"""What sweeps and searches say of a user's own images."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import SPACE
from tests.data.trees import write_classes

SWEEP = ("sweep", "toy.yaml", "--epochs", "2", "--data")


@pytest.fixture(autouse=True)
def _space(tmp_path, monkeypatch):
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "cache"))
    Path("toy.yaml").write_text(SPACE)
    write_classes(Path("pets"), {"cat": 20, "dog": 10}, shape=(8, 8, 1))


def test_classes_and_their_images_are_shown_and_described(run, fake_worker):
    told = "cat 14/2/4, dog 7/1/2 (training/validation/test images)"
    assert f"classes  {told}" in run(*SWEEP, "folder:pets", "--dry-run").stdout
    document = json.loads(run(*SWEEP, "folder:pets", "--dry-run", "--json").stdout)
    counts = {"train": [14, 7], "validation": [2, 1], "test": [4, 2]}
    assert (document["classes"], document["class_counts"]) == (["cat", "dog"], counts)
    result = run(*SWEEP, "folder:pets")
    assert result.exit_code == 0, result.output
    assert f"classes {told}" in result.stderr
    assert f"classes  {told}" in run(*SWEEP, "folder:pets", "--dry-run").stdout
    data = yaml.safe_load(Path("results/toy-pets/study.yaml").read_text())["data"]
    assert data["class_counts"] == counts
    assert data["images"] == {"train": 21, "validation": 3, "test": 6}
    assert set(data["duplicates"].values()) == {0}


def test_many_classes_are_cut_short(run):
    write_classes(Path("many"), {f"c{n:02}": 3 for n in range(22)}, shape=(8, 8, 1))
    shown = run(*SWEEP, "folder:many", "--dry-run").stdout
    assert "c09 1/1/1 and 12 more (training/validation/test images)" in shown
    assert "c10" not in shown


def test_digits_are_counted_without_being_read(run):
    assert "0 106/36/36, 1 110/36/36, 2 107/35/35, " in run("sweep", "toy.yaml", "--dry-run").stdout


def test_a_layout_that_is_none_is_refused_before_anything_is_made(run):
    write_classes(Path("flat"), {"train": 5, "test": 5})
    result = run(*SWEEP, "folder:flat")
    assert result.exit_code == 1
    assert "flat/train holds 5 images and" in result.stderr
    assert not Path("results").exists()


def test_duplicates_are_told_dropped_or_refused(run, fake_worker):
    write_classes(Path("same/train"), {"cat": 6, "dog": 6}, shape=(8, 8, 1))
    write_classes(Path("same/test"), {"cat": 2, "dog": 1}, shape=(8, 8, 1), seed=1)
    (Path("same/test/cat") / "again.png").write_bytes(Path("same/train/cat/0002.png").read_bytes())
    (Path("same/test/cat") / "more.png").write_bytes(Path("same/train/cat/0003.png").read_bytes())

    def described(duplicates: str) -> dict:
        result = run(*SWEEP, "folder:same", "--duplicates", duplicates, "--study", duplicates)
        assert result.exit_code == 0, result.output
        assert ("test images are also" in result.stderr) == (duplicates == "warn")
        path = Path("results") / duplicates / "study.yaml"
        return yaml.safe_load(path.read_text())["data"]

    assert described("warn")["duplicates"]["test_in_train"] == 2
    assert described("warn")["images"] == {"train": 10, "validation": 2, "test": 5}
    assert described("drop")["duplicates"]["dropped"] == 2
    assert described("drop")["images"] == {"train": 8, "validation": 2, "test": 5}
    result = run(*SWEEP, "folder:same", "--duplicates", "error")
    assert result.exit_code == 1
    assert "2 of 5 test images are also training images (test/cat/again.png = " in result.stderr


@pytest.mark.parametrize("named", [False, True])
def test_a_renamed_folder_of_images_resumes_its_study(run, fake_worker, named):
    study = ["--study", "mine"] if named else []
    assert run(*SWEEP, "folder:pets", *study).exit_code == 0
    os.rename("pets", "animals")
    again = run(*SWEEP, "folder:animals", *study, "--json")
    assert again.exit_code == 0, again.output
    assert json.loads(again.stdout)["trained_count"] == 0
    assert os.listdir("results") == ["mine" if named else "toy-pets"]
    write_classes(Path("animals"), {"cow": 5}, shape=(8, 8, 1))
    other = run(*SWEEP, "folder:animals", *study, "--json")
    assert other.exit_code == (1 if named else 0)
    assert Path("results/toy-animals").exists() != named


def test_a_search_of_a_renamed_folder_finds_its_reference(run, fake_worker):
    write_classes(Path("pets"), {"cat": 60, "dog": 60}, shape=(8, 8, 1))
    search = ["search", "toy.yaml", "--epochs", "2", "--budget", "2trials", "--workers", "1"]
    search += ["--reference", "alexnet_tiny", "--json", "--data"]
    os.environ["DSE_FAKE_IMAGES"] = "12,24"
    try:
        first = run(*search, "folder:pets")
        assert first.exit_code == 0, first.output
        os.rename("pets", "animals")
        second = run(*search, "folder:animals")
    finally:
        del os.environ["DSE_FAKE_IMAGES"]
    assert second.exit_code == 0, second.output
    assert sorted(os.listdir("results")) == ["references", "toy-pets-search"]
    assert len(os.listdir("results/references")) == 1
    found = [json.loads(result.stdout)["answer"] for result in (first, second)]
    assert found[0] == found[1]
