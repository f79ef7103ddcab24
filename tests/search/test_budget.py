from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.errors import ConfigError
from dse.search.budget import Budget, parse_budget
from dse.search.confirmation import confirmation_split


@pytest.mark.parametrize(
    ("text", "kind", "amount", "shown"),
    [
        ("90s", "time", 90, "90s"),
        ("0.5s", "time", 0.5, "0.5s"),
        ("60m", "time", 3600, "1h"),
        ("10min", "time", 600, "10m"),
        ("1.5h", "time", 5400, "90m"),
        (".5h", "time", 1800, "30m"),
        ("2d", "time", 172_800, "2d"),
        ("40trials", "trials", 40, "40 trials"),
        ("1 trial", "trials", 1, "1 trial"),
        (" 500 Epochs ", "epochs", 500, "500 epochs"),
        ("7.9epochs", "epochs", 7, "7 epochs"),
    ],
)
def test_a_budget_is_read_and_shown(text, kind, amount, shown):
    budget = parse_budget(text)
    assert budget == Budget(kind, amount)
    assert str(budget) == shown
    assert parse_budget(shown) == budget


@pytest.mark.parametrize(
    "text", ["", "60", "h", "an hour", "-5m", "1e3s", "5m 3s", "4hours", "1,5h"]
)
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(ConfigError, match="must be a time, trials or epochs: 90s, 60m"):
        parse_budget(text)


@pytest.mark.parametrize("text", ["0s", "0.0h", "0trials", "0.9epochs", "9" * 400 + "h"])
def test_nothing_to_spend_is_refused(text):
    with pytest.raises(ConfigError, match="but must be finite and above 0"):
        parse_budget(text)


def test_a_number_beyond_all_numbers_is_refused():
    with pytest.raises(ConfigError, match="but must be finite and above 0"):
        parse_budget("9" * 400 + "trials")


@given(st.integers(0, 3000))
def test_half_of_the_images_judge(count):
    mask = confirmation_split(count)
    assert mask.shape == (count,)
    assert mask.sum() == count - count // 2
    assert (mask == confirmation_split(count)).all()


def test_the_halves_are_fixed_for_all_time():
    # A record made today is judged by the same images in a year.
    assert np.flatnonzero(confirmation_split(12)).tolist() == [0, 1, 2, 4, 9, 11]
    # Balanced over the order of the images: a half is no block of them.
    first = confirmation_split(10_000)[:5000].sum()
    assert 2400 < first < 2600
