"""From the pixels of an image to the numbers that a network takes."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dse.data import Dataset
from dse.weights.preprocessing import Preprocessing


class InputScaling(NamedTuple):
    """The scale of a network's input; traced inside the compiled programs.

    Attributes:
        mean, std: of each channel, in units of `brightest`; taken off, and divided by.
        brightest: what pixel 255 is before the mean is taken off.
        is_bgr: red and blue change places.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    brightest: float = 1.0
    is_bgr: bool = False

    @classmethod
    def of_dataset(cls, dataset: Dataset) -> InputScaling:
        """As its rule says; without one mean 0 and deviation 1 over the training images."""
        if dataset.rule is not None:
            return cls.of_rule(dataset.rule)
        return cls(tuple(map(float, dataset.mean)), tuple(map(float, dataset.std)))

    @classmethod
    def of_rule(cls, rule: Preprocessing) -> InputScaling:
        """As a weights file says."""
        return cls(rule.mean, rule.std, rule.scale, rule.channel_order == "bgr")

    def apply(self, images: jax.Array) -> jax.Array:
        """Uint8 images (..., channel), RGB or gray, as the float32 input of a network."""
        values = images.astype(jnp.float32) / (255.0 / self.brightest)
        if self.is_bgr:
            values = values[..., ::-1]
        return (values - jnp.asarray(self.mean)) / jnp.asarray(self.std)
