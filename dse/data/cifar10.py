"""CIFAR-10 as its authors publish it: the binary archive, fetched once and checked.

Each record is 3,073 bytes: the label, then 32x32 red, green and blue values, row by row.
Source: https://www.cs.toronto.edu/~kriz/cifar.html
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dse.data.download import download, file_md5
from dse.data.source import ArraySource, DataDescription, Progress, SourceHandle
from dse.data.spec import DataSpec
from dse.data.splits import SplitName, divide
from dse.errors import ChecksumError, DataError

INPUT_SHAPE = (32, 32, 3)
TRAIN_COUNT = 45_000  # of 50,000, at the default shares
CLASSES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
_RECORD_BYTES = 1 + 32 * 32 * 3


@dataclass(frozen=True)
class Archive:
    """A published archive and what must be in it."""

    url: str
    md5: str
    records_count: int  # in each file
    file_name: str = "cifar-10-binary.tar.gz"
    folder_name: str = "cifar-10-batches-bin"
    train_files: tuple[str, ...] = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
    test_files: tuple[str, ...] = ("test_batch.bin",)

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all batch files, in the order of their images."""
        return (*self.train_files, *self.test_files)


OFFICIAL = Archive(
    url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    md5="c32a1d4ab5d03f1284b67883e8d87530",
    records_count=10_000,
)


def locate_cifar10(spec: DataSpec, cache: Path) -> SourceHandle:
    """Find the archive or the unpacked folder; without a path it may have to be downloaded.

    Raises:
        DataError: the path that was given holds neither.
    """
    archive = OFFICIAL
    given = None if spec.path is None else _find(spec.path, archive)
    if given is None:
        facts = f"{archive.md5} {archive.records_count}"
    else:
        files = [given] if given.is_file() else [given / name for name in archive.files]
        facts = repr([(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in files])

    def open_source(progress: Progress) -> ArraySource:
        found, unpacked = given or cache / archive.file_name, cache / archive.folder_name
        if given is None and not found.is_file():
            if all((unpacked / name).is_file() for name in archive.files):
                found = unpacked
            else:
                download(
                    archive.url,
                    found,
                    md5=archive.md5,
                    otherwise="or name its place: cifar10:PATH",
                    progress=progress,
                )
        return _open(spec, archive, found, progress)

    signature = hashlib.sha256(facts.encode()).hexdigest()
    train_count = min(TRAIN_COUNT, spec.train_limit or TRAIN_COUNT)
    counts: Mapping[SplitName, tuple[int, ...]] = {}
    if train_count == TRAIN_COUNT:
        counts = {"train": (4500,) * 10, "validation": (500,) * 10, "test": (1000,) * 10}
    known = DataDescription("cifar10", INPUT_SHAPE, CLASSES, train_count, class_counts=counts)
    return SourceHandle("cifar10", signature, open_source, known)


def parse_records(content: bytes, *, records_count: int, where: str) -> tuple[np.ndarray, ...]:
    """Images uint8 (n, 32, 32, 3) and labels int32 (n,) of one batch file.

    Raises:
        DataError: the length is not `records_count` records, or a label is not 0 to 9.
    """
    if len(content) != records_count * _RECORD_BYTES:
        raise DataError(
            f"{where} has {len(content)} bytes, but {records_count} records of {_RECORD_BYTES} "
            f"bytes are {records_count * _RECORD_BYTES}"
        )
    records = np.frombuffer(content, np.uint8).reshape(records_count, _RECORD_BYTES)
    labels = records[:, 0].astype(np.int32)
    if labels.max(initial=0) >= len(CLASSES):
        record = int(np.argmax(labels >= len(CLASSES)))
        raise DataError(
            f"{where}: record {record} has label {labels[record]}, but labels are 0 to 9"
        )
    planes = records[:, 1:].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _open(spec: DataSpec, archive: Archive, found: Path, progress: Progress) -> ArraySource:
    warnings: tuple[str, ...] = ()
    if found.is_dir():
        contents = read_folder(found, archive)
        warnings = (f"{found} is unpacked: its checksum cannot be compared with the published one",)
    else:
        contents = read_archive(found, archive, progress)
    parsed = [
        parse_records(
            contents.pop(name), records_count=archive.records_count, where=f"{found}: {name}"
        )
        for name in archive.files
    ]
    images = np.concatenate([images for images, _ in parsed])
    labels = np.concatenate([labels for _, labels in parsed])
    train_count = archive.records_count * len(archive.train_files)
    names = [f"train/{index}" for index in range(train_count)]
    members = divide(
        labels[:train_count],
        names,
        {"validation": spec.validation_share},
        classes=CLASSES,
        seed=spec.split_seed,
        train_limit=spec.train_limit,
    )
    members["test"] = np.arange(train_count, len(labels))
    return ArraySource(CLASSES, images, labels, members, warnings)


def _find(path: Path, archive: Archive) -> Path:
    """The archive or the folder of batch files that `path` is or holds."""
    if path.is_file():
        return path
    if not path.exists():
        raise DataError(f"{path} does not exist; cifar10:PATH needs {_needed(archive)}")
    for folder in (path, path / archive.folder_name):
        absent = [name for name in archive.files if not (folder / name).is_file()]
        if not absent:
            return folder
        if len(absent) < len(archive.files):
            raise DataError(f"{folder} lacks {', '.join(absent)}; unpack the archive again")
    if (path / archive.file_name).is_file():
        return path / archive.file_name
    raise DataError(f"{path} holds no CIFAR-10; cifar10:PATH needs {_needed(archive)}")


def _needed(archive: Archive) -> str:
    return (
        f"{archive.file_name} ({archive.url}), or a folder with it or with {archive.folder_name}/"
    )


def read_folder(folder: Path, archive: Archive) -> dict[str, bytes]:
    """Batch files of an unpacked archive by name.

    Raises:
        DataError: one cannot be read.
    """
    limit = archive.records_count * _RECORD_BYTES + 1  # one more shows a file that is too long
    contents = {}
    for name in archive.files:
        try:
            with open(folder / name, "rb") as file:
                contents[name] = file.read(limit)
        except OSError as error:
            raise DataError(f"cannot read {folder / name}: {error.strerror}") from error
    return contents


def read_archive(path: Path, archive: Archive, progress: Progress) -> dict[str, bytes]:
    """Batch files by name, checked and read in memory; nothing is unpacked to disk.

    Raises:
        DataError: it cannot be read, or lacks a file.
        ChecksumError: it is not the published archive.
    """
    try:
        found = file_md5(path, progress)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    if found != archive.md5:
        raise ChecksumError(
            f"{path} is not the published CIFAR-10 archive: its MD5 is {found}, but should be "
            f"{archive.md5} ({path.stat().st_size} bytes found); delete it and fetch "
            f"{archive.url} again"
        )
    limit = archive.records_count * _RECORD_BYTES + 1
    wanted = {f"{archive.folder_name}/{name}": name for name in archive.files}
    contents = {}
    try:
        with tarfile.open(path, "r:gz") as tar:
            for member in tar:
                name = wanted.get(member.name.removeprefix("./"))
                content = tar.extractfile(member) if name and member.isreg() else None
                if name and content is not None:
                    contents[name] = content.read(limit)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise DataError(f"{path} cannot be read as a .tar.gz archive: {error}") from error
    absent = [name for name in archive.files if name not in contents]
    if absent:
        raise DataError(f"{path} lacks {', '.join(absent)}; fetch {archive.url} again")
    return contents
