"""Convolution and max pooling in the forms that XLA runs fast on a CPU.

XLA's own convolution gradients, and `select_and_scatter` behind max pooling, fall back to
scalar loops on a CPU (inside a `lax.scan` the weight gradient takes 20 to 100 times as
long). Each function here computes the same values from operations that stay fast:

    forward, input gradient     convolution in XLA's fast layout (NHWC, HWIO), or one matrix
                                product where there are few channels
    weight gradient             one matrix product over all pixels
    max pooling                 a running maximum that keeps the winner's place in the window

Figures are for one thread of an AVX-512 core and batch 128; `ops/__init__.py` chooses the form.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from dse.architecture.primitives import Rounding, windows_count

LAYOUT = ("NHWC", "HWIO", "NHWC")

# Images have so few channels that XLA's convolution spends its time elsewhere: 3 channels of
# 32x32 to 24 filters take 6 ms by patches and one product, 20 ms by it.
IMAGE_CHANNELS = 3

# With fewer channels than this on both sides XLA's convolution falls back to a slow form: 16 to
# 4 channels of 16x16 take 1.5 ms by it and 0.5 by rows, 4 to 16 take 1.3 and 0.5; from here on
# it is faster (8 to 32: 0.7 against 1.2).
WIDE_CHANNELS = 24


def conv2d(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    """Convolution of (batch, height, width, in) with a kernel (height, width, in, out)."""
    if kernel.shape[:2] == (1, 1) and padding == 0:
        return _product(x[:, ::stride, ::stride] if stride > 1 else x, kernel[0, 0])
    return _spatial(x, kernel, stride, padding)


@jax.custom_vjp
def _matmul(x: Array, matrix: Array) -> Array:
    """A 1x1 convolution is a matrix product, and so are both its gradients.

    In two dimensions: XLA transposes more than that for the weight gradient, in memory.
    """
    return x @ matrix


_matmul.defvjp(
    lambda x, matrix: (x @ matrix, (x, matrix)),
    lambda saved, g: (g @ saved[1].T, _product_over_rows(saved[0], g)),
)


def _product_over_rows(x: Array, g: Array) -> Array:
    """`x` transposed times `g`, which is how weight gradients come about."""
    return lax.dot_general(x, g, (((0,), (0,)), ((), ())))


def _product(x: Array, matrix: Array) -> Array:
    product = _matmul(x.reshape(-1, x.shape[3]), matrix)
    return product.reshape(*x.shape[:3], matrix.shape[1])


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _spatial(x: Array, kernel: Array, stride: int, padding: int) -> Array:
    if kernel.shape[0] <= 3:
        if x.shape[3] <= IMAGE_CHANNELS:
            patches = _patches(x, kernel.shape[:2], stride, padding)
            return _product(patches, kernel.reshape(-1, kernel.shape[3]))
        if stride == 1 and max(kernel.shape[2:]) < WIDE_CHANNELS:
            return _by_rows(x, kernel, padding)
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), [(padding, padding)] * 2, dimension_numbers=LAYOUT
    )


def _by_rows(x: Array, kernel: Array, padding: int) -> Array:
    """One product for all rows of the kernel, and the sum of its parts, a row apart each.

    `x` is laid out kernel times along the width alone, where patches need its square.
    """
    kh, kw, channels, filters = kernel.shape
    wide = x.shape[2] + 2 * padding - kw + 1
    high = x.shape[1] + 2 * padding - kh + 1
    columns = jnp.concatenate([_shift(x, 2, j - padding, wide) for j in range(kw)], 3)
    matrix = kernel.transpose(1, 2, 0, 3).reshape(kw * channels, kh * filters)
    rows = jnp.split(_product(columns, matrix), kh, 3)
    return _sum(lambda i: _shift(rows[i], 1, i - padding, high), [(i,) for i in range(kh)])


def _spatial_backward(
    stride: int, padding: int, residuals: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    x, kernel = residuals
    if stride > 1 or x.shape[3] <= IMAGE_CHANNELS:
        kernel_gradient = _kernel_gradient_by_patches(x, g, kernel.shape, stride, padding)
    else:
        kernel_gradient = _kernel_gradient_by_cross(x, g, kernel.shape, padding)
    return _input_gradient(x, kernel, g, stride, padding), kernel_gradient


_spatial.defvjp(
    lambda x, kernel, stride, padding: (_spatial(x, kernel, stride, padding), (x, kernel)),
    _spatial_backward,
)


def _input_gradient(x: Array, kernel: Array, g: Array, stride: int, padding: int) -> Array:
    """Convolution of `g` with the flipped kernel, its in and out exchanged."""
    flipped = jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2)
    if stride == 1 and padding < kernel.shape[0] and kernel.shape[0] == kernel.shape[1]:
        return _spatial(g, flipped, 1, kernel.shape[0] - 1 - padding)
    pads = []
    for axis in (1, 2):
        low = kernel.shape[axis - 1] - 1 - padding
        # Pixels that no window reaches (the stride does not divide) get zeros.
        high = x.shape[axis] + padding - 1 - (g.shape[axis] - 1) * stride
        pads.append((low, high))
    return lax.conv_general_dilated(
        g, flipped, (1, 1), pads, lhs_dilation=(stride, stride), dimension_numbers=LAYOUT
    )


def _kernel_gradient_by_cross(x: Array, g: Array, shape: tuple[int, ...], padding: int) -> Array:
    """One product of `x` shifted along the width with `g` shifted along the height.

    Every entry of the (kw·in, kh·out) result is one tap of the kernel, so nothing is computed
    twice, and the product is kernel times as wide both ways as a product for each tap: 3.2 to
    1.7 ms for 16 to 16 channels at 16x16, never slower from 4 to 128 channels. Stride 1 only.
    """
    kh, kw, channels, filters = shape
    columns = [_shift(x, 2, j - padding, g.shape[2]) for j in range(kw)]
    rows = [_shift(g, 1, padding - i, x.shape[1]) for i in range(kh)]
    product = _product_over_pixels(jnp.concatenate(columns, 3), jnp.concatenate(rows, 3))
    return product.reshape(kw, channels, kh, filters).transpose(2, 0, 1, 3)


def _shift(x: Array, axis: int, start: int, size: int) -> Array:
    """`size` pixels along `axis` from pixel `start` on; zeros outside."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (-start, start + size - x.shape[axis], 0)
    return lax.pad(x, jnp.zeros((), x.dtype), pads)


