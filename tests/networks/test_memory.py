"""The peak that `describe` states, against what a real execution holds at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.architecture import PRESETS, Architecture, build, cost, make_candidate
from dse.networks.build import build_network
from tests.networks import instrumented

BATCH_NORM = {"base_e": 64, "incr_e": 32, "norm": "batch", "bypass": "simple", "dropout": 0.5}
PUBLISHED = {
    "v1.0": ("squeezenet_v1.0", {}),
    "v1.1 with complex bypasses": ("squeezenet_v1.1", {"bypass": "complex"}),
    "AlexNet": ("alexnet", {}),
}
# numpy's buffers for strided operands (8,192 values each, three of them) and Python's own
# objects, however large the image is.
OVERHEAD_BYTES = 128 * 1024


def architecture_of(name: str) -> Architecture:
    if name == "batch norm":
        return build(make_candidate("squeezenet", BATCH_NORM), (128, 96, 3), 10)
    preset, values = PUBLISHED[name]
    candidate = PRESETS[preset].candidate
    candidate = make_candidate(candidate.family, candidate.metaparameters | values)
    return build(candidate, PRESETS[preset].input_shape, 1000)


@pytest.mark.long
@pytest.mark.parametrize("name", [*PUBLISHED, "batch norm"])
def test_the_stated_peak_is_what_a_layer_by_layer_execution_holds(name: str) -> None:
    architecture = architecture_of(name)
    network = build_network(architecture)
    params, statistics = network.init(jax.random.key(0))
    # Means off zero; variances about those that first kernels give, a sixth of He's.
    statistics = jax.tree.map(lambda value: value / 6 + 0.02, statistics)
    image = np.random.default_rng(0).normal(size=architecture.input_shape).astype(np.float32)
    arrays = instrumented.flat(params) | instrumented.flat(statistics)

    found = instrumented.run(architecture, arrays, image)

    stated = cost(architecture)
    assert found.peak_bytes <= stated.peak_activation_bytes <= 1.1 * found.peak_bytes
    assert found.peak_layer == stated.peak_layer
    # Nothing is held that the buffers do not show.
    assert found.peak_bytes <= found.allocated_bytes <= found.peak_bytes + OVERHEAD_BYTES
    # And it is the network: the same scores, which are not all zero.
    assert np.ptp(found.scores) > 1e-3
    scores = jax.jit(lambda p, s, x: network.apply(p, s, x, train=False)[0])(
        params, statistics, jnp.asarray(image)[None]
    )
    np.testing.assert_allclose(
        found.scores, scores[0], rtol=1e-3, atol=1e-4 * float(jnp.abs(scores).max())
    )


def test_a_buffer_counts_until_its_last_reference_is_gone() -> None:
    memory = instrumented.Memory()
    first = memory.empty((10,))
    view = first[:2]
    second = memory.empty((5,))
    del first
    assert memory.live_bytes == 60  # the view holds the whole buffer
    del view
    assert (memory.live_bytes, memory.peak_bytes) == (20, 60)
    del second
    assert (memory.live_bytes, memory.peak_bytes) == (0, 60)
