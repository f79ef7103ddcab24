"""Images with classes that are only scored: no split, and any share of the classes will do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dse.data.classes import ClassNames
from dse.data.decode import shown
from dse.data.layout import find_splits
from dse.data.lookalike import EXPECTED
from dse.data.part import Part, is_readable, read_part
from dse.data.tree import walk_tree
from dse.errors import DataError


@dataclass(frozen=True)
class LabelledTree:
    """Images whose folders, or a file beside them, say their class.

    Attributes:
        part: the images of the path given, or of its test folder.
        labels: class of each folder that holds images, in the order of the folders.
    """

    part: Part
    labels: dict[str, int]

    @property
    def directory(self) -> Path:
        """Where the class folders lie."""
        return Path(self.part.directory)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was passed over, and why."""
        return self.part.notes

    @property
    def images_count(self) -> int:
        """Images, those that may turn out broken included."""
        return sum(map(len, self.part.files.values()))

    def images(self) -> Iterator[tuple[str, int]]:
        """(path, label) by folder and name."""
        for name, label in self.labels.items():
            for file in self.part.files[name]:
                yield f"{self.part.directory}/{file.path}", label


def open_labelled(root: Path, classes: ClassNames) -> LabelledTree:
    """Look through class folders; no image is opened.

    Args:
        root: `root/test/<class>/…` is taken where there is one, else `root/<class>/…`.
        classes: whose names or ids the folders bear.

    Raises:
        DataError: missing, no images, a tree without test images, or a folder of no class.
    """
    tree = walk_tree(root)
    # A class may be called "test" too: it holds images, the part holds class folders.
    readable = {
        split: place
        for split, places in find_splits(tree).items()
        for place in places
        if is_readable(tree, place)
    }
    if readable and "test" not in readable:
        there = next(iter(readable.values()))
        raise DataError(
            f"{tree.at('')} holds {there} but no test folder; to score the images of {there} "
            f"give folder:{tree.at(there)}"
        )
    part = read_part(tree, readable.get("test", ""))
    if not part.files:
        raise DataError(f"{shown(part.directory)} holds no images in class folders; {EXPECTED}")
    labels = classes.labels(map(shown, part.files))
    return LabelledTree(part, {name: labels[shown(name)] for name in part.files})
