"""The SqueezeNet family: published shapes, the automatic rules, rounding, refusals."""

from __future__ import annotations

import decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.architecture import PRESETS, Architecture, Candidate, Shape, build, cost, make_candidate
from dse.architecture.families.squeezenet import METAPARAMETERS, round_half_up
from dse.architecture.primitives import Conv
from dse.errors import ArchitectureError
from tests.architecture.fires import fires
from tests.strategies import squeezenet_candidates_with_input


def network(side: int = 32, classes_count: int = 10, **values: Any) -> Architecture:
    return build(make_candidate("squeezenet", values), (side, side, 3), classes_count)


def refusal(**settings: Any) -> str:
    with pytest.raises(ArchitectureError) as caught:
        network(**settings)
    return str(caught.value)


def pool_names(architecture: Architecture) -> list[str]:
    return [layer.name for layer in architecture.layers if layer.kind == "MaxPool"]


def shapes(name: str, side: int) -> list[tuple[str, Shape]]:
    architecture = build(PRESETS[name].candidate, (side, side, 3), 1000)
    return [(layer.name, layer.output_shape) for layer in architecture.layers]


def test_published_shapes_of_v1_0() -> None:
    # Table 1 of the paper; its 224 pixels give these maps with 227.
    assert shapes("squeezenet_v1.0", 227) == [
        ("conv1", (111, 111, 96)),
        ("pool1", (55, 55, 96)),
        ("fire2", (55, 55, 128)),
        ("fire3", (55, 55, 128)),
        ("fire4", (55, 55, 256)),
        ("pool4", (27, 27, 256)),
        ("fire5", (27, 27, 256)),
        ("fire6", (27, 27, 384)),
        ("fire7", (27, 27, 384)),
        ("fire8", (27, 27, 512)),
        ("pool8", (13, 13, 512)),
        ("fire9", (13, 13, 512)),
        ("drop9", (13, 13, 512)),
        ("conv10", (13, 13, 1000)),
        ("pool10", (1, 1, 1000)),
    ]


def test_v1_0_at_224_pixels() -> None:
    found = dict(shapes("squeezenet_v1.0", 224))
    maps = [found[name][:2] for name in ("conv1", "pool1", "pool4", "pool8")]
    assert maps == [(109, 109), (54, 54), (27, 27), (13, 13)]


def test_published_shapes_of_v1_1() -> None:
    assert shapes("squeezenet_v1.1", 227) == [
        ("conv1", (113, 113, 64)),
        ("pool1", (56, 56, 64)),
        ("fire2", (56, 56, 128)),
        ("fire3", (56, 56, 128)),
        ("pool3", (28, 28, 128)),
        ("fire4", (28, 28, 256)),
        ("fire5", (28, 28, 256)),
        ("pool5", (14, 14, 256)),
        ("fire6", (14, 14, 384)),
        ("fire7", (14, 14, 384)),
        ("fire8", (14, 14, 512)),
        ("fire9", (14, 14, 512)),
        ("drop9", (14, 14, 512)),
        ("conv10", (14, 14, 1000)),
        ("pool10", (1, 1, 1000)),
    ]


def test_params_of_v1_0_layer_by_layer() -> None:
    # Table 1 of the paper, column "#parameter before pruning".
    architecture = build(PRESETS["squeezenet_v1.0"].candidate, (227, 227, 3), 1000)
    assert {row.name: row.params_count for row in cost(architecture).layers if row.macs} == {
        "conv1": 14_208,
        "fire2": 11_920,
        "fire3": 12_432,
        "fire4": 45_344,
        "fire5": 49_440,
        "fire6": 104_880,
        "fire7": 111_024,
        "fire8": 188_992,
        "fire9": 197_184,
        "conv10": 513_000,
    }


def test_widths_follow_the_formula_of_the_paper() -> None:
    # e_i = 40 + 20·floor(i / 3); 3x3: a quarter of it; squeeze: 0.3 of it
    modules = fires(
        network(base_e=40, incr_e=20, freq=3, pct_3x3=0.25, squeeze_ratio=0.3, fire_modules=7)
    )
    assert [(f.squeeze, f.expand1x1, f.expand3x3) for f in modules] == [
        (12, 30, 10),
        (12, 30, 10),
        (12, 30, 10),
        (18, 45, 15),
        (18, 45, 15),
        (18, 45, 15),
        (24, 60, 20),
    ]


