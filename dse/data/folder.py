"""An image-folder tree: one folder a class, below train/ and test/ or on one level.

    PATH/train/<class>/*.jpg, PATH/test/<class>/*.jpg   and PATH/val (valid, validation) or not
    PATH/<class>/*.png                                  split into train, validation, test

Images may lie deeper below their class. Hidden names are passed over.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dse.data import decode
from dse.data.source import Block, Progress, SourceHandle
from dse.data.spec import DataSpec
from dse.data.splits import SplitName, limit_train, split_by_share
from dse.errors import DataError
from dse.text import some_of

PART_NAMES: Mapping[SplitName, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("val", "valid", "validation"),
    "test": ("test", "testing"),
}


class _File(NamedTuple):
    path: str  # below the class's part, with "/": cat/0001.jpg
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class _Part:
    """One part of a tree: the whole of it, or train/, val/ or test/."""

    directory: str
    files: Mapping[str, Sequence[_File]]  # by class, sorted
    ignored_count: int


@dataclass(frozen=True)
class FolderSource:
    """Images of a tree, split and ready to be decoded."""

    root: Path
    classes: tuple[str, ...]
    members: Mapping[SplitName, tuple[Sequence[str], np.ndarray]]  # paths, labels
    rule: decode.Rule
    warnings: tuple[str, ...]

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels after the resize rule."""
        return self.rule.shape

    @property
    def counts(self) -> Mapping[SplitName, int]:
        """Images of each split, broken ones included."""
        return {split: len(paths) for split, (paths, _) in self.members.items()}

    def blocks(self, split: SplitName) -> Iterator[Block]:
        """Decoded images of a split, sorted by class and name."""
        paths, labels = self.members[split]
        return decode.decode_blocks(paths, labels, self.rule, root=self.root)


def locate_folder(spec: DataSpec) -> SourceHandle:
    """Walk a tree: classes, files, sizes and times of change; no image is opened.

    Raises:
        DataError: missing, not a folder, no images, one class, or parts that do not match.
    """
    assert spec.path is not None  # DataSpec sees to it
    root = spec.path
    if not root.exists():
        raise DataError(f"{root} does not exist; folder:PATH needs a folder of class folders")
    if not root.is_dir():
        raise DataError(f"{root} is a file; folder:PATH needs a folder of class folders")
    parts = _walk_parts(root)
    classes = _classes(root, parts)
    signature = hashlib.sha256()
    for split, part in sorted(parts.items()):
        for name in classes:
            signature.update(repr((split, part.files.get(name, ()))).encode("utf-8", "replace"))

    def open_source(progress: Progress) -> FolderSource:
        return _open(spec, parts, classes, progress)

    name = root.resolve().name or "folder"
    return SourceHandle(decode.shown(name), signature.hexdigest(), open_source)


def _open(
    spec: DataSpec, parts: Mapping[SplitName, _Part], classes: tuple[str, ...], progress: Progress
) -> FolderSource:
    assert spec.path is not None
    members = _members(spec, parts, classes)
    # All images have a say, also those that a training limit leaves out.
    paths = [
        f"{part.directory}/{name}" for part in parts.values() for name in _listed(part, classes)[0]
    ]
    rule, rule_warnings = decode.choose_rule(paths, spec.image_size, progress)
    return FolderSource(
        root=spec.path,
        classes=tuple(decode.shown(name) for name in classes),
        members=members,
        rule=rule,
        warnings=(*_tree_warnings(parts, classes), *rule_warnings),
    )


def _members(
    spec: DataSpec, parts: Mapping[SplitName, _Part], classes: tuple[str, ...]
) -> dict[SplitName, tuple[Sequence[str], np.ndarray]]:
    """Who is in which split."""
    listed = {split: _listed(part, classes) for split, part in parts.items()}
    names, labels = listed["train"]
    shares: dict[SplitName, float] = {}
    if "test" not in parts:
        shares["test"] = spec.test_share
    if "validation" not in parts:
        shares["validation"] = spec.validation_share
    indices = split_by_share(labels, names, shares, classes=classes, seed=spec.split_seed)
    if spec.train_limit is not None:
        indices["train"] = limit_train(
            indices["train"], labels, names, limit=spec.train_limit, seed=spec.split_seed
        )
    members: dict[SplitName, tuple[Sequence[str], np.ndarray]] = {}
    for split, chosen in indices.items():
        below = parts["train"].directory
        members[split] = ([f"{below}/{names[i]}" for i in chosen], labels[chosen])
    for split in ("validation", "test"):
        if split in parts:
            given, given_labels = listed[split]
            members[split] = ([f"{parts[split].directory}/{name}" for name in given], given_labels)
    return members


