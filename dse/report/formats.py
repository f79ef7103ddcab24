"""Values and tables as text: for Markdown, JSON and labels."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def short_value(value: object) -> str:
    """A metaparameter's value in as few characters as it takes: 0.25, 32, simple."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def short_count(value: float, unit: str = "") -> str:
    """A count with a decimal prefix: 950, 12.5 k, 1.2 M, and with unit "B" 12.5 kB.

    Up to six digits, so that close ticks of an axis stay apart; 1 k is 1000, also of bytes.
    """
    for scale, prefix in _PREFIXES:
        if value >= scale * 0.9999995:
            return f"{value / scale:.6g} {prefix}{unit}"
    return f"{value:.6g} {unit}".rstrip()


def times_text(times: float) -> str:
    """How many times fewer, never rounded up: a claim of 100× is one of 100 or more.

    >>> times_text(99.97), times_text(1283.6), times_text(3.19)
    ('99×', '1,283×', '3.1×')
    """
    return f"{math.floor(times):,}×" if times >= 10 else f"{math.floor(10 * times) / 10:g}×"


def markdown(table: pd.DataFrame) -> str:
    """The table in GitHub's Markdown: accuracies in percent, counts with thousands marks."""
    cells = [[_cell(name, value) for name, value in row.items()] for row in records(table)]
    header = [_escape(str(name)) for name in table.columns]
    is_text = [any(isinstance(row[name], str) for row in records(table)) for name in table.columns]
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


def _cell(name: str, value: int | float | str | bool | None) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if "accuracy" in name:
        return f"{100 * float(value):.2f}%"
    if isinstance(value, int):
        return f"{value:,}"
    return _escape(short_value(value))


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ")
