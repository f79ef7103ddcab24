"""Candidates that fit a chip: flash and RAM in the precision that they will have there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dse.architecture import build
from dse.architecture.cost import VALUE_BYTES
from dse.deployment.chip import ChipMemory, chip_memory
from dse.deployment.devices import Device
from dse.deployment.footprint import PRECISIONS
from dse.errors import SpaceError
from dse.space.enumerate import Pool

MOST_BUILT = 20_000
"""Candidates that are built at most, as their costs alone do not tell whether they fit; of more
than that the others are left out. One takes about 3 ms."""

# A filter has a weight and a bias at least, so its 8 bytes more are at most four for each
# parameter; code and what describes operators is less than this for 250 of them.
_FLASH_PER_PARAM, _OTHER_FLASH_BYTES = 5, 30_000


def pool_for_device(pool: Pool, device: Device, precision: str) -> Pool:
    """The candidates of a pool that fit a chip.

    In int8 a microcontroller has to hold flash and RAM of the C program (`chip_memory`); in the
    other precisions, and on chips without flash, weights and peak activations.

    Raises:
        SpaceError: none fits; it says by how much.
    """
    value_bytes = PRECISIONS[precision]
    weights = pool.costs["weight_bytes"] // VALUE_BYTES * value_bytes
    activations = pool.costs["peak_activation_bytes"] // VALUE_BYTES * value_bytes
    if device.flash_bytes is None:
        fits = weights + activations <= device.ram_bytes
    elif precision == "int8":
        fits = _programs_fit(pool, device.flash_bytes, device)
    else:
        fits = (weights <= device.flash_bytes) & (activations <= device.ram_bytes)
    if fits.any():
        return pool.take(np.flatnonzero(fits))
    flash_bytes = device.flash_bytes or device.ram_bytes
    over = np.maximum(weights - flash_bytes, 0) + np.maximum(activations - device.ram_bytes, 0)
    at = int(np.argmin(over))
    needs = int(weights[at]), int(activations[at])
    if device.flash_bytes is not None and precision == "int8":
        memory = chip_memory(build(pool.candidate(at), pool.input_shape, pool.classes_count))
        needs = (memory.flash_bytes, memory.ram_bytes) if memory else needs
    has = f"{device.ram_bytes:,} of RAM"
    if device.flash_bytes is not None:
        has = f"{device.flash_bytes:,} of flash and {has}"
    raise SpaceError(
        f"{pool.space.name}: none of {len(pool):,} candidates fits a {device.name} ({has}) in "
        f"{precision}; the nearest, {pool.candidate(at).key}, takes {needs[0]:,} bytes for weights "
        f"and code and {needs[1]:,} for activations"
    )


def _programs_fit(pool: Pool, flash_bytes: int, device: Device) -> NDArray[np.bool_]:
    """Bool array (candidate,): True where flash and RAM of the C program fit."""
    params, ram_bytes = pool.costs["params_count"], device.ram_bytes
    activations = pool.costs["peak_activation_bytes"] // VALUE_BYTES
    fits = (_FLASH_PER_PARAM * params + _OTHER_FLASH_BYTES <= flash_bytes) & (
        activations + activations // 4 + 1024 <= ram_bytes
    )
    open_rows = np.flatnonzero(~fits & (params <= flash_bytes) & (activations <= ram_bytes))
    for row in open_rows[:MOST_BUILT].tolist():
        memory: ChipMemory | None = chip_memory(
            build(pool.candidate(row), pool.input_shape, pool.classes_count)
        )
        if memory is not None:
            fits[row] = device.holds_network(memory.flash_bytes, memory.ram_bytes)
    return fits
