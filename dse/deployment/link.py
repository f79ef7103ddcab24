"""Links: how fast a connection is, and what travels over it at least."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

from dse.errors import UsageError

_BITS = {"bit": 1, "b": 8}
_PREFIXES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_LINK = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?) ?([kKMGT]?)(bit|B)(?:/s)?")


@dataclass(frozen=True)
class Link:
    """A connection: how it was written, and its speed in bits per second (decimal units)."""

    text: str
    bits_per_s: Fraction

    def least_s(self, bytes_count: int) -> Fraction:
        """8 · bytes / bits per second: no latency, no protocol, nobody else on the line."""
        return 8 * bytes_count / self.bits_per_s


def parse_link(text: str, option: str = "the link") -> Link:
    """Read a speed: `1Gbit` (10⁹ bits per second), `2.5Gbit`, `100Mbit/s`, `125MB` (bytes).

    Args:
        text: number, prefix (k, M, G, T; powers of 1000) and `bit` or `B`, a second.
        option: what the message calls it.

    Raises:
        UsageError: it is no speed, or not above 0.
    """
    found = _LINK.fullmatch(text.strip())
    if found is None or not (number := Fraction(found[1])):
        raise UsageError(
            f"{option} is {text!r}, but must be a speed above 0 in bit or B (bytes) a second with "
            "a decimal prefix (1Gbit = 10^9 bit/s), for example 1Gbit, 100Mbit, 2.5Gbit or 125MB"
        )
    return Link(text.strip(), number * _PREFIXES[found[2].lower()] * _BITS[found[3].lower()])


def all_reduce_bytes(gradient_bytes: int, workers_count: int) -> int:
    """Bytes that each of n workers sends for one ring all-reduce: 2(n - 1)/n · gradient bytes.

    Reduce-scatter and all-gather each send n - 1 of the n parts of the gradient. No
    algorithm sends less. Where n does not divide the bytes the parts differ by one, and
    this is the average rounded up to a whole byte: some worker sends at least that.

    >>> all_reduce_bytes(1000, 8), all_reduce_bytes(1000, 3), all_reduce_bytes(1000, 1)
    (1750, 1334, 0)

    Source: Patarasuk and Yuan 2009, "Bandwidth optimal all-reduce algorithms for clusters of
    workstations", J. Parallel Distrib. Comput. 69(2), section 4.
    """
    return -(-2 * (workers_count - 1) * gradient_bytes // workers_count)
