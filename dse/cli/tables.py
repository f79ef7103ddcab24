"""What the commands print: plain columns, numbers for people, one JSON document.

Plain text and no box drawing: a table is as wide as its contents on a terminal and in a
pipe alike, and nothing is cut.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TextIO

import typer

from dse.text import cell, inert, json_inert

GAP = "  "

Row = Sequence[object]


def print_table(titles: Sequence[str], rows: Sequence[Row], *, right: Collection[str] = ()) -> None:
    """Print rows under their titles.

    Args:
        titles: one a column; a line break stacks the words of a title that is wider than
            its column.
        rows: cells as `cell` shows them.
        right: the titles of the columns that are set flush right: numbers.
    """
    for index, line in enumerate(table_lines(titles, rows, right=right)):
        is_title = index <= max(title.count("\n") for title in titles)
        typer.echo(bold(line, sys.stdout) if is_title else line)


def table_lines(
    titles: Sequence[str], rows: Sequence[Row], *, right: Collection[str] = ()
) -> list[str]:
    """The lines of a table, titles first; see `print_table`."""
    height = max(title.count("\n") for title in titles) + 1
    stacked = [[""] * (height - len(t)) + t for t in (title.split("\n") for title in titles)]
    texts = [list(line) for line in zip(*stacked, strict=True)]
    texts += [[cell(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return [
        GAP.join(
            text.rjust(width) if title in right else text.ljust(width)
            for text, width, title in zip(line, widths, titles, strict=True)
        ).rstrip()
        for line in texts
    ]


def print_line(text: object) -> None:
    """Print one line, with names that may be anybody's in it."""
    typer.echo(inert(str(text)))


def print_facts(facts: Mapping[str, object]) -> None:
    """Print one `name  value` a line."""
    width = max(map(len, facts))
    for name, value in facts.items():
        typer.echo(f"{name:{width}}{GAP}{cell(value)}")


def print_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON document; a number that is not finite becomes null, as JSON has none."""
    text = json.dumps(_finite(document), indent=2, ensure_ascii=False, allow_nan=False)
    # A list of plain values goes on one line. A line break cannot stand inside a JSON string.
    text = re.sub(
        r"\[\n[^\[\]{}]*\]",
        lambda found: "[" + re.sub(r"\n\s*", " ", found.group()[1:-1]).strip() + "]",
        text,
    )
    typer.echo(json_inert(text))


def note(text: str) -> None:
    """Print what is not the result, so that stdout stays the result's alone."""
    typer.echo(inert(text, keep_lines=True), err=True)


def bold(text: str, stream: TextIO) -> str:
    """The text in bold where `stream` is a terminal that wants it (https://no-color.org)."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty()
    return text if plain else typer.style(text, bold=True)


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _finite(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
