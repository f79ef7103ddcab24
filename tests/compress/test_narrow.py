"""Second moments, importance and least squares against slow obvious versions."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dse.architecture import build, cost, make_candidate
from dse.compress.narrow import (
    channel_importance,
    narrowed,
    second_moments,
    smaller_candidates,
)
from dse.networks import build_network
from dse.training.scaling import InputScaling
from dse.weights.safetensors import nested

SHAPE = (9, 9, 3)
VALUES = {"base_e": 8, "incr_e": 4, "freq": 1, "fire_modules": 2, "squeeze_ratio": 0.5}
SCALING = InputScaling((0.5,) * 3, (0.25,) * 3)


@pytest.fixture(scope="module", params=["none", "batch"])
def network(request):
    """A network, its arrays and images; conv1 has its channel 5 twice more, as 0 and 2."""
    architecture = build(make_candidate("squeezenet", VALUES | {"norm": request.param}), SHAPE, 4)
    draws = np.random.default_rng(0)
    arrays = {
        p.path: (np.abs(draws.normal(0, 0.3, p.shape)) + 0.1).astype(np.float32)
        if p.kind in ("variance", "scale")
        else draws.normal(0, 0.3, p.shape).astype(np.float32)
        for p in architecture.parameters
    }
    for path, array in arrays.items():
        if path.startswith("conv1/"):
            array[..., [0, 2]] = array[..., [5]]
    images = draws.integers(0, 256, (16, *SHAPE)).astype(np.uint8)
    return architecture, arrays, images


def scores(architecture, arrays, images):
    found, _ = build_network(architecture).apply(
        *nested(arrays), SCALING.apply(jnp.asarray(images)), train=False
    )
    return np.asarray(found)


def test_second_moments_of_the_first_layer(network) -> None:
    architecture, arrays, images = network
    found = second_moments(architecture, arrays, images, SCALING)["conv1"]
    x = np.pad((images / 255 - 0.5) / 0.25, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows = [
        np.append(x[i, y : y + 3, z : z + 3].reshape(-1), 1.0)
        for i in range(len(images))
        for y in range(9)
        for z in range(9)
    ]
    np.testing.assert_allclose(
        found, np.mean([np.outer(r, r) for r in rows], 0), rtol=1e-4, atol=1e-6
    )


def test_a_channel_that_others_stand_for_costs_nothing_and_goes_without_a_trace(network) -> None:
    architecture, arrays, images = network
    moments = second_moments(architecture, arrays, images, SCALING)
    importance = channel_importance(architecture, arrays, moments)
    others = np.delete(importance["conv1"], [0, 2, 5])
    assert max(importance["conv1"][[0, 2, 5]]) < 0.05 * min(others)
    # Two of the three go; whoever reads them reads the third in their place.
    values = VALUES | {"stem_filters": 4, "norm": dict(architecture.metaparameters)["norm"]}
    smaller = build(make_candidate("squeezenet", values), SHAPE, 4)
    wanted = scores(architecture, arrays, images)
    found = narrowed(smaller, architecture, arrays, moments, importance)
    assert found is not None
    cut = narrowed(smaller, architecture, arrays, {}, importance)  # without making up for it
    error, cut_error = (np.abs(scores(smaller, a, images) - wanted).max() for a in (found, cut))
    assert error < 0.02 * wanted.std()
    assert error < 0.2 * cut_error


def test_own_widths_are_the_identity(network) -> None:
    architecture, arrays, images = network
    moments = second_moments(architecture, arrays, images, SCALING)
    importance = channel_importance(architecture, arrays, moments)
    found = narrowed(architecture, architecture, arrays, moments, importance)
    for path, array in arrays.items():
        np.testing.assert_allclose(found[path], array, atol=2e-5, err_msg=path)


def test_each_smaller_candidate_changes_one_value_as_little_as_is_enough() -> None:
    start = make_candidate("squeezenet", {"stem_filters": 96})
    before = cost(build(start, (32, 32, 3), 10)).params_count
    found = dict(smaller_candidates(start, (32, 32, 3), 10, share=0.8))
    assert {"base_e", "incr_e", "pct_3x3", "squeeze_ratio"} <= found.keys()
    assert not {"stem_filters", "dropout", "freq"} & found.keys()  # never enough, no parameters
    for name, candidate in found.items():
        changed = {
            key
            for key, value in candidate.metaparameters.items()
            if value != start.metaparameters[key]
        }
        assert changed == {name}
        assert 0.5 <= cost(build(candidate, (32, 32, 3), 10)).params_count / before <= 0.8
    above = make_candidate(
        "squeezenet", dict(found["incr_e"].metaparameters) | {
            "incr_e": found["incr_e"].metaparameters["incr_e"] + 1
        }
    )  # fmt: skip
    assert cost(build(above, (32, 32, 3), 10)).params_count > 0.8 * before
