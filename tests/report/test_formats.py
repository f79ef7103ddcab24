from __future__ import annotations

import json
import math

import pandas as pd

from dse.report import markdown, records

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
