"""One layer at a time, by hand and by counting."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.architecture.primitives import (
    Conv,
    Dense,
    Dropout,
    Fire,
    GlobalAveragePool,
    Layer,
    LocalResponseNorm,
    MaxPool,
    Parameter,
)
from dse.errors import ArchitectureError


def params_count(layer: Layer) -> int:
    return sum(p.size for p in layer.parameters if p.trainable)


def fire(**settings: Any) -> Fire:
    sizes: dict[str, Any] = {"squeeze": 2, "expand1x1": 3, "expand3x3": 4}
    return Fire(name="fire2", input_shape=(5, 6, 7), **(sizes | settings))


def test_a_fire_module_by_hand() -> None:
    layer = fire()
    assert layer.output_shape == (5, 6, 3 + 4)
    # squeeze 7·2 + 2, expand1x1 2·3 + 3, expand3x3 9·2·4 + 4
    assert params_count(layer) == 16 + 9 + 76 == 101
    # the same kernels without biases, at each of the 30 pixels
    assert layer.macs == 30 * (14 + 6 + 72) == 2760
    # squeeze holds 30·(7 + 2); expand holds 30·(2 + 7)
    assert layer.working_elements == 270


@pytest.mark.parametrize(
    ("bypass", "params", "macs", "working"),
    [
        ("none", 101, 2760, 30 * 9),
        ("simple", 101, 2760, 30 * (7 + 2 + 7)),  # the input waits for the addition
        ("complex", 101 + 7 * 7 + 7, 2760 + 30 * 49, 30 * (7 + 7 + 7)),
    ],
)
def test_what_a_bypass_costs(bypass: str, params: int, macs: int, working: int) -> None:
    layer = fire(bypass=bypass)
    assert (params_count(layer), layer.macs, layer.working_elements) == (params, macs, working)


def test_the_arrays_of_a_fire_module() -> None:
    assert fire(bypass="complex").parameters == (
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
    layer = fire(bypass="complex")
    assert [(conv.name, conv.activation, conv.padding) for conv in layer.convs] == [
        ("fire2/squeeze", "relu", 0),
        ("fire2/expand1x1", "relu", 0),
        ("fire2/expand3x3", "relu", 1),
        ("fire2/bypass", "none", 0),
    ]
    assert fire().bypass_conv is None


def test_a_batch_norm_trains_two_values_a_channel_and_stores_four() -> None:
    layer = fire(norm="batch")
    assert params_count(layer) == (14 + 6 + 72) + 2 * (2 + 3 + 4)
    assert sum(p.size for p in layer.parameters) == (14 + 6 + 72) + 4 * (2 + 3 + 4)
    assert [p.path for p in layer.squeeze_conv.parameters] == [
        "fire2/squeeze/kernel",
        "fire2/squeeze/scale",
        "fire2/squeeze/bias",
        "fire2/squeeze/mean",
        "fire2/squeeze/variance",
    ]


def test_a_grouped_convolution_by_hand() -> None:
    # conv2 of AlexNet: 5x5 over 48 of 96 channels, 256 filters, 27x27 pixels
    layer = Conv(
        name="conv2", input_shape=(27, 27, 96), filters=256, kernel_size=5, padding=2, groups=2
    )
    assert layer.output_shape == (27, 27, 256)
    assert layer.kernel_shape == (5, 5, 48, 256)
    assert params_count(layer) == 5 * 5 * 48 * 256 + 256 == 307_456
    assert layer.macs == 223_948_800


def test_a_dense_layer_by_hand() -> None:
    layer = Dense(name="fc6", input_shape=(6, 6, 256), features=4096)
    assert layer.output_shape == (1, 1, 4096)
    assert params_count(layer) == 9216 * 4096 + 4096
    assert layer.macs == 9216 * 4096
    assert layer.working_elements == 9216 + 4096


def test_layers_without_weights() -> None:
    shape = (4, 5, 6)
    pool = GlobalAveragePool(name="pool10", input_shape=shape)
    norm = LocalResponseNorm(name="norm1", input_shape=shape)
    dropout = Dropout(name="drop9", input_shape=shape, rate=0.5)
    assert [layer.output_shape for layer in (pool, norm, dropout)] == [(1, 1, 6), shape, shape]
    assert [layer.working_elements for layer in (pool, norm, dropout)] == [126, 240, 120]
    assert [layer.parameters for layer in (pool, norm, dropout)] == [(), (), ()]
    assert [layer.macs for layer in (pool, norm, dropout)] == [0, 0, 0]


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
    pool = MaxPool(
        name="pool1",
        input_shape=(size, window, 2),
        window=window,
        stride=stride,
        rounding=rounding,  # type: ignore[arg-type]
    )
    assert pool.output_shape == (len(starts), 1, 2)
    assert starts[-1] < size, "a window without any pixel"
    if rounding == "ceil":
        assert starts[-1] + window >= size, "pixels that no window sees"


@pytest.mark.parametrize(
    ("side", "ceil", "floor"),
    [(111, 55, 55), (55, 27, 27), (27, 13, 13), (109, 54, 54), (54, 27, 26), (4, 2, 1), (3, 1, 1)],
)
def test_3x3_pools_with_stride_2(side: int, ceil: int, floor: int) -> None:
    for rounding, expected in (("ceil", ceil), ("floor", floor)):
        pool = MaxPool(
            name="pool1",
            input_shape=(side, side, 1),
            window=3,
            stride=2,
            rounding=rounding,  # type: ignore[arg-type]
        )
        assert pool.output_shape == (expected, expected, 1)


@given(
    size=st.integers(1, 40),
    kernel=st.integers(1, 7),
    stride=st.integers(1, 5),
    padding=st.integers(0, 3),
)
def test_a_convolution_counts_its_places(size: int, kernel: int, stride: int, padding: int) -> None:
    size = max(size, kernel)
    conv = Conv(
        name="conv1",
        input_shape=(size, kernel, 1),
        filters=2,
        kernel_size=kernel,
        stride=stride,
        padding=padding,
    )
    places = [
        [
            (y, x)
            for x in range(-padding, kernel + padding, stride)
            if x + kernel <= kernel + padding
        ]
        for y in range(-padding, size + padding, stride)
        if y + kernel <= size + padding
    ]
    assert conv.output_shape == (len(places), len(places[0]), 2)
    assert conv.macs == sum(len(row) for row in places) * kernel * kernel * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Conv(name="conv9", input_shape=(2, 5, 1), filters=1, kernel_size=3),
            "conv9: a 3x3 kernel does not fit the 2x5 map that reaches it; fewer pools, a smaller "
            "stride or larger images would help",
        ),
        (
            lambda: Conv(name="conv10", input_shape=(2, 2, 1), filters=0, kernel_size=1),
            "conv10: 0 filters, but at least 1 needed",
        ),
        (
            lambda: Conv(name="conv2", input_shape=(2, 2, 3), filters=4, kernel_size=1, groups=2),
            "conv2: 2 groups must divide 3 input channels and 4 filters",
        ),
        (lambda: fire(expand3x3=0), "fire2: expand3x3 has no filters"),
        (
            lambda: fire(expand3x3=5, bypass="simple"),
            "fire2: a simple bypass adds 7 input channels to 8 output channels; they must be equal",
        ),
        (
            lambda: MaxPool(name="pool8", input_shape=(9, 2, 4), window=3, stride=2),
            "pool8: a 3x3 pool does not fit the 9x2 map that reaches it; there are too many pools "
            "for images of this size",
        ),
    ],
)
def test_what_cannot_be_computed_is_refused(make: Any, message: str) -> None:
    with pytest.raises(ArchitectureError) as caught:
        make()
    assert str(caught.value) == message
