from __future__ import annotations

import json
import math
from typing import get_args

import pytest

from dse.errors import ConfigError
from dse.training import Recipe, default_recipe, recipe_from_dict, recipe_from_texts
from dse.training.optimizers import OPTIMIZERS, learning_rates
from dse.training.recipe import Optimizer


def test_one_cycle_starts_at_a_25th_peaks_and_ends_at_a_250_000th():
    rate = learning_rates(Recipe(learning_rate=0.1, warmup_share=0.3), 100)
    assert float(rate(0)) == pytest.approx(0.1 / 25, rel=1e-5)
    assert float(rate(30)) == pytest.approx(0.1, rel=1e-5)
    assert float(rate(100)) == pytest.approx(0.1 / 25 / 1e4, rel=1e-3)


def test_one_cycle_is_a_cosine_between():
    rate = learning_rates(Recipe(learning_rate=1.0, warmup_share=0.5), 80)
    low = 1 / 25
    assert float(rate(10)) == pytest.approx(
        low + (1 - low) * (1 - math.cos(math.pi * 10 / 40)) / 2, rel=1e-5
    )


@pytest.mark.parametrize(("share", "peak_step"), [(0.0, 0), (0.3, 3), (0.96, 9), (1.0, 9)])
def test_the_peak_is_reached_wherever_it_stands(share, peak_step):
    rate = learning_rates(Recipe(learning_rate=0.1, warmup_share=share), 10)
    rates = [float(rate(step)) for step in range(10)]
    assert rates.index(max(rates)) == peak_step
    assert max(rates) == pytest.approx(0.1, rel=1e-5)


def test_all_bad_values_are_named_at_once():
    with pytest.raises(ConfigError) as error:
        Recipe(learning_rate=0.0, batch_size=0, momentum=2.0)
    assert error.value.problems == (
        "learning_rate is 0.0, but must be in [1e-08, 100]",
        "momentum is 2.0, but must be in [0, 0.9999]",
        "batch_size is 0, but must be in [1, 65536]",
    )


def test_nan_is_no_learning_rate():
    with pytest.raises(ConfigError, match="learning_rate is nan"):
        Recipe(learning_rate=math.nan)


def test_texts_change_a_recipe():
    recipe = recipe_from_texts(
        Recipe(),
        ["learning_rate=0.05", "flip=false", "epochs=3", "optimizer=adamw", "whitens=True"],
    )
    assert recipe == Recipe(
        learning_rate=0.05, flip=False, epochs=3, optimizer="adamw", whitens=True
    )


def test_bad_texts_are_named_at_once_with_the_nearest_name():
    with pytest.raises(ConfigError) as error:
        recipe_from_texts(Recipe(), ["learning_rat=1", "epochs=many", "flip=yes"])
    assert error.value.problems == (
        "--recipe learning_rat=1: learning_rat is no part of a recipe; did you mean learning_rate?",
        "--recipe epochs=many: epochs must be a whole number",
        "--recipe flip=yes: flip must be true or false",
    )


def test_plain_round_trip():
    recipe = Recipe(optimizer="adamw", epochs=7, flip=False)
    assert recipe_from_dict(recipe.to_dict()) == recipe


def test_key_follows_every_value():
    keys = {Recipe().key, Recipe(epochs=21).key, Recipe(flip=False).key, Recipe().key}
    assert len(keys) == 3


@pytest.mark.parametrize(
    ("recipe", "key"),
    [
        (Recipe(), "093b4008b0f4"),
        (
            Recipe(optimizer="muon", learning_rate=0.02, weight_decay=0.1, clip_norm=0.0),
            "4bbe3a28e974",
        ),
        (
            Recipe(
                optimizer="adamw",
                learning_rate=0.01,
                batch_size=32,
                epochs=15,
                weight_decay=0.01,
                crop_px=0,
                flip=False,
                clip_norm=1.0,
            ),
            "ae956f1098e7",
        ),
    ],
)
def test_recipes_keep_the_keys_that_studies_on_disk_have(recipe, key):
    assert recipe.key == key
    assert len(recipe.to_dict()) == 12


