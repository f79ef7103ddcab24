"""The measured sheet: parts that add up, and memory against what is computed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from dse.architecture import Node, build, cost, make_candidate
from dse.deployment.arena import _placed
from dse.deployment.chip import chip_memory, inference_nodes
from dse.export.litert import litert_model
from dse.export.measure import measure_sheet, micro_arena
from dse.inference.calibrate import calibrate
from dse.inference.int8 import quantize
from tests.export.networks import BYPASS, random_graph, random_images

pytest.importorskip("tflite", reason="the package tflite is not installed")

TEN = [
    {"base_e": 16, "bypass": bypass, "squeeze_ratio": ratio, "stem_filters": stem, "pools": pools}
    for bypass, ratio, stem, pools in [
        ("none", 0.5, 8, "early"),
        ("none", 0.25, 32, "late"),
        ("simple", 0.5, 16, "early"),
        ("simple", 0.75, 64, "auto"),
        ("simple", 0.25, 32, "late"),
        ("complex", 0.5, 8, "auto"),
        ("complex", 0.25, 32, "early"),
        ("complex", 0.75, 16, "late"),
        ("none", 0.75, 64, "early"),
        ("complex", 0.5, 64, "late"),
    ]
]


def placed_without_sharing(nodes: Sequence[Node]) -> int:
    """Bytes of int8 maps where no join and no addition shares memory with its inputs.

    As tflite-micro places them: the largest first, each at the lowest place that is free.
    """
    shapes = [nodes[0].input_shape, nodes[0].input_shape, *(node.output_shape for node in nodes)]
    reads = [(0,), *(tuple(i + 1 for i in node.inputs) for node in nodes)]  # pixels, as int8
    spans = {at: (at, at) for at in range(len(shapes))}
    for at, given in enumerate(reads, start=1):
        for i in given:
            spans[i] = (spans[i][0], at)
    sizes = {at: -(-math.prod(shape) // 16) * 16 for at, shape in enumerate(shapes)}
    order = sorted(spans, key=lambda at: -sizes[at])
    return _placed(order, spans, sizes)[1]


@pytest.mark.slow
@pytest.mark.parametrize("values", TEN)
def test_arenas_against_the_computed_peak(values) -> None:
    """Ours within 10%; the parts of tflite-micro's are what the how-to page says they are."""
    pytest.importorskip("tflite_micro", reason="pip install --pre tflite-micro")
    shape = (32, 32, 3)
    candidate = make_candidate("squeezenet", values)
    graph = random_graph(candidate, shape, with_preprocessing=True)
    peak = cost(build(candidate, shape, 10)).peak_activation_bytes // 4
    chip = chip_memory(build(candidate, shape, 10))
    assert chip is not None
    assert chip.ram_bytes == pytest.approx(peak, rel=0.1)
    network = quantize(graph, calibrate(graph, random_images(shape), "minmax"))
    arena = micro_arena(litert_model(graph, network), peak)
    assert arena is not None
    placed = placed_without_sharing(inference_nodes(build(candidate, shape, 10)))
    print(peak, chip.ram_bytes, placed, arena)
    assert arena.activations_bytes == pytest.approx(placed, rel=0.1)
    filters_count = sum(len(own.bias) for own in network.convolutions.values())
    assert 8 * filters_count <= arena.filters_bytes <= 8 * filters_count + 100 * len(graph.shapes)
    assert arena.total_bytes == sum(vars(arena).values())
    assert 0 < arena.rest_bytes < 2500


def test_the_sheet_of_a_small_network() -> None:
    for package in ("onnx", "onnxruntime", "ai_edge_litert"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    architecture = build(BYPASS, (16, 16, 3), 10)
    sheet = measure_sheet(architecture)
    assert sheet.chip == chip_memory(architecture)
    kinds = [(one.runtime.split()[0], one.precision) for one in sheet.runtimes]
    assert kinds == [
        ("onnxruntime", "float32"),
        ("LiteRT", "float32"),
        ("onnxruntime", "int8"),
        ("LiteRT", "int8"),
        ("C", "int8"),
    ]
    assert all(0 < one.latency.median_s <= one.latency.p95_s < 1 for one in sheet.runtimes)
    floats, ints = sheet.runtimes[1], sheet.runtimes[3]
    assert ints.file_bytes < floats.file_bytes


def test_the_original_alexnet_has_no_int8_program() -> None:
    candidate = make_candidate("alexnet", {"variant": "original"})
    assert chip_memory(build(candidate, (227, 227, 3), 10)) is None
