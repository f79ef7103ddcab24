"""A prepared dataset: arrays on disk that any process maps, checked before they are believed.

<directory>/
    data.json                 names, shapes, counts, digests
    train_images.npy          uint8 (n, height, width, channels); where images are streamed
    train_places.npy          int64 (n,) instead, and for a folder `files.bin`, all its paths
    train_labels.npy          int32 (n,)
    validation_images.npy …   the same for validation and test
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dse.data.batches import Batches, Mapped, shape_of, stream
from dse.data.decode import Rule
from dse.data.packfile import Pack, open_pack
from dse.data.splits import SPLITS, SplitName
from dse.errors import DataError
from dse.files import open_ordinary, read_bounded
from dse.text import counted, shape_text
from dse.weights.preprocessing import (
    Preprocessing,
    preprocessing_from_dict,
    trained_preprocessing,
)

FORMAT_VERSION = 1
RECORD_NAME = "data.json"
FILES_NAME = "files.bin"
_RECORD_BYTES = 2**24


@dataclass(frozen=True, eq=False)
class Split:
    """Images that are used for one purpose.

    Attributes:
        images: uint8 (n, height, width, channels), mapped from disk, read-only; or decoded when
            they are asked for.
        labels: int32 (n,), indices into the classes.
    """

    images: Batches
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Split({counted(len(self), 'image')} of {shape_text(self.images.shape[1:])})"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Three splits that never overlap, and what a record needs to name them.

    Attributes:
        name: digits, cifar10, or the name of the folder.
        directory: where the arrays lie; `open_dataset(directory)` gives the same again.
        classes: class names; a label is an index into them.
        input_shape: height, width, channels.
        train: images to train on.
        validation: images to choose by.
        test: images that are used once, for the final accuracy.
        mean: of each channel over `train`, images scaled to [0, 1].
        std: of each channel over `train`, likewise; never below 1/255, so that it may divide.
        fingerprint: hex, from pixels, labels, class names and split; the same on any machine.
        warnings: what the user should know.
        duplicates: images that are the same, by where they are; empty where nobody looked.
        rule: the rule of a network that the images were prepared for; None for `mean` and `std`.
    """

    name: str
    directory: Path
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    train: Split
    validation: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    fingerprint: str
    warnings: tuple[str, ...]
    duplicates: Mapping[str, int] = field(default_factory=dict)
    rule: Preprocessing | None = None

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes the input of a network that is trained on these."""
        return self.rule or trained_preprocessing(self.input_shape, self.mean, self.std)

    @property
    def class_counts(self) -> dict[SplitName, tuple[int, ...]]:
        """Images of each class in each split."""
        return {
            split: tuple(np.bincount(labels, minlength=len(self.classes)).tolist())
            for split, labels in ((split, getattr(self, split).labels) for split in SPLITS)
        }

    def __repr__(self) -> str:
        counts = "/".join(str(len(split)) for split in (self.train, self.validation, self.test))
        classes = counted(len(self.classes), "class")
        return f"Dataset({self.name!r}, {classes}, {counts} images)"


def open_dataset(directory: Path) -> Dataset:
    """Map a prepared dataset.

    Lengths, types, labels and the record are checked; the pixels are not read.

    Raises:
        DataError: it is missing, of another version, or damaged; says which file.
    """
    directory = Path(directory)
    record = read_record(directory)
    height, width, channels = shape = tuple(record["input_shape"])
    classes = tuple(record["classes"])
    rule = preprocessing_from_dict(given) if (given := record.get("preprocessing")) else None
    images: Callable[[SplitName, int], Batches] = partial(_decoded, directory, shape)
    if (origin := record.get("stream")) is not None:
        used = rule or Rule((height, width, channels), origin["resized"])
        images = _streamed(directory, origin, used)
    splits = {
        split: _open_split(directory, split, images, len(classes), record["splits"][split])
        for split in SPLITS
    }
    return Dataset(
        name=record["name"],
        directory=directory,
        classes=classes,
        input_shape=(height, width, channels),
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        mean=tuple(record["mean"]),
        std=tuple(record["std"]),
        fingerprint=record["fingerprint"],
        warnings=tuple(record["warnings"]),
        duplicates=record.get("duplicates", {}),
        rule=rule,
    )


def read_record(directory: Path) -> dict[str, Any]:
    """The content of `data.json`, all of it checked.

    Raises:
        DataError: it is missing, unreadable, damaged or of another version.
    """
    path = directory / RECORD_NAME
    try:
        record = json.loads(read_bounded(path, _RECORD_BYTES).decode())
    except FileNotFoundError as error:
        raise DataError(f"{directory} holds no prepared data ({RECORD_NAME} is missing)") from error
    except (OSError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    version = record.get("format_version") if isinstance(record, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path}: format version is {version}, but this dse reads {FORMAT_VERSION}; "
            f"delete {directory}, and it is prepared again"
        )
    for name, is_sound in _FIELDS.items():
        if not is_sound(record.get(name, {} if name == "duplicates" else None)):
            raise _damaged(path, f"it lacks or misstates {name!r}")
    shape, splits = record["input_shape"], record["splits"]
    if not len(record["mean"]) == len(record["std"]) == shape[2]:
        raise _damaged(path, f"'mean' and 'std' are not of {shape[2]} channels")
    rule = record.get("preprocessing")
    if fingerprint(record["classes"], shape, splits, rule) != record["fingerprint"]:
        raise _damaged(path, "the fingerprint does not match its content")
    # Earlier versions wrote no digest; its name may not be lost by accident either.
    if record.get("digest") != record_digest(record) and (
        "digest" in record or not record.keys() <= {"format_version", "spec", *_FIELDS}
    ):
        raise _damaged(path, "it is not what was written (its digest differs)")
    return dict(record)


def record_digest(record: Mapping[str, Any]) -> str:
    """Hex of 128 bits over all of a record but its digest."""
    content = {name: value for name, value in record.items() if name != "digest"}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _is_count(value: object, least: int = 0) -> bool:
    return type(value) is int and least <= value < 2**40


def _is_list(value: object, is_item: Callable[[Any], bool]) -> bool:
    return isinstance(value, list) and all(map(is_item, value))


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_split(value: object) -> bool:
    return (
        isinstance(value, dict)
        and _is_count(value.get("images_count"))
        and _is_text(value.get("images_digest"))
        and _is_text(value.get("labels_digest"))
    )


def _is_rule(value: object) -> bool:
    if value is None:
        return True
    try:
        return isinstance(value, dict) and bool(preprocessing_from_dict(value))
    except (ValueError, TypeError, AttributeError):
        return False


_FIELDS: Mapping[str, Callable[[Any], bool]] = {
    "input_shape": lambda v: _is_list(v, lambda n: _is_count(n, 1)) and len(v) == 3,
    "classes": lambda v: _is_list(v, _is_text) and len(v) == len(set(v)) > 0,
    "splits": lambda v: isinstance(v, dict) and all(_is_split(v.get(name)) for name in SPLITS),
    "name": _is_text,
    "mean": lambda v: _is_list(v, lambda x: type(x) is float and 0 <= x <= 1),
    "std": lambda v: _is_list(v, lambda x: type(x) is float and 0 < x <= 1),
    "warnings": lambda v: _is_list(v, _is_text),
    "duplicates": lambda v: isinstance(v, dict) and all(map(_is_count, v.values())),
    "preprocessing": _is_rule,
    "stream": lambda v: (
        v is None
        or (
            isinstance(v, dict)
            and v.get("kind") in ("pack", "folder")
            and all(isinstance(v.get(name), str) for name in ("path", "signature"))
            and all(isinstance(v.get(name), bool) for name in ("resized", "mapped"))
        )
    ),
    "fingerprint": _is_text,
}
"""What each field of a record has to be."""


def check_pixels(dataset: Dataset) -> None:
    """Read every pixel and compare with the digests of the record; streamed images are not.

    Raises:
        DataError: a file is not what was written; says which.
    """
    splits = read_record(dataset.directory)["splits"]
    for split in SPLITS:
        images = getattr(dataset, split).images
        if isinstance(images, np.ndarray) and digest(images) != splits[split]["images_digest"]:
            path = dataset.directory / images_name(split)
            raise _damaged(path, "its pixels are not those that were written")


def fingerprint(
    classes: Sequence[str],
    input_shape: Sequence[int],
    splits: Mapping[str, Mapping[str, Any]],
    preprocessing: Mapping[str, Any] | None = None,
) -> str:
    """Hex of 128 bits over class names, shape, each split's pixels and labels, and a given rule."""
    content = {
        "classes": list(classes),
        "input_shape": list(input_shape),
        "splits": {
            split: [
                splits[split][key] for key in ("images_count", "images_digest", "labels_digest")
            ]
            for split in SPLITS
        },
        **({"preprocessing": preprocessing} if preprocessing else {}),
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def digest(array: np.ndarray) -> str:
    """Hex of 256 bits over the bytes of an array in C order."""
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=32).hexdigest()


