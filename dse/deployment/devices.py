"""Devices by name, with the memory on their chips: `devices.toml`, read and checked."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from dse.errors import ConfigError
from dse.text import nearest

DEVICES_PATH = Path(__file__).with_name("devices.toml")


@dataclass(frozen=True)
class Device:
    """A chip's own memory; what stands beside it on a board does not count.

    Attributes:
        name: as its maker writes it.
        kind: `FPGA` or `microcontroller`.
        ram_bytes: holds activations, and weights too where there is no flash.
        flash_bytes: holds weights; None where the chip has none.
        figure: how the data sheet says it.
        source: the data sheet and its number.
    """

    name: str
    kind: Literal["FPGA", "microcontroller"]
    ram_bytes: int
    flash_bytes: int | None
    figure: str
    source: str

    def holds_weights(self, weight_bytes: int) -> bool:
        """Whether weights of this size fit: in the flash, or in the RAM where there is none."""
        return weight_bytes <= (self.ram_bytes if self.flash_bytes is None else self.flash_bytes)

    def holds_network(self, weight_bytes: int, activation_bytes: int) -> bool:
        """Whether weights and activations fit together, code and buffers of a runtime aside.

        With flash, the weights lie there and the activations have the RAM for themselves;
        without, both share the RAM.
        """
        if self.flash_bytes is None:
            return weight_bytes + activation_bytes <= self.ram_bytes
        return weight_bytes <= self.flash_bytes and activation_bytes <= self.ram_bytes


@cache
def devices() -> tuple[Device, ...]:
    """Every device of the table, in its order."""
    table = tomllib.loads(DEVICES_PATH.read_text(encoding="utf-8"))
    found = []
    for row in table["device"]:
        # KB of 1,024 bytes; block RAMs come in halves of a KB, so that this is exact.
        ram, flash = int(1024 * row["ram_kb"]), row.get("flash_kb")
        flash = None if flash is None else int(1024 * flash)
        found.append(Device(row["name"], row["kind"], ram, flash, row["figure"], row["source"]))
    return tuple(found)


def find_devices(names: list[str]) -> tuple[Device, ...]:
    """The devices of these names, in this order; all of them for no names.

    Raises:
        ConfigError: unknown names, each with the nearest one.
    """
    known = {_plain(device.name): device for device in devices()}
    spelt = [device.name for device in devices()]
    problems = [
        f"device {name!r} not found{nearest(name, spelt)}"
        for name in names
        if _plain(name) not in known
    ]
    if problems:
        raise ConfigError(problems)
    return tuple(known[name] for name in dict.fromkeys(map(_plain, names))) or devices()


def _plain(name: str) -> str:
    """A name without case, spaces, dots and dashes: `imxrt1060` is `i.MX RT1060`."""
    return "".join(letter for letter in name.casefold() if letter.isalnum())
