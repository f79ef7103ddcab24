"""The StableHLO file, read back and called with batches of two sizes."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from dse.architecture import PRESETS
from dse.export.stablehlo import stablehlo_module
from dse.inference import forward
from dse.inference.graph import scaled
from tests.export.networks import BYPASS, preset_graph, random_graph, random_images


@pytest.mark.parametrize("with_preprocessing", [False, True])
def test_equals_the_network(with_preprocessing: bool) -> None:
    graph = random_graph(BYPASS, (23, 16, 3), with_preprocessing=with_preprocessing)
    exported = jax.export.deserialize(bytearray(stablehlo_module(graph)))
    for count in (1, 3):
        images = random_images((23, 16, 3), count)
        wanted = forward.scores(graph, images)
        if not with_preprocessing:
            images = scaled(images, graph.metadata.preprocessing)
        found = exported.call(images)
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset(name: str) -> None:
    graph = preset_graph(name)
    images = random_images(graph.metadata.input_shape, 1)
    exported = jax.export.deserialize(bytearray(stablehlo_module(graph)))
    wanted = forward.scores(graph, images)
    found = exported.call(scaled(images, graph.metadata.preprocessing))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * max(1, np.abs(wanted).max()))
