from __future__ import annotations

import json
import math

import pandas as pd
import pytest

from dse.report import markdown, records, short_count, short_value

TABLE = pd.DataFrame(
    {
        "bypass": ["none", "a|b"],
        "squeeze_ratio": [0.125, 1.0],
        "params_count": [1_248_424, 950],
        "validation_accuracy_mean": [0.97534, math.nan],
        "on_front": [True, False],
    }
)


def test_markdown_word_for_word():
    assert markdown(TABLE) == (
        "| bypass | squeeze_ratio | params_count | validation_accuracy_mean | on_front |\n"
        "| :-- | --: | --: | --: | --: |\n"
        "| none | 0.125 | 1,248,424 | 97.53% | yes |\n"
        "| a\\|b | 1 | 950 | – | no |\n"
    )


def test_markdown_of_no_rows():
    assert markdown(TABLE[["bypass", "params_count"]].iloc[:0]) == (
        "| bypass | params_count |\n| --: | --: |\n"
    )


def test_records_are_plain_and_go_through_json():
    expected = {
        "bypass": "a|b",
        "squeeze_ratio": 1.0,
        "params_count": 950,
        "validation_accuracy_mean": None,
        "on_front": False,
    }
    found = json.loads(json.dumps(records(TABLE), allow_nan=False))
    assert found[1] == expected
    assert found[0]["validation_accuracy_mean"] == 0.97534


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
