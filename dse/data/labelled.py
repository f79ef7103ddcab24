"""Class folders that are only scored: no split, and any share of the classes will do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dse.data.classes import ClassNames
from dse.data.decode import shown
from dse.data.tree import check_tree, class_folders, part_folders, walk_class
from dse.errors import DataError


@dataclass(frozen=True)
class LabelledTree:
    """Images whose folders say their class.

    Attributes:
        directory: where the class folders lie: the path given, or its test folder.
        labels: class of each folder that holds images, in the order of the folders.
        images_count: images, those that may turn out broken included.
        ignored_count: files that are not images.
    """

    directory: Path
    labels: dict[str, int]
    images_count: int
    ignored_count: int

    def images(self) -> Iterator[tuple[str, int]]:
        """(path, label) by folder and name; only one folder's names are held at a time."""
        for name, label in self.labels.items():
            for file in walk_class(self.directory, name)[0]:
                yield f"{self.directory}/{file.path}", label


def open_labelled(root: Path, classes: ClassNames) -> LabelledTree:
    """Look through class folders; no image is opened.

    Args:
        root: `root/test/<class>/…` is taken where there is one, else `root/<class>/…`.
        classes: whose names or ids the folders bear.

    Raises:
        DataError: missing, no images, a tree without test images, or a folder of no class.
    """
    check_tree(root)
    # A class may be called "test" too: it holds images, the part holds class folders.
    parts = {
        split: root / name
        for split, names in part_folders(root).items()
        for name in names
        if class_folders(root / name)
    }
    if parts and "test" not in parts:
        there = next(iter(parts.values()))
        raise DataError(
            f"{root} holds {there.name} but no test folder; to score the images of {there.name} "
            f"give folder:{there}"
        )
    directory = parts.get("test", root)
    counts: dict[str, int] = {}
    ignored_count = 0
    for name in class_folders(directory):
        files, others_count = walk_class(directory, name)
        ignored_count += others_count
        if files:
            counts[name] = len(files)
    if not counts:
        raise DataError(
            f"{directory} holds no images in class folders; expected PATH/<class>/*.jpg or "
            "PATH/test/<class>/*.jpg (any format that Pillow reads)"
        )
    labels = classes.labels(map(shown, counts))
    by_folder = {name: labels[shown(name)] for name in counts}
    return LabelledTree(directory, by_folder, sum(counts.values()), ignored_count)
