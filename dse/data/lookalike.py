"""Folders that are no set of class folders, though they look a little like one."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NoReturn

from dse.data.names import normalized, split_of
from dse.data.part import IMAGE_FOLDERS, image_list, is_flat, own
from dse.data.splits import SplitName
from dse.data.tree import Tree, join
from dse.errors import DataError
from dse.text import counted, listed, some_of

EXPECTED = "expected PATH/<class>/*.jpg, or PATH/train/<class>/*.jpg and PATH/test/<class>/*.jpg"
_UNLABELLED = re.compile(
    r".*(pred|holdout|unlabel|unseen|extra|eval|submission|public|private)", re.IGNORECASE
)
_TARGET_FOLDER = re.compile(
    r"(label|annotation|mask|box|bbox|imageset)(s|es)?|segmentation(class|object)|ground_?truth"
)


def refuse_detection(tree: Tree, place: str) -> None:
    """Refuse a folder of images beside one of boxes or masks.

    Raises:
        DataError: names both.
    """
    inside = {name.lower(): name for name in tree.folders[place].folders}
    images = [inside[name] for name in inside if name in IMAGE_FOLDERS]
    targets = [
        inside[name]
        for name in inside
        if _TARGET_FOLDER.fullmatch(name) and tree.has_files(join(place, inside[name]))
    ]
    others = set(tree.filled(place)) - {*images, *targets}
    if not images or not targets or others:
        return
    if image_list(tree, place) is not None:
        return
    raise DataError(
        f"{tree.at(place)} looks like a data set for object detection or segmentation: "
        f"{images[0]}/ holds the images and {targets[0]}/ what is where on them; dse classifies "
        f"whole images: sort those of {tree.at(join(place, images[0]))} into class folders; "
        + EXPECTED
    )


def refuse_lookalikes(tree: Tree, splits: Mapping[SplitName, Sequence[str]]) -> None:
    """Refuse a tree without a training part whose folders look like splits.

    Raises:
        DataError: says what they hold.
    """
    tops = [name for name in tree.filled("") if own(tree, name) is None]
    places = [p for of_split in splits.values() for p in of_split if tree.has_images(p)]
    if image_list(tree, "") is not None or not places:
        return
    for place in places:
        inside = {normalized(name) for name in tree.filled(place)}
        if shared := sorted(inside & {normalized(name) for name in tops}):
            raise DataError(
                f"{tree.at(place)} looks like a split, and holds {some_of(shared)} as the folder "
                "around it does; put those around it into a train folder beside it"
            )
    used = {place.partition("/")[0] for place in places}
    classes = {frozenset(tree.filled(place)) for place in places if not is_flat(tree, place)}
    others = [
        name
        for name in tops
        if not (name in used or split_of(name) or _UNLABELLED.match(name))
        and frozenset(tree.filled(name)) not in classes
    ]
    # A class may be called "train", as vehicles are, and then perhaps another one "test".
    if others and ("train" in splits or not any(is_flat(tree, place) for place in places)):
        return
    if flat := [place for place in places if is_flat(tree, place)]:
        refuse_flat(tree, flat)
    raise DataError(f"{tree.at('')} holds {listed(tops)} but no train folder; {EXPECTED}")


def refuse_flat(tree: Tree, places: Sequence[str]) -> NoReturn:
    """Refuse folders whose images lie in no class folders.

    Raises:
        DataError: always.
    """
    counts = [
        f"{tree.at(place)} holds {counted(len(tree.images(place)), 'image')}" for place in places
    ]
    stems = [re.match(r"[^\W\d_]*", f.path.rpartition("/")[2]) for f in tree.images(places[0])]
    starts = sorted({found[0] for found in stems if found})
    from_names = f" (their names begin with {listed(starts)})" if 1 < len(starts) < 5 else ""
    raise DataError(
        f"{listed(counts)}, but no class folders: nothing says what is on them{from_names}; sort "
        f"them into {tree.at(places[0])}/<class>/, put a labels.csv (file,label) beside them, or "
        "rename a folder that is a class; " + EXPECTED
    )
