from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from dse.architecture import PRESETS, build
from dse.networks import load_network
from dse.weights.deep_compression import PUBLISHED_SHA256
from dse.weights.preprocessing import PREPROCESSINGS
from tests.weights.encoder import random_file

PRESET = PRESETS["squeezenet_v1.0"]
ARCHITECTURE = build(PRESET.candidate, PRESET.input_shape, PRESET.classes_count)


@pytest.fixture(scope="module")
def made_up() -> tuple[bytes, dict[str, np.ndarray]]:
    """A file of the published network's shape with weights of our own."""
    return random_file(ARCHITECTURE, density=0.01)


@pytest.fixture
def file(tmp_path: Path, made_up: tuple[bytes, dict[str, np.ndarray]]) -> Path:
    (tmp_path / "a.net").write_bytes(made_up[0])
    return tmp_path / "a.net"


def class_file(path: Path, count: int = 1000) -> Path:
    rows = [f"{index},n{index:08d},class {index}" for index in range(count)]
    path.write_text("\n".join(["index,wnid,name", *rows]) + "\n")
    return path


def run_import(run, file: Path, *more: object):
    return run("import", file, "--format", "deep-compression", "--out", "b.safetensors", *more)


def test_the_weights_file_says_everything(run, file, made_up, tmp_path):
    result = run_import(run, file, "--classes", class_file(tmp_path / "c.csv"), "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    nonzero = sum(int((a != 0).sum()) for p, a in made_up[1].items() if p.endswith("kernel"))
    assert document["params_count"] == 1_248_424
    assert document["nonzero_weights_count"] == nonzero
    assert document["file_bytes"] == len(made_up[0])
    assert document["weights_bytes"] == Path("b.safetensors").stat().st_size
    assert document["preprocessing"]["mean"] == [104, 117, 123]
    loaded = load_network(Path("b.safetensors"))
    assert loaded.network.architecture == ARCHITECTURE
    assert loaded.metadata.preprocessing == PREPROCESSINGS["caffe"]
    assert loaded.metadata.classes[3] == "class 3"
    assert loaded.metadata.class_ids[3] == "n00000003"
    arrays = load_file("b.safetensors")
    assert arrays.keys() == made_up[1].keys()
    for path, array in made_up[1].items():
        np.testing.assert_array_equal(arrays[path], array, path)


def test_without_a_class_file_classes_are_numbers(run, file):
    result = run_import(run, file)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == ["network          squeezenet_v1.0", "parameters       1,248,424"]
    assert result.stderr == (
        f"note: {file} is well formed, but not the published file, whose SHA-256 is "
        f"{PUBLISHED_SHA256}; its format has no checksum, so some values may be wrong\n"
    )
    metadata = load_network(Path("b.safetensors")).metadata
    assert (metadata.classes[0], metadata.classes[999], metadata.class_ids) == ("0", "999", ())


def test_describe_knows_the_network(run, file):
    run_import(run, file)
    assert load_network(Path("b.safetensors")).metadata.candidate == PRESET.candidate


def test_a_wrong_format_is_a_usage_error(run, file):
    result = run("import", file, "--format", "zip", "--out", "b.safetensors")
    assert result.exit_code == 2
    assert "'zip' is not one of 'deep-compression'" in result.stderr
    assert not Path("b.safetensors").exists()


def test_a_truncated_file_is_refused_and_nothing_is_written(run, file):
    file.write_bytes(file.read_bytes()[:-10])
    result = run_import(run, file)
    size = file.stat().st_size
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(
        f"error: {file}: offset {size}: the file ends within the conv10 gaps (bytes "
    )
    assert not Path("b.safetensors").exists()


def test_other_bad_input(run, file, tmp_path):
    result = run_import(run, file, "--classes", class_file(tmp_path / "c.csv", 10))
    assert result.stderr == (
        f"error: {tmp_path}/c.csv has 10 classes, but squeezenet_v1.0 has 1,000\n"
    )
    result = run("import", file, "--format", "deep-compression", "--out", file)
    assert (result.exit_code, result.stderr) == (
        2,
        f"error: --out is {file}, the file to be imported; it would be overwritten\n",
    )
    result = run("import", "gone.net", "--format", "deep-compression", "--out", "b")
    assert result.stderr == "error: gone.net: cannot be read: No such file or directory\n"
