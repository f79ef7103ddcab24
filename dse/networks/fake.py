"""Values rounded as int8 would have them, with gradients as if they were not.

Quantization-aware training runs a network on these, so that weights settle where rounding and
clipping cost least.

Source: Jacob et al. 2018 (arXiv 1712.05877), section 3; the straight-through estimator of Bengio
et al. 2013 (arXiv 1308.3432). Scales are those of `dse.inference.int8`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array


def fake_int8_map(x: Array, scale: float, zero_point: int) -> Array:
    """A map in int8: clipped to what its scale covers, where gradients end, and rounded."""
    within = jnp.clip(x, scale * (-128 - zero_point), scale * (127 - zero_point))
    rounded = (scale * jnp.round(within / scale)).astype(x.dtype)
    return within + jax.lax.stop_gradient(rounded - within)


def fake_int8_kernel(kernel: Array) -> Array:
    """A kernel in int8, with a scale for each filter: its largest magnitude is 127."""
    largest = jnp.abs(kernel).max(tuple(range(kernel.ndim - 1)))
    scale = jnp.maximum(largest / 127, 1e-12)
    return kernel + jax.lax.stop_gradient(scale * jnp.round(kernel / scale) - kernel)
