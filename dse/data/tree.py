"""A folder and all below it: images, other files, links; no image is opened.

Links are followed unless they lead into a circle. What systems and tools leave behind
(`.DS_Store`, `Thumbs.db`, `__MACOSX`, `.git`, …) is passed over in silence.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dse.data.decode import shown
from dse.data.opening import EXTENSIONS
from dse.errors import DataError

_LITTER_FOLDERS = re.compile(
    r"__macosx|__pycache__|@eadir|#recycle|\$recycle\.bin|lost\+found|system volume information|"
    r"\.(git|svn|hg|bzr|dvc|cache|venv|tox|idea|vscode|ipynb_checkpoints|mypy_cache|pytest_cache|"
    r"ruff_cache|trash.*|spotlight-v100|fseventsd|appledouble|temporaryitems|snapshot|"
    r"documentrevisions-v100|thumbnails|thumbs|picasaoriginals)"
)
_LITTER_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
_LINKS_COUNT = 2  # one behind the other; more would let a few links make a tree without end


class File(NamedTuple):
    """A file and what changes when it does; its text is part of a source's signature."""

    path: str  # below the folder of its part, with "/": cat/0001.jpg
    size: int
    mtime_ns: int


@dataclass
class Folder:
    """What lies directly in a folder.

    Attributes:
        images: their paths are relative to the tree's root.
        others: names of files that are not images, without litter.
        folders: names of the folders that were walked.
        passed: names of those that were not, with the reason.
    """

    images: list[File] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    passed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Tree:
    """A folder and all below it, by their paths relative to the root; "" is the root itself."""

    root: str
    folders: dict[str, Folder]

    def at(self, place: str) -> str:
        """The path of a folder, as messages show it."""
        return shown(join(self.root, place))

    def below(self, place: str) -> Iterator[tuple[str, Folder]]:
        """A folder and all below it, with their paths."""
        waiting = [place]
        while waiting:
            here = waiting.pop()
            yield here, self.folders[here]
            waiting += [join(here, name) for name in self.folders[here].folders]

    def images(self, place: str) -> list[File]:
        """All images at and below a folder, sorted; their paths are relative to the root."""
        return sorted(file for _, folder in self.below(place) for file in folder.images)

    def has_images(self, place: str) -> bool:
        """Whether any image lies at or below a folder."""
        return any(folder.images for _, folder in self.below(place))

    def has_files(self, place: str) -> bool:
        """Whether any file that is no litter lies at or below a folder."""
        return any(folder.images or folder.others for _, folder in self.below(place))

    def filled(self, place: str) -> list[str]:
        """Names of the folders directly in a folder that have images in them, sorted."""
        names = self.folders[place].folders
        return sorted(name for name in names if self.has_images(join(place, name)))


def join(place: str, name: str) -> str:
    """The path of `name` below `place`, either of which may be empty."""
    return f"{place}/{name}" if place and name else place or name


def walk_tree(root: Path) -> Tree:
    """Look through a folder.

    Raises:
        DataError: it is no folder, or one in it cannot be read.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DataError(f"{root} {what}; folder:PATH needs a folder of class folders")
    tree = Tree(os.fspath(root), {})
    # A folder waits with its true path and those of the folders from which links led to it.
    waiting: list[tuple[str, str, tuple[str, ...]]] = [("", os.path.realpath(root), ())]
    while waiting:
        place, real, came_from = waiting.pop()
        folder = tree.folders[place] = Folder()
        path = join(tree.root, place)
        for entry in _entries(path):
            name = entry.name
            if not _is_folder(entry):
                _take_file(entry, join(place, name), folder)
            elif _LITTER_FOLDERS.fullmatch(name.lower()):
                continue
            elif name.startswith("."):
                if not _is_empty(entry.path):
                    folder.passed[name] = "its name is hidden (begins with a dot)"
            elif not entry.is_symlink():
                folder.folders.append(name)
                waiting.append((join(place, name), f"{real}/{name}", came_from))
            else:
                target, before = os.path.realpath(entry.path), (*came_from, real)
                if any(f"{there}/".startswith(f"{target}/") for there in before):
                    folder.passed[name] = "a link to a folder that it lies in"
                elif len(before) > _LINKS_COUNT:
                    folder.passed[name] = "a link behind other links"
                else:
                    folder.folders.append(name)
                    waiting.append((join(place, name), target, before))
    return tree


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_empty(path: str) -> bool:
    try:
        with os.scandir(path) as entries:
            return next(entries, None) is None
    except OSError:  # not to be read by us, and nobody asks for it
        return False


def _entries(path: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"cannot read {shown(path)}: {error.strerror}") from error


def _take_file(entry: os.DirEntry[str], path: str, folder: Folder) -> None:
    if entry.name.startswith(".") or entry.name.lower() in _LITTER_FILES:
        return
    if os.path.splitext(entry.name)[1].lower() not in EXTENSIONS:
        folder.others.append(entry.name)
        return
    try:
        status = entry.stat()
    except OSError:  # a link that leads nowhere: a broken image
        folder.images.append(File(path, -1, 0))
        return
    if stat.S_ISREG(status.st_mode):
        folder.images.append(File(path, status.st_size, status.st_mtime_ns))
    else:  # a pipe or a device
        folder.others.append(entry.name)