def images_name(split: SplitName) -> str:
    """File name of a split's images."""
    return f"{split}_images.npy"


def places_name(split: SplitName) -> str:
    """File name of where a split's images lie, which are streamed."""
    return f"{split}_places.npy"


def labels_name(split: SplitName) -> str:
    """File name of a split's labels."""
    return f"{split}_labels.npy"


def _open_split(
    directory: Path,
    split: SplitName,
    open_images: Callable[[SplitName, int], Batches],
    classes_count: int,
    record: Mapping[str, Any],
) -> Split:
    count = record["images_count"]
    images = open_images(split, count)
    labels = np.array(_open_array(directory / labels_name(split), (count,), np.int32))
    labels.setflags(write=False)
    path = directory / labels_name(split)
    if digest(labels) != record["labels_digest"]:
        raise _damaged(path, "its labels are not those that were written")
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= classes_count:
        raise _damaged(path, f"a label is outside 0 to {classes_count - 1}")
    return Split(images, labels)


def _decoded(directory: Path, shape: tuple[int, ...], split: SplitName, count: int) -> np.ndarray:
    return _open_array(directory / images_name(split), (count, *shape), np.uint8)


def _streamed(
    directory: Path, origin: Mapping[str, Any], rule: Rule | Preprocessing
) -> Callable[[SplitName, int], Batches]:
    """What opens the images of a split that are decoded when they are asked for.

    Raises:
        DataError: the pack is gone or another, or the list of files is damaged.
    """
    path, pixels = Path(origin["path"]), None
    files: Sequence[str] | Pack
    if origin["kind"] == "pack":
        files = open_pack(path)
        if files.digest != origin["signature"]:
            raise DataError(f"{path} is another pack than when its images were prepared")
        pixels = files.mapped(shape_of(rule)) if origin["mapped"] else None
        total = len(files)
    else:
        listing = directory / FILES_NAME
        try:
            data = listing.read_bytes()
        except OSError as error:
            raise _damaged(listing, str(error)) from error
        if hashlib.blake2b(data, digest_size=16).hexdigest() != origin["signature"]:
            raise _damaged(listing, "it is not what was written")
        files = [os.fsdecode(name) for name in data.split(b"\0")]
        total = len(files)

    def open_images(split: SplitName, count: int) -> Batches:
        listed = directory / places_name(split)
        places = np.array(_open_array(listed, (count,), np.int64))
        if places.min(initial=0) < 0 or places.max(initial=0) >= total:
            raise _damaged(listed, f"an image is outside 0 to {total - 1}")
        return Mapped(pixels, places) if pixels is not None else stream(files, places, rule)

    return open_images


def array_header(shape: tuple[int, ...], dtype: type[np.generic]) -> bytes:
    """What a `.npy` file of an array begins with."""
    file = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(np.dtype(dtype))
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def _open_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    """Map an array whose shape and type are known: its header is compared, not interpreted."""
    wanted = array_header(shape, dtype)
    try:
        with open_ordinary(path) as file:
            head = file.read(10)
            head += file.read(int.from_bytes(head[8:], "little"))
            data_bytes = os.fstat(file.fileno()).st_size - len(head)
        # numpy's versions differ in the blanks at the end, and thus in the length.
        is_sound = head[:8] == wanted[:8] and head[10:].rstrip() == wanted[10:].rstrip()
        if not is_sound or data_bytes != math.prod(shape) * np.dtype(dtype).itemsize:
            raise _damaged(path, f"it should hold {np.dtype(dtype)} {shape}")
        return np.memmap(path, dtype, "r", offset=len(head), shape=shape)
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, found: str) -> DataError:
    return DataError(f"{path} is damaged: {found}; delete {path.parent}, and it is prepared again")
