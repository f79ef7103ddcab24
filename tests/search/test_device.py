"""`--device`: the pool holds exactly what a slow walk over all candidates finds to fit."""

from __future__ import annotations

from dataclasses import replace

import pytest

from dse.architecture import build, cost
from dse.deployment.chip import chip_memory
from dse.deployment.devices import Device, find_devices
from dse.errors import SpaceError
from dse.search.device import pool_for_device
from dse.space import Categorical, SearchSpace
from dse.space.enumerate import make_pool

SPACE = SearchSpace(
    "toy",
    "squeezenet",
    {
        "base_e": Categorical((8, 16, 48, 96)),
        "squeeze_ratio": Categorical((0.25, 0.5)),
        "norm": Categorical(("none", "batch")),
        "pools": Categorical(("early", "late")),
    },
)
SHAPE = (32, 32, 3)


@pytest.fixture(scope="module")
def pool():
    return make_pool(SPACE, SHAPE, 10)


def device(flash_bytes: int | None, ram_bytes: int) -> Device:
    return replace(find_devices(["STM32F746"])[0], flash_bytes=flash_bytes, ram_bytes=ram_bytes)


@pytest.mark.parametrize("precision", ["int8", "fp16", "fp32"])
@pytest.mark.parametrize("at", [3, 12, 25])
def test_exactly_what_fits(pool, precision, at) -> None:
    """Limits at one candidate's own bytes: that one fits, and with a byte less it does not."""
    bytes_of = {}
    for i in range(len(pool)):
        architecture = build(pool.candidate(i), SHAPE, 10)
        costs, chip = cost(architecture), chip_memory(architecture)
        share = {"fp16": 2, "fp32": 1}.get(precision)
        bytes_of[i] = (
            (costs.weight_bytes // share, costs.peak_activation_bytes // share)
            if share
            else (chip.flash_bytes, chip.ram_bytes)
        )
    flash, ram = bytes_of[at]
    for less in (0, 1):
        fits = [i for i, (f, r) in bytes_of.items() if f <= flash - less and r <= ram]
        assert (at in fits) == (not less)
        if not fits:
            with pytest.raises(SpaceError, match=f"takes {flash:,} bytes for weights"):
                pool_for_device(pool, device(flash - less, ram), precision)
            continue
        found = pool_for_device(pool, device(flash - less, ram), precision)
        assert [found.candidate(i) for i in range(len(found))] == [pool.candidate(i) for i in fits]


def test_a_chip_without_flash_holds_both_in_its_ram(pool) -> None:
    total = (pool.costs["weight_bytes"] + pool.costs["peak_activation_bytes"]) // 4
    found = pool_for_device(pool, device(None, int(sorted(total)[9])), "int8")
    assert len(found) == (total <= sorted(total)[9]).sum()


def test_nothing_fits(pool) -> None:
    with pytest.raises(
        SpaceError,
        match=r"none of 32 candidates fits a STM32F746 \(1,000 of flash and 1,000 of RAM\)",
    ):
        pool_for_device(pool, device(1000, 1000), "int8")
