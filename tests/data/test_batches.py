"""Images by the batch are the same wherever they lie and however many threads decode them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from dse.data import parse_data, prepare_data
from dse.data.batches import Mapped, Streamed, ahead, decoders_count, random_crop, take
from dse.data.packing import pack_folder
from dse.errors import DataError
from tests.data.trees import write_classes


def prepared(text: str, root, monkeypatch, gb: str, **options):
    monkeypatch.setenv("DSE_STREAM_GB", gb)
    spec = parse_data(text, **options)
    return prepare_data(spec, cache_directory=root / f"cache-{gb}-{text.partition(':')[0]}")


def test_three_places_of_the_same_images(tmp_path, monkeypatch):
    write_classes(tmp_path / "photos", {"ant": 12, "bee": 9}, shape=(10, 10, 3))
    folder = f"folder:{tmp_path / 'photos'}"
    for format in ("raw", "jpeg"):
        out = tmp_path / f"{format}.pack"
        pack_folder(parse_data(folder), out, short_side=160, format=format)
    memory = prepared(folder, tmp_path, monkeypatch, "4")
    files = prepared(folder, tmp_path, monkeypatch, "0")
    mapped = prepared(f"pack:{tmp_path / 'raw.pack'}", tmp_path, monkeypatch, "4")
    kinds = [type(data.train.images) for data in (memory, files, mapped)]
    assert kinds == [np.memmap, Streamed, Mapped]
    which = np.array([5, 0, 13, 5])
    for data in (files, mapped):
        assert data.fingerprint == memory.fingerprint
        assert (data.mean, data.std) == (memory.mean, memory.std)
        assert data.train.images.shape == memory.train.images.shape
        assert data.train.images.nbytes == memory.train.images.nbytes
        np.testing.assert_array_equal(data.train.images[which], memory.train.images[which])
        np.testing.assert_array_equal(data.test.images[1:3], memory.test.images[1:3])
        for area in (0.0, 0.3):
            ours = take(data.train.images, which, (1, 2), area)
            theirs = take(memory.train.images, which, (1, 2), area)
            np.testing.assert_array_equal(ours, theirs)
            ours[:] = 0  # nobody else's
        np.testing.assert_array_equal(data.train.images[which], memory.train.images[which])
    lossy = prepared(f"pack:{tmp_path / 'jpeg.pack'}", tmp_path, monkeypatch, "0")
    kept = prepared(f"pack:{tmp_path / 'jpeg.pack'}", tmp_path, monkeypatch, "4")
    assert isinstance(lossy.train.images, Streamed)
    np.testing.assert_array_equal(lossy.train.images[:], kept.train.images[:])
    assert not np.array_equal(lossy.train.images[:], memory.train.images[:])


@pytest.mark.parametrize("image_size", [6, 13])
def test_a_streamed_folder_gives_the_pixels_of_a_kept_one(tmp_path, monkeypatch, image_size):
    write_classes(tmp_path / "photos", {"ant": 5, "bee": 5}, shape=(90, 41, 3), extension="jpg")
    folder = f"folder:{tmp_path / 'photos'}"
    kept = prepared(folder, tmp_path, monkeypatch, "4", image_size=image_size)
    files = prepared(folder, tmp_path, monkeypatch, "0", image_size=image_size)
    np.testing.assert_array_equal(files.train.images[:], kept.train.images[:])
    assert files.fingerprint == kept.fingerprint
    assert not list(files.directory.glob("*images*"))


def test_the_number_of_decoders_changes_nothing(tmp_path, monkeypatch):
    write_classes(tmp_path / "photos", {"ant": 30, "bee": 30}, shape=(20, 24, 3), extension="jpg")
    found = []
    for decoders in ("1", "4"):
        monkeypatch.setenv("DSE_DECODERS", decoders)
        data = prepared(f"folder:{tmp_path / 'photos'}", tmp_path, monkeypatch, "0", image_size=12)
        which = np.random.default_rng(0).permutation(len(data.train))
        found.append([take(data.train.images, which, (3, 0, epoch), 0.1) for epoch in (0, 1)])
    np.testing.assert_array_equal(*found)
    assert not np.array_equal(found[0][0], found[0][1])  # another epoch, other crops
    monkeypatch.setenv("DSE_DECODERS", "none")
    with pytest.raises(DataError, match="DSE_DECODERS is 'none', but must be a number of threads"):
        decoders_count()


def test_random_crops_have_the_areas_and_ratios_that_were_asked_for():
    """Red is the column and green the row, so a crop's corners tell where it was."""
    rows, columns = np.mgrid[0:200, 0:250]
    image = Image.fromarray(np.stack([columns, rows, 0 * rows], 2).astype(np.uint8))
    areas, ratios = [], []
    for seed in range(400):
        found = random_crop(image, (64, 64), np.random.default_rng(seed), 0.2).astype(float)
        # The centres of the first and last pixels are a 64th of the crop apart from its borders.
        width = (found[:, -1, 0] - found[:, 0, 0]).mean() * 64 / 63
        height = (found[-1, :, 1] - found[0, :, 1]).mean() * 64 / 63
        areas.append(width * height / (200 * 250))
        ratios.append(width / height)
    assert 0.18 < min(areas) < 0.23
    assert 0.85 < max(areas) <= 1.02
    assert 0.5 < np.mean(areas) < 0.62  # uniform in [0.2, 1], less those that did not fit
    assert 0.73 < min(ratios) < 0.8
    assert 1.25 < max(ratios) < 1.36
    assert abs(np.log(ratios).mean()) < 0.06  # wide and tall nearly alike: this image is wide


def test_an_image_in_which_no_crop_fits_gives_its_middle():
    thin = Image.fromarray(np.arange(100, dtype=np.uint8)[None, :].repeat(2, 0))
    found = random_crop(thin, (2, 3), np.random.default_rng(0), 1.0)
    assert found.tolist() == [[48, 49, 50]] * 2  # 3 of 100 columns: 4/3 of two rows


def test_the_next_item_is_made_while_one_is_used():
    made = []

    def items():
        for number in range(3):
            made.append(number)
            yield number
        raise DataError("broken")

    iterator = ahead(items())
    assert next(iterator) == 0
    assert list(zip(range(2), iterator, strict=False)) == [(0, 1), (1, 2)]
    assert made == [0, 1, 2]
    with pytest.raises(DataError, match="broken"):
        next(iterator)


def test_images_that_changed_since_are_told_of(tmp_path, monkeypatch):
    write_classes(tmp_path / "photos", {"ant": 12, "bee": 9}, shape=(10, 10, 3))
    data = prepared(f"folder:{tmp_path / 'photos'}", tmp_path, monkeypatch, "0")
    for path in (tmp_path / "photos").rglob("*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match="it could be decoded when the images were prepared"):
        data.train.images[:3]
