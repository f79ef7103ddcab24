"""Writing the arrays of a prepared dataset, and saying so when that fails."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from dse.data.dataset import (
    FILES_NAME,
    FORMAT_VERSION,
    array_header,
    digest,
    fingerprint,
    images_name,
    labels_name,
    places_name,
)
from dse.data.decode import Rule
from dse.data.source import Origin, Progress, Source, StreamSource, warnings_text
from dse.data.spec import CACHE_VARIABLE, DataSpec, bytes_limit
from dse.data.splits import SplitName
from dse.errors import DataError
from dse.text import some_of

BROKEN_SHARE = 0.01  # of all images; more broken ones than that are an error
_PATIENCE_COUNT = 100  # broken images after which a hopeless folder is not read to its end


STREAM_VARIABLE, DEFAULT_STREAM_GB = "DSE_STREAM_GB", 4.0


def needed_bytes(source: Source) -> int:
    """Bytes of all decoded images of a source."""
    return sum(source.counts.values()) * math.prod(source.input_shape)


def is_streamed(source: Source) -> bool:
    """Whether images are decoded each time in place of being kept decoded.

    Those of a folder or pack above DSE_STREAM_GB decoded (4 unless set), and pixels that can be
    mapped from a pack as they are.

    Raises:
        DataError: the limit is no number.
    """
    most_bytes = bytes_limit(STREAM_VARIABLE, DEFAULT_STREAM_GB)
    if not isinstance(source, StreamSource):
        return False
    return source.origin.is_mapped or needed_bytes(source) > most_bytes


class PixelMoments:
    """Mean and standard deviation of each channel; sums are whole, so no order of them shows."""

    def __init__(self, channels_count: int) -> None:
        self._sum = np.zeros(channels_count, np.uint64)
        self._square_sum = np.zeros(channels_count, np.uint64)
        self._count = 0

    def add(self, images: np.ndarray) -> None:
        """Uint8 images (n, height, width, channel)."""
        whole = images.astype(np.uint32)
        self._sum += whole.sum(axis=(0, 1, 2), dtype=np.uint64)
        self._square_sum += (whole * whole).sum(axis=(0, 1, 2), dtype=np.uint64)
        self._count += int(np.prod(images.shape[:3]))

    def mean_and_std(self) -> tuple[np.ndarray, np.ndarray]:
        """Of pixels scaled to [0, 1]; the deviation is at least 1/255."""
        mean = self._sum / (self._count * 255)
        square = self._square_sum / (self._count * 255**2)
        return mean, np.maximum(np.sqrt(np.maximum(square - mean**2, 0)), 1 / 255)


class Writer:
    """Writes splits one after the other and adds up what the record needs."""

    def __init__(self, source: Source, directory: Path, report: Progress) -> None:
        self._source = source
        self._directory = directory
        self._report = report
        self._total_count = sum(source.counts.values())
        self._splits: dict[str, dict[str, Any]] = {}
        self._broken: list[str] = []
        self._warned: list[str] = []
        self._seen_count = 0
        self._moments = PixelMoments(source.input_shape[2])
        self._origin = (
            source.origin if isinstance(source, StreamSource) and is_streamed(source) else None
        )

    def write_split(self, split: SplitName) -> None:
        """Decode a split block by block into its two files; what is streamed is looked at alone."""
        hashed = hashlib.blake2b(digest_size=32)
        labels: list[np.ndarray] = []
        places: list[np.ndarray] = []
        shape = self._source.input_shape
        # Around all of it: closing a file after a failed write raises once more.
        with writing(self._directory.parent, needed_bytes(self._source)):
            name = images_name(split) if self._origin is None else places_name(split)
            with open(self._directory / name, "wb") as file:
                if self._origin is None:
                    file.write(array_header((self._source.counts[split], *shape), np.uint8))
                for block in self._source.blocks(split):
                    pixels = np.ascontiguousarray(block.images).data
                    if self._origin is None:
                        file.write(pixels)
                    elif block.places is not None:
                        places.append(block.places)
                    hashed.update(pixels)
                    labels.append(block.labels)
                    self._seen_count += len(block.images) + len(block.broken)
                    self._report("decoding", self._seen_count, self._total_count)
                    self._broken += block.broken
                    self._warned += block.warnings
                    if block.broken and len(self._broken) > _PATIENCE_COUNT:
                        self._check_broken()
                    if split == "train":
                        self._moments.add(block.images)
                together = np.concatenate([np.empty(0, np.int32), *labels]).astype(np.int32)
                if self._origin is None:
                    # Images that were left out shorten the array; the header keeps its length.
                    file.seek(0)
                    file.write(array_header((len(together), *shape), np.uint8))
                else:
                    found = np.concatenate([np.empty(0, np.int64), *places])
                    file.write(array_header(found.shape, np.int64))
                    file.write(found.data)
                _flush(file)
            with open(self._directory / labels_name(split), "wb") as file:
                np.lib.format.write_array(file, together)
                _flush(file)
        self._check_broken()
        empty = np.setdiff1d(np.arange(len(self._source.classes)), together)
        if split == "train" and len(empty):
            names = ", ".join(self._source.classes[label] for label in empty)
            raise DataError(f"no training image is left for {names}: {self._broken_text()}")
        self._splits[split] = {
            "images_count": len(together),
            "images_digest": hashed.hexdigest(),
            "labels_digest": digest(together),
        }

    def record(self, name: str, spec: DataSpec) -> dict[str, Any]:
        """The content of data.json."""
        source = self._source
        mean, std = self._moments.mean_and_std()
        warnings = list(source.warnings)
        if self._broken:
            warnings.append(f"{self._broken_text()}; left out")
        if self._warned:
            warnings.append(warnings_text(self._warned, self._total_count))
        rule = spec.preprocessing.to_dict() if spec.preprocessing else None
        return {
            "format_version": FORMAT_VERSION,
            "name": name,
            "spec": {**asdict(spec), "path": None if spec.path is None else os.fspath(spec.path)},
            "classes": list(source.classes),
            "input_shape": list(source.input_shape),
            "mean": mean.tolist(),
            "std": std.tolist(),
            "warnings": warnings,
            "splits": self._splits,
            "preprocessing": rule,
            **({"stream": self._stream(self._origin)} if self._origin else {}),
            "fingerprint": fingerprint(source.classes, source.input_shape, self._splits, rule),
        }

    def _stream(self, origin: Origin) -> dict[str, Any]:
        """What the record says of images that are streamed; writes the list of a folder's files."""
        signature = origin.signature
        if origin.kind == "folder":
            data = b"\0".join(map(os.fsencode, origin.files))
            signature = hashlib.blake2b(data, digest_size=16).hexdigest()
            with open(self._directory / FILES_NAME, "wb") as file:
                file.write(data)
                _flush(file)
        return {
            "kind": origin.kind,
            "path": os.path.abspath(origin.path),
            "signature": signature,
            "resized": isinstance(origin.rule, Rule) and origin.rule.resized,
            "mapped": origin.is_mapped,
        }

    def _check_broken(self) -> None:
        last = self._seen_count == self._total_count
        if len(self._broken) > BROKEN_SHARE * self._total_count and (
            last or len(self._broken) > _PATIENCE_COUNT
        ):
            raise DataError(
                f"{self._broken_text()}; up to {BROKEN_SHARE:.0%} are left out, but not more: "
                "fix or remove them"
            )

    def _broken_text(self) -> str:
        least = "" if self._seen_count == self._total_count else "at least "
        return (
            f"{least}{len(self._broken)} of {self._total_count} images cannot "
            f"be decoded: {some_of(self._broken)}"
        )


def _flush(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def writing(cache: Path, needed: int) -> Iterator[None]:
    """Turn what goes wrong while writing into words."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free_bytes = shutil.disk_usage(cache).free
            raise DataError(full(cache, needed, free_bytes)) from error
        raise DataError(
            f"cannot write prepared data into {cache}: {error.strerror or error}; "
            f"set {CACHE_VARIABLE} to a folder that can be written"
        ) from error


def full(cache: Path, needed: int, free_bytes: int) -> str:
    """The message for a disk that is too small for `needed` bytes."""
    return (
        f"the disk of {cache} is full: the prepared data takes {needed / 1e6:.0f} MB, "
        f"{free_bytes / 1e6:.0f} MB are free; make room, or set {CACHE_VARIABLE} to another folder"
    )
