"""One layer at a time, by hand and by counting."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.architecture import Architecture, assemble, cost
from dse.architecture.blocks import Block, Concat, Module, Residual, Sequential
from dse.architecture.cost import held_elements
from dse.architecture.families.squeezenet import fire
from dse.architecture.primitives import (
    Conv,
    Dense,
    Dropout,
    GlobalAveragePool,
    LocalResponseNorm,
    MaxPool,
    Parameter,
    Primitive,
    Shape,
)
from dse.errors import ArchitectureError
from tests.architecture.fires import fires


def alone(block: Primitive | Module, shape: Shape) -> Architecture:
    return assemble("alone", (), shape, 1, [block])


def one_fire(**settings: Any) -> Architecture:
    sizes: dict[str, Any] = {"squeeze": 2, "expand1x1": 3, "expand3x3": 4}
    return alone(fire("fire2", **(sizes | settings)), (5, 6, 7))


def test_a_fire_module_by_hand() -> None:
    total = cost(one_fire())
    assert total.layers[0].output_shape == (5, 6, 3 + 4)
    # squeeze 7·2 + 2, expand1x1 2·3 + 3, expand3x3 9·2·4 + 4
    assert total.params_count == 16 + 9 + 76 == 101
    # the same kernels without biases, at each of the 30 pixels
    assert total.macs == 30 * (14 + 6 + 72) == 2760
    # squeeze holds 30·(7 + 2); expand holds 30·(2 + 7)
    assert total.peak_activation_bytes == 4 * 270


@pytest.mark.parametrize(
    ("bypass", "params", "macs", "working"),
    [
        ("none", 101, 2760, 30 * 9),
        ("simple", 101, 2760, 30 * (7 + 2 + 7)),  # the input waits for the addition
        ("complex", 101 + 7 * 7 + 7, 2760 + 30 * 49, 30 * (7 + 7 + 7)),
    ],
)
def test_what_a_bypass_costs(bypass: str, params: int, macs: int, working: int) -> None:
    total = cost(one_fire(bypass=bypass))
    assert (total.params_count, total.macs) == (params, macs)
    assert total.peak_activation_bytes == 4 * working


def test_the_arrays_of_a_fire_module() -> None:
    assert one_fire(bypass="complex").parameters == (
        Parameter("fire2/squeeze/kernel", (1, 1, 7, 2), "kernel"),
        Parameter("fire2/squeeze/bias", (2,), "bias"),
        Parameter("fire2/expand1x1/kernel", (1, 1, 2, 3), "kernel"),
        Parameter("fire2/expand1x1/bias", (3,), "bias"),
        Parameter("fire2/expand3x3/kernel", (3, 3, 2, 4), "kernel"),
        Parameter("fire2/expand3x3/bias", (4,), "bias"),
        Parameter("fire2/bypass/kernel", (1, 1, 7, 7), "kernel"),
        Parameter("fire2/bypass/bias", (7,), "bias"),
    )


def test_activations_inside_a_fire_module() -> None:
    convs = [node.primitive for node in one_fire(bypass="complex").kernel_nodes]
    assert [(conv.name, conv.activation, conv.padding) for conv in convs] == [
        ("fire2/squeeze", "relu", 0),
        ("fire2/expand1x1", "relu", 0),
        ("fire2/expand3x3", "relu", 1),
        ("fire2/bypass", "none", 0),
    ]
    assert fires(one_fire())[0].bypass_conv is None


def test_a_batch_norm_trains_two_values_a_channel_and_stores_four() -> None:
    architecture = one_fire(norm="batch")
    total = cost(architecture)
    assert total.params_count == (14 + 6 + 72) + 2 * (2 + 3 + 4)
    assert total.weight_bytes == 4 * ((14 + 6 + 72) + 4 * (2 + 3 + 4))
    assert [p.path for p in architecture.graph[0].parameters] == [
        "fire2/squeeze/kernel",
        "fire2/squeeze/scale",
        "fire2/squeeze/bias",
        "fire2/squeeze/mean",
        "fire2/squeeze/variance",
    ]


def test_a_grouped_convolution_by_hand() -> None:
    # conv2 of AlexNet: 5x5 over 48 of 96 channels, 256 filters, 27x27 pixels
    conv = Conv("conv2", filters=256, kernel_size=5, padding=2, groups=2)
    (node,) = alone(conv, (27, 27, 96)).graph
    assert node.output_shape == (27, 27, 256)
    assert node.kernel_shape == (5, 5, 48, 256)
    assert cost(alone(conv, (27, 27, 96))).params_count == 5 * 5 * 48 * 256 + 256 == 307_456
    assert node.macs == 223_948_800


def test_a_dense_layer_by_hand() -> None:
    total = cost(alone(Dense("fc6", features=4096), (6, 6, 256)))
    assert total.layers[0].output_shape == (1, 1, 4096)
    assert total.params_count == 9216 * 4096 + 4096
    assert total.macs == 9216 * 4096
    assert total.peak_activation_bytes == 4 * (9216 + 4096)


def test_primitives_without_weights() -> None:
    shape = (4, 5, 6)
    primitives = (
        GlobalAveragePool("pool10"),
        LocalResponseNorm("norm1"),
        Dropout("drop9", rate=0.5),
    )
    totals = [cost(alone(primitive, shape)) for primitive in primitives]
    assert [total.layers[0].output_shape for total in totals] == [(1, 1, 6), shape, shape]
    assert [total.peak_activation_bytes for total in totals] == [4 * 126, 4 * 240, 4 * 120]
    assert [alone(primitive, shape).parameters for primitive in primitives] == [(), (), ()]
    assert [total.macs for total in totals] == [0, 0, 0]


def conv(name: str, filters: int = 2) -> Conv:
    return Conv(name, filters=filters, kernel_size=1)


@pytest.mark.parametrize(
    ("body", "held", "summary"),
    [  # what each node holds, in pixels of one channel; the map that arrives has 3 channels
        (conv("a"), [3 + 2], "x 2"),
        (Sequential(conv("a"), conv("b", 4)), [3 + 2, 2 + 4], "x 2→4"),
        # Both parts write into the joined map of 6, and so does what overwrites one of them.
        (Concat("j", conv("a"), conv("b", 4)), [3 + 6, 3 + 6, 6], "x 2+4"),
        (
            Concat("j", Sequential(conv("a"), Dropout("d", rate=0.5)), conv("b", 4)),
            [3 + 6, 3 + 6, 3 + 6, 6],
            "x 2+4",
        ),
        # The map itself is copied into the joined one, which is not there before.
        (Concat("j", Sequential(), conv("a")), [3 + 5, 3 + 5], "x +2"),
        (Residual("s", Sequential(conv("a"), conv("b", 3))), [3 + 2, 3 + 2 + 3, 6], "x 2→3 simple"),
        (Residual("s", conv("a"), conv("b")), [3 + 2, 3 + 2 + 2, 2 + 2], "x 2 complex"),
        # A dropout whose input is still needed has a map of its own.
        (Residual("s", Dropout("d", rate=0.5)), [3 + 3, 3 + 3], "x simple"),
    ],
)
def test_what_blocks_hold_while_they_run(body: Block, held: list[int], summary: str) -> None:
    architecture = alone(Module("m", "X", body), (5, 4, 3))
    assert held_elements(architecture) == [20 * pixels for pixels in held]
    assert architecture.layers[0].summary == summary


def counted_starts(size: int, window: int, stride: int, rounding: str) -> list[int]:
    """The first pixel of every window, found by walking along the row."""
    starts, start = [], 0
    while start + window <= size:
        starts.append(start)
        start += stride
    if rounding == "ceil" and starts[-1] + window < size:
        starts.append(start)  # one more window takes the pixels that are left
    return starts


@given(
    size=st.integers(1, 60),
    window=st.integers(1, 6),
    stride=st.integers(1, 6),
    rounding=st.sampled_from(["ceil", "floor"]),
)
def test_pooling_counts_its_windows(size: int, window: int, stride: int, rounding: str) -> None:
    size, stride = max(size, window), min(stride, window)
    starts = counted_starts(size, window, stride, rounding)
    pool = MaxPool("pool1", window=window, stride=stride, rounding=rounding)  # type: ignore[arg-type]
    assert pool.output_shape((size, window, 2)) == (len(starts), 1, 2)
    assert starts[-1] < size, "a window without any pixel"
    if rounding == "ceil":
        assert starts[-1] + window >= size, "pixels that no window sees"


@pytest.mark.parametrize(
    ("side", "ceil", "floor"),
    [(111, 55, 55), (55, 27, 27), (27, 13, 13), (109, 54, 54), (54, 27, 26), (4, 2, 1), (3, 1, 1)],
)
def test_3x3_pools_with_stride_2(side: int, ceil: int, floor: int) -> None:
    for rounding, expected in (("ceil", ceil), ("floor", floor)):
        pool = MaxPool("pool1", window=3, stride=2, rounding=rounding)  # type: ignore[arg-type]
        assert pool.output_shape((side, side, 1)) == (expected, expected, 1)


@given(
    size=st.integers(1, 40),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 5),
    padding=st.integers(0, 3),
)
def test_a_convolution_counts_its_places(size: int, kernel: int, stride: int, padding: int) -> None:
    size = max(size, kernel)
    conv = Conv("conv1", filters=2, kernel_size=kernel, stride=stride, padding=padding)
    (node,) = alone(conv, (size, kernel, 1)).graph
    places = [
        [
            (y, x)
            for x in range(-padding, kernel + padding, stride)
            if x + kernel <= kernel + padding
        ]
        for y in range(-padding, size + padding, stride)
        if y + kernel <= size + padding
    ]
    assert node.output_shape == (len(places), len(places[0]), 2)
    assert node.macs == sum(len(row) for row in places) * kernel * kernel * 2


@pytest.mark.parametrize(
    ("block", "shape", "message"),
    [
        (
            Conv("conv9", filters=1, kernel_size=3),
            (2, 5, 1),
            "conv9: a 3x3 kernel does not fit the 2x5 map that reaches it; fewer pools, a smaller "
            "stride or larger images would help",
        ),
        (
            Conv("conv10", filters=0, kernel_size=1),
            (2, 2, 1),
            "conv10: 0 filters, but at least 1 needed",
        ),
        (
            Conv("conv2", filters=4, kernel_size=1, groups=2),
            (2, 2, 3),
            "conv2: 2 groups must divide 3 input channels and 4 filters",
        ),
        (
            fire("fire2", squeeze=2, expand1x1=3, expand3x3=0),
            (5, 6, 7),
            "fire2/expand3x3: 0 filters, but at least 1 needed",
        ),
        (
            fire("fire2", squeeze=2, expand1x1=3, expand3x3=5, bypass="simple"),
            (5, 6, 7),
            "fire2/sum: the bypass gives 5x6x7, but is added to 5x6x8; they must be equal",
        ),
        (
            Module("m", "X", Concat("m/join", conv("a"), MaxPool("p", window=2, stride=2))),
            (5, 6, 7),
            "m/join: joins maps of 5x6, 3x3; they must be equal",
        ),
        (
            MaxPool("pool8", window=3, stride=2),
            (9, 2, 4),
            "pool8: a 3x3 pool does not fit the 9x2 map that reaches it; there are too many pools "
            "for images of this size",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused(
    block: Primitive | Module, shape: Shape, message: str
) -> None:
    with pytest.raises(ArchitectureError) as caught:
        alone(block, shape)
    assert str(caught.value) == message
