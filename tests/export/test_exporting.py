"""The command, its messages, and what it does not import."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

import dse
from dse.architecture import build, make_candidate
from dse.cli.main import app
from dse.deployment.chip import chip_memory
from dse.deployment.devices import find_devices
from dse.errors import DataError, ExportError, UsageError, WeightsError
from dse.export import exporting
from dse.export.exporting import find_weights
from dse.export.images import calibration_images
from dse.inference.int8 import quantize
from tests.export.networks import BYPASS, random_graph, random_metadata, write_weights

pytest.importorskip("onnx", reason="the package onnx is not installed")


def test_one_command(tmp_path: Path) -> None:
    weights, out = write_weights(tmp_path / "a.safetensors"), tmp_path / "new" / "a.onnx"
    run = CliRunner().invoke(app, ["export", str(weights), "--out", str(out)])
    assert run.exit_code == 0, run.output
    assert f"{out}: {out.stat().st_size:,} bytes" in run.output
    assert [path.name for path in out.parent.iterdir()] == ["a.onnx"]


def test_a_file_that_is_there_is_kept(tmp_path: Path) -> None:
    weights, out = write_weights(tmp_path / "a.safetensors"), tmp_path / "a.onnx"
    out.write_bytes(b"mine")
    with pytest.raises(ExportError, match=r"a\.onnx exists; --force replaces it"):
        dse.export(weights, out)
    assert out.read_bytes() == b"mine"
    found = dse.export(weights, out, force=True)
    assert found.file_bytes == out.stat().st_size > 4 * found.params_count


def test_a_candidate_of_a_study_is_its_first_seed(tmp_path: Path) -> None:
    folder = tmp_path / "toy" / "weights"
    for seed in (10, 2):
        write_weights(folder / f"{BYPASS.key}-seed{seed}.safetensors")
    wanted = folder / f"{BYPASS.key}-seed2.safetensors"
    assert find_weights(f"toy/{BYPASS.key}", tmp_path) == wanted
    assert find_weights(f"toy/{BYPASS.key[:3]}", tmp_path) == wanted
    write_weights(folder / f"{BYPASS.key[:3]}-seed0.safetensors")
    with pytest.raises(WeightsError, match=rf"has those of {BYPASS.key[:3]}, {BYPASS.key} that"):
        find_weights(f"toy/{BYPASS.key[:2]}", tmp_path)
    with pytest.raises(WeightsError, match="weights has none that begin with zz"):
        find_weights("toy/zz", tmp_path)


def test_an_unknown_suffix_names_the_formats(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "a.safetensors")
    with pytest.raises(ExportError, match=r"a\.pb: no format goes with '\.pb'; --format is one of"):
        dse.export(weights, tmp_path / "a.pb")


def test_int8_takes_images(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "a.safetensors")
    with pytest.raises(UsageError, match="int8 takes images to calibrate on"):
        dse.export(weights, tmp_path / "a.tflite", int8=True)
    with pytest.raises(UsageError, match="--calibrate is of --int8"):
        dse.export(weights, tmp_path / "a.tflite", calibrate="digits")
    with pytest.raises(DataError, match="images of 8x8x1, but the network takes 16x16x3"):
        dse.export(weights, tmp_path / "a.tflite", int8=True, calibrate="digits")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no images to calibrate on"):
        dse.export(weights, tmp_path / "a.tflite", int8=True, calibrate=f"folder:{tmp_path}/empty")
    assert not (tmp_path / "a.tflite").exists()


def test_int8_is_calibrated_on_training_images(tmp_path: Path) -> None:
    for part, value in (("train", 255), ("test", 0)):
        for name in "ab":
            folder = tmp_path / "photos" / part / name
            folder.mkdir(parents=True)
            Image.new("RGB", (20, 20), (value,) * 3).save(folder / "0.png")
    rule = random_metadata(BYPASS, (16, 16, 3), 10).preprocessing
    images = calibration_images(f"folder:{tmp_path}/photos", rule)
    assert images.shape == (2, 16, 16, 3)
    assert (images == 255).all()
    weights = write_weights(tmp_path / "a.safetensors")
    found = dse.export(
        weights, tmp_path / "a.tflite", int8=True, calibrate=f"folder:{tmp_path}/photos"
    )
    assert (found.precision, found.calibration_count) == ("int8", 2)


def test_class_names_from_a_file(tmp_path: Path) -> None:
    import onnx

    weights, classes = write_weights(tmp_path / "a.safetensors"), tmp_path / "classes.csv"
    rows = [f"{i},n{i},animal {i}" for i in range(10)]
    classes.write_text("\n".join(["index,wnid,name", *rows]))
    out = dse.export(weights, tmp_path / "a.onnx", classes_file=classes).paths[0]
    props = {prop.key: prop.value for prop in onnx.load(out).metadata_props}
    assert json.loads(props["classes"]) == [f"animal {i}" for i in range(10)]
    classes.write_text("\n".join(["index,wnid,name", *rows[:9]]))
    with pytest.raises(DataError, match=r"9 .*10|10 .*9"):
        dse.export(weights, tmp_path / "b.onnx", classes_file=classes)
    assert not (tmp_path / "b.onnx").exists()


def test_a_chip_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = write_weights(tmp_path / "a.safetensors")
    small = replace(find_devices(["STM32F746"])[0], flash_bytes=1000, ram_bytes=2000)
    monkeypatch.setattr(exporting, "find_devices", lambda names: (small,))
    memory = chip_memory(build(BYPASS, (16, 16, 3), 10))
    assert memory is not None
    with pytest.raises(
        ExportError,
        match=rf"flash 1,000 bytes, {memory.flash_bytes - 1000:,} less than the "
        rf"{memory.flash_bytes:,} .*RAM 2,000 bytes, {memory.ram_bytes - 2000:,} less",
    ):
        dse.export(weights, tmp_path / "a.c", calibrate="digits", device="STM32F746")
    with pytest.raises(UsageError, match="--device is of C"):
        dse.export(weights, tmp_path / "a.onnx", device="STM32F746")


def test_local_response_norm_has_no_int8_form() -> None:
    graph = random_graph(make_candidate("alexnet", {"variant": "original"}), (67, 67, 3))
    with pytest.raises(ExportError, match=r"norm1: local norm 5 has no int8 form"):
        quantize(graph, [(0, 1)] * len(graph.shapes))


def test_jax_is_not_imported(tmp_path: Path) -> None:
    weights = write_weights(tmp_path / "a.safetensors")
    code = (
        "import sys, dse; dse.export(sys.argv[1], sys.argv[2]); "
        "print(sorted({'jax', 'flax', 'optuna', 'pandas', 'sklearn'} & set(sys.modules)))"
    )
    run = [sys.executable, "-c", code, str(weights), str(tmp_path / "a.onnx")]
    assert subprocess.run(run, check=True, capture_output=True, text=True).stdout == "[]\n"
