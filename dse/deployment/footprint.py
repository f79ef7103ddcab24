"""What a network's size is worth when it is trained, sent out and put on a chip.

The three advantages that the SqueezeNet paper claims for small networks (Iandola et al.
2016, arXiv 1602.07360, section 1) as numbers: less communication in distributed training,
cheaper updates over the air, and a fit on chips with little memory. Pure arithmetic on a
`Cost`; bytes are exact integers, seconds are exact fractions until somebody prints them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from dse.architecture.cost import VALUE_BYTES, Cost
from dse.deployment.chip import ChipMemory
from dse.deployment.devices import Device
from dse.deployment.link import Link, all_reduce_bytes

PRECISIONS = {"fp32": 4, "fp16": 2, "int8": 1}
"""Bytes per value, weights and activations alike."""

PEAK_ASSUMPTION = (
    "one image; layers run one after the other; a layer holds its input and its whole output; "
    "activation, norm, dropout and bypass additions in place; weights and scratch memory aside"
)
"""What `peak_activation_bytes` assumes, in a line; docs/decisions/0004 has the rules."""


@dataclass(frozen=True)
class Footprint:
    """Bytes of a network whose weights and activations all have one precision.

    Attributes:
        weight_bytes: every stored value, the running statistics of batch norms included.
        peak_activation_bytes: see `PEAK_ASSUMPTION`.
        update_s: least time to send the weights to a client over the air, uncompressed.
    """

    precision: str
    weight_bytes: int
    peak_activation_bytes: int
    update_s: Fraction

    @property
    def total_bytes(self) -> int:
        """Weights and peak activations together."""
        return self.weight_bytes + self.peak_activation_bytes


@dataclass(frozen=True)
class GradientExchange:
    """One step of data-parallel training, seen from one worker.

    Attributes:
        gradient_bytes: 4 per trained parameter (float32).
    """

    workers_count: int
    link: Link
    gradient_bytes: int

    @property
    def sent_bytes(self) -> int:
        """See `all_reduce_bytes`; as many are received meanwhile."""
        return all_reduce_bytes(self.gradient_bytes, self.workers_count)

    @property
    def least_s(self) -> Fraction:
        """The time that the link needs for `sent_bytes` alone."""
        return self.link.least_s(self.sent_bytes)


@dataclass(frozen=True)
class Fit:
    """Whether a network fits a device's own memory, by precision.

    In int8 a microcontroller has to hold flash and RAM of the C program, where there is one.
    """

    device: Device
    weights: dict[str, bool]
    weights_and_activations: dict[str, bool]


@dataclass(frozen=True)
class Deployment:
    """The deployment sheet of one network; `chip` is None where it has no int8 form."""

    peak_layer: str
    footprints: tuple[Footprint, ...]
    exchange: GradientExchange
    update_link: Link
    fits: tuple[Fit, ...]
    chip: ChipMemory | None = None


def deployment(
    cost: Cost,
    *,
    workers_count: int,
    link: Link,
    update_link: Link,
    devices: Iterable[Device],
    chip: ChipMemory | None = None,
) -> Deployment:
    """The deployment sheet of a network.

    Args:
        cost: its exact cost.
        workers_count: machines that train it together, at least 1.
        link: between those machines, the same both ways at once.
        update_link: to a client.
        devices: chips that it may have to fit.
        chip: flash and RAM of its C program.
    """
    footprints = []
    for precision, value_bytes in PRECISIONS.items():
        weight_bytes = cost.weight_bytes // VALUE_BYTES * value_bytes
        activation_bytes = cost.peak_activation_bytes // VALUE_BYTES * value_bytes
        update_s = update_link.least_s(weight_bytes)
        footprints.append(Footprint(precision, weight_bytes, activation_bytes, update_s))
    fits = []
    for device in devices:
        weights = {f.precision: device.holds_weights(f.weight_bytes) for f in footprints}
        both = {
            f.precision: device.holds_network(f.weight_bytes, f.peak_activation_bytes)
            for f in footprints
        }
        if chip is not None and device.flash_bytes is not None:
            weights["int8"] = device.holds_weights(chip.flash_bytes)
            both["int8"] = device.holds_network(chip.flash_bytes, chip.ram_bytes)
        fits.append(Fit(device, weights, both))
    exchange = GradientExchange(workers_count, link, VALUE_BYTES * cost.params_count)
    return Deployment(cost.peak_layer, tuple(footprints), exchange, update_link, tuple(fits), chip)