def test_the_recipe_of_an_old_study_is_taken_whole(tmp_path):
    old = Recipe(optimizer="adamw", learning_rate=0.01, flip=False)
    path = tmp_path / "study.yaml"
    path.write_text(json.dumps({"recipe": old.to_dict()}))
    assert recipe_from_texts(default_recipe("digits", (8, 8, 1), 1079), [str(path)]) == old


def test_a_later_value_is_written_where_it_changes_something():
    recipe = Recipe(schedule="linear", rest_rate=0.1)
    assert recipe.to_dict() == Recipe().to_dict() | {"schedule": "linear", "rest_rate": 0.1}
    assert recipe_from_dict(recipe.to_dict()) == recipe
    assert recipe.key != Recipe().key


def test_the_linear_schedule_rises_and_falls_in_even_steps():
    recipe = Recipe(schedule="linear", learning_rate=0.6, warmup_share=0.2)
    rate = learning_rates(recipe, 10)
    expected = [0.2, 0.4, 0.6, *(0.6 * k / 8 for k in (7, 6, 5, 4, 3, 2, 1))]
    assert [float(rate(step)) for step in range(10)] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("train_count", "batch_size", "epochs"),
    [
        (45_000, 128, 15),
        (4096, 128, 16),
        (4095, 64, 15),
        (1079, 32, 15),
        (220, 16, 38),
        (20, 4, 60),
    ],
)
def test_small_sets_get_smaller_batches_and_more_epochs(train_count, batch_size, epochs):
    recipe = default_recipe("folder", (32, 32, 3), train_count)
    assert (recipe.batch_size, recipe.epochs) == (batch_size, epochs)


def test_gray_images_are_not_mirrored_and_eight_pixels_not_shifted():
    digits = default_recipe("digits", (8, 8, 1), 1079)
    assert (digits.flip, digits.crop_px) == (False, 0)
    photos = default_recipe("folder", (64, 96, 3), 1079)
    assert (photos.flip, photos.crop_px) == (True, 4)


def test_every_optimizer_of_a_recipe_is_in_the_table() -> None:
    assert set(OPTIMIZERS) == set(get_args(Optimizer))


def test_settings_from_a_file_and_by_their_short_name(tmp_path):
    (tmp_path / "r.yaml").write_text("learning_rate: 0.02\nflip: false\noptimizer: muon\n")
    (tmp_path / "study.yaml").write_text("study: s\nrecipe: {lr: 0.5, epochs: 3}\n")
    found = recipe_from_texts(Recipe(), [str(tmp_path / "r.yaml"), "lr=0.3", "epochs=7"])
    assert (found.learning_rate, found.flip, found.optimizer, found.epochs) == (
        0.3,
        False,
        "muon",
        7,
    )
    found = recipe_from_texts(Recipe(), [str(tmp_path / "study.yaml")])
    assert (found.learning_rate, found.epochs) == (0.5, 3)


def test_a_recipe_file_is_checked(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    (tmp_path / "bad.yml").write_text("learning_rat: 0.1\nepochs: many\n")
    with pytest.raises(ConfigError, match=r"list\.yaml: must hold a mapping of the recipe's parts"):
        recipe_from_texts(Recipe(), [str(tmp_path / "list.yaml")])
    with pytest.raises(ConfigError) as caught:
        recipe_from_texts(Recipe(), [str(tmp_path / "bad.yml")])
    assert "learning_rat is no part of a recipe; did you mean learning_rate?" in str(caught.value)
    assert "epochs must be a whole number" in str(caught.value)


def test_without_a_teacher_recipes_are_what_they_were():
    assert not {"distill_share", "distill_temperature"} & Recipe().to_dict().keys()
    recipe = recipe_from_texts(Recipe(), ["distill_share=0.5"])
    assert recipe.to_dict()["distill_share"] == 0.5
    assert recipe_from_dict(recipe.to_dict()) == recipe
    assert recipe.key != Recipe().key
