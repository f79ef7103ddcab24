"""Totals against published numbers, sums over layers, and a slow count of activations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.architecture import (
    OBJECTIVES,
    PRESETS,
    Architecture,
    Candidate,
    Cost,
    Shape,
    build,
    cost,
    make_candidate,
)
from tests.architecture.liveness import Program
from tests.strategies import squeezenet_candidates_with_input

# Torchvision for the SqueezeNets and the one-column AlexNet, Caffe's bvlc_alexnet for the
# original; the small AlexNet by hand: 2,251,584 in its convolutions (test_alexnet.py),
# 1024·4096 + 4096, 4096·4096 + 4096 and 4096·10 + 10 in its dense layers. The tiny one:
# 160 + 6,960 + 41,568 + 55,360 + 36,928 and 256·1024 + 1024, 1024·1024 + 1024, 10,250.
PUBLISHED = {
    "squeezenet_v1.0": 1_248_424,
    "squeezenet_v1.1": 1_235_496,
    "alexnet": 60_965_224,
    "alexnet_torchvision": 61_100_840,
    "alexnet_small": 23_272_266,
    "alexnet_tiny": 1_463_994,
}


def preset_cost(name: str) -> Cost:
    preset = PRESETS[name]
    return cost(build(preset.candidate, preset.input_shape, preset.classes_count))


def test_every_preset_has_its_published_count() -> None:
    assert {name: preset_cost(name).params_count for name in PRESETS} == PUBLISHED


@pytest.mark.parametrize(
    ("squeeze_ratio", "params"),
    [  # the paper's figure 3, left, from its own formula
        (0.125, 1_248_424),
        (0.25, 1_967_080),
        (0.5, 3_404_392),
        (0.75, 4_841_704),
        (1.0, 6_279_016),
    ],
)
def test_the_squeeze_ratio_sweep_of_the_paper(squeeze_ratio: float, params: int) -> None:
    preset = PRESETS["squeezenet_v1.0"]
    values = preset.candidate.metaparameters | {"squeeze_ratio": squeeze_ratio}
    total = cost(build(make_candidate("squeezenet", values), (227, 227, 3), 1000))
    assert total.params_count == params
    assert total.weight_bytes == 4 * params


def test_a_network_that_pytorch_counted() -> None:
    # An independent PyTorch program counted 183,850 parameters for this candidate.
    values = {
        "base_e": 32,
        "incr_e": 32,
        "squeeze_ratio": 0.5,
        "freq": 2,
        "stem_filters": 32,
        "stem_kernel": 3,
        "stem_stride": 1,
        "norm": "batch",
        "pools": ["conv1", "fire4", "fire8"],
    }
    architecture = build(make_candidate("squeezenet", values), (32, 32, 3), 10)
    total = cost(architecture)
    assert total.params_count == 183_850
    # Every channel of conv1, squeezes and expands stores a mean and a variance beside it.
    expands = [32, 32, 64, 64, 96, 96, 128, 128]
    statistics = 2 * (32 + sum(expands) + sum(expands) // 2)
    assert total.weight_bytes == 4 * (183_850 + statistics)


def test_macs_of_the_original_alexnet() -> None:
    # 724 million, the number usually quoted for bvlc_alexnet at 227 pixels.
    assert preset_cost("alexnet").macs == 724_406_816


def test_macs_of_squeezenet_from_the_table_of_the_paper() -> None:
    # (input channels, squeeze, expand of either kind, map), table 1 at 227 pixels
    fires = [
        (96, 16, 64, 55),
        (128, 16, 64, 55),
        (128, 32, 128, 55),
        (256, 32, 128, 27),
        (256, 48, 192, 27),
        (384, 48, 192, 27),
        (384, 64, 256, 27),
        (512, 64, 256, 13),
    ]
    expected = 111 * 111 * 7 * 7 * 3 * 96 + 13 * 13 * 512 * 1000
    for channels, squeeze, expand, side in fires:
        expected += side * side * squeeze * (channels + expand + 9 * expand)
    assert preset_cost("squeezenet_v1.0").macs == expected == 832_667_936


@pytest.mark.parametrize(
    ("name", "billions"),
    [("squeezenet_v1.0", 0.82), ("squeezenet_v1.1", 0.35), ("alexnet_torchvision", 0.71)],
)
def test_macs_that_torchvision_publishes(name: str, billions: float) -> None:
    # The column "GFLOPS" of its table of models counts MACs, at 224 pixels.
    architecture = build(PRESETS[name].candidate, (224, 224, 3), 1000)
    assert round(cost(architecture).macs / 1e9, 2) == billions


def test_peak_of_squeezenet_by_hand() -> None:
    total = preset_cost("squeezenet_v1.0")
    assert total.peak_layer == "pool1"
    assert total.peak_activation_bytes == 4 * (111 * 111 * 96 + 55 * 55 * 96) == 5_892_864


@pytest.mark.parametrize("name", list(PRESETS))
def test_peak_of_presets_equals_the_slow_count(name: str) -> None:
    preset = PRESETS[name]
    architecture = build(preset.candidate, preset.input_shape, preset.classes_count)
    assert_peak(architecture)


@settings(max_examples=200, deadline=None)
@given(squeezenet_candidates_with_input(), st.integers(1, 40))
def test_peak_of_any_candidate_equals_the_slow_count(
    drawn: tuple[Candidate, Shape], classes_count: int
) -> None:
    candidate, input_shape = drawn
    assert_peak(build(candidate, input_shape, classes_count))


def assert_peak(architecture: Architecture) -> None:
    total = cost(architecture)
    assert (total.peak_activation_bytes // 4, total.peak_layer) == Program(architecture).peak()


@settings(deadline=None)
@given(squeezenet_candidates_with_input(), st.integers(1, 40))
def test_totals_are_the_sums_over_layers(
    drawn: tuple[Candidate, Shape], classes_count: int
) -> None:
    candidate, input_shape = drawn
    architecture = build(candidate, input_shape, classes_count)
    total = cost(architecture)
    assert [row.name for row in total.layers] == [layer.name for layer in architecture.layers]
    for objective in ("params_count", "macs", "weight_bytes"):
        rows = [getattr(row, objective) for row in total.layers]
        assert getattr(total, objective) == sum(rows)
    assert total.weight_bytes == 4 * sum(p.size for p in architecture.parameters)
    assert total.peak_activation_bytes == max(row.activation_bytes for row in total.layers)
    assert all(type(getattr(total, objective)) is int for objective in OBJECTIVES)
    if candidate.metaparameters["norm"] == "none":
        assert total.weight_bytes == 4 * total.params_count
    else:
        assert total.weight_bytes > 4 * total.params_count


@settings(deadline=None)
@given(squeezenet_candidates_with_input())
def test_every_array_has_a_path_of_its_own(drawn: tuple[Candidate, Shape]) -> None:
    paths = [p.path for p in build(*drawn, 10).parameters]
    assert len(set(paths)) == len(paths)


def params_by_formula(values: dict[str, Any], channels: int, classes_count: int) -> int:
    """The paper's formulas and the bypass rule, written out once more in plain arithmetic."""

    def conv(taken: int, kernel: int, given: int) -> int:
        return kernel * kernel * taken * given + given * (2 if values["norm"] == "batch" else 1)

    def half_up(share: float, of: int) -> int:  # shares are hundredths here
        return (round(share * 100) * of + 50) // 100

    stem, kernel = values["stem_filters"], values["stem_kernel"]
    width = half_up(0.75, values["base_e"]) if stem == "auto" else stem
    total = conv(channels, 3 if kernel == "auto" else kernel, width)
    for i in range(values["fire_modules"]):
        expand = values["base_e"] + values["incr_e"] * (i // values["freq"])
        squeeze = half_up(values["squeeze_ratio"], expand)
        expand3x3 = half_up(values["pct_3x3"], expand)
        total += conv(width, 1, squeeze)
        total += conv(squeeze, 1, expand - expand3x3) + conv(squeeze, 3, expand3x3)
        if values["bypass"] == "complex" and width != expand:
            total += conv(width, 1, expand)
        width = expand
    return total + width * classes_count + classes_count


@settings(max_examples=300, deadline=None)
@given(squeezenet_candidates_with_input(), st.integers(1, 40))
def test_params_of_any_candidate_equal_the_formula(
    drawn: tuple[Candidate, Shape], classes_count: int
) -> None:
    candidate, input_shape = drawn
    total = cost(build(candidate, input_shape, classes_count))
    expected = params_by_formula(candidate.metaparameters, input_shape[2], classes_count)
    assert total.params_count == expected
