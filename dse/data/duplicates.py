"""Images that are the same, whatever their files are called: by a digest of their pixels."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from dse.data.splits import SPLITS, SplitName
from dse.text import counted, some_of

_DIGEST_BYTES = 16
_PAIRS: tuple[tuple[SplitName, SplitName], ...] = (
    ("test", "train"),
    ("validation", "train"),
    ("test", "validation"),
)
_WORDS: Mapping[SplitName, str] = {"train": "training", "validation": "validation", "test": "test"}


class Image(NamedTuple):
    """One of several copies.

    Attributes:
        part: of the folder.
        place: in that part.
        label: its class.
    """

    part: SplitName
    place: int
    label: int


SplitOf = Callable[[Image], SplitName | None]
"""The split that an image is in; None for one that a limit leaves out."""


@dataclass(frozen=True)
class Seen:
    """What is known of the images of each part that were decoded so far."""

    digests: dict[SplitName, bytearray] = field(default_factory=dict)
    images: dict[SplitName, list[tuple[np.ndarray, np.ndarray]]] = field(default_factory=dict)

    def add(
        self, part: SplitName, pixels: np.ndarray, places: np.ndarray, labels: np.ndarray
    ) -> None:
        """Take note of decoded images, their places in the part and their labels."""
        digests = self.digests.setdefault(part, bytearray())
        for image in pixels:
            digests += hashlib.blake2b(image.data, digest_size=_DIGEST_BYTES).digest()
        self.images.setdefault(part, []).append((places, labels))

    def places(self, part: SplitName) -> np.ndarray:
        """Places of those seen in a part."""
        found = [places for places, _ in self.images.get(part, [])]
        return np.concatenate([np.empty(0, np.int64), *found])

    def copies(self) -> list[list[Image]]:
        """Groups of images that are the same."""
        joined = b"".join(self.digests.get(part, b"") for part in SPLITS)
        if not joined:
            return []
        _, contents, counts = np.unique(
            np.frombuffer(joined, f"S{_DIGEST_BYTES}"), return_inverse=True, return_counts=True
        )
        groups: dict[int, list[Image]] = {}
        blocks = [(part, *block) for part in SPLITS for block in self.images.get(part, [])]
        at = 0
        for part, places, labels in blocks:
            here = contents[at : at + len(places)]
            for i in np.flatnonzero(counts[here] > 1):
                image = Image(part, int(places[i]), int(labels[i]))
                groups.setdefault(int(here[i]), []).append(image)
            at += len(places)
        return list(groups.values())


def count_copies(
    copies: Sequence[Sequence[Image]],
    split_of: SplitOf,
    name: Callable[[Image], str],
    totals: Mapping[SplitName, int],
) -> tuple[dict[str, int], tuple[str, ...]]:
    """How many images are in two splits and how many have two labels; a warning for each.

    Args:
        copies: groups of images that are the same.
        split_of: where they are used.
        name: what messages call an image.
        totals: images of each split.
    """
    counts: dict[str, int] = {}
    warnings: list[str] = []
    used = [[(s, name(i), i.label) for i in group if (s := split_of(i))] for group in copies]
    for split, other in _PAIRS:
        found = sorted(
            f"{image} = {twin}"
            for group in used
            for where, image, _ in group
            if where == split and (twin := next((n for s, n, _ in group if s == other), None))
        )
        counts[f"{split}_in_{other}"] = len(found)
        if found:
            are = "is also a" if len(found) == 1 else "are also"
            images = f"{_WORDS[other]} image" + ("" if len(found) == 1 else "s")
            warnings.append(
                f"{len(found):,} of {totals[split]:,} {_WORDS[split]} images {are} {images} "
                f"({some_of(found, 3)}): accuracy on them says nothing of new ones; --duplicates "
                f"drop leaves them out of the {_WORDS[other]} images"
            )
    mixed = sorted(
        " = ".join(sorted(image for _, image, _ in group))
        for group in used
        if len({label for _, _, label in group}) > 1
    )
    counts["several_classes"] = len(mixed)
    if mixed:
        are = "is" if len(mixed) == 1 else "are"
        warnings.append(
            f"{counted(len(mixed), 'image')} {are} in several classes ({some_of(mixed, 3)}): not "
            "more than one can be right; --duplicates drop leaves them out"
        )
    return counts, tuple(warnings)


def to_drop(copies: Sequence[Sequence[Image]], split_of: SplitOf) -> list[Image]:
    """All but one of each group, that of the later split; all of a group with several labels."""
    order: list[SplitName | None] = [None, *SPLITS]
    dropped: list[Image] = []
    for group in copies:
        kept = max(group, key=lambda image: (order.index(split_of(image)), -image.place))
        is_mixed = len({image.label for image in group}) > 1
        dropped += [image for image in group if is_mixed or image is not kept]
    return dropped
