"""Initial kernels that know more than random ones: principal components, and identities."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from dse.architecture import Architecture
from dse.architecture.primitives import Conv
from dse.networks.build import Arrays
from dse.weights.safetensors import flat, nested

Patches = Callable[[int, int], np.ndarray]
"""From (side, stride) of a kernel to patches of inputs, float (patch, height · width · in)."""

LEAST_VARIANCE = 5e-4
"""Added to each component's variance, as a share of the largest: what is noise stays small."""


def whitening_kernel(patches: np.ndarray, filters: int) -> np.ndarray:
    """Filters whose responses to patches have variance 1 and are uncorrelated, with negatives.

    Args:
        patches: float (patch, value), about zero.
        filters: how many there is room for.

    Returns:
        float32 (value, filter): the leading principal components, each over its standard
        deviation, then their negatives, as a ReLU follows; twice as many as a patch has values
        at most.

    Source: Jordan 2024 (arXiv 2404.00498), section 3.2.
    """
    variances, vectors = np.linalg.eigh(patches.T.astype(np.float64) @ patches / len(patches))
    leading = (vectors / np.sqrt(variances + LEAST_VARIANCE * variances[-1]))[:, ::-1]
    count = min(filters, 2 * len(variances))
    return np.concatenate([leading[:, : -(-count // 2)], -leading], 1)[:, :count].astype(np.float32)


def with_whitening(params: Arrays, architecture: Architecture, patches: Patches) -> Arrays:
    """Parameters whose first convolution, before a batch norm, starts as `whitening_kernel`.

    The norm sets the variance itself, so each filter keeps the length that the initial ones
    have. Without a norm it starts as it is: narrow networks died there (docs/how-to/recipe.md).
    """
    node = architecture.kernel_nodes[0]
    conv, path = node.primitive, node.parameters[0].path
    if not isinstance(conv, Conv) or conv.norm != "batch":
        return params
    arrays = flat(params)
    kernel = np.array(arrays[path])
    filters = kernel.reshape(-1, conv.filters)
    white = whitening_kernel(patches(conv.kernel_size, conv.stride), conv.filters)
    white *= np.sqrt((filters**2).sum(0).mean()) / np.linalg.norm(white, axis=0)
    filters[:, : white.shape[1]] = white
    return _replaced(arrays, {path: kernel})


def with_identities(params: Arrays, architecture: Architecture) -> Arrays:
    """Parameters whose 3x3 convolutions pass their first channels through (Dirac kernels).

    As many as there are channels on the narrower side; the first convolution, which sees pixels,
    the last layer, and what has no batch norm behind it start as they are.

    Source: Zagoruyko and Komodakis 2017 (arXiv 1706.00388); Jordan 2024, section 3.3.
    """
    arrays = flat(params)
    changed = {}
    for node in architecture.kernel_nodes[1:-1]:
        conv, path = node.primitive, node.parameters[0].path
        if not isinstance(conv, Conv) or conv.norm != "batch":
            continue
        if conv.kernel_size == 3 and conv.groups == 1:
            kernel = changed[path] = np.array(arrays[path])
            channels = np.arange(min(kernel.shape[2:]))
            kernel[..., channels] = 0
            kernel[1, 1, channels, channels] = 1
    return _replaced(arrays, changed)


def _replaced(arrays: dict[str, np.ndarray], changed: dict[str, np.ndarray]) -> Arrays:
    return jax.device_put(nested(arrays | changed)[0])
