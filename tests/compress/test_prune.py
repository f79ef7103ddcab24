"""Which weights become zero, by hand; densities along the way and over layers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.compress.prune import (
    gradual_density,
    kept_count,
    magnitude_mask,
    relative_densities,
    shared_out_densities,
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


def test_weights_go_first_where_that_costs_the_least() -> None:
    sizes = {"a": 100, "b": 300}
    losses = {"a": [(1.0, 0.0), (0.5, 0.1)], "b": [(1.0, 0.0), (0.5, 0.03), (0.2, 0.9)]}
    # A weight of b costs 0.0002 down to 150 of them, one of a 0.002, the rest of b 0.0097.
    found = shared_out_densities(sizes, losses, 0.75)  # 100 of 400 go, all from b
    assert found == pytest.approx({"a": 1.0, "b": 200 / 300})
    found = shared_out_densities(sizes, losses, 0.55)  # 150 from b, then 30 from a
    assert found == pytest.approx({"a": 0.7, "b": 0.5})
    found = shared_out_densities(sizes, losses, 0.4)  # 150, 50, then 40 of the dear ones
    assert found == pytest.approx({"a": 0.5, "b": 110 / 300})
    found = shared_out_densities(sizes, losses, 0.1)  # beyond what was measured: 110 left, 40 kept
    assert found == pytest.approx({"a": 0.5 * 40 / 110, "b": 0.2 * 40 / 110})
    assert shared_out_densities(sizes, losses, 1.0) == {"a": 1.0, "b": 1.0}


def test_a_loss_that_jumps_first_and_rests_then_is_one_piece() -> None:
    """The hull: half of the way is not free because the other half is."""
    losses = {"a": [(1.0, 0.0), (0.5, 0.2), (0.2, 0.2)], "b": [(1.0, 0.0), (0.2, 0.1)]}
    found = shared_out_densities({"a": 100, "b": 100}, losses, 0.5)
    # a: 0.2 for 80 weights; b: 0.1 for 80, so b goes first, then 20 from a.
    assert found == pytest.approx({"a": 0.8, "b": 0.2})


def test_what_is_better_without_weights_costs_nothing() -> None:
    losses = {"a": [(0.5, 0.0), (0.3, -0.01)], "b": [(1.0, 0.0), (0.5, 0.001)]}
    found = shared_out_densities({"a": 100, "b": 100}, losses, 0.65)
    assert found == pytest.approx({"a": 0.3, "b": 1.0})
