"""Who trains, who validates, who tests: stratified, fixed by a seed, the same everywhere.

An image's place follows from the hash of (seed, its name), not from a random generator: the
split does not depend on the versions installed, and an image that is added or removed moves
next to no other. Names are relative (`cat/0001.jpg`), so a folder may be moved.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from dse.errors import DataError
from dse.text import some_of

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


def divide(
    labels: np.ndarray,
    names: Sequence[str],
    shares: Mapping[SplitName, float],
    *,
    classes: Sequence[str],
    seed: int,
    train_limit: int | None = None,
) -> dict[SplitName, np.ndarray]:
    """Divide images, class by class; what `shares` leave over is the training split.

    Each share of a class of n images takes max(1, n * share rounded half up).

    A training limit keeps every class in its proportion, and of a smaller limit a subset of
    what a larger one keeps: the training image of rank r in a class of n comes up at r / n,
    and the first of all are kept.

    Args:
        labels: int array (n,), indices into `classes`.
        names: a stable name for each image.
        shares: of validation and/or test, each in (0, 1), together below 1.
        classes: class names, for messages.
        seed: another seed gives another division.
        train_limit: training images to keep; None, and more than there are, keep all.

    Returns:
        Ascending indices for `train` and for each key of `shares`.

    Raises:
        DataError: a share is out of bounds, a class has too few images for one in each, or the
            limit is below the number of classes.
    """
    if any(not 0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        shown = ", ".join(f"{split} {share}" for split, share in shares.items())
        raise DataError(f"shares must be in (0, 1) and below 1 together, but got {shown}")
    keys = [
        hashlib.blake2b(f"{seed}:".encode() + os.fsencode(name), digest_size=16).digest()
        for name in names
    ]
    chosen: dict[SplitName, list[np.ndarray]] = {split: [] for split in ("train", *shares)}
    too_few: list[str] = []
    for label, name in enumerate(classes):
        of_class = sorted(np.flatnonzero(labels == label), key=keys.__getitem__)
        members = np.array(of_class, dtype=np.int64)
        taken = 0
        for split, share in shares.items():
            count = max(1, int(np.floor(len(members) * share + 0.5)))
            chosen[split].append(members[taken : taken + count])
            taken += count
        chosen["train"].append(members[taken:])
        if len(members) <= taken:
            too_few.append(f"{name} ({len(members)})")
    if too_few:
        raise DataError(
            f"too few images to have one in each of {', '.join(chosen)}: {some_of(too_few)}; "
            f"every class needs {len(chosen)} or more"
        )
    divided = {split: np.concatenate(parts) for split, parts in chosen.items()}
    if train_limit is not None and train_limit < len(divided["train"]):
        if train_limit < len(classes):
            raise DataError(
                f"the training limit is {train_limit}, but must be at least {len(classes)}: one "
                "image of each class"
            )
        moments = np.concatenate([np.arange(len(part)) / len(part) for part in chosen["train"]])
        first = np.argsort(moments, kind="stable")[:train_limit]
        divided["train"] = divided["train"][first]
    return {split: np.sort(indices) for split, indices in divided.items()}
