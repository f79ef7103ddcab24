"""Names that act on a terminal, a browser or a spreadsheet are text like any other."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from dse.text import csv_cell, inert, json_inert, message

HOSTILE = "\x1b[2J\x9b31m<script>alert(1)<|script>$\\frac{$\u202e\u2028=cmd()[red]"
WRITTEN = "\\x1b[2J\\x9b31m<script>alert(1)<|script>$\\frac{$\\u202e\\u2028=cmd()[red]"
FIXTURES = Path(__file__).parents[1] / "fixtures"


@pytest.fixture
def study() -> str:
    """A study under a hostile name, with hostile data, class and layer names."""
    folder = Path("results") / HOSTILE
    source = FIXTURES / "sweep" / "tiny-digits"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("weights", "study.db"))
    table = (folder / "trials.csv").read_text()
    (folder / "trials.csv").write_text(table.replace(",none,", f",{HOSTILE},", 1))
    text = (folder / "study.yaml").read_text()
    quoted = json.dumps(HOSTILE)
    assert "name: digits" in text
    (folder / "study.yaml").write_text(text.replace("name: digits", f"name: {quoted}"))
    return HOSTILE


def assert_inert(text: str) -> None:
    assert text == inert(text, keep_lines=True)
    assert WRITTEN in text


def test_a_study_under_a_hostile_name(run, study):
    for args in (("studies",), ("front", study), ("front", "nothing"), ("plot", study)):
        result = run(*args)
        assert_inert(result.output)
        assert result.exit_code == (1 if "nothing" in args else 0), result.output
    (svg,) = Path("plots").glob("*.svg")
    comments = svg.read_text()
    assert "<script>" not in comments.replace("<!--", "\n<!--").partition("<metadata>")[0]
    root = ElementTree.fromstring(comments)  # valid XML: no control character in it
    assert not [element for element in root.iter() if "script" in str(element.tag)]


def test_documents_keep_the_name(run, study):
    result = run("studies", "--json")
    assert result.stdout == inert(result.stdout, keep_lines=True)
    (entry,) = json.loads(result.stdout)
    assert entry["name"] == HOSTILE


def test_a_space_under_a_hostile_name(run):
    Path("search_spaces").mkdir()
    path = Path("search_spaces") / f"{HOSTILE}.yaml"
    path.write_text(f"schema: 1\nfamily: squeezenet\ndescription: {json.dumps(HOSTILE)}\n")
    for args in (("spaces",), ("check", path)):
        result = run(*args)
        assert result.exit_code == 0, result.output
        assert_inert(result.output)
    path.write_text(f"{json.dumps(HOSTILE)}: 1\n")
    result = run("check", path)
    assert (result.exit_code, result.stdout) == (1, "")
    assert_inert(result.stderr)


def test_weights_with_hostile_classes(run):
    from dataclasses import replace

    from dse.weights.safetensors import load_weights, save_weights

    source = next((FIXTURES / "sweep/tiny-digits/weights").glob("*.safetensors"))
    params, statistics, metadata = load_weights(source)
    classes = (HOSTILE, *metadata.classes[1:])
    save_weights(Path("x.safetensors"), params, statistics, replace(metadata, classes=classes))
    from PIL import Image

    Image.new("L", (8, 8)).save(f"{HOSTILE}.png")
    result = run("predict", "x.safetensors", f"{HOSTILE}.png")
    assert result.exit_code == 0, result.output
    assert_inert(result.output)


def test_each_kind_of_cell():
    assert csv_cell(f"={HOSTILE}") == f"'={WRITTEN}"
    assert [csv_cell(text) for text in ("+1", "-x", "@x", "a=b", "")] == [
        *("'+1", "'-x", "'@x", "a=b", "")
    ]
    assert json.loads(json_inert(json.dumps({"a": HOSTILE}, ensure_ascii=False))) == {"a": HOSTILE}
    assert inert("día 日本 🙂 عربي") == "día 日本 🙂 عربي"
    assert inert("a\tb\r\n\udc80") == "a\\tb\\r\\n\\udc80"


@pytest.mark.parametrize(
    "args",
    [
        ("describe", "squeezenet_v1.0", "--input", "9" * 6000 + "x3x3"),
        ("describe", "9" * 6000),
        ("front", "9" * 6000),
        ("sweep", "squeeze_ratio.yaml", "--recipe", "epochs=" + "9" * 6000),
        ("sweep", "squeeze_ratio.yaml", "--set", "base_e=" + "9" * 6000),
        ("search", "squeezenet.yaml", "--margin", "9" * 6000),
    ],
)
def test_a_word_of_thousands_of_characters(run, args):
    result = run(*args)
    assert result.exit_code in (1, 2)
    assert result.stderr.startswith("error: ")
    assert len(result.stderr) < 1500
    assert "Traceback" not in result.stderr


def test_a_message_keeps_its_beginning_and_its_end():
    assert message("a" * 300 + "b" * 5000 + "c" * 100) == "a" * 200 + "…" + "c" * 100
    assert message("word " * 50) == "word " * 50
    long = message("word\n" * 100_000 + "; take another")
    assert len(long) < 12_100
    assert long.endswith("; take another")
