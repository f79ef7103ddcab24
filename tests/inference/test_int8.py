"""Integer arithmetic by hand, and its error against the float network."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.inference import forward, int8
from dse.inference.calibrate import calibrate, shared_scales
from dse.inference.int8 import Scale, multiplier, rescaled
from tests.export.networks import BYPASS, random_graph, random_images


def test_multipliers_by_hand() -> None:
    assert multiplier(0.5) == (2**30, 0)
    assert multiplier(1.0) == (2**30, 1)
    assert multiplier(0.75) == (3 * 2**29, 0)
    assert multiplier(1 - 2**-40) == (2**30, 1)  # rounds up to 2^31, which has no 31 bits
    assert multiplier(0) == multiplier(2**-40) == (0, 0)


def test_halves_are_rounded_away_from_zero() -> None:
    half = multiplier(0.25)
    assert half == (2**30, -1)
    values = np.array([-10, -6, -2, -1, 1, 2, 6, 10])
    # A quarter in two roundings: to halves (up), then to the nearest (away from zero).
    assert rescaled(values, *half).tolist() == [-3, -2, -1, 0, 1, 1, 2, 3]


@given(st.integers(-(2**24), 2**24), st.floats(2**-20, 0.99))
def test_rescaling_is_within_one_of_the_product(value: int, real: float) -> None:
    found = int(rescaled(np.array([value]), *multiplier(real))[0])
    assert abs(found - value * Fraction(real)) < 1  # two roundings: 1 / 4 is 1


def test_zero_is_exact_and_ranges_are_covered() -> None:
    for low, high in ((-1.0, 3.0), (0.0, 6.0), (-2.0, 0.0), (0.5, 2.0)):
        scale = int8._scale(low, high)
        assert scale.value(scale.quantize(np.zeros(1))) == 0
        ends = np.array([min(low, 0), max(high, 0)])
        np.testing.assert_allclose(scale.value(scale.quantize(ends)), ends, atol=scale.scale / 2)
    assert int8._scale(0, 0) == Scale(1.0, -128)


def test_filters_of_zeros_keep_their_bias() -> None:
    graph = random_graph(BYPASS, (16, 16, 3))
    stem = graph.operators[0]
    assert stem.kernel is not None
    assert stem.bias is not None
    stem.kernel[..., 0], stem.bias[0] = 0, 1.5
    images = random_images((16, 16, 3))
    network = int8.quantize(graph, calibrate(graph, images))
    stored = network.convolutions[1]
    assert not stored.kernel[..., 0].any()
    unit = network.scales[0].scale * float(stored.kernel_scales[0])
    assert stored.bias[0] * unit == pytest.approx(1.5, rel=1e-6)


def test_parts_of_a_join_and_pools_share_a_scale() -> None:
    graph = random_graph(BYPASS, (23, 16, 3))
    groups = shared_scales(graph)
    at = {op.name: number for number, op in enumerate(graph.operators, start=1)}
    for fire in range(2, 10):
        parts = [at[f"fire{fire}/{part}"] for part in ("expand1x1", "expand3x3", "expand")]
        assert len({groups[part] for part in parts}) == 1
        assert groups[at[f"fire{fire}/squeeze"]] != groups[parts[0]]
    images = random_images((23, 16, 3))
    for pool in (op for op in graph.operators if op.name in ("pool1", "pool4", "pool8")):
        assert groups[at[pool.name]] == groups[pool.inputs[0]]
    scales = int8.quantize(graph, calibrate(graph, images)).scales
    assert all(scales[number] == scales[root] for number, root in enumerate(groups))


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse"])
def test_int8_is_close_to_the_network(method: str) -> None:
    graph = random_graph(BYPASS, (23, 16, 3), with_preprocessing=True)
    images = random_images((23, 16, 3), 16)
    network = int8.quantize(graph, calibrate(graph, images, method))
    wanted = forward.scores(graph, images)
    found = network.scales[-1].value(int8.scores(network, images))
    assert np.abs(found - wanted).mean() < 0.02 * np.abs(wanted).max()


def test_methods_leave_out_what_is_rare() -> None:
    graph = random_graph(BYPASS, (23, 16, 3))
    images = random_images((23, 16, 3), 16)
    whole, most, least = (
        calibrate(graph, images, method) for method in ("minmax", "percentile", "mse")
    )
    for (low, high), *others in zip(whole, most, least, strict=True):
        assert all(low <= other_low <= 0 <= other_high <= high for other_low, other_high in others)
    assert sum(high for _, high in most) < sum(high for _, high in whole)
