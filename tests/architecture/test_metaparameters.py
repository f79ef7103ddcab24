"""Which values a metaparameter takes, and the sentence about one that it refuses."""

from __future__ import annotations

import math
from typing import Any

import pytest

from dse.architecture import FAMILIES, Metaparameter

SQUEEZENET = FAMILIES["squeezenet"].metaparameters


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        (
            "squeeze_ratio",
            0.0,
            "squeeze_ratio is 0.0, but must be in (0, 1]; SqueezeNet v1.0 uses 0.125",
        ),
        (
            "squeeze_ratio",
            1.5,
            "squeeze_ratio is 1.5, but must be in (0, 1]; SqueezeNet v1.0 uses 0.125",
        ),
        (
            "squeeze_ratio",
            math.nan,
            "squeeze_ratio is nan, but must be in (0, 1]; SqueezeNet v1.0 uses 0.125",
        ),
        (
            "squeeze_ratio",
            "0.125",
            "squeeze_ratio is '0.125', but must be in (0, 1]; write it without quotes; "
            "SqueezeNet v1.0 uses 0.125",
        ),
        (
            "squeeze_ratio",
            "small",
            "squeeze_ratio is 'small', but must be in (0, 1]; SqueezeNet v1.0 uses 0.125",
        ),
        (
            "squeeze_ratio",
            True,
            "squeeze_ratio is True, but must be in (0, 1]; SqueezeNet v1.0 uses 0.125",
        ),
        ("pct_3x3", 1, "pct_3x3 is 1, but must be in (0, 1); SqueezeNet v1.0 uses 0.5"),
        ("dropout", 1.0, "dropout is 1.0, but must be in [0, 1); SqueezeNet v1.0 uses 0.5"),
        ("dropout", -0.5, "dropout is -0.5, but must be in [0, 1); SqueezeNet v1.0 uses 0.5"),
        (
            "base_e",
            0,
            "base_e is 0, but must be a whole number of at least 1; SqueezeNet v1.0 uses 128",
        ),
        (
            "base_e",
            128.0,
            "base_e is 128.0, but must be a whole number of at least 1; SqueezeNet v1.0 uses 128",
        ),
        (
            "base_e",
            None,
            "base_e is None, but must be a whole number of at least 1; SqueezeNet v1.0 uses 128",
        ),
        (
            "fire_modules",
            65,
            "fire_modules is 65, but must be a whole number in [1, 64]; SqueezeNet v1.0 has 8",
        ),
        (
            "stem_kernel",
            16,
            "stem_kernel is 16, but must be auto or a whole number in [1, 15]; "
            "SqueezeNet v1.0 uses 7",
        ),
        (
            "stem_filters",
            "automatic",
            "stem_filters is 'automatic', but must be auto or a whole number of at least 1; "
            "SqueezeNet v1.0 uses 96",
        ),
        (
            "stem_filters",
            "96",
            "stem_filters is '96', but must be auto or a whole number of at least 1; "
            "write it without quotes; SqueezeNet v1.0 uses 96",
        ),
        (
            "pools",
            "conv1",
            "pools is 'conv1', but must be one of auto, late, early, or a list of layer names "
            "such as [conv1, fire4]; SqueezeNet v1.0 uses [conv1, fire4, fire8]",
        ),
        (
            "pools",
            ("conv1", 4),
            "pools is ['conv1', 4], but must be one of auto, late, early, or a list of layer names "
            "such as [conv1, fire4]; SqueezeNet v1.0 uses [conv1, fire4, fire8]",
        ),
        ("bypass", "both", "bypass is 'both', but must be one of none, simple, complex"),
        ("bypass", True, "bypass is True, but must be one of none, simple, complex"),
        ("norm", 1, "norm is 1, but must be one of none, batch"),
    ],
)
def test_a_bad_value_is_named_with_what_is_allowed(name: str, value: Any, problem: str) -> None:
    assert SQUEEZENET[name].problem(value) == problem


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("squeeze_ratio", 1),
        ("squeeze_ratio", 5e-324),
        ("dropout", 0),
        ("pct_3x3", 0.999),
        ("base_e", 10**400),  # larger than any float
        ("stem_stride", "auto"),
        ("stem_stride", 8),
        ("pools", "early"),
        ("pools", ["conv1"]),
        ("pools", ()),
        ("bypass", "simple"),
    ],
)
def test_a_good_value_has_no_problem(name: str, value: Any) -> None:
    assert SQUEEZENET[name].problem(value) is None


def test_a_whole_number_larger_than_any_float_is_no_share() -> None:
    assert SQUEEZENET["squeeze_ratio"].problem(10**400)


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_default_is_good_and_canonical(family: str) -> None:
    for part in FAMILIES[family].metaparameters.values():
        assert part.problem(part.default) is None
        assert repr(part.canonical(part.default)) == repr(part.default)
        assert part.description


@pytest.mark.parametrize(
    ("name", "value", "canonical"),
    [
        ("squeeze_ratio", 1, "1.0"),
        ("dropout", -0.0, "0.0"),
        ("base_e", 128, "128"),
        ("stem_filters", "auto", "'auto'"),
        ("pools", ["fire8", "conv1"], "('conv1', 'fire8')"),
        ("pools", ["fire10", "fire9", "fire9"], "('fire9', 'fire10')"),
        ("pools", "late", "'late'"),
    ],
)
def test_the_one_form_of_a_value(name: str, value: Any, canonical: str) -> None:
    assert repr(SQUEEZENET[name].canonical(value)) == canonical


def test_open_and_closed_bounds() -> None:
    part = Metaparameter("x", "int", 2, "", low=1, high=3, open_low=True)
    assert [value for value in range(6) if part.problem(value) is None] == [2, 3]
    assert part.allowed == "a whole number in (1, 3]"
