"""The CPU forms against XLA's own, and both against numbers computed by hand or slowly."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.architecture.primitives import Activation
from dse.networks import ops
from dse.networks.ops import (
    batch_norm,
    batch_norm_train,
    conv2d,
    dense,
    global_average_pool,
    local_response_norm,
    max_pool,
    relu,
)

TOLERANCE = 1e-5


def assert_close(found: np.ndarray, wanted: np.ndarray, tolerance: float = TOLERANCE) -> None:
    """Differences are measured in the largest wanted value."""
    assert found.shape == wanted.shape
    scale = np.abs(wanted).max() or 1.0
    assert np.abs(np.asarray(found) - np.asarray(wanted)).max() <= tolerance * scale


def normal(seed: int, *shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


def assert_forms_agree(function: Callable[..., jax.Array], *arguments: jax.Array) -> None:
    """Values and all gradients of the CPU form are those of XLA's own."""
    shape = jax.eval_shape(lambda *a: function(*a, cpu_form=False), *arguments).shape
    g = normal(99, *shape)

    @jax.jit
    def both(arguments: tuple[jax.Array, ...], g: jax.Array) -> list[Any]:
        results = []
        for cpu_form in (True, False):
            y, backward = jax.vjp(partial(function, cpu_form=cpu_form), *arguments)
            results.append((y, *backward(g)))
        return results

    for found, wanted in zip(*both(arguments, g), strict=True):
        assert_close(found, wanted)


# (height, width, in, out), kernel, stride, padding, groups
CONVOLUTIONS = [
    pytest.param((5, 7, 3, 4), 1, 1, 0, 1, id="1x1"),
    pytest.param((7, 6, 4, 3), 1, 2, 0, 1, id="1x1, stride 2, a last row left out"),
    pytest.param((4, 4, 3, 2), 1, 1, 1, 1, id="1x1, padded"),
    pytest.param((64, 64, 17, 5), 1, 1, 0, 1, id="1x1, large"),
    pytest.param((6, 5, 9, 10), 3, 1, 1, 1, id="3x3, few channels"),
    pytest.param((6, 5, 4, 3), 3, 1, 1, 1, id="3x3, fewer channels"),
    pytest.param((6, 5, 25, 30), 3, 1, 1, 1, id="3x3, wide"),
    pytest.param((6, 5, 6, 24), 3, 1, 1, 1, id="3x3, wide to one side"),
    pytest.param((5, 6, 25, 24), 3, 1, 0, 1, id="3x3, wide, no padding"),
    pytest.param((64, 64, 9, 7), 3, 1, 1, 1, id="3x3, large"),
    pytest.param((6, 5, 12, 11), 3, 1, 0, 1, id="3x3, no padding"),
    pytest.param((4, 5, 9, 4), 3, 1, 3, 1, id="3x3, more padding than the kernel"),
    pytest.param((8, 7, 1, 6), 3, 1, 1, 1, id="first layer, grey"),
    pytest.param((9, 8, 3, 6), 3, 2, 1, 1, id="first layer, stride 2"),
    pytest.param((9, 8, 9, 4), 3, 2, 0, 1, id="stride 2, a last column left out"),
    pytest.param((9, 8, 9, 4), 2, 1, 1, 1, id="2x2"),
    pytest.param((23, 24, 3, 5), 11, 4, 2, 1, id="AlexNet conv1"),
    pytest.param((7, 7, 24, 6), 5, 1, 2, 2, id="AlexNet conv2, 2 groups"),
    pytest.param((5, 5, 6, 9), 3, 1, 1, 3, id="3 groups"),
    pytest.param((5, 5, 6, 9), 1, 2, 0, 3, id="3 groups, 1x1"),
    pytest.param((15, 14, 3, 4), 7, 2, 0, 1, id="SqueezeNet conv1"),
]


