"""Words for people: what each value looks like."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from dse.text import (
    bytes_text,
    cell,
    counted,
    duration,
    listed,
    nearest,
    percent,
    points,
    seconds_text,
    shape_text,
    short_count,
    short_value,
    size_text,
    some_of,
    times_text,
    values_text,
)


def test_nearest_takes_lists_and_tables():
    assert nearest("fire", ["fires", "pools"]) == "; did you mean fires?"
    assert nearest("zzz", {"fires": 1, "pools": 2}) == "; there are fires, pools"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1248424, "1,248,424"),
        (0.125, "0.125"),
        (1.0, "1"),
        (("conv1", "fire4"), "[conv1, fire4]"),
        ((), "[]"),
        ("late", "late"),
        (True, "yes"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_cell(value, text):
    assert cell(value) == text


def test_accuracy_is_a_fraction_shown_in_percent():
    assert [percent(x) for x in (0.93125, 1.0, None, math.nan)] == [
        "93.12%",
        "100.00%",
        "–",
        "–",
    ]


@pytest.mark.parametrize(
    ("bytes_count", "text"),
    [
        (999, "999 bytes"),
        (13_504, "13.5 kB"),
        (4_993_696, "4.99 MB"),
        (999_950, "1 MB"),
        (243_860_896, "244 MB"),
        (2_000_000_000, "2 GB"),
    ],
)
def test_size_is_decimal_with_three_digits(bytes_count, text):
    assert size_text(bytes_count) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0, "", "0"),
        (950, "", "950"),
        (950, "B", "950 B"),
        (1000, "", "1 k"),
        (999_999.9999, "", "1 M"),  # not 1000 k
        (12_500, "B", "12.5 kB"),
        (1_248_424, "", "1.24842 M"),
        (2e9, "", "2 G"),
        (3e12, "B", "3 TB"),
    ],
)
def test_short_count(value, unit, text):
    assert short_count(value, unit) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.25, "0.25"), (1.0, "1"), (32, "32"), ("simple", "simple")]
)
def test_short_value(value, text):
    assert short_value(value) == text


def test_times_fewer_are_never_rounded_up():
    values = (1283.6, 128.5, 99.99, 10, 9.99, 1.04)
    assert [times_text(value) for value in values] == [
        *("1,283×", "128×", "99×", "10×", "9.9×", "1×")
    ]


def test_nouns_follow_their_number():
    assert [counted(1, "seed"), counted(1024, "seed"), counted(0, "trial")] == [
        *("1 seed", "1,024 seeds", "0 trials")
    ]
    assert [counted(1, "class"), counted(10, "class")] == ["1 class", "10 classes"]


def test_names_are_joined_and_cut():
    assert [listed(["a"]), listed(["a", "b"]), listed("abc"), listed([])] == [
        *("a", "a and b", "a, b and c", "")
    ]
    assert [some_of("abc", 3), some_of("abcd", 2)] == ["a, b, c", "a, b and 2 more"]
    assert some_of(["a", "b"], 2, count=1_002) == "a, b and 1,000 more"


def test_values_by_name():
    values = {"base_e": 1024, "squeeze_ratio": 0.125, "pools": ("conv1",)}
    assert values_text(values) == "base_e 1,024, squeeze_ratio 0.125, pools [conv1]"
    assert values_text(values, ("pools", "freq", "base_e")) == "pools [conv1], base_e 1,024"


def test_differences_in_points_have_their_sign():
    assert [points(0.012345), points(-0.5), points(None)] == ["+1.23", "-50.00", "–"]


def test_bytes_and_shapes():
    assert bytes_text(4_993_696) == "4,993,696 bytes (4.99 MB)"
    assert shape_text((227, 227, 3)) == "227x227x3"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (190, "3 min 10 s"),
        (7_530, "2 h 05 min"),
        (math.nan, "–"),
    ],
)
def test_duration(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (Fraction(341, 100), "3.41 s"),
        (0.06991, "69.9 ms"),
        (0.99996, "1 s"),
        (1206, "20.1 min"),
        (4320, "1.2 h"),
        (2.5e-5, "25 µs"),
    ],
)
def test_seconds_in_three_figures(seconds, text):
    assert seconds_text(seconds) == text
