"""`dse report` as a command; the page itself is tested in tests/report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from dse.config import yaml_text
from tests.cli.test_evaluate import save_digits_weights
from tests.report.rows import HEADER, row
from tests.report.test_html import write_study


def test_writes_a_page_of_one_study_or_several(run, toy_keys):
    result = run("report", "toy")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "report.html\n"
    page = Path("report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert toy_keys[0.5] in page
    found = json.loads(run("report", "toy", "results/toy", "--out", "b.html", "--json").stdout)
    assert found["bytes"] == Path("b.html").stat().st_size
    assert found["path"] == "b.html"


def test_bad_input_is_one_message(run, toy_keys, tmp_path):
    for arguments, message in (
        (("toy", "--out", "page.txt"), "--out is page.txt, but must end in .html"),
        (("toy", "--out", "gone/page.html"), "--out gone/page.html cannot be written"),
        (("tyo",), "study 'tyo' not found in results; there is toy"),
    ):
        result = run("report", *arguments)
        assert result.exit_code in (1, 2)
        assert message in result.stderr
        assert result.stderr.count("error:") == 1


def test_scores_the_validation_images_unless_told_not_to(run, tmp_path):
    """Only the last layer's bias speaks: every image is taken for a 6."""
    results, weights = tmp_path / "results", tmp_path / "a.safetensors"
    dataset = save_digits_weights(weights, [0, 0, 0, 0, 0, 0, 1, 0, 0, 0])
    data = {"fingerprint": dataset.fingerprint}
    command = "dse sweep x.yaml --data digits"
    write_study(results, "s", HEADER, [row("a", 0, 0.1)], data=data, command=command)
    (results / "s" / "weights").mkdir()
    weights.rename(results / "s" / "weights" / "a-seed0.safetensors")
    result = run("report", "s")
    assert result.exit_code == 0, result.stderr
    page = Path("report.html").read_text()
    count = len(dataset.validation)
    correct = np.sum(np.asarray(dataset.validation.labels) == 6)
    assert f"{correct} of {count} images are correct ({correct / count:.2%}); balanced" in page
    assert "is 10.00%" in page
    assert page.count("<img") == 24
    assert "<img" not in (run("report", "s", "--no-photos"), Path("report.html").read_text())[1]
    run("report", "s", "--no-errors")
    assert "What it gets wrong" not in Path("report.html").read_text()
    (results / "s" / "study.yaml").write_text(
        yaml_text({"data": {"fingerprint": "0" * 32}, "command": command})
    )
    result = run("report", "s")
    assert result.exit_code == 0
    assert "note: s: what its network gets wrong is not shown: digits holds other images" in (
        result.stderr
    )
