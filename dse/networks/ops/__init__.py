"""Operations of the networks on (batch, height, width, channels) arrays.

The door to `xla.py` (XLA's own forms), `cpu.py` (forms that are faster on a CPU) and
`fused_norm.py` (batch norms that are computed where they are read, on a CPU). Every operation
has one meaning; `use_cpu_forms` is the one switch of all that is done for CPUs alone: these
forms, microbatching, packing and the compiler's options. Arrays are float32, or all of
`compute_dtype`: parameters stay float32 and are converted where they are used, and norms and
means are taken in float32.
"""

from __future__ import annotations

import os

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
    widened,
)

__all__ = [
    "batch_norm",
    "batch_norm_train",
    "compute_dtype",
    "conv2d",
    "dense",
    "global_average_pool",
    "local_response_norm",
    "max_pool",
    "moments",
    "norm_affine",
    "relu",
    "use_cpu_forms",
    "widened",
]


FORMS_VARIABLE = "DSE_FORMS"


def use_cpu_forms() -> bool:
    """Whether what is done for CPUs alone is done: on one CPU device, and nowhere else.

    DSE_FORMS=accelerator runs what accelerators run, on a CPU too: slower there, for tests.
    """
    if os.environ.get(FORMS_VARIABLE) == "accelerator":
        return False
    return jax.default_backend() == "cpu" and jax.device_count() == 1


def compute_dtype() -> jnp.dtype:
    """What training computes with: bfloat16 on an accelerator, float32 on CPUs.

    XLA's bfloat16 convolutions are no faster on a CPU.
    """
    is_accelerator = os.environ.get(FORMS_VARIABLE) == "accelerator"
    is_accelerator = is_accelerator or jax.default_backend() != "cpu"
    return jnp.dtype(jnp.bfloat16 if is_accelerator else jnp.float32)


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
    kernel = kernel.astype(x.dtype)
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
