"""Training: recipe, compiled steps, trainer; `Recipe` needs no JAX, `dse.training.trainer` does."""

from dse.training.recipe import (
    Recipe,
    check_fits,
    default_recipe,
    finetuning_recipe,
    halved_batch_size,
    recipe_from_dict,
    recipe_from_texts,
)

__all__ = [
    "Recipe",
    "check_fits",
    "default_recipe",
    "finetuning_recipe",
    "halved_batch_size",
    "recipe_from_dict",
    "recipe_from_texts",
]
