"""Inheriting: the identity at the same widths, and the same function where zeros are left out."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from dse.architecture import Architecture, build, make_candidate
from dse.networks import build_network
from dse.weights.safetensors import nested
from dse.weights.slicing import channel_ids, inherit, kernel_importance

SQUEEZENET = {"base_e": 16, "incr_e": 16, "freq": 2, "fire_modules": 4, "squeeze_ratio": 0.5}
NETWORKS = [
    ("squeezenet", SQUEEZENET | {"norm": norm, "bypass": bypass})
    for norm, bypass in [("none", "none"), ("batch", "simple"), ("none", "complex")]
] + [("alexnet", {"variant": "tiny"})]
SHAPE = (12, 12, 3)


def network(family: str, values: dict[str, object], classes_count: int = 3) -> Architecture:
    return build(make_candidate(family, values), SHAPE, classes_count)


def random_arrays(architecture: Architecture, seed: int = 0) -> dict[str, np.ndarray]:
    draws = np.random.default_rng(seed)
    return {
        p.path: np.abs(draws.standard_normal(p.shape)).astype(np.float32) + 0.1
        if p.kind == "variance"
        else draws.standard_normal(p.shape).astype(np.float32)
        for p in architecture.parameters
    }


def scores(architecture: Architecture, arrays: dict[str, np.ndarray]) -> np.ndarray:
    images = np.random.default_rng(1).standard_normal((2, *SHAPE)).astype(np.float32)
    params, statistics = nested(arrays)
    found, _ = build_network(architecture).apply(
        params, statistics, jnp.asarray(images), train=False
    )
    return np.asarray(found)


@pytest.mark.parametrize(("family", "values"), NETWORKS)
def test_own_widths_are_the_identity(family: str, values: dict[str, object]) -> None:
    own = network(family, values)
    given, initial = random_arrays(own), random_arrays(own, seed=1)
    importance = kernel_importance(own, given)
    arrays, heirs = inherit(own, initial, own, given, importance, keeps_head=True)
    assert heirs == {node.name for node in own.kernel_nodes}
    for path, array in given.items():
        np.testing.assert_array_equal(arrays[path], array, err_msg=path)


def test_a_new_head_keeps_its_initial_weights() -> None:
    own, other = network(*NETWORKS[0]), network(*NETWORKS[0], classes_count=7)
    given, initial = random_arrays(own), random_arrays(other, seed=1)
    arrays, heirs = inherit(other, initial, own, given, kernel_importance(own, given))
    assert "conv6" not in heirs
    np.testing.assert_array_equal(arrays["conv6/kernel"], initial["conv6/kernel"])
    np.testing.assert_array_equal(arrays["fire5/squeeze/kernel"], given["fire5/squeeze/kernel"])


@pytest.mark.parametrize(("family", "values"), NETWORKS[:3])
def test_channels_of_zeros_are_left_out_without_a_change(
    family: str, values: dict[str, object]
) -> None:
    wide = network(family, values)
    narrow = network(family, values | {"base_e": 8, "incr_e": 8})
    given, draws = random_arrays(wide), np.random.default_rng(2)
    ids, counts = channel_ids(wide), {n.name: n.output_shape[2] for n in narrow.kernel_nodes}
    kept: dict[int, bool] = {}
    for at, node in enumerate(wide.graph, start=1):
        if node.name not in counts:
            continue
        own = ids[at].tolist()
        missing = counts[node.name] - sum(kept.get(channel, False) for channel in own)
        unknown = [channel for channel in draws.permutation(own).tolist() if channel not in kept]
        kept |= {channel: place < missing for place, channel in enumerate(unknown)}
        zero = np.array([not kept[channel] for channel in own])
        for parameter in node.parameters:
            if parameter.kind in ("kernel", "bias", "scale"):
                given[parameter.path][..., zero] = 0
    arrays, _ = inherit(
        narrow,
        random_arrays(narrow, seed=1),
        wide,
        given,
        kernel_importance(wide, given),
        keeps_head=True,
    )
    np.testing.assert_allclose(scores(narrow, arrays), scores(wide, given), rtol=2e-4, atol=1e-4)


def test_fewer_modules_inherit_those_that_are_left() -> None:
    deep = network("squeezenet", SQUEEZENET)
    shallow = network("squeezenet", SQUEEZENET | {"fire_modules": 3})
    given = random_arrays(deep)
    arrays, heirs = inherit(
        shallow,
        random_arrays(shallow, seed=1),
        deep,
        given,
        kernel_importance(deep, given),
        keeps_head=True,
    )
    np.testing.assert_array_equal(arrays["fire4/squeeze/kernel"], given["fire4/squeeze/kernel"])
    assert "conv5" in heirs  # the head, whose name follows the number of modules
    np.testing.assert_array_equal(arrays["conv5/bias"], given["conv6/bias"])


def test_wider_layers_start_as_the_narrow_network() -> None:
    narrow, wide = network("squeezenet", SQUEEZENET | {"base_e": 8}), network(*NETWORKS[0])
    given = random_arrays(narrow)
    initial = random_arrays(wide, seed=1)
    arrays, _ = inherit(
        wide, initial, narrow, given, kernel_importance(narrow, given), keeps_head=True
    )
    np.testing.assert_allclose(scores(wide, arrays), scores(narrow, given), rtol=2e-4, atol=1e-4)


def test_the_most_important_filters_stay_in_their_order() -> None:
    wide = network("squeezenet", SQUEEZENET)
    narrow = network("squeezenet", SQUEEZENET | {"stem_filters": 3})
    given = random_arrays(wide)
    ranked = np.abs(given["conv1/kernel"]).sum((0, 1, 2))
    best = np.sort(np.argsort(-ranked)[:3])
    arrays, _ = inherit(
        narrow, random_arrays(narrow, seed=1), wide, given, kernel_importance(wide, given)
    )
    np.testing.assert_array_equal(arrays["conv1/kernel"], given["conv1/kernel"][..., best])
    np.testing.assert_array_equal(
        arrays["fire2/squeeze/kernel"], given["fire2/squeeze/kernel"][:, :, best]
    )