def _kernel_gradient_by_patches(
    x: Array, g: Array, shape: tuple[int, ...], stride: int, padding: int
) -> Array:
    """Patches and one product; a product for each kernel row where the kernel is large."""
    if shape[0] <= 3:
        return _product_over_pixels(_patches(x, shape[:2], stride, padding), g).reshape(shape)
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    span = (g.shape[1] - 1) * stride + 1
    rows = [
        _product_over_pixels(_patches(x[:, i : i + span], (1, shape[1]), stride, 0), g)
        for i in range(shape[0])
    ]
    return jnp.stack(rows).reshape(shape)


def _product_over_pixels(x: Array, g: Array) -> Array:
    return _product_over_rows(x.reshape(-1, x.shape[3]), g.reshape(-1, g.shape[3]))


def _patches(x: Array, window: tuple[int, ...], stride: int, padding: int) -> Array:
    """(batch, height, width, kh·kw·channels): every window laid out behind its pixel.

    First along the width, then along the height: runs of kw·channels values are copied where
    all at once would copy runs of `channels`, which are the three of an image (3.4 ms in place
    of 7.9, a product with 24 filters included, for 128 images of 32x32).
    """
    x = jnp.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    high = (x.shape[1] - window[0]) // stride * stride + 1
    wide = (x.shape[2] - window[1]) // stride * stride + 1
    x = jnp.concatenate([x[:, :, j : j + wide : stride] for j in range(window[1])], 3)
    return jnp.concatenate([x[:, i : i + high : stride] for i in range(window[0])], 3)


@partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(x: Array, window: int, stride: int, rounding: Rounding) -> Array:
    """Max pooling without padding; the first maximum of a window gets the gradient."""
    return _max_pool_forward(x, window, stride, rounding)[0]


