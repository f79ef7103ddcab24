"""A checksum with each value of the record, so that a bit that flipped is noticed.

    {"value": …, "check": "9f8e7d6c5b4a3921"}

The checksum covers the value and where it belongs: a value that was moved does not fit either.
Values without one were written by earlier versions and are believed as far as they are valid.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any


def sealed(value: Any, *place: object) -> dict[str, Any]:
    """The value with its checksum.

    Args:
        value: plain data, as JSON holds it.
        place: where it belongs: its name and what it is of.
    """
    return {"value": value, "check": _check(value, place)}


def is_sealed(held: object) -> bool:
    """Whether what the record holds has a checksum."""
    return isinstance(held, dict) and held.keys() == {"value", "check"}


def unsealed(held: Any, *place: object) -> Any:
    """The value that `sealed` was given; one without a checksum as it is.

    Raises:
        ValueError: the value is not the one that was written there.
    """
    if not is_sealed(held):
        return held
    if held["check"] != _check(held["value"], place):
        raise ValueError("not what was written there (its checksum differs)")
    return held["value"]


def _check(value: Any, place: tuple[object, ...]) -> str:
    text = json.dumps([place, value], sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
