"""Stages of a tiny network: smaller and smaller, kept, and resumed as if nothing had happened."""

from __future__ import annotations

import itertools
from dataclasses import replace

import jax
import numpy as np
import pytest

from dse.architecture import build, cost, make_candidate
from dse.compress import shrinker as module
from dse.compress.shrinker import Clock, Shrinker, Stage, picked_stages, stage_recipe
from dse.data import Split
from dse.networks import build_network
from dse.training import Recipe
from dse.weights.dsz import unpack
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import trained_preprocessing
from dse.weights.safetensors import flat

CANDIDATE = make_candidate("squeezenet", {"base_e": 16, "incr_e": 8, "fire_modules": 1})
RECIPE = Recipe(optimizer="adamw", learning_rate=0.02, batch_size=16, epochs=6, crop_px=0)


@pytest.fixture(scope="module", autouse=True)
def _quickly_compiled():
    jax.config.update("jax_disable_most_optimizations", True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "STEPS_COUNT", 2)
        patch.setattr(module, "LAMBDAS", (0.02, 0.32))
        yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def images(quarters):
    """Gray ones."""
    splits = {
        name: Split(getattr(quarters, name).images[..., :1], getattr(quarters, name).labels)
        for name in ("train", "validation", "test")
    }
    return replace(quarters, input_shape=(8, 8, 1), mean=(0.3,), std=(0.25,), **splits)


@pytest.fixture(scope="module")
def parent(images):
    """Of random weights: what is tested here needs no good one."""
    architecture = build(CANDIDATE, images.input_shape, 4)
    metadata = WeightsMetadata(
        family=CANDIDATE.family,
        metaparameters=CANDIDATE.metaparameters,
        input_shape=images.input_shape,
        classes=images.classes,
        preprocessing=trained_preprocessing(images.input_shape, (0.5,), (0.25,)),
    )
    arrays = flat(build_network(architecture).init(jax.random.key(0))[0])
    return metadata, {path: np.asarray(array) for path, array in arrays.items()}


def shrinker(parent, images, directory, *, left_s=1e6, say=lambda text: None):
    recipe = stage_recipe(RECIPE, 2)
    clock = Clock(left_s, 1e-12)
    return Shrinker(*parent, images, recipe, directory, clock=clock, say=say)


@pytest.mark.slow
def test_stages_fall_in_size_and_resume_where_they_stopped(parent, images, tmp_path) -> None:
    said = []
    made = shrinker(parent, images, tmp_path / "whole", say=said.append)
    stages = made.narrow()
    sizes = [cost(stage.architecture).params_count for stage in stages]
    assert [stage.name for stage in stages] == ["parent", "narrow-1", "narrow-2"]
    assert all(0.5 <= after / before <= 0.7 for before, after in itertools.pairwise(sizes))
    found = made.front(stages[1], 1e6)
    # Decoded, each file has the accuracy that is said of it.
    tuned = [row for row, setting in enumerate(found.settings) if setting.values_trained]
    assert tuned
    again = made._stage("again", "", *unpack(found.contents[tuned[0]]))
    assert again.accuracy == found.settings[tuned[0]].validation_accuracy
    assert found.given.test_accuracy is None  # test images are for the very end

    class Stopped(Exception):
        pass

    def stop(text: str) -> None:
        if text.startswith("narrow-2") and "epoch 1" in text:
            raise Stopped

    with pytest.raises(Stopped):
        shrinker(parent, images, tmp_path / "parts", say=stop).narrow()
    said = []
    resumed = shrinker(parent, images, tmp_path / "parts", say=said.append).narrow()
    assert not [text for text in said if "epoch 1 " in text]  # neither stage from its start
    for one, other in zip(stages, resumed, strict=True):
        assert one.changed == other.changed
        for path, array in one.arrays.items():
            np.testing.assert_array_equal(array, other.arrays[path], err_msg=path)


def test_nothing_is_begun_that_would_not_end_in_time(parent, images, tmp_path) -> None:
    made = shrinker(parent, images, tmp_path, left_s=module.COMPILE_S)
    assert [stage.name for stage in made.narrow()] == ["parent"]
    assert made.stopped_by == "time"
    found = made.front(made.parent, 1.0)  # what costs no training is there all the same
    assert found.settings
    assert not any(setting.values_trained for setting in found.settings)


def test_half_and_least_are_compressed(parent) -> None:
    metadata, arrays = parent

    def stage(name: str, base_e: int, correct_count: int) -> Stage:
        values = dict(metadata.metaparameters) | {"base_e": base_e}
        smaller = replace(metadata, metaparameters=values)
        return Stage(name, "", smaller, arrays, np.arange(30) < correct_count, correct_count / 30)

    # 390, 207, 151 and 120 parameters; the last is below 0.9 of 30, smoothed or not.
    whole, luck, least, bad = (
        stage("parent", 16, 30),
        stage("narrow-1", 11, 27),
        stage("narrow-2", 8, 29),
        stage("narrow-3", 6, 20),
    )
    found = picked_stages([whole, luck, least, bad])
    assert [one.name for one in found] == ["narrow-1", "narrow-2"]
    assert picked_stages([whole, bad]) == []
