from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest

from dse.architecture import build, make_candidate
from dse.compress.codebooks import share_by_kmeans
from dse.compress.finetune import (
    pruning_recipe,
    retrain_shared,
    retrain_sparse,
    sharing_recipe,
)
from dse.compress.prune import kept_count
from dse.networks import build_network
from dse.training import Recipe
from dse.training.parametrization import MaskedKernels, Relative
from dse.training.trainer import Seed, Trainer
from dse.weights.safetensors import flat, nested

SEED = Seed(1, 0)
RECIPE = Recipe(learning_rate=0.05, batch_size=16, epochs=4, crop_px=0, flip=False)
DENSITY = 0.3


@pytest.fixture(scope="module", autouse=True)
def _quickly_compiled():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def architecture():
    values = {"base_e": 4, "incr_e": 2, "fire_modules": 1, "norm": "batch"}
    return build(make_candidate("squeezenet", values), (8, 8, 2), 4)


@pytest.fixture
def weights(architecture):
    return build_network(architecture).init(jax.random.key(0))


def kernels_in(arrays):
    return {path: np.array(a) for path, a in flat(arrays).items() if path.endswith("/kernel")}


class Stopped(Exception):
    pass


def stop_after(count):
    def on_epoch(epochs, loss):
        if epochs == count:
            raise Stopped

    return on_epoch


def sparse(architecture, dataset, weights, **options):
    densities = dict.fromkeys(kernels_in(weights[0]), DENSITY)
    trainer = Trainer(architecture, dataset, RECIPE, MaskedKernels())
    run = retrain_sparse(trainer, weights, densities, seed=SEED, **options)
    return kernels_in(trainer.params_of(run)), run


def test_each_kernel_ends_with_its_share_of_weights(architecture, quarters, weights) -> None:
    losses = []
    before = kernels_in(weights[0])
    after, run = sparse(
        architecture, quarters, weights, on_epoch=lambda epochs, loss: losses.append(loss)
    )
    for path, kernel in after.items():
        assert np.count_nonzero(kernel) == kept_count(kernel.size, DENSITY), path
        kept = kernel != 0
        assert not np.array_equal(kernel[kept], before[path][kept]), path
    assert run.epochs == RECIPE.epochs
    assert losses[-1] < losses[0]


def test_kernels_without_a_density_keep_all_weights(architecture, quarters, weights) -> None:
    path = "conv1/kernel"
    trainer = Trainer(architecture, quarters, replace(RECIPE, epochs=1), MaskedKernels())
    run = retrain_sparse(trainer, weights, {path: 0.5}, seed=SEED)
    for name, kernel in kernels_in(trainer.params_of(run)).items():
        wanted = kept_count(kernel.size, 0.5) if name == path else kernel.size
        assert np.count_nonzero(kernel) == wanted, name


def test_sparse_training_goes_on_where_it_stopped(
    architecture, quarters, weights, tmp_path
) -> None:
    undisturbed, _ = sparse(architecture, quarters, weights)
    weights = build_network(architecture).init(jax.random.key(0))
    file = tmp_path / "sparse.safetensors"
    with pytest.raises(Stopped):
        sparse(architecture, quarters, weights, checkpoint=file, on_epoch=stop_after(2))
    epochs = []
    resumed, _ = sparse(
        architecture,
        quarters,
        build_network(architecture).init(jax.random.key(0)),
        checkpoint=file,
        on_epoch=lambda done, loss: epochs.append(done),
    )
    assert epochs == [3, 4]
    for path, kernel in undisturbed.items():
        assert np.array_equal(kernel, resumed[path]), path


@pytest.mark.parametrize("change", ["weights", "densities", "seed", "recipe"])
def test_a_kept_run_of_something_else_is_passed_over(
    architecture, quarters, weights, tmp_path, change
) -> None:
    file, epochs = tmp_path / "sparse.safetensors", []
    with pytest.raises(Stopped):
        sparse(architecture, quarters, weights, checkpoint=file, on_epoch=stop_after(1))
    number = 1 if change == "weights" else 0
    others = build_network(architecture).init(jax.random.key(number))
    density = 0.4 if change == "densities" else DENSITY
    recipe = replace(RECIPE, learning_rate=0.04) if change == "recipe" else RECIPE
    retrain_sparse(
        Trainer(architecture, quarters, recipe, MaskedKernels()),
        others,
        dict.fromkeys(kernels_in(others[0]), density),
        seed=Seed(2, 0) if change == "seed" else SEED,
        checkpoint=file,
        on_epoch=lambda done, loss: epochs.append(done),
    )
    assert epochs == [1, 2, 3, 4]


