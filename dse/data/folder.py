"""The source `folder:PATH`: a tree of class folders, divided by its parts or by the seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dse.data.decode import Rule, decode, shown
from dse.data.headers import choose_rule
from dse.data.layout import read_layout
from dse.data.lookalike import EXPECTED
from dse.data.part import Part
from dse.data.source import Block, Progress, SourceHandle
from dse.data.spec import DataSpec
from dse.data.splits import SplitName, divide
from dse.data.stream import decode_blocks
from dse.data.tree import Tree, walk_tree
from dse.errors import DataError
from dse.text import some_of


@dataclass(frozen=True)
class FolderSource:
    """Images of a tree, split and ready to be decoded."""

    root: Path
    classes: tuple[str, ...]
    members: Mapping[SplitName, tuple[Sequence[str], np.ndarray]]  # paths, labels
    rule: Rule
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
        return decode_blocks(
            zip(paths, labels, strict=True),
            lambda path: decode(path, self.rule),
            shape=self.rule.shape,
            root=self.root,
        )


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
        members = _members(spec, parts["train"], listed, classes)
        # All images have a say, also those that a training limit leaves out.
        everything = [path for paths, _ in listed.values() for path in paths]
        rule, rule_warnings = choose_rule(everything, spec.image_size, progress)
        warnings = list(layout.notes)
        for part in parts.values():
            warnings += part.notes
            absent = [shown(name) for name in classes if name not in part.files]
            if absent:
                warnings.append(f"{shown(part.directory)} has no images of {some_of(absent)}")
        return FolderSource(
            root,
            tuple(map(shown, classes)),
            members,
            rule,
            (*warnings, *rule_warnings),
        )

    return SourceHandle(shown(root.resolve().name or "folder"), signature.hexdigest(), open_source)


def _members(
    spec: DataSpec,
    train: Part,
    listed: Mapping[SplitName, tuple[Sequence[str], np.ndarray]],
    classes: tuple[str, ...],
) -> Mapping[SplitName, tuple[Sequence[str], np.ndarray]]:
    """Paths and labels of each split: a part of the tree, or a share of its training part."""
    paths, labels = listed["train"]
    below = len(train.directory) + 1
    names = [path[below:] for path in paths]
    shares: dict[SplitName, float] = {"test": spec.test_share, "validation": spec.validation_share}
    indices = divide(
        labels,
        names,
        {split: share for split, share in shares.items() if split not in listed},
        classes=classes,
        seed=spec.split_seed,
        train_limit=spec.train_limit,
    )
    divided = {split: ([paths[i] for i in at], labels[at]) for split, at in indices.items()}
    return dict(listed) | divided


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