@pytest.mark.parametrize(
    ("share", "of", "rounded"),
    [
        (0.35, 10, 4),  # 3.5, although 0.35 in binary is a little less
        (0.45, 10, 5),
        (0.145, 100, 15),  # 14.5; 0.145 * 100 is 14.499999999999998
        (0.285, 100, 29),  # 28.5; 0.285 * 100 is 28.499999999999996
        (0.125, 12, 2),
        (0.125, 4, 1),
        (0.124, 4, 0),
        (0.5, 1, 1),
        (0.01, 49, 0),
        (0.01, 50, 1),
        (1.0, 7, 7),
        (1e-05, 49_999, 0),
        (1e-05, 50_000, 1),
    ],
)
def test_rounding_takes_halves_up_from_the_decimal_value(
    share: float, of: int, rounded: int
) -> None:
    assert round_half_up(share, of) == rounded


@given(st.integers(0, 10_000), st.integers(0, 5_000))
def test_rounding_agrees_with_decimal_arithmetic(tenthousandths: int, of: int) -> None:
    exact = decimal.Decimal(tenthousandths) / 10_000 * of
    rounded = exact.quantize(decimal.Decimal(1), rounding=decimal.ROUND_HALF_UP)
    assert round_half_up(tenthousandths / 10_000, of) == int(rounded)


# Side, stem (kernel, stride, padding), side behind the stem, pools, side of the last map.
AUTOMATIC = [
    (8, (3, 1, 1), 8, ["pool8"], 4),
    (16, (3, 1, 1), 16, ["pool4", "pool8"], 4),
    (28, (3, 1, 1), 28, ["pool4", "pool8"], 7),
    (32, (3, 1, 1), 32, ["pool1", "pool4", "pool8"], 4),
    (47, (3, 1, 1), 47, ["pool1", "pool4", "pool8"], 5),
    (48, (3, 2, 1), 24, ["pool4", "pool8"], 6),
    (64, (3, 2, 1), 32, ["pool1", "pool4", "pool8"], 4),
    (96, (3, 2, 1), 48, ["pool1", "pool4", "pool8"], 6),
    (127, (3, 2, 1), 64, ["pool1", "pool4", "pool8"], 8),
    (128, (7, 2, 0), 61, ["pool1", "pool4", "pool8"], 7),
    (224, (7, 2, 0), 109, ["pool1", "pool4", "pool8"], 13),
    (227, (7, 2, 0), 111, ["pool1", "pool4", "pool8"], 13),
    (512, (7, 2, 0), 253, ["pool1", "pool4", "pool8"], 31),
]


@pytest.mark.parametrize(("side", "stem", "behind", "pools", "last"), AUTOMATIC)
def test_the_automatic_rule(
    side: int, stem: tuple[int, int, int], behind: int, pools: list[str], last: int
) -> None:
    architecture = network(side)
    conv1 = architecture.layers[0].block
    assert isinstance(conv1, Conv)
    assert (conv1.kernel_size, conv1.stride, conv1.padding) == stem
    assert architecture.layers[0].output_shape == (behind, behind, 96)
    assert pool_names(architecture) == pools
    assert architecture.layers[-2].output_shape == (last, last, 10)


def test_the_automatic_rule_goes_by_the_shorter_side() -> None:
    architecture = build(make_candidate("squeezenet", {}), (8, 300, 1), 10)
    assert pool_names(architecture) == ["pool8"]
    assert architecture.layers[0].output_shape == (8, 300, 96)


def test_the_automatic_rule_rebuilds_the_published_network() -> None:
    published = PRESETS["squeezenet_v1.0"].candidate
    automatic = make_candidate("squeezenet", {"dropout": 0.5, "final_activation": "relu"})
    for side in (224, 227, 512):
        shape = (side, side, 3)
        assert build(published, shape, 1000).layers == build(automatic, shape, 1000).layers


@pytest.mark.parametrize(("base_e", "filters"), [(128, 96), (32, 24), (6, 5), (2, 2)])
def test_the_automatic_stem_has_three_quarters_of_base_e(base_e: int, filters: int) -> None:
    architecture = network(8, base_e=base_e, pct_3x3=0.4, squeeze_ratio=1)
    assert architecture.layers[0].output_shape == (8, 8, filters)


