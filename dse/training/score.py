"""Which images of a prepared split a network gets right."""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np

from dse.architecture import Architecture
from dse.data import Dataset, Split
from dse.networks import Network
from dse.training.parametrization import Tree
from dse.training.step import Pixels, make_score_program
from dse.training.xla.compile_cache import load_or_compile

SCORE_BATCH = 64


class SplitScorer:
    """The compiled program that scores images of a data set with any weights of one network.

    Args:
        network: whose weights they are.
        dataset: prepared images; their scale is that of all its splits.

    Attributes:
        compile_s: seconds of compilation.
    """

    def __init__(self, network: Network, dataset: Dataset) -> None:
        started = time.perf_counter()
        shape = (SCORE_BATCH, *dataset.input_shape)
        arguments = (
            network.abstract_params(),
            network.abstract_statistics(),
            jax.ShapeDtypeStruct(shape, jnp.uint8),
        )
        self._program = load_or_compile(
            make_score_program(network, pixels_of(dataset)),
            arguments,
            key=f"score {shape} {program_key(network.architecture, dataset)}",
        )
        self.compile_s = time.perf_counter() - started

    def correct(self, params: Tree, statistics: Tree, split: Split) -> np.ndarray:
        """Whether the best class of each image of `split` is the right one, bool (image,)."""
        right = np.zeros(len(split.labels), dtype=bool)
        for start in range(0, len(split.labels), SCORE_BATCH):
            images = np.asarray(split.images[start : start + SCORE_BATCH])
            labels = np.asarray(split.labels[start : start + SCORE_BATCH])
            missing = SCORE_BATCH - len(images)
            padded = np.pad(images, [(0, missing), (0, 0), (0, 0), (0, 0)])
            classes = np.asarray(self._program(params, statistics, padded))
            right[start : start + len(labels)] = classes[: len(labels)] == labels
        return right


def program_key(architecture: Architecture, dataset: Dataset) -> str:
    """All that the programs of a network and a data set have in common."""
    network = (architecture.input_shape, architecture.classes_count, architecture.layers)
    return repr((network, pixels_of(dataset)))


def pixels_of(dataset: Dataset) -> Pixels:
    """The scale of a data set's images."""
    return Pixels(tuple(map(float, dataset.mean)), tuple(map(float, dataset.std)))
