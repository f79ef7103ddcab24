from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import pytest

from dse.config import load_yaml_dict
from dse.errors import ConfigError, StudyError
from dse.study.description import (
    DescribedData,
    Description,
    find_description,
    read_description,
    write_description,
)

FACTS = {
    "study": "small",
    "study_seed": 3,
    "space": {"family": "squeezenet", "metaparameters": {"base_e": {"values": [8, 16]}}},
    "recipe": {"epochs": 4},
    "data": {
        "name": "digits",
        "fingerprint": "f" * 32,
        "input_shape": [8, 8, 1],
        "classes": ["0", "1"],
        "images": {"train": 10, "validation": 4, "test": 4},
    },
    "seeds": 2,
    "trials_count": 4,
}


def test_what_is_written_comes_back_with_command_and_versions(tmp_path):
    path = write_description(tmp_path, FACTS, command="dse sweep small.yaml")
    found = read_description(path)
    assert (found.study, found.study_seed, found.kind) == ("small", 3, "sweep")
    assert (found.space, found.recipe) == (FACTS["space"], FACTS["recipe"])
    assert found.data == DescribedData(
        name="digits",
        fingerprint="f" * 32,
        input_shape=(8, 8, 1),
        classes=("0", "1"),
        images={"train": 10, "validation": 4, "test": 4},
    )
    assert (found.seeds, found.trials_count, found.space_size) == (2, 4, None)
    assert found.command == "dse sweep small.yaml"
    assert list(found.versions)[:2] == ["python", "dse"]
    assert list(load_yaml_dict(path)) == [*FACTS, "command", "versions", "machine"]


def test_only_what_is_a_field_with_what_it_should_hold_is_written(tmp_path):
    with pytest.raises(StudyError, match=r"study\.yaml: seeds is -1, but must be a whole number"):
        write_description(tmp_path, FACTS | {"seeds": -1}, command="")
    assert not (tmp_path / "study.yaml").exists()


def test_a_folder_without_one(tmp_path):
    assert find_description(tmp_path) == Description()


@pytest.mark.parametrize(
    "name", ["squeeze_ratio-cifar10-jpeg", "pct_3x3-cifar10-jpeg", "squeezenet-cifar10-jpeg-search"]
)
def test_published_studies_are_read(name):
    found = read_description(Path("results") / name / "study.yaml")
    assert (found.study, found.data.input_shape) == (name, (32, 32, 3))
    is_from_before_counts = name.startswith("pct_3x3")
    counts = {"train": 45000, "validation": 5000, "test": 10000}
    assert found.data.images == ({} if is_from_before_counts else counts)
    assert found.kind == ("search" if name.endswith("search") else "sweep")


def test_what_is_wrong_is_named(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("study: 3\ndata: {input_shape: [8, -8, 1]}\n")
    with pytest.raises(StudyError) as caught:
        read_description(path)
    assert str(caught.value).splitlines() == [
        f"{path}: study is 3, but must be text",
        f"{path}: data.input_shape[1] is -8, but must be a whole number from 1 to 4,096",
    ]
    path.write_text("- a list\n")
    with pytest.raises(StudyError, match="must hold a mapping"):
        read_description(path)
    path.write_text("a: [")
    with pytest.raises(ConfigError):
        read_description(path)


def test_results_of_several_versions_are_told(tmp_path):
    write_description(tmp_path, FACTS, command="dse sweep small.yaml")
    assert find_description(tmp_path).mixed_versions == ""
    path = tmp_path / "study.yaml"
    path.write_text(path.read_text().replace(version("jax"), "0.1.2"))
    theirs, ours = (f"dse {version('dse')} with jax {jax}" for jax in ("0.1.2", version("jax")))
    for _ in range(2):
        write_description(tmp_path, FACTS, command="dse sweep small.yaml")
        assert find_description(tmp_path).mixed_versions == f"{theirs} and {ours}"
    path.write_text("{")
    write_description(tmp_path, FACTS, command="dse sweep small.yaml")
    assert find_description(tmp_path).study == "small"