@pytest.mark.parametrize(("shape", "kernel", "stride", "padding", "groups"), CONVOLUTIONS)
def test_convolution_forms_agree(
    shape: tuple[int, int, int, int], kernel: int, stride: int, padding: int, groups: int
) -> None:
    height, width, channels, filters = shape
    x = normal(1, 2, height, width, channels)
    k = normal(2, kernel, kernel, channels // groups, filters)

    def convolve(x: jax.Array, k: jax.Array, *, cpu_form: bool) -> jax.Array:
        return conv2d(x, k, stride=stride, padding=padding, groups=groups, cpu_form=cpu_form)

    assert_forms_agree(convolve, x, k)


@settings(max_examples=8, deadline=None)
@given(
    height=st.integers(3, 9),
    width=st.integers(3, 9),
    channels=st.integers(1, 12),
    filters=st.integers(1, 12),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
)
def test_any_convolution_agrees(
    height: int, width: int, channels: int, filters: int, kernel: int, stride: int, padding: int
) -> None:
    kernel = min(kernel, min(height, width) + 2 * padding)
    x, k = normal(3, 2, height, width, channels), normal(4, kernel, kernel, channels, filters)

    def convolve(x: jax.Array, k: jax.Array, *, cpu_form: bool) -> jax.Array:
        return conv2d(x, k, stride=stride, padding=padding, cpu_form=cpu_form)

    assert_forms_agree(convolve, x, k)


def test_convolution_by_hand() -> None:
    # 3x3 image, kernel [[1, 2], [3, 4]]: cross-correlation, the kernel is not flipped.
    x = jnp.arange(1.0, 10.0).reshape(1, 3, 3, 1)
    kernel = jnp.array([[1.0, 2.0], [3.0, 4.0]]).reshape(2, 2, 1, 1)
    for cpu_form in (True, False):
        y = conv2d(x, kernel, cpu_form=cpu_form)
        assert y[0, :, :, 0].tolist() == [[37.0, 47.0], [67.0, 77.0]]


@pytest.mark.parametrize(
    ("height", "width", "window", "stride", "rounding"),
    [
        (7, 8, 3, 2, "ceil"),
        (7, 8, 3, 2, "floor"),
        (7, 8, 2, 2, "ceil"),
        (7, 8, 2, 2, "floor"),
        (5, 6, 3, 1, "ceil"),
        (7, 8, 3, 3, "ceil"),
        (9, 8, 5, 2, "ceil"),
        (4, 3, 1, 1, "floor"),
    ],
)
def test_max_pool_forms_agree_with_ties(
    height: int, width: int, window: int, stride: int, rounding: ops.Rounding
) -> None:
    # Values from -1, 0, 1: almost every window has several maxima.
    x = jnp.asarray(np.random.default_rng(5).integers(-1, 2, (2, height, width, 3)), jnp.float32)

    def pool(x: jax.Array, *, cpu_form: bool) -> jax.Array:
        return max_pool(x, window=window, stride=stride, rounding=rounding, cpu_form=cpu_form)

    assert_forms_agree(pool, x)


@settings(max_examples=8, deadline=None)
@given(
    height=st.integers(3, 7),
    width=st.integers(3, 7),
    window=st.integers(1, 3),
    stride=st.integers(1, 3),
    rounding=st.sampled_from(["ceil", "floor"]),
    seed=st.integers(0, 2**16),
)
def test_max_pool_gives_each_windows_gradient_to_its_first_maximum(
    height: int, width: int, window: int, stride: int, rounding: ops.Rounding, seed: int
) -> None:
    stride = min(stride, window)
    rng = np.random.default_rng(seed)
    x = rng.integers(-1, 2, (5, height, width, 1)).astype(np.float32)

    @jax.jit
    def pool(x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        y, backward = jax.vjp(
            partial(max_pool, window=window, stride=stride, rounding=rounding, cpu_form=True), x
        )
        # One weight for each window, so that no two can be taken for one another.
        g = jnp.arange(1.0, y.size + 1).reshape(y.shape)
        return y, g, backward(g)[0]

    for *found, image in zip(*pool(x), x, strict=True):
        y, g, gradient = (np.asarray(a)[:, :, 0] for a in found)
        wanted, wanted_gradient = slow_max_pool(image[:, :, 0], g, window, stride)
        assert y.tolist() == wanted.tolist()
        assert gradient.tolist() == wanted_gradient.tolist()


def slow_max_pool(
    x: np.ndarray, g: np.ndarray, window: int, stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """One window after the other; `g` says how many there are."""
    y, gradient = np.empty_like(g), np.zeros_like(x)
    for i, j in itertools.product(*map(range, g.shape)):
        top, left = i * stride, j * stride
        seen = x[top : top + window, left : left + window]
        row, column = divmod(int(seen.argmax()), seen.shape[1])
        y[i, j] = seen[row, column]
        gradient[top + row, left + column] += g[i, j]
    return y, gradient


def test_max_pool_rounds_up_or_down() -> None:
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    ceil = max_pool(x, window=3, stride=2, rounding="ceil")
    floor = max_pool(x, window=3, stride=2, rounding="floor")
    assert ceil[0, :, :, 0].tolist() == [[10.0, 11.0], [14.0, 15.0]]
    assert floor[0, :, :, 0].tolist() == [[10.0]]


def test_max_pool_overhang_counts_real_pixels_only() -> None:
    x = -jnp.arange(1.0, 17.0).reshape(1, 4, 4, 1)  # a zero beyond the edge would win
    y = max_pool(x, window=3, stride=2, rounding="ceil", cpu_form=True)
    assert y[0, :, :, 0].tolist() == [[-1.0, -3.0], [-9.0, -11.0]]


def test_max_pool_refuses_gaps() -> None:
    with pytest.raises(ValueError, match=r"stride <= window <= 15 must hold, .* stride=3"):
        max_pool(jnp.zeros((1, 4, 4, 1)), window=2, stride=3)


def test_local_response_norm_by_hand() -> None:
    # 4 channels, window 3: sums of squares 1+4, 1+4+9, 4+9+16, 9+16.
    x = jnp.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 1, 4)
    y = local_response_norm(x, size=3, alpha=3.0, beta=0.5, k=2.0)
    wanted = np.array([1, 2, 3, 4]) / np.sqrt(2 + np.array([5, 14, 29, 25]))
    np.testing.assert_allclose(y.ravel(), wanted, rtol=1e-6)


def test_average_and_dense_by_hand() -> None:
    x = jnp.arange(8.0).reshape(1, 2, 2, 2)
    assert global_average_pool(x).tolist() == [[[[3.0, 4.0]]]]
    # Flattened in the order (height, width, channels): 0 … 7.
    kernel = jnp.stack([jnp.ones(8), jnp.arange(8.0)], 1)
    assert dense(x, kernel, jnp.array([1.0, -1.0])).tolist() == [[[[29.0, 139.0]]]]


def plain_batch_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, floor: float) -> jax.Array:
    """Ioffe and Szegedy 2015, algorithm 1, line by line, then max(…, floor)."""
    mean = x.mean((0, 1, 2))
    variance = ((x - mean) ** 2).mean((0, 1, 2))
    return jnp.maximum(scale * (x - mean) / jnp.sqrt(variance + 1e-5) + bias, floor)


@pytest.mark.parametrize(("activation", "floor"), [("none", -jnp.inf), ("relu", 0.0)])
def test_batch_norm_agrees_with_the_papers_algorithm(activation: Activation, floor: float) -> None:
    x = 3 * normal(6, 4, 5, 3, 6) + 2
    scale, bias, g = 1 + normal(7, 6), normal(8, 6), normal(9, 4, 5, 3, 6)

    @jax.jit
    def both(x: jax.Array, scale: jax.Array, bias: jax.Array) -> list[Any]:
        plain, plain_backward = jax.vjp(partial(plain_batch_norm, floor=floor), x, scale, bias)
        y, backward, (mean, variance) = jax.vjp(
            lambda *a: (lambda y, *rest: (y, rest))(*batch_norm_train(*a, 1e-5, activation)),
            x,
            scale,
            bias,
            has_aux=True,
        )
        given = jnp.maximum(batch_norm(x, scale, bias, mean, variance, 1e-5), floor)
        return [(y, given, *backward(g)), (plain, plain, *plain_backward(g)), (mean, variance)]

    fast, plain, statistics = both(x, scale, bias)
    for found, wanted in zip(fast, plain, strict=True):
        assert_close(found, wanted)
    assert_close(statistics[0], np.mean(x, (0, 1, 2)))
    assert_close(statistics[1], np.var(x, (0, 1, 2)))


def test_relu_passes_gradients_of_positive_values_only() -> None:
    y, backward = jax.vjp(relu, jnp.array([-1.0, 0.0, 2.0]))
    assert y.tolist() == [0.0, 0.0, 2.0]
    assert backward(jnp.array([5.0, 6.0, 7.0]))[0].tolist() == [0.0, 0.0, 7.0]
