"""Which weights become zero, by hand; densities along the way and over layers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.compression.sparsity import (
    gradual_density,
    kept_count,
    magnitude_mask,
    relative_densities,
)


def test_masks_worked_out_by_hand() -> None:
    weights = np.array([[0.1, -0.5, 0.3], [-0.2, 0.0, 0.4]], np.float32)
    wanted = {
        0.0: [[0, 1, 0], [0, 0, 0]],  # one is always kept
        1 / 6: [[0, 1, 0], [0, 0, 0]],
        0.5: [[0, 1, 1], [0, 0, 1]],
        2 / 3: [[0, 1, 1], [1, 0, 1]],
        1.0: [[1, 1, 1], [1, 1, 1]],
    }
    for density, mask in wanted.items():
        found = magnitude_mask(weights, density)
        assert found.dtype == bool
        np.testing.assert_array_equal(found, np.array(mask, bool), str(density))


def test_of_equal_magnitudes_the_first_are_kept() -> None:
    weights = np.array([1, -1, 2, 1, -1], np.float32)
    assert magnitude_mask(weights, 0.6).tolist() == [True, True, True, False, False]
    assert magnitude_mask(np.zeros(4, np.float32), 0.5).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("size", "density", "count"),
    [
        (10, 0.0, 1),
        (10, 0.04, 1),
        (10, 0.26, 3),
        (10, 0.999, 10),
        (10, 1.0, 10),
        (1, 0.0, 1),
        (1, 1.0, 1),
        (0, 0.5, 0),
        (3, 0.5, 2),  # 1.5: to the even neighbour, as Python rounds
        (5, 0.5, 2),  # 2.5
        (1_000_003, 0.1, 100_000),
    ],
)
def test_counts_worked_out_by_hand(size: int, density: float, count: int) -> None:
    assert kept_count(size, density) == count


@given(
    st.lists(st.integers(-9, 9), min_size=1, max_size=50),
    st.floats(0, 1),
)
def test_no_weight_that_goes_is_larger_than_one_that_stays(
    numbers: list[int], density: float
) -> None:
    weights = np.array(numbers, np.float32)
    mask = magnitude_mask(weights, density)
    assert mask.sum() == kept_count(len(numbers), density)
    assert np.abs(weights[~mask]).max(initial=0) <= np.abs(weights[mask]).min()


def test_the_gradual_schedule_worked_out_by_hand() -> None:
    """Zhu and Gupta 2017, equation 1, in densities."""
    assert gradual_density(0, 0.1) == pytest.approx(1.0)
    assert gradual_density(0.5, 0.1) == pytest.approx(0.1 + 0.9 / 8)
    assert gradual_density(1, 0.1) == pytest.approx(0.1)
    assert gradual_density(0.5, 0.1, first=0.5) == pytest.approx(0.1 + 0.4 / 8)
    assert gradual_density(-3, 0.1) == gradual_density(0, 0.1)
    assert gradual_density(7, 0.1) == gradual_density(1, 0.1)


def test_densities_of_layers_worked_out_by_hand() -> None:
    # Root mean squares 1 and 10: in these units 1 1 1 1 and 2 0 0 0.
    kernels = {"a": np.array([1, -1, 1, 1.0]), "b": np.array([[20, 0], [0, 0.0]])}
    assert relative_densities(kernels, 1 / 8) == {"a": 0, "b": 0.25}
    assert relative_densities(kernels, 5 / 8) == {"a": 1, "b": 0.25}
    assert relative_densities(kernels, 1.0) == {"a": 1, "b": 1}
    assert relative_densities({}, 0.5) == {}


@pytest.mark.parametrize("density", [0.05, 0.3, 0.9])
def test_together_they_keep_the_share_that_was_asked_for(density: float) -> None:
    rng = np.random.default_rng(0)
    kernels = {
        "heavy tails": 0.01 * rng.standard_t(3, (50, 100)),
        "normal": rng.normal(size=(3, 3, 20, 30)),
        "even": rng.random((1, 1, 7, 11)) - 0.5,
    }
    densities = relative_densities(kernels, density)
    kept = sum(densities[path] * kernel.size for path, kernel in kernels.items())
    total = sum(kernel.size for kernel in kernels.values())
    assert kept == pytest.approx(round(density * total))
    scaled = {path: 1000 * kernel for path, kernel in kernels.items()}
    assert relative_densities(scaled, density) == pytest.approx(densities)


@pytest.mark.parametrize("density", [0.3, 0.6])
def test_the_layer_with_heavier_tails_loses_more(density: float) -> None:
    """Of two layers with the same root mean square, more of its weights are near zero."""
    rng = np.random.default_rng(0)
    kernels = {"heavy": rng.standard_t(2.5, 20_000), "light": 7 * rng.normal(size=20_000)}
    densities = relative_densities(kernels, density)
    assert densities["heavy"] < density - 0.05 < density + 0.05 < densities["light"]


def test_all_zeros_are_no_division() -> None:
    kernels = {"zeros": np.zeros(4), "ones": np.ones(4)}
    assert relative_densities(kernels, 0.5) == {"zeros": 0, "ones": 1}


def test_of_equal_magnitudes_no_more_are_kept_than_asked_for() -> None:
    rng = np.random.default_rng(0)
    values = np.float32([-1, -0.5, 0.5, 1])
    kernels = {name: rng.choice(values, 1000).astype(np.float32) for name in ("a", "b")}
    for density in (0.3, 0.6):
        found = relative_densities(kernels, density)
        assert 1000 * (found["a"] + found["b"]) == pytest.approx(2000 * density, abs=1)
