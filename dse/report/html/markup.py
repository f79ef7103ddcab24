"""HTML and SVG that cannot be broken out of: text is escaped unless it is made here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape

from dse.text import cell, inert


class Html(str):
    """HTML that is complete; any other string is text and is escaped where it is put in."""

    __slots__ = ()


Part = object
"""What may stand inside a tag: `Html`, text, a number; None is nothing."""

_VOID = frozenset({"br", "circle", "img", "input", "line", "meta", "path", "polyline", "rect"})


def join(parts: Iterable[Part]) -> Html:
    """The parts behind each other, those that are no `Html` escaped."""
    return Html("".join(map(_part, parts)))


def tag(element: str, /, *parts: Part, **attributes: object) -> Html:
    """An element with its contents.

    >>> tag("p", "a < b", class_="note")
    '<p class="note">a &lt; b</p>'

    Args:
        element: its name.
        parts: its contents.
        attributes: by name; `class_` is class, `data_x` is data-x; those that are None or
            False are left out, and of True the name alone stands there.
    """
    told = "".join(
        f" {key.rstrip('_').replace('_', '-')}"
        + ("" if value is True else f'="{escape(inert(str(value)))}"')
        for key, value in attributes.items()
        if value is not None and value is not False
    )
    if element in _VOID and not parts:
        return Html(f"<{element}{told}/>")
    return Html(f"<{element}{told}>{join(parts)}</{element}>")


def table(
    titles: Sequence[Part],
    rows: Iterable[Sequence[Part]],
    *,
    numbers: int = 99,
    **attributes: object,
) -> Html:
    """A table in a box that scrolls where it is too wide; cells as `cell` shows them.

    Args:
        titles: of the columns.
        rows: cells.
        numbers: from this column on they are set flush right.
        attributes: of the table.
    """

    def line(kind: str, cells: Sequence[Part]) -> Html:
        return tag(
            "tr",
            *(
                tag(kind, value if isinstance(value, Html) else cell(value), class_=look)
                for at, value in enumerate(cells)
                for look in ["n" if at >= numbers else None]
            ),
        )

    head = tag("thead", line("th", titles))
    body = tag("tbody", *(line("td", row) for row in rows))
    return tag("div", tag("table", head, body, **attributes), class_="scroll", tabindex=0)


def facts(values: Mapping[str, Part]) -> Html:
    """Names and what is said of each; those of None are left out."""
    return tag(
        "dl",
        *(
            tag("div", tag("dt", name), tag("dd", text if isinstance(text, Html) else cell(text)))
            for name, text in values.items()
            if text is not None
        ),
        class_="facts",
    )


def _part(part: Part) -> str:
    if isinstance(part, Html):
        return part
    return "" if part is None else escape(inert(str(part)))
