"""Operations in XLA's own form, on (batch, height, width, channels) arrays."""

from __future__ import annotations

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

from dse.architecture.primitives import Activation, Rounding, windows_count


def widened(x: Array) -> Array:
    """In float32 where it is narrower: what sums and norms are taken in."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def conv2d(x: Array, kernel: Array, stride: int, padding: int, groups: int) -> Array:
    """Convolution; see `ops.conv2d`."""
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        [(padding, padding)] * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def max_pool(x: Array, window: int, stride: int, rounding: Rounding) -> Array:
    """Max pooling; see `ops.max_pool`."""
    pads = []
    for size in x.shape[1:3]:
        count = windows_count(size, window, stride, rounding)
        pads.append((0, max((count - 1) * stride + window - size, 0)))
    return lax.reduce_window(
        x,
        -math.inf,
        lax.max,
        (1, window, window, 1),
        (1, stride, stride, 1),
        ((0, 0), *pads, (0, 0)),
    )


def global_average_pool(x: Array) -> Array:
    """The mean over all pixels: (batch, height, width, channels) to (batch, 1, 1, channels).

    In float32, as is all that follows.
    """
    return jnp.mean(widened(x), (1, 2), keepdims=True)


def dense(x: Array, kernel: Array, bias: Array) -> Array:
    """The flattened input (height, width, channels order) times `kernel`, plus `bias`.

    Args:
        x: (batch, height, width, channels).
        kernel: (height · width · channels, features).
        bias: (features,).

    Returns:
        (batch, 1, 1, features).
    """
    y = x.reshape(x.shape[0], -1) @ kernel.astype(x.dtype) + bias.astype(x.dtype)
    return y[:, None, None, :]


def local_response_norm(x: Array, *, size: int, alpha: float, beta: float, k: float) -> Array:
    """Divides by (k + alpha / size · Σ x²)^beta, the sum over `size` channels around each.

    Channels beyond the ends count as zeros; `size` is odd.

    Source: Krizhevsky, Sutskever and Hinton 2012, section 3.3, scaled as in Caffe.
    """
    channels, side = x.shape[-1], size // 2
    values = widened(x)
    squares = jnp.pad(values * values, ((0, 0),) * 3 + ((side, size - 1 - side),))
    total = sum(squares[..., i : i + channels] for i in range(size))
    return (values * (k + alpha / size * total) ** -beta).astype(x.dtype)


@jax.custom_vjp
def relu(x: Array) -> Array:
    """max(x, 0); the gradient is zero at 0.

    The backward pass reads the result, which the next layer keeps anyway, and not `x`.
    """
    return jnp.maximum(x, 0)


relu.defvjp(lambda x: (relu(x),) * 2, lambda y, g: (jnp.where(y > 0, g, 0),))


@partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def batch_norm_train(
    x: Array, scale: Array, bias: Array, epsilon: float, activation: Activation
) -> tuple[Array, Array, Array]:
    """Normalises every channel by its own mean and variance over batch and pixels.

    Args:
        x: (batch, height, width, channels).
        scale: (channels,), the standard deviation of the result.
        bias: (channels,), the mean of the result.
        epsilon: added to the variance.
        activation: what follows; here, because the backward pass can then do without the
            values in between.

    Returns:
        The result, and the mean (channels,) and variance (channels,) of `x`; gradients flow
        through the result alone.

    Source: Ioffe and Szegedy 2015, algorithm 1.
    """
    return _batch_norm_forward(x, scale, bias, epsilon, activation)[0]


def _batch_norm_forward(
    x: Array, scale: Array, bias: Array, epsilon: float, activation: Activation
) -> tuple[tuple[Array, Array, Array], tuple[Array, ...]]:
    values = widened(x)
    sums = jnp.sum(values, (0, 1, 2)), jnp.sum(values * values, (0, 1, 2))
    mean, variance = moments(x, sums)
    inverse = lax.rsqrt(variance + epsilon)
    factor = scale * inverse
    shift = bias - mean * factor
    y = values * factor + shift
    y = jnp.maximum(y, 0) if activation == "relu" else y
    return (y.astype(x.dtype), mean, variance), (x, mean, inverse, factor, shift)


def moments(x: Array, sums: tuple[Array, Array]) -> tuple[Array, Array]:
    """Mean and variance (channels,) of `x` from the sums of its values and of their squares."""
    count = x.size // x.shape[3]
    mean = sums[0] / count
    # E[x²] - E[x]², which rounding may take below zero; so one pass over x is enough.
    return mean, jnp.maximum(sums[1] / count - mean * mean, 0)


def _batch_norm_backward(
    epsilon: float,
    activation: Activation,
    residuals: tuple[Array, ...],
    gradients: tuple[Array, Array, Array],
) -> tuple[Array, Array, Array]:
    """Two sums in one pass, then one multiplication of each of `g` and `x` a value."""
    given, mean, inverse, factor, shift = residuals
    x, g = widened(given), widened(gradients[0])
    if activation == "relu":
        g = jnp.where(x * factor + shift > 0, g, 0)
    count = x.size // x.shape[3]
    bias_gradient = jnp.sum(g, (0, 1, 2))
    scale_gradient = inverse * (jnp.sum(g * x, (0, 1, 2)) - mean * bias_gradient)
    slope = -factor * inverse * scale_gradient / count
    offset = -factor * bias_gradient / count - slope * mean
    given_gradient = (g * factor + (x * slope + offset)).astype(given.dtype)
    return given_gradient, scale_gradient, bias_gradient


batch_norm_train.defvjp(_batch_norm_forward, _batch_norm_backward)


def batch_norm(
    x: Array, scale: Array, bias: Array, mean: Array, variance: Array, epsilon: float
) -> Array:
    """Normalises by a given mean and variance: one multiplication and one addition a value."""
    factor, shift = norm_affine(scale, bias, mean, variance, epsilon)
    return (x * factor + shift).astype(x.dtype)


def norm_affine(
    scale: Array, bias: Array, mean: Array, variance: Array, epsilon: float
) -> tuple[Array, Array]:
    """What a norm by a given mean and variance multiplies by, and what it then adds."""
    factor = scale * lax.rsqrt(variance + epsilon)
    return factor, bias - mean * factor
