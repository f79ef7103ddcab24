from __future__ import annotations

import io
import json
import math

import pytest

from dse.cli import tables


def test_columns_are_as_wide_as_their_contents_and_titles_stack_at_the_bottom():
    lines = tables.table_lines(
        ("layer", "what", "activation\nbytes"),
        [("conv1", "conv 7x7/2", 5_349_612), ("drop9", None, 0)],
        right=("activation\nbytes",),
    )
    assert lines == [
        "                   activation",
        "layer  what             bytes",
        "conv1  conv 7x7/2   5,349,612",
        "drop9  –                    0",
    ]


def test_table_without_rows_is_its_titles():
    assert tables.table_lines(("a", "bc"), []) == ["a  bc"]


def test_json_is_one_document_with_null_for_what_json_cannot_say(capsys):
    document = {
        "shape": (8, 8, 1),
        "accuracy": math.nan,
        "words": ["a\nb [", "c"],
        "rows": [{"n": 1, "ünit": math.inf}],
        "none": [],
    }
    tables.print_json(document)
    text = capsys.readouterr().out
    assert json.loads(text) == {
        "shape": [8, 8, 1],
        "accuracy": None,
        "words": ["a\nb [", "c"],
        "rows": [{"n": 1, "ünit": None}],
        "none": [],
    }
    assert '"shape": [8, 8, 1],\n' in text
    assert '"ünit"' in text


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("stream", "environment", "is_bold"),
    [
        (_Terminal(), {}, True),
        (_Terminal(), {"NO_COLOR": "1"}, False),
        (_Terminal(), {"TERM": "dumb"}, False),
        (io.StringIO(), {}, False),
    ],
)
def test_bold_only_on_a_terminal_that_wants_it(monkeypatch, stream, environment, is_bold):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    expected = "\x1b[1mtitle\x1b[0m" if is_bold else "title"
    assert tables.bold("title", stream) == expected
