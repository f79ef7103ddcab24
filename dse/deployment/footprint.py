"""What a network's size is worth when it is trained, sent out and put on a chip.

The three advantages that the SqueezeNet paper claims for small networks (Iandola et al.
2016, arXiv 1602.07360, section 1) as numbers: less communication in distributed training,
cheaper updates over the air, and a fit on chips with little memory. Pure arithmetic on a
`Cost`; bytes are exact integers, seconds are exact fractions until somebody prints them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from dse.architecture.cost import VALUE_BYTES, Cost
from dse.deployment.devices import Device
from dse.errors import UsageError

PRECISIONS = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes a value, weights and activations alike."""

PEAK_ASSUMPTION = (
    "one image; layers run one after the other; a layer holds its input and its whole output; "
    "activation, norm, dropout and bypass additions in place; weights and scratch memory aside"
)
"""What `peak_activation_bytes` assumes, in a line; docs/decisions/0004 has the rules."""

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


@dataclass(frozen=True)
class Footprint:
    """Bytes of a network whose weights and activations all have one precision.

    Attributes:
        weight_bytes: every stored value, the running statistics of batch norms included.
        peak_activation_bytes: see `PEAK_ASSUMPTION`.
    """

    precision: str
    weight_bytes: int
    peak_activation_bytes: int

    @property
    def total_bytes(self) -> int:
        """Weights and peak activations together."""
        return self.weight_bytes + self.peak_activation_bytes


@dataclass(frozen=True)
class GradientExchange:
    """One step of data-parallel training, seen from one worker.

    Attributes:
        gradient_bytes: 4 a trained parameter (float32).
        sent_bytes: see `all_reduce_bytes`; as many are received meanwhile.
        least_s: the time that the link needs for `sent_bytes` alone.
    """

    workers_count: int
    link: Link
    gradient_bytes: int
    sent_bytes: int
    least_s: Fraction


@dataclass(frozen=True)
class Update:
    """New weights sent to one client over the air, uncompressed: bytes and least time."""

    precision: str
    update_bytes: int
    least_s: Fraction


@dataclass(frozen=True)
class Fit:
    """Whether a network fits a device's own memory, by precision."""

    device: Device
    weights: dict[str, bool]
    weights_and_activations: dict[str, bool]


@dataclass(frozen=True)
class Deployment:
    """The deployment sheet of one network."""

    peak_layer: str
    footprints: tuple[Footprint, ...]
    exchange: GradientExchange
    update_link: Link
    updates: tuple[Update, ...]
    fits: tuple[Fit, ...]


def deployment(
    cost: Cost,
    *,
    workers_count: int,
    link: Link,
    update_link: Link,
    devices: Iterable[Device],
) -> Deployment:
    """The deployment sheet of a network.

    Args:
        cost: its exact cost.
        workers_count: machines that train it together, at least 1.
        link: between those machines, the same both ways at once.
        update_link: to a client.
        devices: chips that it may have to fit.
    """
    footprints = tuple(
        Footprint(
            precision,
            cost.weight_bytes // VALUE_BYTES * value_bytes,
            cost.peak_activation_bytes // VALUE_BYTES * value_bytes,
        )
        for precision, value_bytes in PRECISIONS.items()
    )
    gradient_bytes = VALUE_BYTES * cost.params_count
    sent_bytes = all_reduce_bytes(gradient_bytes, workers_count)
    return Deployment(
        peak_layer=cost.peak_layer,
        footprints=footprints,
        exchange=GradientExchange(
            workers_count, link, gradient_bytes, sent_bytes, link.least_s(sent_bytes)
        ),
        update_link=update_link,
        updates=tuple(
            Update(f.precision, f.weight_bytes, update_link.least_s(f.weight_bytes))
            for f in footprints
        ),
        fits=tuple(
            Fit(
                device,
                {f.precision: device.holds_weights(f.weight_bytes) for f in footprints},
                {
                    f.precision: device.holds_network(f.weight_bytes, f.peak_activation_bytes)
                    for f in footprints
                },
            )
            for device in devices
        ),
    )
