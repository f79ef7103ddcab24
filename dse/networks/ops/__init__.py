"""Operations of the networks on (batch, height, width, channels) arrays of float32.

The door to `xla.py` (XLA's own forms), `cpu.py` (forms that are faster on a CPU) and
`fused_norm.py` (batch norms that are computed where they are read, on a CPU). Every operation
has one meaning; `use_cpu_forms` is the one place that chooses its form.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from dse.architecture.primitives import Rounding
from dse.networks.ops import cpu, xla
from dse.networks.ops.xla import (
    batch_norm,
    batch_norm_train,
    dense,
    global_average_pool,
    local_response_norm,
    moments,
    norm_affine,
    relu,
)

__all__ = [
    "batch_norm",
    "batch_norm_train",
    "conv2d",
    "dense",
    "global_average_pool",
    "local_response_norm",
    "max_pool",
    "moments",
    "norm_affine",
    "relu",
    "use_cpu_forms",
]


def use_cpu_forms() -> bool:
    """Whether convolution and pooling take their CPU forms: on a CPU, and nowhere else."""
    return jax.default_backend() == "cpu"


def conv2d(
    x: Array,
    kernel: Array,
    *,
    stride: int = 1,
    padding: int = 0,
    groups: int = 1,
    cpu_form: bool | None = None,
) -> Array:
    """Convolution (cross-correlation), rounded down at the far edge.

    Args:
        x: (batch, height, width, in).
        kernel: (kernel height, kernel width, in / groups, out).
        stride: step in pixels, both ways.
        padding: zero pixels on each side.
        groups: the g-th share of the filters sees the g-th share of the input channels.
        cpu_form: force (True) or forbid (False) the CPU form; None asks `use_cpu_forms`.

    Returns:
        (batch, height, width, out).
    """
    if not (use_cpu_forms() if cpu_form is None else cpu_form):
        return xla.conv2d(x, kernel, stride, padding, groups)
    if groups == 1:
        return cpu.conv2d(x, kernel, stride, padding)
    pairs = zip(jnp.split(x, groups, 3), jnp.split(kernel, groups, 3), strict=True)
    return jnp.concatenate([cpu.conv2d(a, k, stride, padding) for a, k in pairs], 3)


def max_pool(
    x: Array,
    *,
    window: int,
    stride: int,
    rounding: Rounding = "ceil",
    cpu_form: bool | None = None,
) -> Array:
    """Max pooling without padding; among equal maxima the first in row order gets the gradient.

    Args:
        x: (batch, height, width, channels), at least `window` high and wide.
        window: pixels, both ways; at least `stride`.
        stride: step in pixels, both ways.
        rounding: `ceil` (Caffe's) lets the last window hang over the far edge, where it
            takes the real pixels only; `floor` leaves out what follows the last whole window.
        cpu_form: force (True) or forbid (False) the CPU form; None asks `use_cpu_forms`.

    Returns:
        (batch, height, width, channels).

    Raises:
        ValueError: a window with gaps between (`stride` > `window`), or above 15 pixels.
    """
    if not stride <= window <= 15:
        raise ValueError(
            f"stride <= window <= 15 must hold, but got window={window}, stride={stride}"
        )
    form = cpu if (use_cpu_forms() if cpu_form is None else cpu_form) else xla
    return form.max_pool(x, window, stride, rounding)
