"""Training: recipe, compiled steps, loop, measurement.

`Recipe` and `Measurement` need no JAX; `dse.training.loop` does.
"""

from dse.training.measurement import Measurement
from dse.training.recipe import (
    Recipe,
    check_fits,
    default_recipe,
    recipe_from_plain,
    recipe_from_texts,
)

__all__ = [
    "Measurement",
    "Recipe",
    "check_fits",
    "default_recipe",
    "recipe_from_plain",
    "recipe_from_texts",
]
