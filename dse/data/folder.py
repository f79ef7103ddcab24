"""The source `folder:PATH`: a tree of class folders, divided by its parts or by the seed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from dse.data.decode import decode_by, shown
from dse.data.duplicates import Image, Seen, count_copies, to_drop
from dse.data.headers import choose_rule
from dse.data.layout import read_layout
from dse.data.lookalike import EXPECTED
from dse.data.part import Part
from dse.data.source import Block, Origin, Progress, SourceHandle, per_class
from dse.data.spec import DataSpec
from dse.data.splits import SPLITS, SplitName, divide
from dse.data.stream import decode_blocks
from dse.data.tree import Tree, walk_tree
from dse.errors import DataError
from dse.text import counted, some_of

_Listed = tuple[Sequence[str], np.ndarray]  # paths and labels


@dataclass(frozen=True)
class FolderSource:
    """Images of a tree, split and ready to be decoded.

    Attributes:
        root: of the tree.
        directories: of the parts of the tree.
        classes: their names.
        listed: paths and labels of each part of the tree.
        spec: how its training part is divided, and what becomes of copies.
        shape: height, width, channels of every array.
        decode: how an image becomes one, from its path and its place among those of all parts.
        origin: where its images lie.
        notes: what the user should know before anything is decoded.
        dropped: places in each part of images that are left out.
        leads: of copies in a training part that is divided: whose split they follow, by place.
        seen: what was decoded so far.
    """

    root: Path
    directories: Mapping[SplitName, str]
    classes: tuple[str, ...]
    listed: Mapping[SplitName, _Listed]
    spec: DataSpec
    shape: tuple[int, int, int]
    decode: Callable[[str, int], np.ndarray]
    origin: Origin
    notes: tuple[str, ...]
    dropped: Mapping[SplitName, Sequence[int]] = field(default_factory=dict)
    leads: Mapping[int, int] = field(default_factory=dict)
    seen: Seen = field(default_factory=Seen)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Height, width and channels after the resize rule."""
        return self.shape

    @property
    def counts(self) -> Mapping[SplitName, int]:
        """Images of each split, broken ones included."""
        return {split: len(indices) for split, (_, indices) in self.members.items()}

    @property
    def class_counts(self) -> Mapping[SplitName, tuple[int, ...]]:
        """The same for each class."""
        return {
            split: per_class(self.listed[part][1][indices], len(self.classes))
            for split, (part, indices) in self.members.items()
        }

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know: of copies when all is decoded."""
        found = count_copies(self.seen.copies(), self._split_of, self._name, self.counts)[1]
        if count := self.duplicates["dropped"]:
            images = counted(count, "image")
            found = (*found, f"{images} left out, with the same pixels as another")
        return (*self.notes, *found)

    @property
    def duplicates(self) -> Mapping[str, int]:
        """Images that are the same, of those decoded so far, and those that were left out."""
        counts, _ = count_copies(self.seen.copies(), self._split_of, self._name, self.counts)
        return {**counts, "dropped": sum(map(len, self.dropped.values()))}

    @cached_property
    def members(self) -> Mapping[SplitName, tuple[SplitName, np.ndarray]]:
        """Part and places of the images of each split: a part, or a share of the training part.

        Raises:
            DataError: a class has too few images.
        """
        kept = {
            part: np.setdiff1d(np.arange(len(paths)), self.dropped.get(part, ()))
            for part, (paths, _) in self.listed.items()
        }
        paths, labels = self.listed["train"]
        leaders = np.array([i for i in kept["train"] if i not in self.leads], np.int64)
        shares: dict[SplitName, float] = {
            "test": self.spec.test_share,
            "validation": self.spec.validation_share,
        }
        divided = divide(
            labels[leaders],
            [paths[i][len(self.directories["train"]) + 1 :] for i in leaders],
            {split: share for split, share in shares.items() if split not in kept},
            classes=self.classes,
            seed=self.spec.split_seed,
            train_limit=self.spec.train_limit,
        )
        members = {part: (part, indices) for part, indices in kept.items()}
        for split, at in divided.items():
            chosen = set(leaders[at].tolist())
            if split != "train" or not self.spec.train_limit:  # there copies only take room
                chosen |= {i for i, lead in self.leads.items() if lead in chosen}
            members[split] = ("train", np.array(sorted(chosen), np.int64))
        return members

    def blocks(self, split: SplitName) -> Iterator[Block]:
        """Decoded images of a split, sorted by class and name."""
        return self._decoded(*self.members[split])

    def settled(self) -> FolderSource | None:
        """Without copies, where they are to be dropped; else with those of one part together."""
        given = set(self.listed) - {"train"}

        def found() -> list[list[Image]]:
            copies = self.seen.copies()
            if self.spec.duplicates == "drop":
                return copies
            inside = [[image for image in group if image.part not in given] for group in copies]
            splits = [{self._split_of(image) for image in group} - {None} for group in inside]
            return inside if any(len(several) > 1 for several in splits) else []

        if not (copies := found()):
            return None
        if self.spec.train_limit:  # others will take the places of those that go
            everything = np.arange(len(self.listed["train"][0]))
            for _ in self._decoded("train", np.setdiff1d(everything, self.seen.places("train"))):
                pass
            copies = found()
        if self.spec.duplicates == "drop":
            dropped: dict[SplitName, list[int]] = {}
            for image in to_drop(copies, self._split_of):
                dropped.setdefault(image.part, []).append(image.place)
            return replace(self, dropped=dropped, seen=Seen())
        leads = {image.place: group[0].place for group in copies for image in group[1:]}
        again = replace(self, leads=leads, seen=Seen())
        try:
            return again if again.members else None
        except DataError:  # too few that differ: they stay as they are, and are told of
            return None

    def _decoded(self, part: SplitName, indices: np.ndarray) -> Iterator[Block]:
        paths, labels = self.listed[part]
        before = [self.listed.get(other, ((),))[0] for other in SPLITS[: SPLITS.index(part)]]
        first = sum(map(len, before))
        for block in decode_blocks(
            ((paths[i], i) for i in indices.tolist()),
            lambda path, place: self.decode(path, first + place),
            shape=self.shape,
            root=self.root,
        ):
            of_block = labels[block.labels]  # which are places, so that broken ones shift nothing
            self.seen.add(part, block.images, block.labels, of_block)
            yield replace(block, labels=of_block, places=first + block.labels.astype(np.int64))

    def _split_of(self, image: Image) -> SplitName | None:
        for split, (part, indices) in self.members.items():
            at = np.searchsorted(indices, image.place)
            if part == image.part and at < len(indices) and indices[at] == image.place:
                return split
        return None

    def _name(self, image: Image) -> str:
        return shown(os.path.relpath(self.listed[image.part][0][image.place], self.root))


def locate_folder(spec: DataSpec, cache: Path) -> SourceHandle:
    """Walk a tree: classes, files, sizes and times of change; no image is opened.

    Raises:
        DataError: missing, not a folder, no images, one class, or parts that do not match.
    """
    assert spec.path is not None  # DataSpec sees to it
    root = spec.path
    tree = walk_tree(root)
    layout = read_layout(tree)
    parts = layout.parts
    classes = _classes(tree, parts)
    signature = hashlib.sha256()
    for split, part in sorted(parts.items()):
        signature.update(repr(part.directory[len(tree.root) :]).encode("utf-8", "replace"))
        for name in classes:
            signature.update(repr((split, part.files.get(name, ()))).encode("utf-8", "replace"))

    def open_source(progress: Progress) -> FolderSource:
        listed: dict[SplitName, tuple[Sequence[str], np.ndarray]] = {}
        for split, part in parts.items():
            files = [part.files.get(name, ()) for name in classes]
            paths = [f"{part.directory}/{file.path}" for of_class in files for file in of_class]
            counts = list(map(len, files))
            listed[split] = paths, np.repeat(np.arange(len(classes), dtype=np.int32), counts)
        # All images have a say, also those that a training limit leaves out.
        everything = [path for paths, _ in listed.values() for path in paths]
        given = spec.preprocessing
        size = given.crop_px if given else spec.image_size
        rule, rule_warnings = choose_rule(everything, size, progress)
        if given and given.channels_count < rule.shape[2]:
            raise DataError(
                f"{shown(tree.root)} holds images in colour, but the given weights take gray ones"
            )
        warnings = list(layout.notes)
        for part in parts.values():
            warnings += part.notes
            absent = [shown(name) for name in classes if name not in part.files]
            if absent:
                warnings.append(f"{shown(part.directory)} has no images of {some_of(absent)}")
        names = tuple(map(shown, classes))
        notes = (*warnings, *rule_warnings)
        directories = {split: part.directory for split, part in parts.items()}
        in_order = [path for split in SPLITS if split in listed for path in listed[split][0]]
        origin = Origin("folder", root, "", given or rule, files=in_order)
        shape = given.input_shape if given else rule.shape
        source = FolderSource(
            root,
            directories,
            names,
            listed,
            spec,
            shape,
            lambda path, place: decode_by(path, given or rule),
            origin,
            notes,
        )
        assert source.members  # too few images are told of at once
        return source

    return SourceHandle(shown(root.resolve().name or "folder"), signature.hexdigest(), open_source)


def _classes(tree: Tree, parts: Mapping[SplitName, Part]) -> tuple[str, ...]:
    """The classes of the training part, which the other parts must not exceed."""
    train = parts["train"]
    at = {split: shown(part.directory) for split, part in parts.items()}
    classes = tuple(sorted(train.files))
    if not classes:
        passed = "".join(f"\n  {note}" for note in train.notes[:5])
        raise DataError(f"{at['train']} holds no images in class folders; {EXPECTED}{passed}")
    if len(classes) < 2:
        inner = train.directory[len(tree.root) + 1 :]
        inner = classes[0] if not inner else f"{inner}/{classes[0]}"
        below = [] if train.is_listed else sorted(tree.folders[inner].folders)
        hint = ""
        if len(below) > 1 and len(parts) == 1:
            hint = f"; did you mean folder:{tree.at(inner)}?"
        elif len(below) > 1:
            hint = f"; {tree.at(inner)} holds {some_of(below)}: move them up where they are classes"
        raise DataError(
            f"{at['train']} has images of one class only ({shown(classes[0])}); "
            f"two class folders or more are needed{hint}"
        )
    for split, part in parts.items():
        unknown = sorted(shown(name) for name in set(part.files) - set(classes))
        if unknown:
            raise DataError(
                f"{at[split]} has classes that {at['train']} lacks: {some_of(unknown)}; "
                f"what is not trained cannot be recognised: add or remove them"
            )
        if not part.files:
            raise DataError(f"{at[split]} holds no images in class folders ({split})")
    return classes