def _listed(part: _Part, classes: tuple[str, ...]) -> tuple[list[str], np.ndarray]:
    names = [file.path for name in classes for file in part.files.get(name, ())]
    labels = np.repeat(
        np.arange(len(classes), dtype=np.int32), [len(part.files.get(c, ())) for c in classes]
    )
    return names, labels


def _walk_parts(root: Path) -> dict[SplitName, _Part]:
    folders = {name.lower(): name for name in class_folders(root)}
    found: dict[SplitName, str] = {}
    for split, names in PART_NAMES.items():
        present = [folders[name] for name in names if name in folders]
        if len(present) > 1:
            raise DataError(f"{root} holds both {' and '.join(present)}; keep one of them")
        if present:
            found[split] = present[0]
    # A class may be called "train": it holds images, the part holds class folders.
    if "train" not in found or not class_folders(root / found["train"]):
        return {"train": _walk_part(root)}
    if "test" not in found:
        others = ", ".join(found.values())
        raise DataError(
            f"{root} holds {others} but no test folder; add test/ (rename one of them), or give "
            "one level of class folders, which is split by the seed"
        )
    return {split: _walk_part(root / name) for split, name in found.items()}


def _walk_part(directory: Path) -> _Part:
    files: dict[str, list[_File]] = {}
    ignored_count = 0
    for name in class_folders(directory):
        found, others_count = walk_class(directory, name)
        ignored_count += others_count
        if found:
            files[name] = found
    return _Part(os.fspath(directory), files, ignored_count)


def walk_class(directory: Path, name: str) -> tuple[list[_File], int]:
    """The images of a class below `directory`, sorted, and how many files are none."""
    found: list[_File] = []
    ignored_count = _walk(os.fspath(directory / name), name, decode.extensions(), found)
    return sorted(found), ignored_count


def _walk(directory: str, below: str, extensions: frozenset[str], found: list[_File]) -> int:
    """Add the images under `directory` to `found`; return how many files are not images."""
    ignored_count = 0
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    ignored_count += _walk(entry.path, f"{below}/{entry.name}", extensions, found)
                elif _is_image(entry, extensions):
                    found.append(_File(f"{below}/{entry.name}", *_size_and_time(entry)))
                else:
                    ignored_count += 1
    except OSError as error:
        raise DataError(f"cannot read {error.filename or directory}: {error.strerror}") from error
    return ignored_count


def _is_image(entry: os.DirEntry[str], extensions: frozenset[str]) -> bool:
    """By its extension; a pipe is none, a link that leads nowhere is one (a broken one)."""
    known = os.path.splitext(entry.name)[1].lower() in extensions
    return known and (entry.is_file() or entry.is_symlink())


def _size_and_time(entry: os.DirEntry[str]) -> tuple[int, int]:
    try:
        status = entry.stat()
    except FileNotFoundError:
        return -1, 0
    return status.st_size, status.st_mtime_ns


def class_folders(directory: Path) -> list[str]:
    """Names of the folders below `directory` that may be classes, sorted."""
    try:
        with os.scandir(directory) as entries:
            names = [e.name for e in entries if e.is_dir() and not e.name.startswith((".", "__"))]
    except OSError as error:
        raise DataError(f"cannot read {directory}: {error.strerror}") from error
    return sorted(names)


def _classes(root: Path, parts: Mapping[SplitName, _Part]) -> tuple[str, ...]:
    train = parts["train"]
    classes = tuple(sorted(train.files))
    if not any(part.files for part in parts.values()):
        raise DataError(
            f"{root} holds no images in class folders; expected PATH/<class>/*.jpg, or "
            "PATH/train/<class>/*.jpg and PATH/test/<class>/*.jpg (any format that Pillow reads)"
        )
    if len(classes) < 2:
        raise DataError(_one_class(root, train, classes))
    for split, part in parts.items():
        unknown = sorted(set(part.files) - set(classes))
        if unknown:
            raise DataError(
                f"{part.directory} has classes that {train.directory} lacks: {some_of(unknown)}; "
                f"what is not trained cannot be recognised: add or remove them"
            )
        if not part.files:
            raise DataError(f"{part.directory} holds no images in class folders ({split})")
    return classes


def _one_class(root: Path, train: _Part, classes: tuple[str, ...]) -> str:
    if not classes:
        return f"{train.directory} holds no images in class folders"
    text = (
        f"{train.directory} has images of one class only ({classes[0]}); "
        "two class folders or more are needed"
    )
    inner = root / classes[0]
    if len(class_folders(inner)) > 1:
        text += f"; did you mean folder:{inner}?"
    return text


def _tree_warnings(parts: Mapping[SplitName, _Part], classes: tuple[str, ...]) -> Iterator[str]:
    for part in parts.values():
        if part.ignored_count:
            yield f"{part.directory}: {part.ignored_count} files are not images and are ignored"
        absent = [name for name in classes if name not in part.files]
        if absent:
            yield f"{part.directory} has no images of {some_of(absent)}"