def test_pruning_goes_on_from_the_density_that_is_there(architecture, quarters, weights) -> None:
    half, _ = sparse(architecture, quarters, weights)  # at DENSITY now
    given, statistics = build_network(architecture).init(jax.random.key(0))
    params = nested(flat(given) | half)[0]
    trainer = Trainer(architecture, quarters, replace(RECIPE, epochs=2), MaskedKernels())
    run = retrain_sparse(
        trainer,
        (params, statistics),
        dict.fromkeys(half, 1.0),  # more than there is: nothing comes back, nothing goes
        seed=SEED,
    )
    for path, kernel in kernels_in(trainer.params_of(run)).items():
        assert np.array_equal(kernel != 0, half[path] != 0), path


def shared(architecture, dataset, weights, kernels, **options):
    return retrain_shared(
        architecture,
        dataset,
        sharing_recipe(RECIPE, 4),
        weights,
        kernels,
        seed=SEED,
        **options,
    )


def test_shared_values_are_trained_and_codes_stay(architecture, quarters, weights) -> None:
    given = {
        path: np.where(np.abs(k) < np.median(np.abs(k)), np.float32(0), k)
        for path, k in kernels_in(weights[0]).items()
    }
    kernels = {path: share_by_kmeans(kernel, 4) for path, kernel in given.items()}
    losses = []
    trainer, run, found = shared(
        architecture,
        quarters,
        weights,
        kernels,
        on_epoch=lambda epochs, loss: losses.append(loss),
    )
    assert losses[-1] < losses[0]
    trained = kernels_in(trainer.params_of(run))
    changed = 0
    for path, before in kernels.items():
        after = found[path]
        assert np.array_equal(after.values, trained[path])
        assert np.array_equal(after.values == 0, before.values == 0)
        assert len(after.codebook) <= 4
        for code in range(len(before.codebook)):  # what shared a value still does
            assert len(np.unique(after.values[before.codes == code])) == 1
        changed += not np.array_equal(after.values, before.values)
    assert changed == len(kernels)


def test_shared_training_goes_on_where_it_stopped(
    architecture, quarters, weights, tmp_path
) -> None:
    kernels = {path: share_by_kmeans(k, 4) for path, k in kernels_in(weights[0]).items()}
    again = jax.tree.map(np.array, weights)
    *_, undisturbed = shared(architecture, quarters, weights, kernels)
    file = tmp_path / "shared.safetensors"
    with pytest.raises(Stopped):
        shared(architecture, quarters, again, kernels, checkpoint=file, on_epoch=stop_after(3))
    *_, resumed = shared(architecture, quarters, again, kernels, checkpoint=file)
    for path in kernels:
        assert np.array_equal(undisturbed[path].values, resumed[path].values), path


def test_relative_steps_do_not_depend_on_the_units_of_weights(
    architecture, quarters, weights
) -> None:
    """A first layer ten times as large under a norm is the same network, and learns the same."""
    recipe = replace(RECIPE, optimizer="adamw", learning_rate=0.01, weight_decay=0.0, epochs=1)
    trainer = Trainer(architecture, quarters, recipe, Relative(MaskedKernels()))
    assert trainer.is_relative
    found = []
    for factor in (1.0, 8.0):
        params = jax.tree.map(np.array, weights[0])
        params["conv1"]["kernel"] *= factor
        densities = dict.fromkeys(kernels_in(params), 0.5)
        run = retrain_sparse(trainer, (params, weights[1]), densities, seed=SEED)
        after = kernels_in(trainer.params_of(run))
        for path, kernel in after.items():
            assert np.count_nonzero(kernel) == kept_count(kernel.size, 0.5), path
        found.append(after["conv1/kernel"] / factor)
    np.testing.assert_allclose(*found, rtol=0.02, atol=1e-3)


def test_relative_shared_values_stay_shared(architecture, quarters, weights) -> None:
    kernels = {path: share_by_kmeans(k, 4) for path, k in kernels_in(weights[0]).items()}
    *_, found = shared(architecture, quarters, weights, kernels, relative=True)
    for path, before in kernels.items():
        size = np.abs(before.values).mean()
        assert 0 < np.abs(found[path].values - before.values).mean() < 0.5 * size, path
        for code in range(len(before.codebook)):
            assert len(np.unique(found[path].values[before.codes == code])) == 1


def test_recipes_of_the_stages() -> None:
    assert pruning_recipe(RECIPE, 7).epochs == 7
    assert pruning_recipe(RECIPE, 7).learning_rate == pytest.approx(0.01)
    assert sharing_recipe(RECIPE, 3).optimizer == "adamw"
    assert sharing_recipe(RECIPE, 3).weight_decay == 0  # values shall not shrink
