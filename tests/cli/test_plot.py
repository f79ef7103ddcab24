from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def _two_studies(toy_keys):
    shutil.copytree("results/toy", "results/other")


@pytest.mark.parametrize(
    ("args", "paths"),
    [
        (["toy"], ["plots/toy.png", "plots/toy.svg"]),
        (["toy", "toy", "--x", "macs"], ["plots/toy-macs.png", "plots/toy-macs.svg"]),
        (["toy", "other", "--plots", "p"], ["p/toy+other.png", "p/toy+other.svg"]),
        (["results/toy", "--out", "x.SVG"], ["x.SVG"]),
        (["toy", "--published"], ["plots/toy-published.png", "plots/toy-published.svg"]),
        (["toy", "--published", "--x", "macs", "--out", "x.png"], ["x.png"]),
        (["--paper"], ["plots/paper/figure3.png", "plots/paper/figure3.svg"]),
        (["--paper", "--out", "y.png"], ["y.png"]),
    ],
)
def test_paths_written_are_printed_and_hold_figures(run, args, paths):
    result = run("plot", *args)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == paths
    for path in map(Path, paths):
        start = path.read_bytes()[:200]
        assert start.startswith(b"\x89PNG") if path.suffix == ".png" else b"<?xml" in start
    assert sorted(map(str, Path().rglob("*.png"))) == [p for p in paths if p.endswith(".png")]


def test_document(run):
    result = run("plot", "toy", "other", "--out", "x.png", "--json")
    assert json.loads(result.stdout) == {
        "studies": ["toy", "other"],
        "size": "params_count",
        "paths": ["x.png"],
    }


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["toy", "--out", "x.gif"], 2, "--out is x.gif, but must end in .png or .svg, for example"),
        ([], 2, "name a study, for example `dse plot squeeze_ratio-digits`, or --paper"),
        (["toy", "--paper"], 2, "--paper draws the paper's own figure: no STUDY, --published or"),
        (["--paper", "--x", "macs"], 2, "--paper draws the paper's own figure"),
        (["--published"], 2, "name a study"),
        (["toy", "othr"], 1, "study 'othr' not found in results; there are other, toy"),
    ],
)
def test_errors(run, args, status, message):
    result = run("plot", *args)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith(f"error: {message}")
