from __future__ import annotations

import dataclasses

import jax
import numpy as np
import optax
import pytest

from dse.architecture import build, make_candidate
from dse.data import Split
from dse.errors import DivergenceError, TrainingError
from dse.networks import build_network, update_ema
from dse.training import Recipe
from dse.training import trainer as loop
from dse.training.optimizers import OPTIMIZERS, learning_rates, make_optimizer
from dse.training.scaling import InputScaling
from dse.training.trainer import Seed, Trainer

RECIPE = Recipe(optimizer="sgd", learning_rate=0.05, batch_size=16, epochs=3, crop_px=0, flip=False)


def small_architecture(**changes):
    values = {"base_e": 4, "incr_e": 2, "fire_modules": 2, "squeeze_ratio": 0.5} | changes
    return build(make_candidate("squeezenet", values), (8, 8, 2), 4)


def leaves(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.fixture(scope="module")
def trainer(quarters):
    return Trainer(small_architecture(norm="batch"), quarters, RECIPE)


@pytest.fixture(scope="module")
def trained(trainer):
    return trainer.train(Seed(0, 0))


def obvious_training(dataset, architecture, recipe, seed):
    """The same without scan, augmentation or one-program tricks: a Python loop over batches."""
    network = build_network(architecture)
    steps_per_epoch = len(dataset.train) // recipe.batch_size
    steps_count = recipe.epochs * steps_per_epoch
    optimizer = optax.chain(
        optax.add_decayed_weights(
            recipe.weight_decay,
            mask=lambda tree: jax.tree_util.tree_map_with_path(
                lambda path, _: path[-1].key == "kernel", tree
            ),
        ),
        optax.sgd(learning_rates(recipe, steps_count), recipe.momentum, nesterov=True),
    )
    params, statistics = network.init(seed.key())
    state = optimizer.init(params)

    @jax.jit
    def step(params, statistics, state, images, labels):
        def loss_of(params):
            x = (images.astype("float32") / 255.0 - np.float32(dataset.mean)) / np.float32(
                dataset.std
            )
            logits, batch = network.apply(params, statistics, x, train=True)
            new = update_ema(statistics, batch)
            return -jax.nn.log_softmax(logits)[np.arange(len(labels)), labels].mean(), new

        (_, new), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), new, state

    for epoch in range(recipe.epochs):
        order = seed.order(epoch, len(dataset.train))
        for i in range(steps_per_epoch):
            picked = order[i * recipe.batch_size : (i + 1) * recipe.batch_size]
            params, statistics, state = step(
                params,
                statistics,
                state,
                dataset.train.images[picked],
                dataset.train.labels[picked],
            )
    return params, statistics