@pytest.mark.parametrize(
    ("pools", "side", "expected"),
    [
        ("late", 227, ["pool1", "pool4", "pool8"]),  # as v1.0
        ("early", 227, ["pool1", "pool3", "pool5"]),  # as v1.1
        ("early", 32, ["pool1", "pool3", "pool5"]),
        ("early", 16, ["pool3", "pool5"]),  # the first place is given up
        ("late", 16, ["pool4", "pool8"]),
        ("early", 8, ["pool5"]),
        ("late", 7, []),  # a pool would leave 3 pixels
        ("early", 4, []),
    ],
)
def test_late_and_early_pools(pools: str, side: int, expected: list[str]) -> None:
    assert pool_names(network(side, pools=pools)) == expected


@pytest.mark.parametrize(
    ("modules", "late", "early"),
    [  # behind 3/8 and 7/8 (late), 1/4 and 1/2 (early) of the fire modules, rounded
        (1, ["pool1", "pool2"], ["pool1", "pool2"]),
        (2, ["pool1", "pool2", "pool3"], ["pool1", "pool2"]),
        (4, ["pool1", "pool3", "pool5"], ["pool1", "pool2", "pool3"]),
        (6, ["pool1", "pool3", "pool6"], ["pool1", "pool3", "pool4"]),
        (8, ["pool1", "pool4", "pool8"], ["pool1", "pool3", "pool5"]),
        (16, ["pool1", "pool7", "pool15"], ["pool1", "pool5", "pool9"]),
    ],
)
def test_pools_move_with_the_number_of_fire_modules(
    modules: int, late: list[str], early: list[str]
) -> None:
    for pools, expected in (("auto", late), ("late", late), ("early", early)):
        architecture = network(64, fire_modules=modules, pools=pools)
        assert pool_names(architecture) == expected


def test_the_last_layers_are_numbered_behind_the_fire_modules() -> None:
    names = [layer.name for layer in network(8, fire_modules=3, dropout=0.5).layers]
    assert names == ["conv1", "fire2", "fire3", "fire4", "pool4", "drop4", "conv5", "pool5"]


def test_a_list_of_pools_is_taken_as_it_stands() -> None:
    assert pool_names(network(32, pools=[])) == []
    assert pool_names(network(32, pools=["fire9", "fire2"])) == ["pool2", "pool9"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"base_e": 32, "squeeze_ratio": 0.01},
            "fire2: squeeze_ratio 0.01 of 32 expand filters rounds to an empty squeeze; "
            "a larger base_e or a share nearer the middle would help",
        ),
        (
            {"base_e": 32, "pct_3x3": 0.01},
            "fire2: pct_3x3 0.01 of 32 expand filters rounds to an empty expand3x3; "
            "a larger base_e or a share nearer the middle would help",
        ),
        (
            {"base_e": 32, "pct_3x3": 0.99},
            "fire2: 1 - pct_3x3 0.01 of 32 expand filters rounds to an empty expand1x1; "
            "a larger base_e or a share nearer the middle would help",
        ),
    ],
)
def test_an_empty_part_is_refused(values: dict[str, Any], message: str) -> None:
    assert refusal(**values) == message


def test_the_narrowest_widths_that_round_to_one_are_built() -> None:
    # 0.01 · 50 = 0.5 is rounded up to 1
    narrow = fires(network(base_e=50, incr_e=0, squeeze_ratio=0.01, pct_3x3=0.01))
    assert {(f.squeeze, f.expand1x1, f.expand3x3) for f in narrow} == {(1, 49, 1)}


def test_too_many_pools_are_refused_by_layer() -> None:
    # 8 pixels: behind conv1 4, behind fire2 2, and a third window does not fit
    assert refusal(side=8, pools=["conv1", "fire2", "fire3"]) == (
        "pool3: a 3x3 pool does not fit the 2x2 map that reaches it; there are too many pools "
        "for images of this size"
    )


@pytest.mark.parametrize(
    ("modules", "name"), [(8, "fire10"), (8, "conv10"), (8, "late"), (3, "fire5")]
)
def test_a_pool_behind_no_such_layer_is_refused(modules: int, name: str) -> None:
    assert refusal(fire_modules=modules, pools=["conv1", name]) == (
        f"pools names {name}, but a pool can stand behind conv1 and fire2 to fire{modules + 1} only"
    )


