"""Words for people: nearest names, counted nouns, sizes."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches


def nearest(name: str, names: Mapping[str, object] | list[str]) -> str:
    """`; did you mean X?` for the closest of `names`, or the list of them where none is close."""
    close = get_close_matches(name, list(names), n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else f"; there are {', '.join(names)}"