def test_one_program_an_epoch_equals_a_plain_loop(quarters, trained):
    params, statistics = obvious_training(
        quarters, small_architecture(norm="batch"), RECIPE, Seed(0, 0)
    )
    for ours, theirs in zip(leaves(trained.params), leaves(params), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)
    for ours, theirs in zip(leaves(trained.statistics), leaves(statistics), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


def test_it_learns_what_can_be_learned(quarters):
    recipe = dataclasses.replace(RECIPE, epochs=25)
    measurement = (
        Trainer(small_architecture(norm="batch"), quarters, recipe).train(Seed()).measurement
    )
    assert measurement.validation_accuracy >= 0.9
    assert measurement.test_accuracy >= 0.9


def test_the_same_seed_gives_the_same_bits(trainer, trained):
    again = trainer.train(Seed(0, 0))
    for first, second in zip(leaves(trained.params), leaves(again.params), strict=True):
        assert first.tobytes() == second.tobytes()
    assert again.measurement.validation_accuracy == trained.measurement.validation_accuracy


def test_another_replicate_gives_other_weights(trainer, trained):
    other = trainer.train(Seed(0, 1))
    assert any(
        (first != second).any()
        for first, second in zip(leaves(trained.params), leaves(other.params), strict=True)
    )


def test_an_epoch_in_several_calls_is_the_same_epoch(quarters, trained, monkeypatch):
    step_bytes = RECIPE.batch_size * 8 * 8 * 2
    monkeypatch.setattr(loop, "CHUNK_BYTES", 3 * step_bytes)  # 4 steps an epoch: calls of 2
    chunked = Trainer(small_architecture(norm="batch"), quarters, RECIPE)
    assert list(chunked._chunks()) == [(0, 2), (2, 4)]
    for ours, theirs in zip(
        leaves(chunked.train(Seed(0, 0)).params), leaves(trained.params), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_epochs_are_told_with_their_loss(trainer):
    told = []
    measurement = trainer.train(Seed(), on_epoch=lambda *event: told.append(event)).measurement
    assert [epoch for epoch, _ in told] == [1, 2, 3]
    assert measurement.train_loss == told[-1][1]
    assert measurement.epochs == 3


def test_orders_are_permutations_that_change_with_epoch_and_replicate():
    orders = [Seed(5, r).order(e, 50) for r in range(2) for e in range(2)]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 4
    assert (orders[0] == Seed(5, 0).order(0, 50)).all()


def test_correct_images_are_found_over_odd_batches(quarters):
    trainer = Trainer(small_architecture(), quarters, RECIPE)
    network = build_network(small_architecture())
    params, statistics = network.init(Seed().key())
    scaling = InputScaling(quarters.mean, quarters.std)
    logits, _ = network.apply(params, statistics, scaling.apply(quarters.test.images), train=False)
    expected = np.argmax(logits, 1) == quarters.test.labels
    assert (trainer.correct(params, statistics, quarters.test) == expected).all()
    one = Split(quarters.test.images[:1], quarters.test.labels[:1])
    assert trainer.correct(params, statistics, one) == expected[:1]


def test_divergence_names_the_step_and_the_rate(quarters):
    recipe = dataclasses.replace(RECIPE, learning_rate=100.0, momentum=0.99, epochs=20)
    trainer = Trainer(small_architecture(), quarters, recipe)
    with pytest.raises(DivergenceError, match=r"the loss became \S+ at step \d+ \(learning rate"):
        trainer.train(Seed())


def test_averaged_weights_equal_a_slow_average_of_every_step(quarters):
    """One batch is an epoch here, so a run's states are those of its steps."""
    recipe = dataclasses.replace(RECIPE, batch_size=70, epochs=5, averaged_share=0.6)
    trainer = Trainer(small_architecture(norm="batch"), quarters, recipe)
    run = trainer.begin(Seed())
    average = jax.tree.map(np.array, (run.state.params, run.state.statistics))
    for step, after in enumerate(trainer.epochs(run, Seed(), 5)):
        kept = min(1 - 1 / 3, (step + 1) / (step + 10))  # 0.6 of 5 steps is a horizon of 3
        now = jax.tree.map(np.array, (after.state.params, after.state.statistics))
        average = jax.tree.map(lambda old, new, k=kept: k * old + (1 - k) * new, average, now)
        found = trainer.params_of(after), trainer.statistics_of(after)
    packed = trainer._packings.trained.pack(found[0]), trainer._packings.statistics.pack(found[1])
    assert any(
        np.abs(x - y).max() > 1e-3 for x, y in zip(leaves(average), leaves(now), strict=True)
    )
    for ours, theirs in zip(leaves(packed), leaves(average), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_alternating_flip_mirrors_each_image_in_every_other_epoch():
    masks = [Seed(3, 1).mirrored(epoch, 1000) for epoch in range(4)]
    np.testing.assert_array_equal(masks[0], ~masks[1])
    np.testing.assert_array_equal(masks[0], masks[2])
    np.testing.assert_array_equal(masks[1], masks[3])
    assert 450 < masks[0].sum() < 550
    assert (masks[0] != Seed(3, 2).mirrored(0, 1000)).any()


def test_the_images_that_a_step_sees_are_those_mirrored_ones(quarters):
    recipe = dataclasses.replace(RECIPE, flip=True, alternates_flip=True)
    trainer = Trainer(small_architecture(norm="batch"), quarters, recipe)
    seen = []
    trainer._train = dict.fromkeys(
        trainer._train, lambda state, images, labels, key: (seen.append(images), (state, [0.0]))[1]
    )
    for epoch in range(2):
        trainer._epoch(None, epoch, Seed(), None)
    count = len(seen[0]) * recipe.batch_size
    for epoch, images in enumerate(seen):
        picked = Seed().order(epoch, len(quarters.train))[:count]
        mirrored = Seed().mirrored(epoch, len(quarters.train))[picked]
        given = quarters.train.images[picked]
        expected = np.where(mirrored[:, None, None, None], given[:, :, ::-1], given)
        np.testing.assert_array_equal(images.reshape(expected.shape), expected)


def test_a_run_starts_with_whitened_patches_and_identities(quarters):
    recipe = dataclasses.replace(RECIPE, whitens=True, passes_through=True)
    trainer = Trainer(small_architecture(norm="batch"), quarters, recipe)
    params = trainer.params_of(trainer.begin(Seed()))
    kernel = params["conv1"]["kernel"]
    patches = trainer._patches(*kernel.shape[1:2], 1)
    half = kernel.shape[3] // 2
    responses = patches @ kernel.reshape(-1, kernel.shape[3])[:, :half]
    covariance = responses.T @ responses / len(patches)
    scales = np.sqrt(np.diag(covariance))  # what the norm takes out
    np.testing.assert_allclose(covariance / np.outer(scales, scales), np.eye(half), atol=0.02)
    expand = params["fire2"]["expand3x3"]["kernel"]
    channels = np.arange(min(expand.shape[2:]))
    np.testing.assert_array_equal(expand[1, 1, channels, channels], 1)
    assert expand[..., channels].sum() == len(channels)


def test_fewer_images_than_a_batch_are_refused(quarters):
    recipe = dataclasses.replace(RECIPE, batch_size=128)
    with pytest.raises(TrainingError, match="70 training images, fewer than one batch of 128"):
        Trainer(small_architecture(), quarters, recipe)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_only_kernels_decay(optimizer):
    recipe = Recipe(optimizer=optimizer, learning_rate=1.0, weight_decay=0.1, warmup_share=1.0)
    params = {"conv1": {"kernel": np.ones((1, 1, 1, 1)), "bias": np.ones(1), "scale": np.ones(1)}}
    transform = make_optimizer(recipe, 10)
    zeros = jax.tree.map(np.zeros_like, params)
    updates, _ = transform.update(zeros, transform.init(params), params)
    assert float(updates["conv1"]["bias"][0]) == 0
    assert float(updates["conv1"]["scale"][0]) == 0
    # The first step of the schedule has 1/25 of the peak; nesterov adds 0.9 of the velocity.
    factor = 1.9 if optimizer == "sgd" else 1.0
    assert float(updates["conv1"]["kernel"][0, 0, 0, 0]) == pytest.approx(-0.1 / 25 * factor)


def test_muon_makes_updates_of_convolutions_orthogonal_and_leaves_the_rest_to_adam():
    rate = 0.5
    recipe = Recipe(
        optimizer="muon", learning_rate=25 * rate, weight_decay=0.0, warmup_share=1.0, clip_norm=0.0
    )
    rng = np.random.default_rng(0)
    shapes = {"wide": (1, 1, 8, 32), "tall": (3, 3, 16, 8), "dense": (16, 4), "bias": (4,)}
    gradients = {name: {"kernel": rng.normal(size=shape)} for name, shape in shapes.items()}
    for name in ("wide", "tall"):
        gradients[name]["kernel"] *= np.geomspace(1, 8, shapes[name][-1])
    gradients["bias"] = {"bias": gradients["bias"]["kernel"]}
    gradients = jax.tree.map(lambda x: x.astype(np.float32), gradients)
    transform = make_optimizer(recipe, 10)
    updates, _ = transform.update(gradients, transform.init(gradients), gradients)
    # Five Newton-Schulz steps bring singular values near 1 (0.7 to 1.2), wherever they were;
    # a matrix with four times as many columns as rows gets twice the update.
    for name, scale in (("wide", 2.0), ("tall", 1.0)):
        gradient = gradients[name]["kernel"].reshape(-1, shapes[name][-1])
        update = -np.asarray(updates[name]["kernel"]).reshape(gradient.shape) / rate / scale
        left, values, right = np.linalg.svd(gradient, full_matrices=False)
        assert values.max() / values.min() > 2
        found = left.T @ update @ right.T  # the same singular vectors
        assert np.abs(found - np.diag(np.diag(found))).max() < 1e-3
        assert 0.6 < np.diag(found).min() <= np.diag(found).max() < 1.3
    # Adam's first step is the gradient's sign.
    for name, leaf in (("dense", "kernel"), ("bias", "bias")):
        expected = -0.2 * rate * np.sign(gradients[name][leaf])
        np.testing.assert_allclose(updates[name][leaf], expected, rtol=1e-4)
