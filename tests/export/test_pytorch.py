"""The generated `model.py`: names and arrays without PyTorch, scores with it."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load

from dse.architecture import PRESETS, Candidate, Shape
from dse.export.pytorch import pytorch_files
from dse.inference import forward
from dse.inference.graph import Graph
from tests.export.networks import BYPASS, preset_graph, random_graph, random_images


def test_names_are_torchvisions() -> None:
    """Those of squeezenet1_0 and of alexnet, as torchvision's own state dicts have them."""
    files = pytorch_files(preset_graph("squeezenet_v1.0"), Path("model.py"))
    shapes = {name: array.shape for name, array in load(files[Path("model.safetensors")]).items()}
    assert shapes["features.0.weight"] == (96, 3, 7, 7)
    assert shapes["features.3.squeeze.weight"] == (16, 96, 1, 1)
    assert shapes["features.12.expand3x3.bias"] == (256,)
    assert shapes["classifier.1.weight"] == (1000, 512, 1, 1)
    fires = (3, 4, 5, 7, 8, 9, 10, 12)
    parts = [
        f"features.{n}.{part}" for n in fires for part in ("squeeze", "expand1x1", "expand3x3")
    ]
    modules = ["features.0", *parts, "classifier.1"]
    assert set(shapes) == {f"{m}.{kind}" for m in modules for kind in ("weight", "bias")}
    ast.parse(files[Path("model.py")])


def check(graph: Graph, folder: Path) -> None:
    """Within 1e-5 of the network, in units of its largest score."""
    images = random_images(graph.metadata.input_shape)
    wanted = forward.scores(graph, images)
    found = run(graph, folder, images)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * max(1, np.abs(wanted).max()))


def run(graph: Graph, folder: Path, images: np.ndarray) -> np.ndarray:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    for path, content in pytorch_files(graph, folder / "network.py").items():
        path.write_bytes(content)
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    given = torch.from_numpy(images)
    with torch.no_grad():
        return module.load()(
            given if graph.with_preprocessing else module.preprocess(given)
        ).numpy()


@pytest.mark.parametrize(
    ("candidate", "shape", "rule"),
    [
        (BYPASS, (23, 16, 3), "trained"),
        (PRESETS["alexnet_tiny"].candidate, (8, 8, 1), "trained"),
        pytest.param(
            PRESETS["squeezenet_v1.0"].candidate, (227, 227, 3), "caffe", marks=pytest.mark.slow
        ),
        pytest.param(PRESETS["alexnet"].candidate, (227, 227, 3), "caffe", marks=pytest.mark.slow),
        pytest.param(
            PRESETS["alexnet_torchvision"].candidate,
            (224, 224, 3),
            "torchvision",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_equals_the_network(candidate: Candidate, shape: Shape, rule: str, tmp_path: Path) -> None:
    for with_preprocessing in (False, True):
        check(
            random_graph(candidate, shape, rule=rule, with_preprocessing=with_preprocessing),
            tmp_path,
        )


def test_torchvisions_dense_layers_flatten_channels_first() -> None:
    graph = preset_graph("alexnet_tiny")
    files = pytorch_files(graph, Path("model.py"))
    dense = next(op for op in graph.operators if op.name == "fc6")
    assert dense.kernel is not None
    height, width, depth, _ = dense.kernel.shape
    stored = load(files[Path("model.safetensors")])["classifier.1.weight"]
    for y, x, c in ((0, 0, 1), (height - 1, 0, 2), (0, width - 1, depth - 1)):
        row = stored[:, c * height * width + y * width + x]
        assert (row == dense.kernel[y, x, c]).all()
