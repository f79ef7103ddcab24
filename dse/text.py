"""Words for people: counts, sizes, times and names as every message, table and plot has them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fractions import Fraction

NOTHING = "–"
"""What stands where there is no value."""


_LIVE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that do something instead of being seen: control characters (escape sequences begin
with one), line ends, changes of the direction of writing, halves of a character."""


def inert(text: str, *, keep_lines: bool = False) -> str:
    r"""The text with what a terminal, a table or an SVG would act on written out.

    Names come from folders, files and other people: each passes through here on its way to a
    terminal, into a CSV file or a figure.

    >>> inert("cat\x1b[31m")
    'cat\\x1b[31m'

    Args:
        text: any.
        keep_lines: leave line feeds as they are, where the text is several lines of ours.
    """
    if text.isascii() and text.isprintable():  # nearly always
        return text

    def written(found: re.Match[str]) -> str:
        character = found.group()
        is_kept = keep_lines and character == "\n"
        return character if is_kept else character.encode("unicode_escape").decode()

    return _LIVE.sub(written, text)


def message(text: str) -> str:
    """What is wrong, inert and of a length that is read: of very long words the ends."""
    if len(text) > 12_000:
        text = f"{text[:10_000]}…{text[-2_000:]}"
    return re.sub(r"(\S{200})\S{300,}(\S{100})", r"\1…\2", inert(text, keep_lines=True))


def json_inert(document: str) -> str:
    """A JSON document with the same characters as JSON's own escapes; its line ends stay."""
    return _LIVE.sub(
        lambda found: "\n" if found.group() == "\n" else f"\\u{ord(found.group()):04x}", document
    )


def csv_cell(value: object) -> object:
    """A value as a CSV file holds it: no spreadsheet takes a text for a formula.

    >>> csv_cell("=cmd()"), csv_cell(-1.5), csv_cell("cat")
    ("'=cmd()", -1.5, 'cat')
    """
    if not isinstance(value, str):
        return value
    text = inert(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def nearest(name: str, names: Mapping[str, object] | list[str]) -> str:
    """`; did you mean X?` for the closest of `names`, or the list of them where none is close."""
    close = get_close_matches(name[:100], list(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {some_of(list(names), 40)}"


def listed(names: Sequence[str]) -> str:
    """All of them: `a, b and c`."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def some_of(names: Sequence[str], most: int = 5, *, count: int | None = None) -> str:
    """The first of many: `a, b and 4 more`.

    Args:
        names: all of them, or at least the first `most`.
        most: how many are named.
        count: how many there are, where `names` are not all.
    """
    more = (len(names) if count is None else count) - most
    return ", ".join(names[:most]) + (f" and {more:,} more" if more > 0 else "")


def counted(count: int, noun: str) -> str:
    """A number and its noun: 1 seed, 1,024 seeds, 10 classes."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{count:,} {noun if count == 1 else plural}"


def cell(value: object) -> str:
    """A value for people: 1,248,424; [conv1, fire4]; 0.125; – for nothing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(cell, value))}]"
    return inert(str(value))


def values_text(values: Mapping[str, object], names: Iterable[str] | None = None) -> str:
    """Some of the values by name, or all: `base_e 32, bypass simple`; unknown names are left out.

    Args:
        values: by name.
        names: which, in this order.
    """
    chosen = values if names is None else [name for name in names if name in values]
    return ", ".join(f"{name} {cell(values[name])}" for name in chosen)


def percent(fraction: float | None) -> str:
    """An accuracy for people: 0.9312 is 93.12%."""
    return NOTHING if fraction is None or math.isnan(fraction) else f"{fraction:.2%}"


def points(difference: float | None) -> str:
    """A difference of accuracies in percentage points: -0.0123 is -1.23."""
    return NOTHING if difference is None else f"{100 * difference:+.2f}"


def interval_text(low: float | None, high: float | None) -> str:
    """Behind an accuracy: ` (95% interval 84.12 to 90.30)`; empty where an end is not known."""
    if low is None or high is None:
        return ""
    return f" (95% interval {100 * low:.2f} to {100 * high:.2f})"


def times_text(times: float) -> str:
    """How many times fewer, never rounded up: a claim of 100× is one of 100 or more.

    >>> times_text(99.97), times_text(1283.6), times_text(3.19)
    ('99×', '1,283×', '3.1×')
    """
    return f"{math.floor(times):,}×" if times >= 10 else f"{math.floor(10 * times) / 10:g}×"


def short_value(value: object) -> str:
    """A metaparameter's value in as few characters as it takes: 0.25, 32, simple."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def short_count(value: float, unit: str = "") -> str:
    """A count with a decimal prefix: 950, 12.5 k, 1.2 M, and with unit "B" 12.5 kB.

    Up to six digits, so that close ticks of an axis stay apart; 1 k is 1000, also of bytes.
    """
    for scale, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= scale * 0.9999995:
            return f"{value / scale:.6g} {prefix}{unit}"
    return f"{value:.6g} {unit}".rstrip()


def size_text(bytes_count: int) -> str:
    """Bytes in decimal units: 4,993,696 is 4.99 MB (1 MB = 10⁶ bytes)."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if bytes_count >= 0.9995 * factor:  # so that 999,950 bytes are 1 MB, not 1e+03 kB
            return f"{bytes_count / factor:.3g} {unit}"
    return f"{bytes_count} bytes"


def bytes_text(bytes_count: int) -> str:
    """Bytes exactly and for people: `4,993,696 bytes (4.99 MB)`."""
    return f"{bytes_count:,} bytes ({size_text(bytes_count)})"


def shape_text(shape: Sequence[int]) -> str:
    """(227, 227, 3) is 227x227x3, as `--input` takes it."""
    return "x".join(map(str, shape))


def duration(seconds: float) -> str:
    """A time to wait for: 42 s, 3 min 10 s, 2 h 05 min; – for none."""
    if math.isnan(seconds):
        return NOTHING
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def seconds_text(seconds: Fraction | float) -> str:
    """A time that was measured, in three figures: 69.9 ms, 3.41 s, 20.1 min, 1.2 h."""
    value = float(seconds)
    for unit, factor in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if value >= 0.9995 * factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e-6:.3g} µs"
