"""A prepared dataset: arrays on disk that any process maps, checked before they are believed.

<directory>/
    data.json                 names, shapes, counts, digests
    train_images.npy          uint8 (n, height, width, channels)
    train_labels.npy          int32 (n,)
    validation_images.npy …   the same for validation and test
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dse.data.splits import SPLITS, SplitName
from dse.errors import DataError
from dse.text import counted, shape_text

FORMAT_VERSION = 1
RECORD_NAME = "data.json"


@dataclass(frozen=True, eq=False)
class Split:
    """Images that are used for one purpose.

    Attributes:
        images: uint8 (n, height, width, channels), mapped from disk, read-only.
        labels: int32 (n,), indices into the classes.
    """

    images: np.ndarray
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
    try:
        shape = tuple(int(pixels) for pixels in record["input_shape"])
        classes = tuple(str(name) for name in record["classes"])
        splits = {
            split: _open_split(directory, split, shape, len(classes), record["splits"][split])
            for split in SPLITS
        }
        if fingerprint(classes, shape, record["splits"]) != record["fingerprint"]:
            raise _damaged(directory / RECORD_NAME, "the fingerprint does not match its content")
        height, width, channels = shape
        return Dataset(
            name=str(record["name"]),
            directory=directory,
            classes=classes,
            input_shape=(height, width, channels),
            train=splits["train"],
            validation=splits["validation"],
            test=splits["test"],
            mean=tuple(float(value) for value in record["mean"]),
            std=tuple(float(value) for value in record["std"]),
            fingerprint=str(record["fingerprint"]),
            warnings=tuple(str(warning) for warning in record["warnings"]),
            duplicates={str(k): int(n) for k, n in record.get("duplicates", {}).items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _damaged(directory / RECORD_NAME, f"it lacks or misstates {error}") from error


def read_record(directory: Path) -> dict[str, Any]:
    """The content of `data.json`, its version checked.

    Raises:
        DataError: it is missing, unreadable or of another version.
    """
    path = directory / RECORD_NAME
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{directory} holds no prepared data ({RECORD_NAME} is missing)") from error
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    version = record.get("format_version") if isinstance(record, dict) else None
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path}: format version is {version}, but this dse reads {FORMAT_VERSION}; "
            f"delete {directory}, and it is prepared again"
        )
    return dict(record)


def check_pixels(dataset: Dataset) -> None:
    """Read every pixel and compare with the digests of the record.

    Raises:
        DataError: a file is not what was written; says which.
    """
    splits = read_record(dataset.directory)["splits"]
    for split in SPLITS:
        images = getattr(dataset, split).images
        if digest(images) != splits[split]["images_digest"]:
            path = dataset.directory / images_name(split)
            raise _damaged(path, "its pixels are not those that were written")


def fingerprint(
    classes: tuple[str, ...], input_shape: tuple[int, ...], splits: Mapping[str, Mapping[str, Any]]
) -> str:
    """Hex of 128 bits over class names, shape, and each split's pixels and labels in order."""
    content = {
        "classes": list(classes),
        "input_shape": list(input_shape),
        "splits": {
            split: [
                splits[split][key] for key in ("images_count", "images_digest", "labels_digest")
            ]
            for split in SPLITS
        },
    }
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def digest(array: np.ndarray) -> str:
    """Hex of 256 bits over the bytes of an array in C order."""
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=32).hexdigest()


def images_name(split: SplitName) -> str:
    """File name of a split's images."""
    return f"{split}_images.npy"


def labels_name(split: SplitName) -> str:
    """File name of a split's labels."""
    return f"{split}_labels.npy"


def _open_split(
    directory: Path,
    split: SplitName,
    shape: tuple[int, ...],
    classes_count: int,
    record: Mapping[str, Any],
) -> Split:
    count = int(record["images_count"])
    images = _open_array(directory / images_name(split), (count, *shape), np.uint8)
    labels = np.array(_open_array(directory / labels_name(split), (count,), np.int32))
    labels.setflags(write=False)
    path = directory / labels_name(split)
    if digest(labels) != record["labels_digest"]:
        raise _damaged(path, "its labels are not those that were written")
    if labels.min(initial=0) < 0 or labels.max(initial=0) >= classes_count:
        raise _damaged(path, f"a label is outside 0 to {classes_count - 1}")
    return Split(images, labels)


def _open_array(path: Path, shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
        raise _damaged(path, f"it should hold {np.dtype(dtype)} {shape}")
    return array


def _damaged(path: Path, found: str) -> DataError:
    return DataError(f"{path} is damaged: {found}; delete {path.parent}, and it is prepared again")
