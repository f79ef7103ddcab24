from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dse.architecture import build, cost, make_candidate
from dse.cli.main import app
from dse.config import dump_yaml

ACCURACIES = {0.125: (0.8, 0.9), 0.25: (0.84, 0.82), 0.5: (0.95, None), 1.0: (None, None)}
"""Validation accuracy of two seeds for each squeeze ratio of the `toy` study; None failed."""

SPACE = """\
schema: 1
family: squeezenet
metaparameters:
  base_e: 8
  incr_e: 8
  squeeze_ratio: {values: [0.25, 0.5]}
"""
"""Two candidates, as a file."""

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Every test runs in an empty folder, without a terminal's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DSE_DEBUG", raising=False)


@pytest.fixture
def run() -> Run:
    """Run `dse` with these arguments in this process."""
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args], prog_name="dse")


@pytest.fixture
def toy_keys(tmp_path) -> dict[float, str]:
    """A study `toy` in `results` with four candidates; their keys by squeeze ratio."""
    rows, keys = [], {}
    for ratio, accuracies in ACCURACIES.items():
        candidate = make_candidate(
            "squeezenet",
            {"base_e": 8, "incr_e": 8, "squeeze_ratio": ratio, "pools": ["conv1", "fire2"]},
        )
        keys[ratio] = candidate.key
        costs = cost(build(candidate, (8, 8, 1), 10))
        for seed, accuracy in enumerate(accuracies):
            failed = accuracy is None
            values = {**candidate.metaparameters, "pools": "conv1 fire2"}
            sizes = ("params_count", "macs", "weight_bytes", "peak_activation_bytes")
            rows.append(
                {
                    "candidate": candidate.key,
                    **values,
                    "seed": seed,
                    "status": "failed" if failed else "finished",
                    "reason": "the loss became nan at step 4" if failed else "",
                    **{name: getattr(costs, name) for name in sizes},
                    "validation_accuracy": "" if failed else accuracy,
                    "test_accuracy": "" if failed else accuracy,
                    **dict.fromkeys(("train_loss", "epochs", "train_s", "compile_s"), 1),
                    "images_per_s": 999,
                }
            )
    write_study(tmp_path / "results" / "toy", rows)
    return keys


def write_study(directory: Path, rows: list[dict[str, object]]) -> None:
    directory.mkdir(parents=True)
    with (directory / "trials.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    data = {"name": "digits", "input_shape": [8, 8, 1], "classes": [str(n) for n in range(10)]}
    dump_yaml({"space": {"family": "squeezenet"}, "data": data}, directory / "study.yaml")