def test_a_bypass_is_simple_only_where_channels_agree() -> None:
    # 96 channels reach fire2, then 128 128 256 256 384 384 512 512: the paper's figure 2.
    def bypasses(kind: str) -> list[str]:
        return [f.bypass for f in fires(network(bypass=kind))]

    assert bypasses("none") == ["none"] * 8
    assert bypasses("simple") == ["none", "simple"] * 4
    assert bypasses("complex") == ["complex", "simple"] * 4


def test_a_bypass_goes_around_fire2_where_the_stem_agrees() -> None:
    architecture = network(base_e=64, incr_e=0, stem_filters=64, bypass="complex")
    assert {f.bypass for f in fires(architecture)} == {"simple"}


def test_complex_bypasses_cost_their_1x1_convolutions_alone() -> None:
    plain, simple, complex_ = (
        cost(network(32, bypass=kind)) for kind in ("none", "simple", "complex")
    )
    assert simple.params_count == plain.params_count
    assert simple.macs == plain.macs
    between = [(96, 128), (128, 256), (256, 384), (384, 512)]
    added = sum(given * taken + taken for given, taken in between)
    assert complex_.params_count - plain.params_count == added


def test_batch_norm_is_behind_every_convolution_but_the_last() -> None:
    kinds = {
        p.path.rpartition("/")[0] for p in network(norm="batch").parameters if p.kind == "variance"
    }
    parts = ("squeeze", "expand1x1", "expand3x3")
    assert kinds == {"conv1", *(f"fire{n}/{part}" for n in range(2, 10) for part in parts)}


# Each metaparameter: a value that is not the default, and what it changes in the layers.
# A new metaparameter goes into this table first, and its test fails until it does something.
EFFECTS: dict[str, tuple[Any, Any]] = {
    "base_e": (64, lambda a: fires(a)[0].expand),
    "incr_e": (0, lambda a: fires(a)[7].expand),
    "freq": (4, lambda a: fires(a)[2].expand),
    "pct_3x3": (0.75, lambda a: fires(a)[0].expand3x3),
    "squeeze_ratio": (0.5, lambda a: fires(a)[0].squeeze),
    "fire_modules": (4, lambda a: len(fires(a))),
    "stem_filters": (10, lambda a: a.layers[0].block.filters),
    "stem_kernel": (5, lambda a: a.layers[0].block.kernel_size),
    "stem_stride": (2, lambda a: a.layers[0].block.stride),
    "pools": ("early", pool_names),
    "bypass": ("complex", lambda a: fires(a)[0].bypass),
    "norm": ("batch", lambda a: a.layers[0].block.norm),
    "dropout": (0.5, lambda a: a.layers[-3].name),
    "final_activation": ("relu", lambda a: a.layers[-2].block.activation),
}


@pytest.mark.parametrize("name", sorted({*EFFECTS, *(part.name for part in METAPARAMETERS)}))
def test_every_metaparameter_changes_the_network(name: str) -> None:
    value, look = EFFECTS[name]
    plain, changed = network(), network(**{name: value})
    assert look(changed) != look(plain)
    assert plain.layers != changed.layers


@settings(deadline=None)
@given(squeezenet_candidates_with_input())
def test_each_layer_takes_what_the_last_one_gives(drawn: tuple[Candidate, Shape]) -> None:
    candidate, input_shape = drawn
    shape = input_shape
    for layer in build(candidate, input_shape, 7).layers:
        assert layer.input_shape == shape
        assert min(layer.output_shape) > 0
        shape = layer.output_shape
    assert shape == (1, 1, 7)


@settings(deadline=None)
@given(squeezenet_candidates_with_input(), st.sampled_from(["auto", "late", "early"]))
def test_placed_pools_leave_at_least_four_pixels(
    drawn: tuple[Candidate, Shape], pools: str
) -> None:
    candidate, input_shape = drawn
    values = candidate.metaparameters | {"pools": pools}
    for layer in build(make_candidate("squeezenet", values), input_shape, 7).layers:
        if layer.kind == "MaxPool":
            assert min(layer.output_shape[:2]) >= 4
