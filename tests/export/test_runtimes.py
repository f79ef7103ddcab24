"""`dse evaluate` of exported files, and files that no runtime opens."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

import dse
from dse.errors import ExportError, UsageError
from dse.export import packages
from dse.export.runtimes import open_exported
from tests.export.networks import random_images, write_weights

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(tmp_path_factory.mktemp("weights") / "a.safetensors")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for number, pixels in enumerate(random_images((16, 16, 3), 12)):
        folder = root / f"class {number % 10}"
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return root


def test_every_runtime_finds_what_the_network_finds(
    weights: Path, photos: Path, tmp_path: Path
) -> None:
    """In float32 the same classes exactly; in int8 the reference's, through three runtimes."""
    data = f"folder:{photos}"
    wanted = dse.evaluate(weights, data)
    suffixes = ["onnx", *(["tflite"] if find_spec("ai_edge_litert") else [])]
    for suffix in suffixes:
        found = dse.evaluate(dse.export(weights, tmp_path / f"a.{suffix}").paths[0], data)
        assert (found.images_count, found.top5_count) == (12, wanted.top5_count)
        assert (found.outcomes.confusion == wanted.outcomes.confusion).all()
    counts = set()
    for suffix in [*suffixes, *(["c"] if shutil.which("gcc") else [])]:
        out = tmp_path / f"b.{suffix}"
        dse.export(weights, out, int8=True, calibrate=data, with_preprocessing=True)
        counts.add(dse.evaluate(out, data).top1_count)
    assert max(counts) - min(counts) <= 1


def test_the_rule_is_the_files(weights: Path, tmp_path: Path) -> None:
    from dse.api import open_scorer

    out = dse.export(weights, tmp_path / "a.onnx").paths[0]
    with pytest.raises(UsageError, match=r"a\.onnx says how images are fed to it"):
        open_scorer(out, "caffe")


@pytest.mark.parametrize("name", ["a.onnx", "a.tflite", "a.c"])
def test_damaged_files(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    with pytest.raises(ExportError, match="cannot be read: No such file"):
        open_exported(path)
    path.write_bytes(b"\x00" * 64)
    with pytest.raises(dse.DseError, match=name.replace(".", r"\.")):
        open_exported(path)


def test_a_truncated_file(weights: Path, tmp_path: Path) -> None:
    for suffix in ("onnx", "tflite"):
        path = dse.export(weights, tmp_path / f"t.{suffix}").paths[0]
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(dse.DseError, match=rf"t\.{suffix}"):
            open_exported(path)


def test_a_missing_runtime_is_named(monkeypatch: pytest.MonkeyPatch, weights: Path) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"onnx not installed; pip install 'dse\[export\]'"):
        dse.export(weights, weights.with_name("m.onnx"))
    assert not weights.with_name("m.onnx").exists()
