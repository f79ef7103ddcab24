"""Training: recipe, compiled steps, loop, measurement.

`Recipe` and `Measurement` need no JAX; `dse.training.loop` does.
"""

from dse.training.measurement import Measurement, pack_bits, unpack_bits
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
    "pack_bits",
    "recipe_from_plain",
    "recipe_from_texts",
    "unpack_bits",
]
