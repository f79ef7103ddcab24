"""Trees of class folders on disk: which folders and files there are; no image is opened.

    PATH/train/<class>/*.jpg, PATH/test/<class>/*.jpg   and PATH/val (valid, validation) or not
    PATH/<class>/*.png                                  on one level

Images may lie deeper below their class. Hidden names are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from dse.data.decode import extensions
from dse.data.splits import SplitName
from dse.errors import DataError

_PART_NAMES: Mapping[SplitName, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


class _File(NamedTuple):  # its text is part of a source's signature
    path: str  # below the class's part, with "/": cat/0001.jpg
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Part:
    """One part of a tree: the whole of it, or train/, val/ or test/.

    Attributes:
        directory: where its class folders lie.
        files: of each class that has any, sorted.
        ignored_count: files that are not images.
    """

    directory: str
    files: Mapping[str, Sequence[_File]]
    ignored_count: int


def check_tree(root: Path) -> None:
    """Raise DataError where `root` is no folder."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}; folder:PATH needs a folder of class folders")


def part_folders(root: Path) -> dict[SplitName, list[str]]:
    """Names of the folders of `root` that are called like a part, in the order of the splits."""
    folders = {name.lower(): name for name in class_folders(root)}
    found = {
        split: [folders[name] for name in names if name in folders]
        for split, names in _PART_NAMES.items()
    }
    return {split: names for split, names in found.items() if names}


def class_folders(directory: Path) -> list[str]:
    """Names of the folders below `directory` that may be classes, sorted."""
    try:
        with os.scandir(directory) as entries:
            names = [e.name for e in entries if e.is_dir() and not e.name.startswith((".", "__"))]
    except OSError as error:
        raise DataError(f"cannot read {directory}: {error.strerror}") from error
    return sorted(names)


def walk_parts(root: Path) -> dict[SplitName, Part]:
    """All parts of a tree, or all of it as its training part.

    Raises:
        DataError: two folders are called like one part, or there is no test part.
    """
    found = part_folders(root)
    for names in found.values():
        if len(names) > 1:
            raise DataError(f"{root} holds both {' and '.join(names)}; keep one of them")
    # A class may be called "train": it holds images, the part holds class folders.
    if "train" not in found or not class_folders(root / found["train"][0]):
        return {"train": _walk_part(root)}
    if "test" not in found:
        others = ", ".join(names[0] for names in found.values())
        raise DataError(
            f"{root} holds {others} but no test folder; add test/ (rename one of them), or give "
            "one level of class folders, which is split by the seed"
        )
    return {split: _walk_part(root / names[0]) for split, names in found.items()}


def _walk_part(directory: Path) -> Part:
    files: dict[str, list[_File]] = {}
    ignored_count = 0
    for name in class_folders(directory):
        found, others_count = walk_class(directory, name)
        ignored_count += others_count
        if found:
            files[name] = found
    return Part(os.fspath(directory), files, ignored_count)


def walk_class(directory: Path, name: str) -> tuple[list[_File], int]:
    """The images of a class below `directory`, sorted, and how many files are none."""
    found: list[_File] = []
    ignored_count = _walk(os.fspath(directory / name), name, extensions(), found)
    return sorted(found), ignored_count


def _walk(directory: str, below: str, extensions: frozenset[str], found: list[_File]) -> int:
    """Add the images under `directory` to `found`; return how many files are not images."""
    ignored_count = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                name = f"{below}/{entry.name}"
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    ignored_count += _walk(entry.path, name, extensions, found)
                elif os.path.splitext(entry.name)[1].lower() not in extensions or not (
                    entry.is_file() or entry.is_symlink()
                ):
                    ignored_count += 1
                else:
                    try:
                        status = entry.stat()
                        found.append(_File(name, status.st_size, status.st_mtime_ns))
                    except FileNotFoundError:  # a link that leads nowhere: a broken image
                        found.append(_File(name, -1, 0))
    except OSError as error:
        raise DataError(f"cannot read {error.filename or directory}: {error.strerror}") from error
    return ignored_count
