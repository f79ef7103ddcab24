"""Cost and network agree on every array, and the arrays fit together."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from hypothesis import HealthCheck, given, settings

from dse.architecture import PRESETS, Architecture, Candidate, Shape, build, cost
from dse.networks.build import build_network
from tests.strategies import squeezenet_candidates_with_input


def leaves(arrays: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Shape by path: {"fire2/squeeze/kernel": (1, 1, 24, 4), …}."""
    found = jax.tree_util.tree_flatten_with_path(arrays)[0]
    return {"/".join(step.key for step in path): leaf.shape for path, leaf in found}


def count(shapes: dict[str, tuple[int, ...]]) -> int:
    return sum(math.prod(shape) for shape in shapes.values())


def assert_same_arrays(architecture: Architecture) -> None:
    network = build_network(architecture)
    params, statistics = leaves(network.abstract_params()), leaves(network.abstract_statistics())
    total = cost(architecture)
    assert total.params_count == count(params)
    assert total.weight_bytes == 4 * (count(params) + count(statistics))
    assert params | statistics == {p.path: p.shape for p in architecture.parameters}
    assert not params.keys() & statistics.keys()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(squeezenet_candidates_with_input())
def test_200_random_candidates_count_as_their_networks(drawn: tuple[Candidate, Shape]) -> None:
    assert_same_arrays(build(*drawn, 10))


@pytest.mark.parametrize("name", list(PRESETS))
def test_presets_count_as_their_networks(name: str) -> None:
    preset = PRESETS[name]
    assert_same_arrays(build(preset.candidate, preset.input_shape, preset.classes_count))


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(squeezenet_candidates_with_input())
def test_images_go_through_the_arrays(drawn: tuple[Candidate, Shape]) -> None:
    candidate, input_shape = drawn
    network = build_network(build(candidate, input_shape, 7))
    images = jax.ShapeDtypeStruct((2, *input_shape), jnp.float32)
    scores, statistics = jax.eval_shape(
        lambda params, statistics, images: network.apply(
            params, statistics, images, train=True, dropout_key=jax.random.key(0)
        ),
        network.abstract_params(),
        network.abstract_statistics(),
        images,
    )
    assert (scores.shape, scores.dtype) == ((2, 7), jnp.float32)
    assert leaves(statistics) == leaves(network.abstract_statistics())
