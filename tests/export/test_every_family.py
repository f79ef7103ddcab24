"""Presets and random candidates of every family in every format, against one reference."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from dse.architecture import FAMILIES, PRESETS, Candidate, Shape, make_candidate
from dse.errors import ArchitectureError
from dse.inference.graph import Graph
from tests.export import test_c, test_litert, test_onnx, test_pytorch
from tests.export.networks import preset_graph, random_graph
from tests.strategies import squeezenet_candidates

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed"),
]

NO_INT8 = ("alexnet",)
"""Presets with local response norm."""


def check(graph: Graph, with_pixels: Graph, folder: Path, *, is_int8: bool = True) -> None:
    """Equality in every format.

    Args:
        graph: takes scaled images.
        with_pixels: the same network, taking pixels.
        folder: for files.
        is_int8: whether the network has an int8 form.
    """
    test_onnx.check(graph)
    test_pytorch.check(graph, folder)
    test_litert.check_float(graph)
    if is_int8:
        test_litert.check_int8(with_pixels)
        test_c.check(with_pixels, folder)


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name: str, tmp_path: Path) -> None:
    graphs = preset_graph(name), preset_graph(name, with_preprocessing=True)
    check(*graphs, tmp_path, is_int8=name not in NO_INT8)


def both(candidate: Candidate, shape: Shape) -> tuple[Graph, Graph]:
    graph = random_graph(candidate, shape)
    return graph, random_graph(candidate, shape, with_preprocessing=True)


@pytest.mark.parametrize("side", [32, 64])
def test_squeezenets(side: int, tmp_path: Path) -> None:
    @settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
    @given(candidate=squeezenet_candidates((side, side, 3)))
    def run(candidate: Candidate) -> None:
        check(*both(candidate, (side, side, 3)), tmp_path)

    run()


@pytest.mark.parametrize("side", [32, 64])
def test_alexnets(side: int, tmp_path: Path) -> None:
    """All that the family builds: dropout, its other metaparameter, is gone in export."""
    checked_count = 0
    for variant in ("original", "torchvision", "small", "tiny"):
        candidate = make_candidate("alexnet", {"variant": variant})
        try:
            graphs = both(candidate, (side, side, 3))
        except ArchitectureError:
            continue  # for larger images
        check(*graphs, tmp_path)
        checked_count += 1
    assert checked_count == {32: 2, 64: 3}[side]


def test_no_family_is_left_out() -> None:
    assert set(FAMILIES) == {"alexnet", "squeezenet"}
