"""The scale at which the README's curves are drawn, held against an independent program."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ARCHIVE = Path(__file__).parents[2].parent / "shared" / "data" / "cifar10-jpeg.tar.xz"


@pytest.mark.slow
@pytest.mark.data
def test_eight_epochs_on_cifar10_jpeg_reach_what_pytorch_reached(tmp_path):
    """An independent PyTorch program with the same 183,850 parameters got 0.783 so."""
    if not ARCHIVE.exists():
        pytest.skip(f"needs {ARCHIVE.name} in {ARCHIVE.parent}")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path / "cifar10-jpeg", filter="data")
    arguments = [
        *("sweep", "cifar10/squeeze_ratio.yaml", "--set", "squeeze_ratio=0.5"),
        *("--data", f"folder:{tmp_path / 'cifar10-jpeg'}", "--epochs", "8", "--json"),
        *("--results", str(tmp_path), "--plots", str(tmp_path)),
    ]
    program = "from dse.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], stdout=subprocess.PIPE, check=True
    )
    (candidate,) = json.loads(done.stdout)["candidates"]
    assert candidate["params_count"] == 183_850
    assert candidate["validation_accuracy_mean"] >= 0.76
