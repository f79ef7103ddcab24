"""`.tflite` files in LiteRT's reference kernels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.architecture import Candidate, Shape, make_candidate
from dse.export.litert import litert_model
from dse.export.runtimes import open_litert
from dse.inference import forward, int8
from dse.inference.calibrate import calibrate
from dse.inference.graph import Graph
from tests.export.networks import BYPASS, preset_graph, random_graph, random_images
from tests.strategies import squeezenet_candidates_with_input

tflite = pytest.importorskip("tflite", reason="the package tflite is not installed")
pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is not installed")

PATH = Path("a.tflite")  # for messages


def check_float(graph: Graph, count: int = 2) -> None:
    images = random_images(graph.metadata.input_shape, count)
    wanted = forward.scores(graph, images)
    # The reference kernels add float32 one by one: 2e-4 off on the original AlexNet.
    found = open_litert(PATH, litert_model(graph)).run(images)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * max(1, np.abs(wanted).max()))


def check_int8(graph: Graph, count: int = 2) -> None:
    """The integer reference says every score as LiteRT does."""
    images = random_images(graph.metadata.input_shape, count)
    network = int8.quantize(graph, calibrate(graph, images))
    wanted = int8.scores(network, images)
    found = open_litert(PATH, litert_model(graph, network), reference=True).run(images)
    assert np.array_equal(found, wanted)


@settings(max_examples=8)
@given(drawn=squeezenet_candidates_with_input(), with_preprocessing=st.booleans())
def test_equals_the_network_and_the_integer_reference(
    drawn: tuple[Candidate, Shape], with_preprocessing: bool
) -> None:
    graph = random_graph(*drawn, with_preprocessing=with_preprocessing)
    check_float(graph)
    check_int8(graph)


def test_a_small_alexnet() -> None:
    check_float(preset_graph("alexnet_tiny"))
    check_int8(preset_graph("alexnet_tiny"))


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_padding_that_litert_does_not_know(stem_stride: int) -> None:
    """Pools over an even and an odd side, and strides that start before the first pixel."""
    values = {"base_e": 4, "squeeze_ratio": 0.5, "stem_stride": stem_stride, "stem_kernel": 5}
    graph = random_graph(make_candidate("squeezenet", values), (22, 31, 3))
    names = [tensor.decode() for tensor in _tensor_names(litert_model(graph))]
    assert any(name.endswith("/padded") for name in names)
    check_float(graph)
    check_int8(graph)


def test_the_file_says_what_it_is() -> None:
    content = litert_model(random_graph(BYPASS, (16, 16, 3)))
    model = tflite.Model.GetRootAs(content)
    assert content[4:8] == b"TFL3"
    texts = {}
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        texts[entry.Name()] = json.loads(model.Buffers(entry.Buffer()).DataAsNumpy().tobytes())
    assert texts[b"classes"] == [f"class {number}" for number in range(10)]
    assert texts[b"dse"]["input_shape"] == [16, 16, 3]


def _tensor_names(content: bytes) -> list[bytes]:
    graph = tflite.Model.GetRootAs(content).Subgraphs(0)
    return [graph.Tensors(number).Name() for number in range(graph.TensorsLength())]