def _max_pool_forward(
    x: Array, window: int, stride: int, rounding: Rounding
) -> tuple[Array, tuple[Array, Any]]:
    """The maximum along the width, then along the height, each with its place in the window.

    The place (row · window + column, one byte) is all that the backward pass needs.
    A later value must be larger to win, hence the first maximum in row order does.
    """
    _, height, width, _ = x.shape
    place = jnp.zeros((), jnp.uint8)
    best, column = _running_maximum(
        _taps(x, 2, window, stride, rounding, -jnp.inf), [place + k for k in range(window)]
    )
    columns = _taps(column, 1, window, stride, rounding, 0)
    best, place = _running_maximum(
        _taps(best, 1, window, stride, rounding, -jnp.inf),
        [c + jnp.uint8(window * k) for k, c in enumerate(columns)],
    )
    # JAX keeps arrays only: an empty one carries the input's size.
    return best, (place, np.empty((height, width, 0), np.uint8))


def _running_maximum(values: list[Array], places: list[Array]) -> tuple[Array, Array]:
    best, place = values[0], jnp.broadcast_to(places[0], values[0].shape)
    for value, there in zip(values[1:], places[1:], strict=True):
        place = jnp.where(value > best, there, place)
        best = jnp.maximum(best, value)
    return best, place


def _taps(
    x: Array, axis: int, window: int, stride: int, rounding: Rounding, edge: float
) -> list[Array]:
    """The k-th pixel of every window along `axis`, for each k; `edge` beyond the far edge."""
    count = windows_count(x.shape[axis], window, stride, rounding)
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (0, max((count - 1) * stride + window - x.shape[axis], 0), 0)
    x = lax.pad(x, jnp.array(edge, x.dtype), pads)
    span = (count - 1) * stride + 1
    return [lax.slice_in_dim(x, k, k + span, stride, axis) for k in range(window)]


def _max_pool_backward(
    window: int, stride: int, rounding: Rounding, residuals: tuple[Array, Any], g: Array
) -> tuple[Array]:
    """Every pixel asks the windows over it whether it won: no scatter, one pass.

    Pixel `stride · m + r` lies in windows m, m - 1, … as their pixel r, r + stride, …
    Pixels are laid out as (m, r) for both axes, so that a window's answer broadcasts over r.
    """
    place, size = residuals
    height, width, _ = size.shape
    high, wide = -(-height // stride), -(-width // stride)
    row = lax.broadcasted_iota(jnp.int32, (1, 1, stride, 1, stride, 1), 2)
    column = lax.broadcasted_iota(jnp.int32, (1, 1, stride, 1, stride, 1), 4)

    def from_windows(up: int, left: int) -> Array:
        down, right = high - g.shape[1] - up, wide - g.shape[2] - left
        pads = ((0, 0, 0), (up, down, 0), (left, right, 0), (0, 0, 0))
        i, j = row + stride * up, column + stride * left
        mine = jnp.where((i < window) & (j < window), i * window + j, 254).astype(jnp.uint8)
        winner = lax.pad(place, jnp.uint8(255), pads)[:, :, None, :, None]
        given = lax.pad(g, jnp.zeros((), g.dtype), pads)[:, :, None, :, None]
        return jnp.where(winner == mine, given, 0)

    def total() -> Array:
        reach = range(-(-window // stride))
        return _sum(from_windows, [(up, left) for up in reach for left in reach])

    # Always true, but XLA cannot know: a branch keeps it from fusing this pass with whatever
    # reads the result, in whose layout it runs as a scalar loop (0.4 against 29 ms for 32
    # channels of 32x32). An optimization_barrier does not: XLA removes it before it fuses.
    result = lax.cond(
        place[0, 0, 0, 0] < 254,
        total,
        lambda: jnp.zeros((g.shape[0], high, stride, wide, stride, g.shape[3]), g.dtype),
    )
    result = result.reshape(g.shape[0], high * stride, wide * stride, g.shape[3])
    return (result[:, :height, :width],)


def _sum(term: Callable[..., Array], indices: list[tuple[int, ...]]) -> Array:
    total = term(*indices[0])
    for index in indices[1:]:
        total = total + term(*index)
    return total


max_pool.defvjp(_max_pool_forward, _max_pool_backward)
