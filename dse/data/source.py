"""What every data source gives to `prepare.py`: a signature, then images block by block.

A new source: a file with its `locate` function, a row in `prepare.LOCATE`, a name in `spec.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from dse.data.decode import Rule
from dse.data.splits import SplitName
from dse.text import some_of
from dse.weights.preprocessing import Preprocessing

Progress = Callable[[str, int, int], None]  # stage, done, total (0: unknown)
BLOCK_COUNT = 128  # images handed on at a time


def silent(stage: str, done: int, total: int) -> None:
    """A progress callback that says nothing."""


def per_class(labels: np.ndarray, classes_count: int) -> tuple[int, ...]:
    """How many of the labels are each class's."""
    return tuple(np.bincount(labels, minlength=classes_count).tolist())


@dataclass(frozen=True)
class Block:
    """Some decoded images; none where only broken ones are told of.

    Attributes:
        images: uint8 (n, height, width, channels).
        labels: int32 (n,).
        broken: `path (reason)` of each image that could not be decoded and is left out.
        warnings: `path (warning)` of each that was decoded, but with warnings of a library.
        places: int64 (n,), which images of a `StreamSource` they are.
    """

    images: np.ndarray
    labels: np.ndarray
    broken: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    places: np.ndarray | None = None


def warnings_text(warned: Sequence[str], images_count: int) -> str:
    """Words for images that a library decoded with warnings, each `path (warning)`."""
    return f"{len(warned)} of {images_count} images are decoded with warnings: {some_of(warned)}"


@dataclass(frozen=True)
class DataDescription:
    """What an architecture needs to know about data.

    Attributes:
        name: digits, cifar10, or the name of the folder.
        input_shape: height, width, channels.
        classes: class names.
        train_count: images to train on, those that may turn out broken included.
        warnings: what the user should know.
        class_counts: images of each class in each split, as far as they are known.
    """

    name: str
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train_count: int
    warnings: tuple[str, ...] = ()
    class_counts: Mapping[SplitName, tuple[int, ...]] = field(default_factory=dict)


class Source(Protocol):
    """An opened source: it knows its shape, and decodes when asked."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of every image."""

    @property
    def counts(self) -> Mapping[SplitName, int]:
        """Images of each split, those that may turn out broken included."""

    @property
    def class_counts(self) -> Mapping[SplitName, tuple[int, ...]]:
        """The same for each class."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know."""

    @property
    def duplicates(self) -> Mapping[str, int]:
        """Images that are the same, of those decoded so far; empty where none can be."""

    def blocks(self, split: SplitName) -> Iterator[Block]:
        """The images of a split in their fixed order."""

    def settled(self) -> Source | None:
        """The source to decode instead when all was decoded and copies have to move or go."""


@dataclass(frozen=True)
class Origin:
    """Where images are decoded from when they are not kept decoded.

    Attributes:
        kind: a pack, or files of a folder.
        path: of the pack or of the folder.
        signature: of the pack; empty for a folder.
        rule: how an image becomes an array.
        is_mapped: whether its pixels can be mapped as they are, with no work for any image.
        files: paths of all images where they are files, by their places.
    """

    kind: Literal["pack", "folder"]
    path: Path
    signature: str
    rule: Rule | Preprocessing
    is_mapped: bool = False
    files: Sequence[str] = ()


@runtime_checkable
class StreamSource(Source, Protocol):
    """A source whose images can be decoded again, one by one; its blocks tell their places."""

    @property
    def origin(self) -> Origin:
        """Where its images lie."""


@dataclass(frozen=True)
class SourceHandle:
    """A source that was found and looked at, but not yet decoded.

    Attributes:
        name: what the data is called in records.
        signature: cheap to make; changes when the files change.
        open: reads what is needed to know the shape.
        description: where it is known without opening.
    """

    name: str
    signature: str
    open: Callable[[Progress], Source]
    description: DataDescription | None = None


@dataclass(frozen=True)
class ArraySource:
    """A source whose images are already in memory."""

    classes: tuple[str, ...]
    images: np.ndarray
    labels: np.ndarray
    members: Mapping[SplitName, np.ndarray]
    warnings: tuple[str, ...] = ()

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels."""
        height, width, channels = self.images.shape[1:]
        return int(height), int(width), int(channels)

    @property
    def counts(self) -> Mapping[SplitName, int]:
        """Images of each split."""
        return {split: len(members) for split, members in self.members.items()}

    @property
    def class_counts(self) -> Mapping[SplitName, tuple[int, ...]]:
        """The same for each class."""
        labels = {split: self.labels[members] for split, members in self.members.items()}
        return {split: per_class(of, len(self.classes)) for split, of in labels.items()}

    @property
    def duplicates(self) -> Mapping[str, int]:
        """Published images are taken as they are."""
        return {}

    def settled(self) -> None:
        """They stay where they are."""

    def blocks(self, split: SplitName) -> Iterator[Block]:
        """The images of a split in their fixed order."""
        members = self.members[split]
        for start in range(0, len(members), BLOCK_COUNT):
            chosen = members[start : start + BLOCK_COUNT]
            yield Block(self.images[chosen], self.labels[chosen])
