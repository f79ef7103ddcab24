"""The tutorial notebook runs from its first cell to its last, and what it shows is a front."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest

from tests.docs.test_blocks import ROOT


@pytest.mark.long
def test_the_notebook_runs(tmp_path, monkeypatch):
    notebook = json.loads((ROOT / "docs/tutorial.ipynb").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "__main__"}
    shown = []
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [], "outputs are made by whoever runs it"
            *body, last = ast.parse("".join(cell["source"])).body
            assert isinstance(last, ast.Expr), "each cell ends with what it shows"
            exec(compile(ast.Module(body, []), "cell", "exec"), space)
            shown.append(eval(compile(ast.Expression(last.value), "cell", "eval"), space))
    study, front, *_ = shown
    assert 1 <= len(front) <= 4
    html = study._repr_html_()
    assert html.count("<tr") == len(front) + 1
    assert (tmp_path / "front.png").read_bytes()[:4] == b"\x89PNG"


def test_the_dockerfile_copies_what_is_there_and_is_no_root():
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    copied = [line[1:-1] for line in lines if line[0] == "COPY" and not line[1].startswith("--")]
    kept = (ROOT / ".dockerignore").read_text().split()
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists(), name
        assert f"!{name}" in kept, name
    assert ["USER", "1000"] in lines  # a number, which every host can resolve
    assert ["ENTRYPOINT", '["dse"]'] in lines
    assert "--build-arg EXTRA=[cuda]" in text
    assert "\ncuda = " in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
