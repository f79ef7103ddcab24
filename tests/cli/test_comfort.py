"""Completion, `dse cache` and `dse doctor`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dse.data import parse_data, prepare_data
from dse.data.cache import prepared_images, remove_prepared
from dse.execution import limits


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("dse swe", {"sweep"}),
        ("dse sweep --see", {"--seeds"}),
        ("dse de", {"describe", "decompress"}),
    ],
)
def test_a_shell_completes_commands_and_options(words, expected):
    environment = os.environ | {
        "_DSE_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    code = "from dse.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert set(done.stdout.split()) == expected, done.stderr


def test_the_cache_is_counted_and_cleaned_by_kind(run, tmp_path, monkeypatch):
    root = tmp_path / "cache"
    monkeypatch.setenv("DSE_CACHE", str(root))
    dataset = prepare_data(parse_data("digits"))
    (root / "compiled").mkdir()
    (root / "compiled" / "program").write_bytes(bytes(1000))
    (root / "notes.txt").write_text("the user's own")
    kinds = json.loads(run("cache", "--json").stdout)["kinds"]
    size = sum(path.stat().st_size for path in dataset.directory.iterdir())
    assert kinds == [
        {"kind": "images", "count": 1, "bytes": size},
        {"kind": "compiled", "count": 1, "bytes": 1000},
    ]
    result = run("cache", "--clean", "compiled")
    assert "removed: 1 kB" in result.stderr
    # The images are in use by this process.
    result = run("cache", "--clean", "all")
    assert "removed: 0 bytes; 1 set of images in use stayed" in result.stderr
    assert dataset.directory.is_dir()
    other = root / f"pets-{'0' * 16}"
    other.mkdir()
    (other / "data.json").write_text("{}")
    (found,) = (one for one in prepared_images(root) if one.record.parent == other)
    assert remove_prepared(found)
    assert not other.exists()
    assert (root / "notes.txt").exists()


def test_the_doctor_says_what_there_is(run, tmp_path, monkeypatch):
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(limits, "cores_count", lambda: 3)
    monkeypatch.setattr("dse.cli.doctor.LEAST_FREE_BYTES", 0)
    result = run("doctor", "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["problems"]) == (0, [])
    assert found["cores"].endswith("by default on CPU")
    assert "can be written" in found["cache"]
    assert not Path("results").exists()  # it only looks
    monkeypatch.setattr("dse.cli.doctor.LEAST_FREE_BYTES", 10**18)
    result = run("doctor")
    assert result.exit_code == 1
    assert "left; make room, or use --results" in result.stderr


def test_the_doctor_names_what_is_in_the_way(run, tmp_path, monkeypatch):
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    result = run("doctor")
    assert result.exit_code == 1
    assert "problem: prepared images cannot be kept: the cache" in result.stderr


def test_limits_are_the_least_of_machine_and_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "cores_count", lambda: 8)
    (tmp_path / "cgroup").write_text("0::/a/b\n")
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "cpu.max").write_text("250000 100000\n")
    (tmp_path / "a" / "b" / "memory.max").write_text("1500000000\n")
    found = limits.limits(tmp_path / "cgroup", tmp_path)
    assert (found.cores, found.memory_bytes) == (2.5, 1.5e9)
    assert limits.cores_and_memory(tmp_path / "cgroup", tmp_path) == 2
