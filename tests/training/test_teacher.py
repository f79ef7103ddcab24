"""Scores of a teacher: as it gives them itself, by its own scale of images."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from dse.architecture import build, make_candidate
from dse.data import Split
from dse.errors import WeightsError
from dse.networks import build_network
from dse.training.scaling import InputScaling
from dse.training.teacher import teacher_scores
from dse.weights.given import read_given
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import trained_preprocessing
from dse.weights.safetensors import nested, save_weights


def test_scores_are_those_of_the_teacher_by_its_own_scale(quarters, tmp_path) -> None:
    split = Split(np.asarray(quarters.train.images)[..., :1], quarters.train.labels)
    quarters = replace(quarters, input_shape=(8, 8, 1), train=split)
    candidate = make_candidate("squeezenet", {"base_e": 8, "incr_e": 8, "fire_modules": 1})
    architecture = build(candidate, quarters.input_shape, 4)
    draws = np.random.default_rng(0)
    arrays = {
        p.path: draws.normal(0, 0.3, p.shape).astype(np.float32) for p in architecture.parameters
    }
    metadata = WeightsMetadata(
        family=candidate.family,
        metaparameters=candidate.metaparameters,
        input_shape=quarters.input_shape,
        classes=quarters.classes,
        preprocessing=trained_preprocessing(quarters.input_shape, (0.4,), (0.2,)),
    )
    path = tmp_path / "a.safetensors"
    save_weights(path, *nested(arrays), metadata)
    teacher = read_given(path, "--teacher")
    found = teacher_scores(teacher, quarters)
    images = jnp.asarray(np.asarray(quarters.train.images[:9]))
    scaled = InputScaling((0.4,), (0.2,)).apply(images)
    wanted, _ = build_network(architecture).apply(*nested(arrays), scaled, train=False)
    np.testing.assert_allclose(found[:9], np.asarray(wanted), rtol=1e-4, atol=1e-5)
    assert found.shape == (len(quarters.train), 4)
    with pytest.raises(WeightsError, match=r"tells 4 classes apart .*, but the images have 2"):
        teacher_scores(teacher, replace(quarters, classes=("a", "b")))
