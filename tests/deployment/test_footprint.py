"""The deployment sheet's arithmetic, by hand and against a simulated ring."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.architecture import PRESETS, build, cost, make_candidate
from dse.deployment.devices import Device, devices, find_devices
from dse.deployment.footprint import Deployment, deployment
from dse.deployment.link import all_reduce_bytes, parse_link
from dse.errors import ConfigError, UsageError


@pytest.mark.parametrize(
    ("text", "bits_per_s"),
    [
        ("1Gbit", 10**9),
        ("100Mbit", 10**8),
        ("2.5Gbit", 25 * 10**8),
        ("125MB", 10**9),
        ("10 kbit/s", 10**4),
        ("1GB/s", 8 * 10**9),
        ("9600bit", 9600),
        ("0.1kbit", 100),
        ("1Tbit", 10**12),
        ("64Kbit", 64_000),
    ],
)
def test_link_speeds_are_decimal_bits_per_second(text: str, bits_per_s: int) -> None:
    link = parse_link(text)
    assert (link.text, link.bits_per_s) == (text, bits_per_s)


@pytest.mark.parametrize(
    "text",
    ["", "1", "Gbit", "0Gbit", "-1Gbit", "1 parsec", "1GiB", "1Mb", "1e3bit", "infbit", "١Gbit"],
)
def test_what_is_no_link_speed_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_link(text, "--link")
    assert str(caught.value) == (
        f"--link is {text!r}, but must be a speed above 0 in bit or B (bytes) a second with a "
        "decimal prefix (1Gbit = 10^9 bit/s), for example 1Gbit, 100Mbit, 2.5Gbit or 125MB"
    )


def test_least_time_is_exact() -> None:
    assert parse_link("1Gbit").least_s(125_000_000) == 1
    assert parse_link("3bit").least_s(1) == Fraction(8, 3)


def sent_in_a_ring(bytes_count: int, workers_count: int) -> list[int]:
    """Bytes that each worker sends: the gradient in parts, passed on part by part."""
    n = workers_count
    parts = [bytes_count // n + (part < bytes_count % n) for part in range(n)]
    sent = [0] * n
    for step in range(n - 1):
        for worker in range(n):
            sent[worker] += parts[(worker - step) % n]  # reduce-scatter
            sent[worker] += parts[(worker + 1 - step) % n]  # all-gather
    return sent


@given(st.integers(0, 10_000), st.integers(1, 40))
def test_all_reduce_is_the_average_of_a_simulated_ring_rounded_up(
    bytes_count: int, workers_count: int
) -> None:
    sent = sent_in_a_ring(bytes_count, workers_count)
    expected = all_reduce_bytes(bytes_count, workers_count)
    assert expected - 1 < sum(sent) / workers_count <= expected
    assert max(sent) >= expected
    if bytes_count % workers_count == 0:
        assert set(sent) == {expected}


def sheet_of(name: str, **changes: object) -> Deployment:
    preset = PRESETS[name]
    candidate = make_candidate(preset.candidate.family, preset.candidate.metaparameters | changes)
    return deployment(
        cost(build(candidate, preset.input_shape, preset.classes_count)),
        workers_count=8,
        link=parse_link("1Gbit"),
        update_link=parse_link("10Mbit"),
        devices=devices(),
    )


def test_sheet_of_squeezenet_by_hand() -> None:
    sheet = sheet_of("squeezenet_v1.0")
    peak = 96 * (111 * 111 + 55 * 55)  # pool1: its input and its output
    assert [
        (f.precision, f.weight_bytes, f.peak_activation_bytes, f.total_bytes)
        for f in sheet.footprints
    ] == [
        ("fp32", 4_993_696, 4 * peak, 4_993_696 + 4 * peak),
        ("fp16", 2_496_848, 2 * peak, 2_496_848 + 2 * peak),
        ("int8", 1_248_424, peak, 1_248_424 + peak),
    ]
    assert sheet.peak_layer == "pool1"
    # 2 · 7/8 · 4 · 1,248,424 = 7 · 1,248,424
    assert sheet.exchange.sent_bytes == 7 * 1_248_424 == 8_738_968
    assert sheet.exchange.least_s == Fraction(8 * 8_738_968, 10**9)
    assert [(f.weight_bytes, f.update_s) for f in sheet.footprints] == [
        (4_993_696, Fraction(4_993_696 * 8, 10**7)),
        (2_496_848, Fraction(2_496_848 * 8, 10**7)),
        (1_248_424, Fraction(1_248_424 * 8, 10**7)),
    ]


def test_running_statistics_are_stored_and_sent_out_but_not_exchanged() -> None:
    plain, normed = sheet_of("squeezenet_v1.1"), sheet_of("squeezenet_v1.1", norm="batch")
    # A scale for each channel of every convolution but the last, and two statistics beside.
    channels = 64 + sum(squeeze + 8 * squeeze for squeeze in (16, 16, 32, 32, 48, 48, 64, 64))
    assert normed.exchange.gradient_bytes - plain.exchange.gradient_bytes == 4 * channels
    assert normed.footprints[0].weight_bytes - plain.footprints[0].weight_bytes == 12 * channels
    update_link, footprint = normed.update_link, normed.footprints[0]
    assert footprint.update_s == update_link.least_s(footprint.weight_bytes)


@pytest.mark.parametrize(
    ("ram", "flash", "weights", "activations", "fits"),
    [
        (100, None, 100, 0, (True, True)),
        (100, None, 101, 0, (False, False)),
        (100, None, 60, 40, (True, True)),
        (100, None, 60, 41, (True, False)),
        (10, 100, 100, 10, (True, True)),
        (10, 100, 101, 10, (False, False)),
        (10, 100, 100, 11, (True, False)),
    ],
)
def test_flash_holds_weights_alone_and_ram_without_flash_both(
    ram: int, flash: int | None, weights: int, activations: int, fits: tuple[bool, bool]
) -> None:
    device = Device("chip", "microcontroller", ram, flash, "", "")
    assert (device.holds_weights(weights), device.holds_network(weights, activations)) == fits


def test_what_squeezenet_fits() -> None:
    fits = {fit.device.name: fit for fit in sheet_of("squeezenet_v1.0").fits}
    # 52,920 Kb are 6,773,760 bytes: 4,993,696 fit, 10,886,560 do not, 5,443,280 do.
    virtex = fits["XC7VX690T"]
    assert virtex.weights == {"fp32": True, "fp16": True, "int8": True}
    assert virtex.weights_and_activations == {"fp32": False, "fp16": True, "int8": True}
    # 2 MB of flash hold 1,248,424 bytes; 1 MB of RAM does not hold 1,473,216.
    assert fits["STM32H743"].weights == {"fp32": False, "fp16": False, "int8": True}
    assert not any(fits["STM32H743"].weights_and_activations.values())


# Blocks and sizes as the data sheets count them.
MEMORY_BYTES = {
    "XC7Z020": (140 * 36 * 128, None),
    "XC7A100T": (135 * 36 * 128, None),
    "XC7K325T": (445 * 36 * 128, None),
    "XC7VX690T": (52_920 * 1024 // 8, None),
    "XCKU040": (600 * 36 * 128, None),
    "XCZU9EG": (912 * 36 * 128, None),
    "iCE40UP5K": ((30 * 4 + 4 * 256) * 128, None),
    "STM32H743": (2**20, 2 * 2**20),
    "STM32F746": (320 * 1024, 2**20),
    "STM32L476": (128 * 1024, 2**20),
    "nRF52840": (256 * 1024, 2**20),
    "i.MX RT1060": (2**20, None),
    "ESP32": (520 * 1024, None),
    "RP2040": (264 * 1024, None),
}


def test_memory_of_every_device_is_its_data_sheets() -> None:
    assert {d.name: (d.ram_bytes, d.flash_bytes) for d in devices()} == MEMORY_BYTES
    for device in devices():
        assert device.source
        assert device.figure
        assert device.kind == ("FPGA" if "block RAM" in device.figure else "microcontroller")


def test_devices_are_found_however_they_are_spelt() -> None:
    names = ["imxrt1060", "stm32-f746", "I.MX RT1060"]
    assert [d.name for d in find_devices(names)] == ["i.MX RT1060", "STM32F746"]
    assert find_devices([]) == devices()


def test_unknown_devices_are_all_named_with_the_nearest() -> None:
    with pytest.raises(ConfigError) as caught:
        find_devices(["STM32F746", "STM32F764", "8051"])
    assert caught.value.problems[0] == ("device 'STM32F764' not found; did you mean STM32F746?")
    assert caught.value.problems[1].startswith("device '8051' not found; there are XC7Z020, ")
