"""Tables as text: Markdown and plain records for JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dse.text import cell, percent

if TYPE_CHECKING:
    import pandas as pd


def markdown(table: pd.DataFrame) -> str:
    """The table in GitHub's Markdown: accuracies in percent, counts with thousands marks."""
    rows = records(table)
    cells = [
        [
            percent(value)
            if "accuracy" in name and isinstance(value, float)
            else _escape(cell(value))
            for name, value in row.items()
        ]
        for row in rows
    ]
    header = [_escape(str(name)) for name in table.columns]
    is_text = [any(isinstance(row[name], str) for row in rows) for name in table.columns]
    rule = [":--" if text else "--:" for text in is_text]
    return "".join(f"| {' | '.join(row)} |\n" for row in (header, rule, *cells))


def records(table: pd.DataFrame) -> list[dict[str, int | float | str | bool | None]]:
    """The rows as plain dicts for JSON; what is not known is None."""
    return [
        {str(name): _plain(value) for name, value in zip(table.columns, row, strict=True)}
        for row in table.itertuples(index=False, name=None)
    ]


def _plain(value: object) -> int | float | str | bool | None:
    item = value.item() if hasattr(value, "item") else value
    if isinstance(item, float):
        return item if math.isfinite(item) else None
    return item if isinstance(item, int | str) else None


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
