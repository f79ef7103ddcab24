"""The format of packs: many images in one file, found by an index at its end.

    16 bytes    "dse pack", version as uint32, 4 zeros
    images      one after the other: JPEG files, or pixels as uint8 (height, width, channel)
    index       length of what follows as uint32 and as JSON: name, classes, images of each part,
                channels, format; then little-endian arrays over all images: offset uint64, size
                uint32, height and width uint16, label int32, CRC-32 uint32, and the end of its
                name uint64; then the names
    40 bytes    offset and length of the index as uint64, BLAKE2b-128 of it, "dse pack"

Images stand part by part (train, validation, test), in each by class and name. Size 0 is an image
that could not be decoded. A pack is read by any machine and names no path.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from dse.data.opening import DECODING_BYTES, decode_jpeg
from dse.data.splits import SPLITS, SplitName
from dse.errors import DataError
from dse.files import open_ordinary

MAGIC, VERSION = b"dse pack", 1
_HEADER, _FOOTER = struct.Struct("<8sII"), struct.Struct("<QQ16s8s")
HEADER_BYTES = _HEADER.size

COLUMNS: Mapping[str, str] = {
    "offset": "<u8",
    "size": "<u4",
    "height": "<u2",
    "width": "<u2",
    "label": "<i4",
    "checksum": "<u4",
    "name_end": "<u8",
}
_INDEX_BYTES = 2**34
_JSON_BYTES = 2**24

Format = Literal["jpeg", "raw"]


def header() -> bytes:
    """What a pack begins with."""
    return _HEADER.pack(MAGIC, VERSION, 0)


def index_and_footer(
    about: Mapping[str, Any], columns: Mapping[str, np.ndarray], names: bytes, offset: int
) -> bytes:
    """What follows the images of a pack, which end at `offset`."""
    text = json.dumps(about, sort_keys=True).encode()
    arrays = [columns[name].astype(kind).tobytes() for name, kind in COLUMNS.items()]
    index = b"".join([struct.pack("<I", len(text)), text, *arrays, names])
    digest = hashlib.blake2b(index, digest_size=16).digest()
    return index + _FOOTER.pack(offset, len(index), digest, MAGIC)


@dataclass(frozen=True, eq=False)
class Pack:
    """An opened pack.

    Attributes:
        path: the file.
        digest: hex of the index, which covers the checksums of all images.
        name: of the folder that was packed.
        classes: class names.
        counts: images of each part, broken ones included.
        channels: 1 or 3.
        format: how images are stored.
        columns: arrays (image,) by `COLUMNS`.
        names: of all images, one behind the other.
    """

    path: Path
    digest: str
    name: str
    classes: tuple[str, ...]
    counts: Mapping[SplitName, int]
    channels: int
    format: Format
    columns: Mapping[str, np.ndarray]
    names: bytes

    def __len__(self) -> int:
        return len(self.columns["label"])

    @cached_property
    def _descriptor(self) -> int:
        return os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)

    def image_name(self, place: int) -> str:
        """Its path below the folder of its part, with "/"."""
        ends = self.columns["name_end"]
        start = int(ends[place - 1]) if place else 0
        return os.fsdecode(self.names[start : int(ends[place])])

    def pixels(self, place: int) -> np.ndarray:
        """An image as uint8 (height, width, channels), as it was packed.

        Raises:
            DataError: it is not what was packed.
        """
        size, offset = int(self.columns["size"][place]), int(self.columns["offset"][place])
        data = os.pread(self._descriptor, size, offset)
        if zlib.crc32(data) != self.columns["checksum"][place]:
            raise self._damaged(place, "its checksum differs from what was packed")
        height, width = int(self.columns["height"][place]), int(self.columns["width"][place])
        shape = (height, width, self.channels)
        if self.format == "raw":
            return np.frombuffer(data, np.uint8).reshape(shape)
        try:
            found = decode_jpeg(data, shape)
        except ValueError as error:
            raise self._damaged(place, str(error)) from error
        return found

    def mapped(self, shape: tuple[int, int, int]) -> np.ndarray | None:
        """All images as one array (image, height, width, channels), if they lie in it so."""
        columns, size = self.columns, int(np.prod(shape))
        expected = HEADER_BYTES + size * np.arange(len(self), dtype=np.uint64)
        if self.format != "raw" or (columns["offset"] != expected).any():
            return None
        sizes = zip(columns["height"], columns["width"], strict=True)
        if shape[2] != self.channels or any((h, w) != shape[:2] for h, w in set(sizes)):
            return None
        return np.memmap(self.path, np.uint8, "r", offset=HEADER_BYTES, shape=(len(self), *shape))

    def _damaged(self, place: int, why: str) -> DataError:
        return DataError(
            f"{self.path} is damaged: {self.image_name(place)}: {why}; copy it again, or pack the "
            "images again"
        )


def open_pack(path: Path) -> Pack:
    """Read the index of a pack, and no image.

    Raises:
        DataError: missing, no pack, of another version, cut short, or its index is damaged.
    """
    try:
        with open_ordinary(path) as file:
            size_bytes = os.fstat(file.fileno()).st_size
            head = file.read(HEADER_BYTES)
            if len(head) < HEADER_BYTES or head[:8] != MAGIC:
                raise DataError(f"{path} is no pack; `dse pack folder:PATH --out FILE` makes one")
            version = _HEADER.unpack(head)[1]
            if version != VERSION:
                raise DataError(
                    f"{path} is a pack of version {version}, but this dse reads {VERSION}; pack "
                    "the images again"
                )
            file.seek(max(HEADER_BYTES, size_bytes - _FOOTER.size))
            tail = file.read()
            cut = DataError(f"{path} is cut short or was never finished; copy it or pack it again")
            if len(tail) != _FOOTER.size:
                raise cut
            offset, length, digest, end = _FOOTER.unpack(tail)
            if end != MAGIC or offset + length + _FOOTER.size != size_bytes:
                raise cut
            if length > _INDEX_BYTES:
                raise DataError(f"{path}: an index of {length:,} bytes is not read")
            file.seek(offset)
            index = file.read(length)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.blake2b(index, digest_size=16).digest() != digest:
        raise DataError(f"{path} is damaged: the checksum of its index differs; copy it again")
    try:
        return _pack(path, digest.hex(), index, offset)
    except (ValueError, LookupError, TypeError, struct.error, RecursionError) as error:
        raise DataError(f"{path} is no sound pack: {error}") from error


def _pack(path: Path, digest: str, index: bytes, end: int) -> Pack:
    (text_bytes,) = struct.unpack_from("<I", index)
    if text_bytes > _JSON_BYTES:
        raise ValueError("its description is too long")
    about = json.loads(index[4 : 4 + text_bytes])
    counts = {split: about["counts"][split] for split in SPLITS if split in about["counts"]}
    if not all(type(count) is int and count >= 0 for count in counts.values()):
        raise ValueError("its counts are no numbers of images")
    total, at = sum(counts.values()), 4 + text_bytes
    columns = {}
    for name, kind in COLUMNS.items():
        columns[name] = np.frombuffer(index, kind, total, at)
        at += columns[name].nbytes
    classes, channels = tuple(about["classes"]), about["channels"]
    areas = columns["height"].astype(np.int64) * columns["width"]
    ends = columns["offset"] + columns["size"]
    names = index[at:]
    sound = {
        "its classes": all(isinstance(name, str) for name in classes)
        and len(set(classes)) == len(classes) > 0,
        "its name": isinstance(about["name"], str),
        "its channels": channels in (1, 3),
        "its format": about["format"] in ("jpeg", "raw"),
        "a label": columns["label"].min(initial=0) >= 0
        and columns["label"].max(initial=0) < len(classes),
        "an offset": columns["offset"].min(initial=HEADER_BYTES) >= HEADER_BYTES
        and int(ends.max(initial=0)) <= end,
        "a size": int(columns["size"].max(initial=0)) <= DECODING_BYTES
        and areas.max(initial=0) * channels <= DECODING_BYTES,
        "its names": bool((np.diff(columns["name_end"].astype(np.int64), prepend=0) > 0).all())
        and (not total or int(columns["name_end"][-1]) == len(names)),
    }
    if about["format"] == "raw":
        kept = columns["size"] > 0
        sound["a size"] = sound["a size"] and bool(
            (columns["size"] == areas * channels)[kept].all()
        )
    if wrong := [name for name, is_sound in sound.items() if not is_sound]:
        raise ValueError(f"{' and '.join(wrong)} cannot be")
    return Pack(
        path, digest, about["name"], classes, counts, channels, about["format"], columns, names
    )


def names_of(names: Sequence[str]) -> tuple[bytes, np.ndarray]:
    """Names one behind the other, and where each ends."""
    encoded = [os.fsencode(name) for name in names]
    return b"".join(encoded), np.cumsum([len(name) for name in encoded], dtype=np.uint64)
