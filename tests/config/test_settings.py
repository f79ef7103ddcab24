"""`--set key=value`: values as in a file, every problem with the setting in front."""

from __future__ import annotations

import pytest

from dse.config import apply_settings, parse_settings
from dse.errors import ConfigError
from dse.space import Categorical, Fixed, IntRange, Limit, SearchSpace

SPACE = SearchSpace(
    "s",
    "squeezenet",
    {"base_e": Fixed(8), "squeeze_ratio": Categorical((0.125, 1.0))},
    {"macs": Limit(max=5)},
)


def test_values():
    settings = ["squeeze_ratio=1", "pools=[conv1, fire4]", " base_e = 32", "stem_filters=auto"]
    assert parse_settings(settings, "squeezenet") == {
        "squeeze_ratio": 1.0,
        "pools": ("conv1", "fire4"),
        "base_e": 32,
        "stem_filters": "auto",
    }
    assert parse_settings(["variant=small"], "alexnet") == {"variant": "small"}
    assert parse_settings([], "squeezenet") == {}


def test_a_space_with_settings_keeps_order_and_limits():
    settings = ["squeeze_ratio=0.5", "freq={range: [2, 8], step: 2}", "base_e={values: [8, 16]}"]
    changed = apply_settings(SPACE, settings)
    assert list(changed.domains.items()) == [
        ("base_e", Categorical((8, 16))),
        ("squeeze_ratio", Fixed(0.5)),
        ("freq", IntRange(2, 8, 2)),
    ]
    assert changed.limits == SPACE.limits
    assert SPACE.domains["base_e"] == Fixed(8)
    assert apply_settings(SPACE, []) == SPACE


def test_every_problem_at_once():
    settings = [
        "squeeze_ratio=2",
        "bas_e=3",
        "base_e",
        "freq=",
        "incr_e=3",
        "incr_e=4",
        "bypass={values: [none]}",
        "pct_3x3=!x 3",
        "dropout='0.5'",
        "pools=[conv1,",
        "norm=" + "[" * 22,
    ]
    with pytest.raises(ConfigError) as caught:
        parse_settings(settings, "squeezenet")
    assert caught.value.problems == (
        "--set squeeze_ratio=2: squeeze_ratio is 2, but must be in (0, 1]; "
        "SqueezeNet v1.0 uses 0.125",
        "--set bas_e=3: unknown metaparameter bas_e of squeezenet; did you mean base_e?",
        "--set base_e: this is not key=value, such as squeeze_ratio=0.5",
        "--set freq=: freq is empty, but must be a whole number of at least 1",
        "--set incr_e=4: incr_e is set twice",
        "--set bypass={values: [none]}: bypass is a mapping with values, "
        "but must be one of none, simple, complex",
        "--set pct_3x3=!x 3: the tag !x is not supported; only plain values are",
        "--set dropout='0.5': dropout is '0.5', but must be in [0, 1); write it without quotes; "
        "SqueezeNet v1.0 uses 0.5",
        "--set pools=[conv1,: not YAML: expected the node content, but found '<stream end>'; "
        "the line reads '[conv1,'",
        "--set norm=[[[[[[[[[[[[[[[[[[[[[[: nested more than 20 levels deep",
    )


def test_a_bad_domain_names_the_setting():
    with pytest.raises(ConfigError) as caught:
        apply_settings(SPACE, ["freq={range: [8, 2]}", "freq={rnge: [8, 2]}"])
    assert caught.value.problems == (
        "--set freq={range: [8, 2]}: freq: `low <= high` must hold, but got (low=8, high=2)",
        "--set freq={rnge: [8, 2]}: freq is set twice",
    )
    with pytest.raises(ConfigError) as caught:
        apply_settings(SPACE, ["freq={rnge: [8, 2]}"])
    assert caught.value.problems == (
        "--set freq={rnge: [8, 2]}: unknown key rnge; did you mean range?",
    )
