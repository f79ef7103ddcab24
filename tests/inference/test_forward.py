"""The walk and its numpy version against the Flax network."""

from __future__ import annotations

from functools import partial

import jax
import numpy as np
import pytest

from dse.architecture import PRESETS, Candidate, Shape, build, make_candidate
from dse.inference import forward
from dse.inference.graph import PREPROCESSING, make_graph
from dse.networks import build_network
from dse.training.scaling import InputScaling
from dse.weights.preprocessing import PREPROCESSINGS
from dse.weights.safetensors import nested
from tests.export.networks import BYPASS, random_arrays, random_images, random_metadata

TINY_ALEXNET = PRESETS["alexnet_tiny"].candidate
GROUPED = make_candidate("alexnet", {"variant": "original"})


@pytest.mark.parametrize(
    ("candidate", "shape", "rule"),
    [
        (BYPASS, (23, 16, 3), "trained"),
        (TINY_ALEXNET, (8, 8, 1), "trained"),
        pytest.param(GROUPED, (227, 227, 3), "caffe", marks=pytest.mark.slow),
    ],
)
def test_equals_the_flax_network(candidate: Candidate, shape: Shape, rule: str) -> None:
    architecture = build(candidate, shape, 10)
    arrays, metadata = (
        random_arrays(candidate, shape, 10),
        random_metadata(candidate, shape, 10, rule),
    )
    images = random_images(shape)
    given = InputScaling.of_rule(metadata.preprocessing).apply(images)
    apply = jax.jit(partial(build_network(architecture).apply, train=False))
    wanted, _ = apply(*nested(arrays), given)
    for with_preprocessing in (False, True):
        graph = make_graph(architecture, arrays, metadata, with_preprocessing=with_preprocessing)
        np.testing.assert_allclose(
            forward.scores(graph, images), wanted, rtol=0, atol=1e-5 * np.abs(wanted).max()
        )


def test_preprocessing_is_an_operator_by_hand() -> None:
    shape = (227, 227, 3)
    metadata = random_metadata(BYPASS, shape, 10, "caffe")
    arrays = random_arrays(BYPASS, shape, 10)
    graph = make_graph(build(BYPASS, shape, 10), arrays, metadata, with_preprocessing=True)
    assert graph.operators[0].name == PREPROCESSING
    pixel = np.zeros((1, *shape), np.uint8)
    pixel[0, 0, 0] = 10, 20, 30  # RGB; Caffe's order is BGR, less (104, 117, 123)
    _, first, *_ = forward.maps(graph, pixel)
    assert first[0, 0, 0].tolist() == [30 - 104, 20 - 117, 10 - 123]
    assert PREPROCESSINGS["caffe"] == metadata.preprocessing


def test_dropout_and_batch_norm_are_gone() -> None:
    shape = (16, 16, 3)
    arrays = random_arrays(BYPASS, shape, 10)
    graph = make_graph(build(BYPASS, shape, 10), arrays, random_metadata(BYPASS, shape, 10))
    names = [op.name for op in graph.operators]
    assert not [name for name in names if name.startswith("drop")]
    stem = graph.operators[0]
    factor = arrays["conv1/scale"] / np.sqrt(arrays["conv1/variance"] + 1e-5)
    np.testing.assert_allclose(stem.kernel, arrays["conv1/kernel"] * factor, rtol=1e-6)
    shift = arrays["conv1/bias"] - arrays["conv1/mean"] * factor
    np.testing.assert_allclose(stem.bias, shift, rtol=1e-5, atol=1e-6)
