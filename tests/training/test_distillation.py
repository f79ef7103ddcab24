"""Soft targets: the loss by hand, and a network that follows its teacher against the labels."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from dse.architecture import build, make_candidate
from dse.data import Split
from dse.errors import TrainingError
from dse.training import Recipe
from dse.training.step import soft_loss
from dse.training.trainer import Seed, Trainer

RECIPE = Recipe(
    optimizer="adamw", learning_rate=0.02, batch_size=10, epochs=15, crop_px=0, flip=False
)


def test_soft_loss_by_hand() -> None:
    # At temperature 2 softmax of (0, 2 ln 3) is (1/4, 3/4) and of (0, 0) it is (1/2, 1/2).
    teacher, student = jnp.array([[0.0, 2 * np.log(3)]]), jnp.zeros((1, 2))
    wanted = 4 * (0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5))
    assert float(soft_loss(student, teacher, 2.0)) == pytest.approx(wanted, rel=1e-5)
    assert float(soft_loss(teacher + 7, teacher, 2.0)) == pytest.approx(0.0, abs=1e-6)


def test_a_network_learns_what_its_teacher_says(quarters) -> None:
    values = {"base_e": 16, "fire_modules": 1, "squeeze_ratio": 0.5}
    architecture = build(make_candidate("squeezenet", values), quarters.input_shape, 4)
    with pytest.raises(TrainingError, match="distill_share is 1, but there is no teacher"):
        Trainer(architecture, quarters, replace(RECIPE, distill_share=1.0))
    labels = (quarters.train.labels + 1) % 4  # a teacher that calls everything by the next name
    teacher = 8 * np.eye(4, dtype=np.float32)[labels]
    recipe = replace(RECIPE, distill_share=1.0)
    trainer = Trainer(architecture, quarters, recipe, teacher=teacher)
    trained = trainer.train(Seed(0))
    split = quarters.validation
    taught = Split(split.images, (split.labels + 1) % 4)
    assert trainer.correct(trained.params, trained.statistics, taught).mean() > 0.9
