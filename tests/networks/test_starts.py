from __future__ import annotations

import jax
import numpy as np
import pytest

from dse.architecture import build, make_candidate
from dse.networks import build_network
from dse.networks.starts import LEAST_VARIANCE, whitening_kernel, with_identities, with_whitening

SHAPE = (8, 8, 3)


def network(**metaparameters):
    values = {"base_e": 8, "incr_e": 0, "fire_modules": 1, "stem_filters": 16} | metaparameters
    return build_network(build(make_candidate("squeezenet", values), SHAPE, 5))


def correlated(count=4000, values=27):
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(values, values)) * np.geomspace(1, 0.2, values)
    return rng.normal(size=(count, values)) @ mixing


def test_responses_have_unit_covariance_and_the_rest_are_negatives():
    patches = correlated()
    kernel = whitening_kernel(patches, 20)
    assert kernel.shape == (27, 20)
    variances = np.linalg.eigvalsh(patches.T @ patches / len(patches))[::-1]
    expected = np.diag(variances[:10] / (variances[:10] + LEAST_VARIANCE * variances[0]))
    responses = patches @ kernel[:, :10]
    np.testing.assert_allclose(responses.T @ responses / len(patches), expected, atol=1e-4)
    np.testing.assert_array_equal(kernel[:, 10:], -kernel[:, :10])


@pytest.mark.parametrize(("filters", "expected"), [(100, 18), (18, 18), (7, 7), (1, 1)])
def test_no_more_filters_than_components_and_negatives(filters, expected):
    assert whitening_kernel(correlated(values=9), filters).shape == (9, expected)


def test_the_first_layer_alone_is_whitened():
    made = network(norm="batch")
    params, _ = made.init(jax.random.key(0))
    white = with_whitening(params, made.architecture, lambda side, stride: correlated())
    kernel = np.asarray(white["conv1"]["kernel"]).reshape(27, 16)
    expected = whitening_kernel(correlated(), 16)
    # The same directions, of the length that kernels there start with.
    lengths = np.linalg.norm(kernel, axis=0)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-5)
    assert lengths[0] == pytest.approx(np.sqrt(1 / 3), rel=0.2)
    np.testing.assert_allclose(
        kernel / lengths, expected / np.linalg.norm(expected, axis=0), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_array_equal(
        white["fire2"]["squeeze"]["kernel"], params["fire2"]["squeeze"]["kernel"]
    )


def test_without_norms_all_starts_as_it_is():
    made = network(norm="none")
    params, _ = made.init(jax.random.key(0))
    changed = with_identities(params, made.architecture)
    changed = with_whitening(changed, made.architecture, lambda side, stride: correlated())
    jax.tree.map(np.testing.assert_array_equal, changed, params)


def test_expand3x3_keeps_its_input():
    made = network(squeeze_ratio=0.25, norm="batch")  # 2 squeeze filters, 4 of 3x3
    params, _ = made.init(jax.random.key(0))
    changed = with_identities(params, made.architecture)
    kernel = changed["fire2"]["expand3x3"]["kernel"]
    x = np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype(np.float32)
    y = jax.lax.conv_general_dilated(
        x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(y[..., :2], x, rtol=1e-6)
    np.testing.assert_array_equal(kernel[..., 2:], params["fire2"]["expand3x3"]["kernel"][..., 2:])
    np.testing.assert_array_equal(changed["conv1"]["kernel"], params["conv1"]["kernel"])
    np.testing.assert_array_equal(
        changed["fire2"]["expand1x1"]["kernel"], params["fire2"]["expand1x1"]["kernel"]
    )
