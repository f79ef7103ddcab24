from __future__ import annotations

import jax
import numpy as np
import pytest

from dse.training import Recipe
from dse.training.optimizers import make_optimizer
from dse.training.xla.packing import LARGE, Packing


def tree_of(rng, shapes):
    tree = {}
    for path, shape in shapes.items():
        layer, kind = path.split("/")
        tree.setdefault(layer, {})[kind] = rng.normal(size=shape).astype(np.float32)
    return tree


SHAPES = {
    "conv1/bias": (3,),
    "conv1/kernel": (3, 3, 2, 3),
    "conv2/kernel": (1, 1, 3, 4),
    "conv2/scale": (4,),
    "fc/kernel": (64, LARGE // 64),
    "fc/bias": (LARGE // 64,),
}


@pytest.fixture
def tree():
    return tree_of(np.random.default_rng(0), SHAPES)


def assert_equal_trees(one, other):
    assert jax.tree.structure(one) == jax.tree.structure(other)
    jax.tree.map(np.testing.assert_array_equal, one, other)


def test_kernels_and_the_rest_stand_end_to_end_and_large_arrays_apart(tree):
    packed = Packing(tree).pack(tree)
    assert sorted(packed) == ["apart", "kernel", "other"]
    kernels = [tree["conv1"]["kernel"].ravel(), tree["conv2"]["kernel"].ravel()]
    np.testing.assert_array_equal(packed["kernel"], np.concatenate(kernels))
    rest = [tree["conv1"]["bias"], tree["conv2"]["scale"], tree["fc"]["bias"]]
    np.testing.assert_array_equal(packed["other"], np.concatenate(rest))
    assert list(packed["apart"]) == ["fc/kernel"]
    assert packed["apart"]["fc/kernel"]["kernel"] is tree["fc"]["kernel"]


@pytest.mark.parametrize("is_matrices", [False, True])
def test_what_was_packed_comes_back(tree, is_matrices):
    packing = Packing(tree, is_matrices=is_matrices)
    assert_equal_trees(packing.unpack(packing.pack(tree)), tree)
    traced = jax.jit(lambda x: packing.unpack(packing.pack(x)))(tree)
    assert_equal_trees(jax.tree.map(np.asarray, traced), tree)


def test_nothing_packs_to_nothing():
    packing = Packing({})
    assert packing.pack({}) == {}
    assert packing.unpack({}) == {}


def test_shapes_are_those_of_the_packed_arrays(tree):
    packing = Packing(tree)
    shapes = jax.tree.map(lambda x: (x.shape, x.dtype), packing.abstract(tree))
    assert shapes == jax.tree.map(lambda x: (x.shape, x.dtype), packing.pack(tree))


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "muon"])
def test_an_optimizer_does_the_same_to_packed_arrays(tree, optimizer):
    """Decay, clipping and Muon's matrices see the same weights, packed or not."""
    recipe = Recipe(optimizer=optimizer, learning_rate=0.1, weight_decay=0.1, clip_norm=1.0)
    packing = Packing(tree, is_matrices=optimizer == "muon")
    rng = np.random.default_rng(1)
    transform = make_optimizer(recipe, 10)
    plain_state, packed_state = transform.init(tree), transform.init(packing.pack(tree))
    for _ in range(2):
        gradients = tree_of(rng, SHAPES)
        plain, plain_state = transform.update(gradients, plain_state, tree)
        packed, packed_state = transform.update(
            packing.pack(gradients), packed_state, packing.pack(tree)
        )
        unpacked = packing.unpack(packed)
        jax.tree.map(
            lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-8), unpacked, plain
        )
