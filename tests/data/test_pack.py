"""Packs: what is packed comes back, interrupted or not, and what is damaged is refused by name."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dse.data import parse_data, prepare_data
from dse.data.packfile import HEADER_BYTES, open_pack
from dse.data.packing import pack_folder
from dse.data.splits import SPLITS
from dse.errors import DataError
from tests.data.trees import write_classes


def pack(root: Path, out: Path, **options):
    options = {"short_side": 160, "format": "raw"} | options
    return pack_folder(parse_data(f"folder:{root}"), out, **options)


@pytest.fixture
def packed(tmp_path):
    write_classes(tmp_path / "photos", {"ant": 10, "bee": 5})
    found = pack(tmp_path / "photos", tmp_path / "photos.pack")
    return found.path


def test_a_pack_is_split_as_its_folder(tmp_path, packed):
    ours = prepare_data(parse_data(f"pack:{packed}"), cache_directory=tmp_path / "cache")
    theirs = prepare_data(
        parse_data(f"folder:{tmp_path / 'photos'}"), cache_directory=tmp_path / "cache"
    )
    for split in SPLITS:
        one, other = getattr(ours, split), getattr(theirs, split)
        np.testing.assert_array_equal(one.images[:], other.images[:])
        np.testing.assert_array_equal(one.labels, other.labels)
    assert ours.fingerprint == theirs.fingerprint  # so a study of one resumes on the other


def test_jpegs_of_larger_images_keep_their_aspect_and_smaller_ones_their_size(tmp_path):
    sizes = {"wide": (100, 50), "tall": (30, 90), "small": (20, 25)}  # (width, height)
    for name, size in sizes.items():
        for kind in ("ant", "bee"):
            (tmp_path / "photos" / kind).mkdir(parents=True, exist_ok=True)
            gradient = np.linspace(0, 255, size[0] * size[1] * 3).reshape(size[1], size[0], 3)
            image = Image.fromarray(gradient.astype(np.uint8))
            image.save(tmp_path / "photos" / kind / f"{name}.png")
    found = open_pack(
        pack(tmp_path / "photos", tmp_path / "a.pack", short_side=40, format="jpeg").path
    )
    # By class and name: small, tall, wide.
    assert found.columns["width"].tolist() == [20, 30, 80] * 2
    assert found.columns["height"].tolist() == [25, 90, 40] * 2
    assert [found.image_name(i) for i in (0, 5)] == ["ant/small.png", "bee/wide.png"]
    for place in range(6):
        start, size = (int(found.columns[name][place]) for name in ("offset", "size"))
        data = found.path.read_bytes()[start : start + size]
        np.testing.assert_array_equal(found.pixels(place), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("format", ["jpeg", "raw"])
def test_an_interrupted_pack_resumes_to_the_same_bytes(tmp_path, monkeypatch, format):
    write_classes(tmp_path / "photos", {"ant": 10, "bee": 6})
    monkeypatch.setattr("dse.data.packing._BLOCK_COUNT", 2)
    whole = pack(tmp_path / "photos", tmp_path / "whole.pack", format=format).path.read_bytes()

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "packing" and done >= 6:
            raise KeyboardInterrupt

    out = tmp_path / "again.pack"
    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "photos", out, format=format, progress=interrupt)
    assert not out.exists()
    part = tmp_path / "again.pack.part"
    part.write_bytes(part.read_bytes() + b"half an image")  # written, but not in the journal
    found = pack(tmp_path / "photos", out, format=format)
    assert found.resumed_count == 6
    assert out.read_bytes() == whole
    assert sorted(path.name for path in tmp_path.glob("again*")) == ["again.pack"]


def test_what_was_begun_otherwise_is_begun_anew(tmp_path, monkeypatch):
    write_classes(tmp_path / "photos", {"ant": 10, "bee": 6})

    def interrupt(stage: str, done: int, total: int) -> None:
        if stage == "packing":
            raise KeyboardInterrupt

    out = tmp_path / "a.pack"
    with pytest.raises(KeyboardInterrupt):
        pack(tmp_path / "photos", out, short_side=4, progress=interrupt)
    assert pack(tmp_path / "photos", out, short_side=5).resumed_count == 0
    assert set(open_pack(out).columns["width"].tolist()) == {5}


def test_broken_images_are_named_and_left_out(tmp_path):
    write_classes(tmp_path / "photos", {"ant": 120, "bee": 60})
    (tmp_path / "photos/ant/0003.png").write_bytes(b"no image")
    found = pack(tmp_path / "photos", tmp_path / "a.pack")
    assert found.images_count == 179
    assert found.broken == ("ant/0003.png (cannot identify image file)",)
    data = prepare_data(parse_data(f"pack:{found.path}"), cache_directory=tmp_path / "cache")
    assert sum(len(getattr(data, split)) for split in SPLITS) == 179
    for number in range(5):
        (tmp_path / f"photos/bee/{number:04}.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"6 of 180 images cannot be decoded: ant/0003.png"):
        pack(tmp_path / "photos", tmp_path / "b.pack")


def test_where_a_pack_may_be_written(tmp_path, packed):
    with pytest.raises(DataError, match=r"--out .*a.pack lies in the folder that is packed"):
        pack(tmp_path / "photos", tmp_path / "photos/ant/a.pack")
    with pytest.raises(DataError, match=r"photos.pack exists; --force replaces it"):
        pack(tmp_path / "photos", packed)
    assert pack(tmp_path / "photos", packed, force=True).images_count == 15
    with pytest.raises(DataError, match=r"--out .*absent/a.pack: cannot be written: No such file"):
        pack(tmp_path / "photos", tmp_path / "absent/a.pack")


def changed(path: Path, at: int, value: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[at : at + len(value) if at + len(value) else None] = value
    path.write_bytes(data)


DAMAGE = {
    "version": (8, b"\x07", "is a pack of version 7, but this dse reads 1; pack the images again"),
    "kind": (0, b"no pack!", r"is no pack; `dse pack folder:PATH --out FILE` makes one"),
    "an image": (HEADER_BYTES + 3, b"\xff\x00\xff", r"ant/0000.png: its checksum differs"),
    "the index": (-60, b"\x00\x01\x02", "the checksum of its index differs; copy it again"),
    "the end": (-1, b"?", "is cut short or was never finished; copy it or pack it again"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_damaged_pack_is_refused(tmp_path, packed, monkeypatch, what):
    at, value, message = DAMAGE[what]
    changed(packed, at, value)
    with pytest.raises(DataError, match=message):
        prepare_data(parse_data(f"pack:{packed}"), cache_directory=tmp_path / "cache")


@pytest.mark.parametrize("kept", [0, 10, 17, 300])
def test_a_pack_that_is_cut_short_is_refused(tmp_path, packed, kept):
    packed.write_bytes(packed.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"cut short|no pack"):
        open_pack(packed)


def test_a_pack_that_is_gone_is_told_of(tmp_path, packed):
    with pytest.raises(DataError, match=r"absent.pack cannot be read: No such file"):
        open_pack(tmp_path / "absent.pack")
    with pytest.raises(DataError, match=r"did you mean pack:.*photos.pack"):
        parse_data(str(packed))
    shutil.rmtree(tmp_path / "photos")  # the folder is not needed any more
    assert len(open_pack(packed)) == 15
