"""Candidates: defaults, equality, a key that never moves, and every problem at once."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.architecture import FAMILIES, PRESETS, build, cost, make_candidate
from dse.errors import ConfigError
from tests.strategies import squeezenet_values


def problems(family: str, **values: Any) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        make_candidate(family, values)
    return caught.value.problems


# Studies name their trials by these keys: when one of them changes, no study that was
# begun before goes on. A new metaparameter changes them all; say so in CHANGELOG.md.
@pytest.mark.parametrize(
    ("family", "values", "key"),
    [
        ("squeezenet", {}, "19fab304b5e9"),
        ("squeezenet", dict(PRESETS["squeezenet_v1.0"].candidate.values), "2a973a2ad7e7"),
        ("alexnet", {}, "eddf68259788"),
    ],
)
def test_keys_stay_as_they_are(family: str, values: dict[str, Any], key: str) -> None:
    assert make_candidate(family, values).key == key


def test_the_key_is_the_same_in_another_process() -> None:
    code = (
        "from dse.architecture import make_candidate;"
        "print(make_candidate('squeezenet', {'pools': ['conv1']}).key)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == make_candidate("squeezenet", {"pools": ["conv1"]}).key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"squeeze_ratio": 1}, {"squeeze_ratio": 1.0}),
        ({"dropout": 0}, {"dropout": -0.0}),
        ({}, {"base_e": 128, "norm": "none"}),
        ({"base_e": 8, "freq": 3}, {"freq": 3, "base_e": 8}),
        ({"pools": ["conv1", "fire4"]}, {"pools": ("fire4", "conv1", "conv1")}),
    ],
)
def test_equal_networks_are_equal_candidates(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = (make_candidate("squeezenet", values) for values in (one, other))
    assert first == second
    assert hash(first) == hash(second)
    assert first.key == second.key


@given(squeezenet_values(), st.randoms(use_true_random=False))
def test_the_order_of_the_values_does_not_matter(values: dict[str, Any], random: Any) -> None:
    names = list(values)
    random.shuffle(names)
    shuffled = make_candidate("squeezenet", {name: values[name] for name in names})
    candidate = make_candidate("squeezenet", values)
    assert shuffled == candidate
    assert shuffled.key == candidate.key
    assert [name for name, _ in candidate.values] == list(FAMILIES["squeezenet"].metaparameters)


@given(squeezenet_values(), squeezenet_values())
def test_different_candidates_have_different_keys(
    values: dict[str, Any], others: dict[str, Any]
) -> None:
    one, other = make_candidate("squeezenet", values), make_candidate("squeezenet", others)
    assert (one.key == other.key) == (one == other)


@given(squeezenet_values())
def test_a_candidate_makes_itself_again(values: dict[str, Any]) -> None:
    candidate = make_candidate("squeezenet", values)
    assert make_candidate("squeezenet", candidate.metaparameters) == candidate


def test_keys_are_twelve_hexadecimal_digits() -> None:
    key = make_candidate("squeezenet", {}).key
    assert len(key) == 12
    assert f"{int(key, 16):012x}" == key


def test_all_problems_come_at_once_with_the_nearest_name() -> None:
    assert problems("squeezenet", squeeze_ration=0.5, base_e=0, byepass="simple", norm="layer") == (
        "unknown metaparameter squeeze_ration of squeezenet; did you mean squeeze_ratio?",
        "unknown metaparameter byepass of squeezenet; did you mean bypass?",
        "base_e is 0, but must be a whole number of at least 1; SqueezeNet v1.0 uses 128",
        "norm is 'layer', but must be one of none, batch",
    )


def test_where_no_name_is_near_all_are_listed() -> None:
    (problem,) = problems("alexnet", widths=3)
    assert problem == "unknown metaparameter widths of alexnet; there are variant, dropout"


@pytest.mark.parametrize(
    ("family", "problem"),
    [
        ("squeezent", "family 'squeezent' not found; did you mean squeezenet?"),
        ("vgg", "family 'vgg' not found; there are squeezenet, alexnet"),
    ],
)
def test_an_unknown_family_is_named(family: str, problem: str) -> None:
    assert problems(family) == (problem,)


# A family's smallest images (side, channels) and its largest, in `auto`; a new family
# goes in here first, and the test fails until it can be built at both.
SIDES = {"squeezenet": (1, 512), "alexnet": (4, 512)}


@pytest.mark.parametrize("family", list(FAMILIES))
def test_every_family_builds_from_its_defaults_at_any_size(family: str) -> None:
    smallest, largest = SIDES[family]
    candidate = make_candidate(family, {})
    for side in {smallest, 8, 28, 32, 64, 224, largest}:
        architecture = build(candidate, (side, side, 3), 11)
        assert architecture.layers[-1].output_shape == (1, 1, 11)
        assert architecture.family == family
        assert architecture.metaparameters == candidate.values
        assert cost(architecture).params_count > 0


def test_every_family_has_a_preset() -> None:
    assert {preset.candidate.family for preset in PRESETS.values()} == set(FAMILIES) == set(SIDES)
    assert all(name == preset.name for name, preset in PRESETS.items())


def test_architecture_room_imports_nothing_heavy() -> None:
    code = (
        "import sys, dse.architecture;"
        "print([m for m in ('jax', 'flax', 'numpy', 'pandas', 'optuna') if m in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "[]"
