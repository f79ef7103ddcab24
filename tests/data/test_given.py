"""Images for networks that start from given weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dse.architecture import build, make_candidate
from dse.data import open_dataset, parse_data, prepare_data
from dse.data.given import as_trained, images_for
from dse.data.packing import pack_folder
from dse.errors import DataError, WeightsError
from dse.weights import given as given_module
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import PREPROCESSINGS, trained_preprocessing
from dse.weights.safetensors import nested, save_weights

CAFFE = replace(PREPROCESSINGS["caffe"], resize_px=(20, 20), crop_px=(16, 16))
GRAY = trained_preprocessing((16, 16, 1), (0.5,), (0.25,))


def write_weights(path: Path, rule, classes: tuple[str, ...] = ("Cat", "dog", "cow")) -> Path:
    candidate = make_candidate("squeezenet", {"base_e": 8, "incr_e": 8, "fire_modules": 2})
    parameters = build(candidate, rule.input_shape, len(classes)).parameters
    arrays = {p.path: np.ones(p.shape, np.float32) for p in parameters}
    metadata = WeightsMetadata(
        family=candidate.family,
        metaparameters=candidate.metaparameters,
        input_shape=rule.input_shape,
        classes=classes,
        preprocessing=rule,
    )
    save_weights(path, *nested(arrays), metadata)
    return path


@pytest.fixture
def photos(tmp_path, monkeypatch) -> str:
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "cache"))
    draws = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            pixels = draws.integers(0, 256, (30, 40, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{number}.png")
    return f"folder:{tmp_path / 'photos'}"


def test_images_are_prepared_as_the_weights_say(photos, tmp_path):
    file = write_weights(tmp_path / "a.safetensors", CAFFE)
    spec, given = images_for(photos, file, None, None, "warn")
    dataset = prepare_data(spec)
    wanted = replace(CAFFE, upright=True, draft=True)
    assert dataset.preprocessing == open_dataset(dataset.directory).preprocessing == wanted
    first = sorted((tmp_path / "photos" / "cat").iterdir())
    resized = [
        np.asarray(Image.open(path).resize((20, 20), Image.Resampling.BILINEAR))[2:18, 2:18]
        for path in first
    ]
    assert any((dataset.train.images[0] == image).all() for image in resized)
    assert given is not None
    assert given.knows(dataset.classes)
    assert not given.knows(("cat", "horse"))
    plain = prepare_data(parse_data(photos, image_size=16))
    assert plain.rule is None
    assert plain.fingerprint != dataset.fingerprint


def test_another_size_keeps_the_ratio_of_resize_and_crop(photos, tmp_path):
    file = write_weights(tmp_path / "a.safetensors", CAFFE)
    spec, _ = images_for(photos, file, 8, None, "warn")
    assert spec.preprocessing is not None
    assert (spec.preprocessing.resize_px, spec.preprocessing.crop_px) == ((10, 10), (8, 8))


@pytest.mark.parametrize("packed", [False, True])
def test_small_images_are_enlarged_twofold_at_most(photos, tmp_path, packed):
    """Of 30x40 pixels: to 60 where the weights take 200, to less where those do."""
    if packed:
        pack_folder(parse_data(photos), tmp_path / "p.pack", short_side=64)
        photos = f"pack:{tmp_path / 'p.pack'}"
    for (resize, crop), wanted in {
        (250, 200): ((75, 75), (60, 60)),
        (80, 60): ((80, 80), (60, 60)),
        (60, 50): ((60, 60), (50, 50)),
    }.items():
        rule = replace(CAFFE, resize_px=(resize, resize), crop_px=(crop, crop))
        file = write_weights(tmp_path / "a.safetensors", rule)
        spec, _ = images_for(photos, file, None, None, "warn")
        assert spec.preprocessing is not None
        assert (spec.preprocessing.resize_px, spec.preprocessing.crop_px) == wanted
    assert prepare_data(spec).input_shape == (50, 50, 3)


def test_other_means_are_other_data(photos, tmp_path):
    found = set()
    for mean in ((104.0, 117.0, 123.0), (0.0, 0.0, 0.0)):
        file = write_weights(tmp_path / "a.safetensors", replace(CAFFE, mean=mean))
        found.add(prepare_data(images_for(photos, file, None, None, "warn")[0]).fingerprint)
    assert len(found) == 2


def test_weights_that_started_from_others_name_their_images(photos):
    candidate = make_candidate("squeezenet", {})
    metadata = WeightsMetadata(
        family="squeezenet",
        metaparameters=candidate.metaparameters,
        input_shape=CAFFE.input_shape,
        classes=("a", "b"),
        preprocessing=CAFFE,
        extra={"init": "0" * 64},
    )
    spec = parse_data(photos)
    assert as_trained(spec, metadata).preprocessing == CAFFE
    assert as_trained(spec, replace(metadata, extra={})) == spec


def test_colour_photos_for_gray_weights(photos, tmp_path):
    file = write_weights(tmp_path / "a.safetensors", GRAY)
    spec, _ = images_for(photos, file, None, None, "warn")
    with pytest.raises(DataError, match="images in colour, but the given weights take gray"):
        prepare_data(spec)


def test_weights_larger_than_memory(tmp_path, monkeypatch):
    file = write_weights(tmp_path / "a.safetensors", CAFFE)
    monkeypatch.setattr(given_module, "TIMES_IN_MEMORY", 10**9)
    with pytest.raises(WeightsError, match="MB of memory, but"):
        images_for("digits", file, None, None, "warn")
