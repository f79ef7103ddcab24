from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from dse.architecture import build, make_candidate
from dse.networks import build_network
from dse.training.parametrization import (
    AllParameters,
    MaskedKernels,
    SharedKernels,
    kernels_shared,
    masks_of,
    shared_of,
)
from dse.weights.dsz import SharedWeights
from dse.weights.safetensors import flat

KERNEL = np.array([[0.5, -1.0, 0.0], [2.0, 0.5, -1.0]], np.float32)
BIAS = np.array([1.0, 2.0, 3.0], np.float32)
PARAMS = {"fc": {"kernel": KERNEL, "bias": BIAS}}
SHARED = SharedWeights(
    np.array([-1.0, 0.0, 0.5, 2.0], np.float32), np.array([[2, 0, 1], [3, 2, 0]], np.uint16)
)
SLOPES = jnp.array([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])
"""Gradient of the function below by each weight."""


def slope_of(parametrization, trained, fixed):
    def function(trained):
        params = parametrization.expand(trained, fixed)
        return (params["fc"]["kernel"] * SLOPES).sum() + params["fc"]["bias"].sum()

    return jax.grad(function)(jax.tree.map(jnp.asarray, trained))["fc"]


def test_all_parameters_are_trained_as_they_are() -> None:
    assert AllParameters().abstract(PARAMS) == (PARAMS, ())
    gradient = slope_of(AllParameters(), PARAMS, ())
    assert np.array_equal(gradient["kernel"], SLOPES)


def test_a_masked_weight_is_zero_and_has_no_gradient() -> None:
    masks = {"fc": {"kernel": np.array([[True, False, True], [False, True, True]])}}
    expanded = MaskedKernels().expand(PARAMS, masks)
    assert np.array_equal(expanded["fc"]["kernel"], [[0.5, 0, 0], [0, 0.5, -1]])
    assert expanded["fc"]["bias"] is BIAS
    gradient = slope_of(MaskedKernels(), PARAMS, masks)
    assert np.array_equal(gradient["kernel"], [[1, 0, 4], [0, 16, 32]])
    assert np.array_equal(gradient["bias"], [1, 1, 1])


def test_masks_of_a_network_keep_what_is_not_zero() -> None:
    assert np.array_equal(masks_of(PARAMS)["fc"]["kernel"], KERNEL != 0)


def test_the_gradient_of_a_shared_value_is_the_sum_over_its_weights() -> None:
    parametrization, trained, fixed = shared_of({"fc/kernel": SHARED}, PARAMS)
    # Value 0 has code 0; the others follow in rising order: -1, 0.5, 2.
    assert trained["fc"]["kernel"].tolist() == [0, -1, 0.5, 2]
    assert np.array_equal(parametrization.expand(trained, fixed)["fc"]["kernel"], KERNEL)
    gradient = slope_of(parametrization, trained, fixed)
    assert gradient["kernel"].tolist() == [0, 2 + 32, 1 + 16, 8]
    assert np.array_equal(gradient["bias"], [1, 1, 1])


def test_zeros_stay_zero_whatever_their_value_became() -> None:
    parametrization, trained, fixed = shared_of({"fc/kernel": SHARED}, PARAMS)
    trained["fc"]["kernel"] = np.array([7, -1.5, 0.25, 2], np.float32)
    assert parametrization.expand(trained, fixed)["fc"]["kernel"][0, 2] == 0
    found = kernels_shared(trained, fixed)["fc/kernel"]
    assert found.codebook.tolist() == [-1.5, 0, 0.25, 2]
    assert np.array_equal(found.values, [[0.25, -1.5, 0], [2, 0.25, -1.5]])


def test_shared_kernels_come_back_as_they_were() -> None:
    _, trained, fixed = shared_of({"fc/kernel": SHARED}, PARAMS)
    found = kernels_shared(trained, fixed)["fc/kernel"]
    assert np.array_equal(found.codebook, SHARED.codebook)
    assert np.array_equal(found.codes, SHARED.codes)


def test_values_that_met_become_one_and_unused_ones_go() -> None:
    _, trained, fixed = shared_of({"fc/kernel": SHARED}, PARAMS)
    trained["fc"]["kernel"] = np.array([0, 0.5, 0.5, 2], np.float32)
    found = kernels_shared(trained, fixed)["fc/kernel"]
    assert found.codebook.tolist() == [0, 0.5, 2]
    assert np.array_equal(found.values, [[0.5, 0.5, 0], [2, 0.5, 0.5]])


def test_a_kernel_without_zeros_keeps_all_its_values() -> None:
    full = SharedWeights(np.array([-1, 3], np.float32), np.array([[0, 1, 1]], np.uint16))
    parametrization, trained, fixed = shared_of({"fc/kernel": full}, PARAMS)
    assert np.array_equal(parametrization.expand(trained, fixed)["fc"]["kernel"], [[-1, 3, 3]])
    assert np.array_equal(kernels_shared(trained, fixed)["fc/kernel"].values, [[-1, 3, 3]])


def test_shapes_are_those_of_the_arrays() -> None:
    network = build_network(
        build(make_candidate("squeezenet", {"fire_modules": 1, "base_e": 4}), (8, 8, 1), 3)
    )
    params, _ = network.init(jax.random.key(0))
    kernels = {
        path: SharedWeights(np.zeros(1, np.float32), np.zeros(array.shape, np.uint16))
        for path, array in flat(params).items()
        if path.endswith("/kernel")
    }
    parametrization, trained, fixed = shared_of(kernels, params)
    assert isinstance(parametrization, SharedKernels)
    wanted = jax.tree.map(lambda array: (array.shape, array.dtype), (trained, fixed))
    found = jax.tree.map(
        lambda array: (array.shape, array.dtype),
        parametrization.abstract(network.abstract_params()),
    )
    assert found == wanted
    masked = MaskedKernels().abstract(network.abstract_params())[1]
    assert jax.tree.map(lambda m: m.shape, masked) == jax.tree.map(lambda c: c.shape, fixed)
