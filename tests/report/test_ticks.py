from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.report.figures.axes import minor_ticks, nice_ticks
from dse.text import short_count


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (900, 2.1e6, ["1 k", "10 k", "100 k", "1 M"]),
        (2_000, 90_000, ["2 k", "5 k", "10 k", "20 k", "50 k"]),
        (4_200, 21_000, ["5 k", "7 k", "10 k", "15 k", "20 k"]),
        (11_000, 16_400, ["11 k", "12 k", "13 k", "14 k", "15 k", "16 k"]),
        (49_000, 52_500, ["49 k", "49.5 k", "50 k", "50.5 k", "51 k", "51.5 k", "52 k", "52.5 k"]),
    ],
)
def test_ticks_are_the_round_numbers_that_one_would_write(low, high, labels):
    assert [short_count(tick) for tick in nice_ticks(low, high)] == labels


@given(st.floats(10, 1e11), st.floats(1.005, 1e6))
def test_any_range_gets_some_ticks_inside_it_and_never_a_crowd(low, ratio):
    high = low * ratio
    ticks = nice_ticks(low, high)
    assert 3 <= len(ticks) <= 10
    assert ticks == sorted(ticks)
    assert all(low * 0.999999 <= tick <= high * 1.000001 for tick in ticks)
    assert len({short_count(tick) for tick in ticks}) == len(ticks)


def test_minor_ticks_only_where_they_help():
    assert minor_ticks(900, 3500) == [900, 1000, 2000, 3000]
    assert minor_ticks(1000, 2000) == []
    assert minor_ticks(10, 1e8) == []
