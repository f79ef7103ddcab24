from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.training.muon import Stacks, orthogonal, rotations
from dse.training.optimizers import make_optimizer
from dse.training.recipe import Recipe

SHAPES = [
    (1, 1, 8, 32),
    (3, 3, 16, 8),
    (1, 1, 32, 4),
    (3, 3, 3, 24),
    (1, 1, 200, 100),
    (1, 1, 1, 1),
]


def kernels(seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype(np.float32) for shape in SHAPES]


def newton_schulz(matrix):
    """Three steps of Jordan et al. 2024, one matrix, in double precision."""
    x = matrix.astype(float) / np.linalg.norm(matrix)
    x = x if x.shape[0] <= x.shape[1] else x.T
    for _ in range(3):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x if matrix.shape[0] <= matrix.shape[1] else x.T


def test_stacks_give_back_what_they_were_given():
    stacks = Stacks(SHAPES)
    given = kernels()
    for kernel, again in zip(given, stacks.unstack(stacks.stack(given)), strict=True):
        np.testing.assert_array_equal(kernel, again)


def test_small_kernels_share_a_stack_and_a_large_one_is_not_filled_up():
    sizes = [stack.shape for stack in Stacks(SHAPES).stack(kernels())]
    assert sizes == [(1, 100, 200), (1, 24, 27), (4, 8, 144)]


def test_singular_values_come_near_one():
    rng = np.random.default_rng(3)
    left, _ = np.linalg.qr(rng.normal(size=(6, 6)))
    right, _ = np.linalg.qr(rng.normal(size=(9, 9)))
    values = np.geomspace(0.2, 1, 6)
    found = orthogonal((left * values @ right[:6])[None].astype(np.float32))[0]
    turned = left.T @ np.asarray(found) @ right[:6].T  # the same singular vectors
    assert np.abs(turned - np.diag(np.diag(turned))).max() < 1e-4
    assert 0.6 < np.diag(turned).min() <= np.diag(turned).max() < 1.3


def test_a_step_turns_each_kernel_by_the_rate_and_keeps_its_norm():
    """Against one kernel at a time, in double precision, over two steps."""
    rates, momentum = [0.1, 0.3], 0.8
    transform = rotations(momentum, lambda step: jax.numpy.asarray(rates)[step])
    params = dict(enumerate(kernels()))
    state = transform.init(params)
    expected = {i: (kernel.astype(float), np.zeros(kernel.shape)) for i, kernel in params.items()}
    for step, rate in enumerate(rates):
        gradients = dict(enumerate(kernels(step + 1)))
        updates, state = transform.update(gradients, state, params)
        params = {i: np.asarray(params[i] + updates[i]) for i in params}
        for i, (kernel, mean) in expected.items():
            mean = momentum * mean + (1 - momentum) * gradients[i]
            ahead = momentum * mean + (1 - momentum) * gradients[i]
            turn = newton_schulz(ahead.reshape(-1, ahead.shape[-1])).reshape(ahead.shape)
            norm = np.linalg.norm(kernel)
            moved = kernel - rate * norm * turn / np.linalg.norm(turn)
            expected[i] = (moved * norm / np.linalg.norm(moved), mean)
    for i, (kernel, _) in expected.items():
        np.testing.assert_allclose(params[i], kernel, rtol=2e-4, atol=2e-5)
        start = kernels()[i]
        assert np.linalg.norm(params[i]) == pytest.approx(np.linalg.norm(start), rel=1e-5)


def test_a_state_begins_with_zeros_and_keeps_the_norms_of_the_first_step():
    rng = np.random.default_rng(3)
    params = {"a": jnp.asarray(rng.normal(size=(3, 3, 2, 5)), jnp.float32)}
    transform = rotations(0.9, lambda step: 0.1)
    state = transform.init(params)
    assert not any(np.any(leaf) for leaf in jax.tree.leaves(state))


def test_a_kernel_of_zeros_stays_and_nothing_becomes_nan():
    transform = rotations(0.9, lambda step: 0.1)
    params = {"a": np.zeros((3, 3, 2, 4), np.float32), "b": np.ones((1, 1, 2, 4), np.float32)}
    gradients = {"a": np.ones((3, 3, 2, 4), np.float32), "b": np.zeros((1, 1, 2, 4), np.float32)}
    updates, _ = transform.update(gradients, transform.init(params), params)
    assert not np.any(updates["a"])
    np.testing.assert_allclose(updates["b"], 0, atol=1e-7)


def test_a_weight_without_a_gradient_stays():
    """A pruned one must not take its share of the kernel's norm."""
    kernel, gradient = kernels()[0], kernels(1)[0]
    mask = np.random.default_rng(2).random(kernel.shape) < 0.5
    params = {"a": kernel * mask}
    transform = rotations(0.9, lambda step: 0.1)
    updates, _ = transform.update({"a": gradient * mask}, transform.init(params), params)
    after = params["a"] + np.asarray(updates["a"])
    np.testing.assert_array_equal(after[~mask], 0)
    assert np.linalg.norm(after) == pytest.approx(np.linalg.norm(params["a"]), rel=1e-5)
    assert np.abs(np.asarray(updates["a"])[mask]).min() > 0


@pytest.mark.parametrize("packed", [False, True])
def test_the_last_layer_biases_and_norms_are_left_to_adam(packed):
    recipe = Recipe(
        optimizer="muon",
        keeps_norms=True,
        schedule="linear",
        warmup_share=0.0,
        learning_rate=0.5,
        rest_rate=0.1,
        bias_rate=3.0,
        weight_decay=0.0,
    )
    kernel = np.random.default_rng(0).normal(size=(1, 1, 4, 4)).astype(np.float32)
    params = {"conv1": {"kernel": kernel}, "conv10": {"kernel": kernel}}
    if packed:
        params = {"apart": {f"{name}/kernel": leaf for name, leaf in params.items()}}
    params["other"] = np.ones(3, np.float32)
    transform = make_optimizer(recipe, 10, last="conv10")
    updates, _ = transform.update(params, transform.init(params), params)
    first, last = (
        (updates["apart"][f"{name}/kernel"] if packed else updates[name])["kernel"]
        for name in ("conv1", "conv10")
    )
    # Adam's first step is the gradient's sign, at half of the peak in the first step.
    np.testing.assert_allclose(last, -0.025 * np.sign(kernel), rtol=1e-4)
    np.testing.assert_allclose(updates["other"], -0.075, rtol=1e-4)
    assert np.linalg.norm(kernel + first) == pytest.approx(np.linalg.norm(kernel), rel=1e-5)
