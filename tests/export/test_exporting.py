"""The command, its messages, and what it does not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import dse
from dse.cli.main import app
from dse.errors import ExportError
from tests.export.networks import write_weights

pytest.importorskip("onnx", reason="the package onnx is not installed")


def test_one_command(tmp_path: Path) -> None:
    weights, out = write_weights(tmp_path / "a.safetensors"), tmp_path / "new" / "a.onnx"
    run = CliRunner().invoke(app, ["export", str(weights), "--out", str(out)])
    assert run.exit_code == 0, run.output
    assert f"{out}: {out.stat().st_size:,} bytes" in run.output
    assert [path.name for path in out.parent.iterdir()] == ["a.onnx"]


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    weights, out = write_weights(tmp_path / "a.safetensors"), tmp_path / "a.onnx"
    out.write_bytes(b"mine")
    with pytest.raises(ExportError, match=r"a\.onnx exists; --force replaces it"):
        dse.export(weights, out)
    assert out.read_bytes() == b"mine"
    found = dse.export(weights, out, force=True)
    assert found.file_bytes == out.stat().st_size > 4 * found.params_count


def test_an_unknown_suffix_names_the_formats(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "a.safetensors")
    with pytest.raises(ExportError, match=r"a\.pb: no format goes with '\.pb'; --format is one of"):
        dse.export(weights, tmp_path / "a.pb")


def test_jax_is_not_imported(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "a.safetensors")
    code = (
        "import sys, dse; dse.export(sys.argv[1], sys.argv[2]); "
        "print(sorted({'jax', 'flax', 'optuna', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    run = [sys.executable, "-c", code, str(weights), str(tmp_path / "a.onnx")]
    assert subprocess.run(run, check=True, capture_output=True, text=True).stdout == "[]\n"
