"""State dicts of torchvision: the tables, shapes, and the same scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from dse.architecture import PRESETS, Architecture, build
from dse.data.decode import decode_preprocessed
from dse.errors import WeightsError
from dse.networks import build_network
from dse.training.scaling import InputScaling
from dse.weights.deep_compression import read_deep_compression
from dse.weights.preprocessing import PREPROCESSINGS
from dse.weights.safetensors import nested
from dse.weights.torchvision import INPUT_SHAPE, TABLES, read_torchvision
from tests.weights.published import FILE, IMAGES


def architecture_of(preset: str, classes_count: int = 5) -> Architecture:
    return build(PRESETS[preset].candidate, INPUT_SHAPE, classes_count)


def state_dict(
    preset: str, arrays: dict[str, np.ndarray], classes_count: int = 5
) -> dict[str, np.ndarray]:
    """As torchvision would save these arrays."""
    found = {}
    for node in architecture_of(preset, classes_count).kernel_nodes:
        name, kernel = TABLES[preset][node.name], arrays[f"{node.name}/kernel"]
        if kernel.ndim == 2:
            maps = kernel.reshape(*node.input_shape, -1)
            kernel = maps.transpose(3, 2, 0, 1).reshape(kernel.shape[1], -1)
        else:
            kernel = kernel.transpose(3, 2, 0, 1)
        found |= {f"{name}.weight": kernel, f"{name}.bias": arrays[f"{node.name}/bias"]}
    return {name: np.ascontiguousarray(array) for name, array in found.items()}


@pytest.mark.parametrize("preset", ["squeezenet_v1.0", "squeezenet_v1.1"])
def test_every_array_comes_back(preset: str, tmp_path: Path) -> None:
    draws = np.random.default_rng(0)
    arrays = {
        p.path: draws.standard_normal(p.shape, np.float32)
        for p in architecture_of(preset).parameters
    }
    save_file(state_dict(preset, arrays), tmp_path / "a.safetensors")
    found = read_torchvision(tmp_path / "a.safetensors")
    assert found.preset == preset
    assert found.architecture == architecture_of(preset)
    assert found.arrays.keys() == arrays.keys()
    for path, array in arrays.items():
        np.testing.assert_array_equal(found.arrays[path], array, err_msg=path)


def test_published_names_and_places() -> None:
    """As torchvision's documentation and its weights have them."""
    assert TABLES["squeezenet_v1.0"]["fire5/squeeze"] == "features.7.squeeze"
    assert TABLES["squeezenet_v1.1"]["fire5/squeeze"] == "features.7.squeeze"
    assert TABLES["squeezenet_v1.0"]["fire9/expand3x3"] == "features.12.expand3x3"
    assert TABLES["squeezenet_v1.1"]["fire4/expand1x1"] == "features.6.expand1x1"
    assert TABLES["alexnet_torchvision"]["conv5"] == "features.10"
    assert TABLES["alexnet_torchvision"]["fc6"] == "classifier.1"


def test_bad_input(tmp_path: Path) -> None:
    pickled = tmp_path / "squeezenet1_0-b66bff10.pth"
    pickled.write_bytes(b"PK")
    with pytest.raises(WeightsError, match=r"reading a file of torch.save may run any code"):
        read_torchvision(pickled)
    arrays = {p.path: np.zeros(p.shape, np.float32) for p in _small_parameters()}
    state = state_dict("squeezenet_v1.1", arrays)
    other = {("x." + name if name == "features.0.bias" else name): a for name, a in state.items()}
    save_file(other, tmp_path / "a.safetensors")
    with pytest.raises(
        WeightsError,
        match=r"nearest is squeezenet_v1.1, but features.0.bias missing and x.features.0.bias",
    ):
        read_torchvision(tmp_path / "a.safetensors")
    state["features.0.weight"] = np.zeros((64, 3, 7, 7), np.float32)
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(WeightsError, match=r"features.0.weight is 64x3x7x7, .* 3x3x3x64"):
        read_torchvision(tmp_path / "a.safetensors")
    (tmp_path / "b.safetensors").write_bytes(b"no such thing")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        read_torchvision(tmp_path / "b.safetensors")


def _small_parameters():
    return architecture_of("squeezenet_v1.1").parameters


@pytest.mark.slow
@pytest.mark.data
@pytest.mark.skipif(not FILE.exists(), reason=f"{FILE} is not there")
def test_published_weights_in_their_format_give_the_same_scores(tmp_path: Path) -> None:
    """The published SqueezeNet with its scale, mean and order of colours moved into conv1."""
    preset = "squeezenet_v1.0"
    published = build(PRESETS[preset].candidate, INPUT_SHAPE, 1000)
    own = read_deep_compression(FILE, published).arrays
    caffe, theirs = PREPROCESSINGS["caffe"], PREPROCESSINGS["torchvision"]
    kernel = own["conv1/kernel"][:, :, ::-1].astype(np.float64)
    mean, std = 255 * np.array(theirs.mean), 255 * np.array(theirs.std)
    moved = kernel * std[:, None]
    bias = own["conv1/bias"] + (kernel * (mean - np.array(caffe.mean)[::-1])[:, None]).sum(
        (0, 1, 2)
    )
    converted = own | {
        "conv1/kernel": moved.astype(np.float32),
        "conv1/bias": bias.astype(np.float32),
    }
    save_file(state_dict(preset, converted, 1000), tmp_path / "a.safetensors")
    found = read_torchvision(tmp_path / "a.safetensors")
    image = decode_preprocessed(next(IMAGES.rglob("*.JPEG")), theirs)[None]
    scores = [
        build_network(published).apply(
            nested(arrays)[0], {}, InputScaling.of_rule(rule).apply(image), train=False
        )[0]
        for arrays, rule in ((own, caffe), (found.arrays, theirs))
    ]
    np.testing.assert_allclose(scores[1], scores[0], atol=2e-3)
    assert np.argmax(scores[1]) == np.argmax(scores[0])
