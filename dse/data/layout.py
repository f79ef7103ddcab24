"""How a folder of images is laid out: splits, classes, and what is none of them.

    PATH/train/<class>/*.jpg, PATH/test/<class>/*.jpg   and PATH/val (valid, validation) or not
    PATH/<class>/*.png                                  on one level
    PATH/labels.csv and images beside it                in PATH, or in a split of it

Images may lie deeper below their class. `training_set`, `seg_train` or `test1` are splits where
a sibling is called likewise or holds the same class folders, and may be wrapped once more
(`seg_train/seg_train/<class>`). What looks like anything else is refused: two "classes" called
train and test would give an accuracy that means nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dse.data.lookalike import EXPECTED, refuse_detection, refuse_flat, refuse_lookalikes
from dse.data.names import SPLIT_WORDS, normalized, split_of
from dse.data.part import Part, is_flat, is_readable, own, passed, passed_notes, read_part
from dse.data.splits import SPLITS, SplitName
from dse.data.tree import Tree, join
from dse.errors import DataError
from dse.text import listed, some_of


@dataclass(frozen=True)
class Layout:
    """The parts of a tree, or all of it as its training part; and what was passed over."""

    parts: Mapping[SplitName, Part]
    notes: tuple[str, ...] = ()


def read_layout(tree: Tree) -> Layout:
    """What a tree is, to train on.

    Raises:
        DataError: it looks like something that is no set of class folders; says like what, and
            how to lay it out.
    """
    refuse_detection(tree, "")
    splits = find_splits(tree)
    readable = {s: [p for p in places if is_readable(tree, p)] for s, places in splits.items()}
    for place in (place for places in splits.values() for place in places):
        refuse_detection(tree, place)
    if not readable.get("train"):
        refuse_lookalikes(tree, splits)
        part = read_part(tree, "")
        if not part.files and tree.folders[""].images:
            refuse_flat(tree, [""])
        return Layout({"train": part}, tuple(_class_notes(tree, part)))
    notes = list(passed_notes(tree, ""))
    parts: dict[SplitName, Part] = {}
    used: list[str] = []
    for split, places in splits.items():
        place = _only(tree, readable[split] or places)
        if readable[split] or not tree.has_images(place):
            parts[split] = read_part(tree, place)
            used.append(place.partition("/")[0])
    is_listed = any(part.is_listed for part in parts.values())
    if unlabelled := [split for split in splits if split not in parts]:
        if not is_listed:
            refuse_flat(tree, [splits[split][0] for split in unlabelled])
        notes.append(
            f"{tree.at('')}: a share of the training images is taken as {listed(unlabelled)} images"
        )
    elif "test" not in parts and not is_listed:
        raise DataError(
            f"{tree.at('')} holds {some_of(tree.filled(''))} but no test folder; add test/ "
            "(rename one of them), or give one level of class folders, which is split by the seed"
        )
    notes += _passed_parts(tree, used)
    return Layout(_same_spelling(parts), tuple(notes))


def find_splits(tree: Tree) -> dict[SplitName, list[str]]:
    """Places of the folders that are splits by their names, in the order of the splits."""
    tops = sorted(tree.folders[""].folders)
    named = {name: said for name in tops if (said := split_of(name))}
    inner = {name: _unwrapped(tree, name, *named.get(name, (None, ()))) for name in tops}
    classes = {name: {normalized(sub) for sub in tree.filled(inner[name])} for name in tops}

    def is_split(name: str) -> bool:
        split, affix = named[name]
        return name.lower() in SPLIT_WORDS or any(
            (other in named and named[other][0] != split and named[other][1] == affix)
            or len(classes[name] & classes[other]) > 1
            for other in tops
            if other != name
        )

    found = {
        split: [inner[name] for name in named if named[name][0] == split and is_split(name)]
        for split in SPLITS
    }
    return {split: places for split, places in found.items() if places}


def _unwrapped(tree: Tree, name: str, split: SplitName | None, affix: tuple[str, ...]) -> str:
    """Where the class folders of a split lie: in seg_train/seg_train as in seg_train."""
    place = name
    while split and not tree.folders[place].images and len(inner := tree.filled(place)) == 1:
        if (found := split_of(inner[0])) is None or found[0] != split:
            break
        place = join(place, inner[0])
    return place


def _only(tree: Tree, places: Sequence[str]) -> str:
    """The one folder of a split; one that is called just so goes before `test1`."""
    plain = [place for place in places if place.lower() in SPLIT_WORDS]
    places = plain or places
    if len(places) > 1:
        raise DataError(f"{tree.at('')} holds both {listed(places)}; keep one of them")
    return places[0]


def _class_notes(tree: Tree, part: Part) -> Iterable[str]:
    """What to look at where folders that are classes may be meant as something else.

    Raises:
        DataError: one of several holds splits, which would be mixed.
    """
    names = [name for name in part.files if name in tree.folders]
    inside = {name: tree.filled(name) for name in names if len(names) > 1}
    for name, held in inside.items():
        splits = {said[0]: sub for sub in held if (said := split_of(sub))}
        if len(splits) > 1 and "train" in splits:
            fix = f"put the classes into the splits; {EXPECTED}"
            if not is_flat(tree, join(name, splits["train"])):
                fix = f"did you mean folder:{tree.at(name)}?"
            raise DataError(
                f"{tree.at(name)} would be a class, but holds {listed(sorted(splits.values()))}, "
                f"which would be mixed; {fix}"
            )
    shared = sorted(set.intersection(*map(set, inside.values()))) if inside else []
    if len(shared) > 1:
        yield (
            f"{tree.at('')}: the folders {some_of(names)} are taken as classes, though each holds "
            f"{some_of(shared)}; if those are the classes, call the folders train and test"
        )
    if called := [name for name in names if name.lower() in SPLIT_WORDS]:
        yield (
            f"{tree.at('')}: {listed(called)} may be meant as a split, but what lies in it has no "
            "class folders: taken as a class, like the folders beside it"
        )


def _passed_parts(tree: Tree, used: Sequence[str]) -> Iterable[str]:
    """Folders beside the splits that hold files."""
    for name in sorted(tree.folders[""].folders):
        if name not in used and tree.has_files(name):
            count = len(tree.images(name))
            reason = own(tree, name) or (
                "its images have no class folders"
                if count and is_flat(tree, name)
                else "it is none of the splits"
            )
            yield passed(tree, "", name, reason)


def _same_spelling(parts: Mapping[SplitName, Part]) -> dict[SplitName, Part]:
    """Classes of all parts as the training part spells them, whatever their normalization."""
    spelling = {normalized(name): name for name in parts["train"].files}
    return {
        split: Part(
            part.directory,
            {spelling.get(normalized(name), name): files for name, files in part.files.items()},
            part.notes,
            part.is_listed,
        )
        for split, part in parts.items()
    }
