"""ONNX files in onnxruntime against the numpy version."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.architecture import Candidate, Shape
from dse.export.onnx import onnx_model
from dse.export.runtimes import open_onnx
from dse.inference import forward, int8
from dse.inference.calibrate import calibrate
from dse.inference.graph import Graph
from tests.export.networks import BYPASS, preset_graph, random_graph, random_images
from tests.strategies import squeezenet_candidates_with_input

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

PATH = Path("a.onnx")  # for messages


def check(graph: Graph, count: int = 2) -> None:
    """Within 1e-4 of the network, in units of its largest score."""
    images = random_images(graph.metadata.input_shape, count)
    wanted = forward.scores(graph, images)
    found = open_onnx(PATH, onnx_model(graph)).scores(images)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-4 * max(1, np.abs(wanted).max()))


@settings(max_examples=10)
@given(drawn=squeezenet_candidates_with_input(), with_preprocessing=st.booleans())
def test_equals_the_network(drawn: tuple[Candidate, Shape], with_preprocessing: bool) -> None:
    check(random_graph(*drawn, with_preprocessing=with_preprocessing))


def test_equals_a_small_alexnet() -> None:
    check(preset_graph("alexnet_tiny"))


@settings(max_examples=4)
@given(drawn=squeezenet_candidates_with_input(), with_preprocessing=st.booleans())
def test_int8_is_a_few_steps_from_the_integer_reference(
    drawn: tuple[Candidate, Shape], with_preprocessing: bool
) -> None:
    graph = random_graph(*drawn, with_preprocessing=with_preprocessing)
    images = random_images(graph.metadata.input_shape, 4)
    network = int8.quantize(graph, calibrate(graph, images))
    wanted = network.scales[-1].value(int8.scores(network, images))
    found = open_onnx(PATH, onnx_model(graph, network)).scores(images)
    # onnxruntime rescales in floating point: a step here and there, which later layers carry on.
    assert np.abs(found - wanted).max() <= 12 * network.scales[-1].scale
    assert np.abs(found - wanted).mean() <= 2 * network.scales[-1].scale


def test_the_file_says_what_it_is() -> None:
    model = onnx.load_from_string(onnx_model(random_graph(BYPASS, (16, 16, 3))))
    assert model.ir_version == 10
    assert [opset.version for opset in model.opset_import] == [21]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    props = {prop.key: json.loads(prop.value) for prop in model.metadata_props}
    assert props["classes"] == [f"class {number}" for number in range(10)]
    assert props["dse"]["preprocessing"]["mean"] == [0.4, 0.5, 0.3]
