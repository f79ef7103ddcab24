"""Networks against numbers computed by hand, and what `init` and `apply` promise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.architecture import Architecture, Shape, assemble
from dse.architecture.blocks import Module
from dse.architecture.families.squeezenet import fire
from dse.architecture.primitives import (
    Conv,
    Dense,
    Dropout,
    GlobalAveragePool,
    MaxPool,
    Norm,
    Primitive,
)
from dse.networks import build_network, update_ema


def architecture(input_shape: Shape, *blocks: Primitive | Module) -> Architecture:
    classes_count = assemble("", (), input_shape, 0, blocks).graph[-1].output_shape[2]
    return assemble("by hand", (), input_shape, classes_count, blocks)


def one_fire(bypass: str) -> Architecture:
    return architecture(
        (2, 2, 2), fire("fire2", squeeze=1, expand1x1=1, expand3x3=1, bypass=bypass)
    )


# Squeeze: s = relu(x0 - 2 x1 + 1); expand1x1: relu(2 s - 3); expand3x3: relu(taps + 1).
FIRE = {
    "squeeze": {"kernel": [[[[1.0], [-2.0]]]], "bias": [1.0]},
    "expand1x1": {"kernel": [[[[2.0]]]], "bias": [-3.0]},
    "expand3x3": {
        "kernel": [
            [[[w]] for w in row] for row in ((0.0, 1.0, 0.0), (2.0, 1.0, -3.0), (0.0, -1.0, 1.0))
        ],
        "bias": [1.0],
    },
}
# Pixels (x0, x1): (1, 0) (4, 2) / (0, 3) (5, 1): s = 2 1 / 0 4.
IMAGE = [[[1.0, 0.0], [4.0, 2.0]], [[0.0, 3.0], [5.0, 1.0]]]
# expand1x1: 2·2-3=1, 2·1-3<0 / <0, 2·4-3=5.
# expand3x3, pixel (row, column), above 1, left 2, centre 1, right -3, below -1, below right 1:
#   (0,0): 2 - 3·1 - 0 + 4 + 1 = 4        (0,1): 2·2 + 1 - 4 + 1 = 2
#   (1,0): 2 + 0 - 3·4 + 1 < 0            (1,1): 1 + 2·0 + 4 + 1 = 6
EXPANDED = [[[1.0, 4.0], [0.0, 2.0]], [[0.0, 0.0], [5.0, 6.0]]]
# Complex bypass: first x0 + x1 + 10, then -x1: no ReLU follows, so negative values stay.
BYPASS = {"kernel": [[[[1.0, 0.0], [1.0, -1.0]]]], "bias": [10.0, 0.0]}
BYPASSED = [[[12.0, 4.0], [16.0, 0.0]], [[13.0, -3.0], [21.0, 5.0]]]


@pytest.mark.parametrize(
    ("bypass", "wanted"),
    [
        ("none", np.array(EXPANDED)),
        ("simple", np.array(EXPANDED) + np.array(IMAGE)),
        ("complex", np.array(BYPASSED)),
    ],
)
def test_fire_by_hand(bypass: str, wanted: np.ndarray) -> None:
    parts = FIRE | ({"bypass": BYPASS} if bypass == "complex" else {})
    params = {"fire2": jax.tree.map(jnp.array, parts, is_leaf=lambda p: isinstance(p, list))}
    network = build_network(one_fire(bypass))
    scores, statistics = network.apply(params, {}, jnp.array([IMAGE]), train=True)
    assert scores.reshape(2, 2, 2).tolist() == wanted.tolist()
    assert statistics == {}


SMALL = architecture(
    (8, 8, 3),
    Conv("conv1", filters=6, kernel_size=3, padding=1, norm="batch"),
    MaxPool("pool1", window=3, stride=2),
    fire("fire2", squeeze=3, expand1x1=4, expand3x3=4, norm="batch"),
    Dropout("drop2", rate=0.5),
    Conv("conv10", filters=5, kernel_size=1, activation="none"),
    GlobalAveragePool("pool10"),
)


def images(count: int) -> jax.Array:
    rng = np.random.default_rng(0)
    return jnp.asarray(rng.standard_normal((count, *SMALL.input_shape), np.float32))


def test_statistics_move_by_a_tenth_towards_the_batch() -> None:
    network = build_network(SMALL)
    params, statistics = network.init(jax.random.key(3))
    x = images(4)
    apply = jax.jit(network.apply, static_argnames="train")
    _, batch = apply(params, statistics, x, train=True, dropout_key=jax.random.key(0))
    after = update_ema(statistics, batch)
    first = jax.lax.conv_general_dilated(
        x, params["conv1"]["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    # Means start at 0 and variances at 1.
    wanted_mean, wanted_variance = 0.1 * first.mean((0, 1, 2)), 0.9 + 0.1 * first.var((0, 1, 2))
    np.testing.assert_allclose(after["conv1"]["mean"], wanted_mean, atol=1e-6)
    np.testing.assert_allclose(after["conv1"]["variance"], wanted_variance, rtol=1e-5)
    _, kept = apply(params, after, x, train=False)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), kept, after))


def test_inference_uses_the_given_statistics() -> None:
    conv = Conv("conv1", filters=1, kernel_size=1, norm="batch", activation="none")
    network = build_network(architecture((1, 1, 1), conv))
    params = {"conv1": {"kernel": jnp.full((1, 1, 1, 1), 2.0), "scale": jnp.array([3.0])}}
    params["conv1"]["bias"] = jnp.array([1.0])
    statistics = {"conv1": {"mean": jnp.array([4.0]), "variance": jnp.array([0.25 - 1e-5])}}
    scores, _ = network.apply(params, statistics, jnp.full((1, 1, 1, 1), 5.0), train=False)
    # 3 · (2·5 - 4) / 0.5 + 1
    assert float(scores[0, 0]) == pytest.approx(37.0, rel=1e-6)


def test_first_values_depend_on_key_name_and_shape_alone() -> None:
    fire2, conv10, pool10 = (SMALL.layers[i].block for i in (2, 4, 5))
    without_dropout = architecture(SMALL.input_shape, fire2, conv10, pool10)
    params, _ = build_network(SMALL).init(jax.random.key(7))
    again, _ = build_network(SMALL).init(jax.random.key(7))
    fewer, _ = build_network(without_dropout).init(jax.random.key(7))
    other, _ = build_network(SMALL).init(jax.random.key(8))
    kernel = params["fire2"]["expand3x3"]["kernel"]
    assert (kernel == again["fire2"]["expand3x3"]["kernel"]).all()
    assert (kernel == fewer["fire2"]["expand3x3"]["kernel"]).all()
    assert not (kernel == other["fire2"]["expand3x3"]["kernel"]).any()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_first_values_have_the_stated_spread(norm: Norm) -> None:
    wide = architecture(
        (4, 4, 64),
        Conv("conv1", filters=128, kernel_size=3, padding=1, norm=norm),
        Dense("fc8", features=50, activation="none"),
    )
    params, statistics = build_network(wide).init(jax.random.key(0))
    # He et al. 2015: sqrt(2 / (3·3·64)), before a norm sqrt(1 / (3·3·3·64)); the last layer 0.01.
    wanted = {"none": (2 / 576) ** 0.5, "batch": (1 / 1728) ** 0.5}[norm]
    assert float(params["conv1"]["kernel"].std()) == pytest.approx(wanted, rel=0.02)
    assert float(params["fc8"]["kernel"].std()) == pytest.approx(0.01, rel=0.02)
    assert not params["conv1"]["bias"].any()
    if norm == "batch":
        assert (params["conv1"]["scale"] == 1).all()
        assert not statistics["conv1"]["mean"].any()
        assert (statistics["conv1"]["variance"] == 1).all()


def test_dropout_keeps_the_expected_value_and_needs_a_key() -> None:
    dropped = architecture((1, 1, 4000), Dropout("drop9", rate=0.25))
    network = build_network(dropped)
    x = jnp.ones((1, 1, 1, 4000))
    y, _ = network.apply({}, {}, x, train=True, dropout_key=jax.random.key(1))
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.75)}
    assert float(y.mean()) == pytest.approx(1.0, abs=0.03)
    assert (network.apply({}, {}, x, train=False)[0] == 1).all()
    with pytest.raises(ValueError, match=r"drop9: training with dropout needs dropout_key"):
        network.apply({}, {}, x, train=True)


def test_images_of_another_shape_are_refused() -> None:
    network = build_network(SMALL)
    params, statistics = network.init(jax.random.key(0))
    with pytest.raises(ValueError, match=r"must be \(batch, 8, 8, 3\), but got \(2, 9, 8, 3\)"):
        network.apply(params, statistics, jnp.zeros((2, 9, 8, 3)), train=False)


def test_a_second_step_does_not_trace_again() -> None:
    network = build_network(SMALL)
    params, statistics = network.init(jax.random.key(0))
    traces = []

    @jax.jit
    def step(params: Any, statistics: Any, x: jax.Array) -> tuple[Any, Any]:
        traces.append(1)
        key = jax.random.key(0)

        def loss(params: Any) -> tuple[jax.Array, Any]:
            scores, after = network.apply(params, statistics, x, train=True, dropout_key=key)
            return (scores**2).mean(), after

        gradient, after = jax.grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda p, g: p - g, params, gradient), after

    for _ in range(2):
        params, statistics = step(params, statistics, images(4))
    assert len(traces) == 1
