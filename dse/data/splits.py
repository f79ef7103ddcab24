"""Who trains, who validates, who tests: stratified, fixed by a seed, the same everywhere.

An image's place follows from the hash of (seed, its name), not from a random generator: the
split does not depend on the versions installed, and an image that is added or removed moves
next to no other. Names are relative (`cat/0001.jpg`), so a folder may be moved.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np

from dse.data.spec import DataSpec
from dse.errors import DataError
from dse.text import some_of

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


def divide(
    spec: DataSpec,
    labels: np.ndarray,
    names: Sequence[str],
    *,
    classes: Sequence[str],
    given: Collection[SplitName] = (),
) -> dict[SplitName, np.ndarray]:
    """Divide images by the shares, the limit and the seed of a spec.

    Args:
        spec: of the data.
        labels: int array (n,), indices into `classes`.
        names: a stable name for each image.
        classes: class names, for messages.
        given: splits that have images of their own, and need none of these.

    Returns:
        Ascending indices for `train`, and for `validation` and `test` where they are not given.

    Raises:
        DataError: a class has too few images, or the training limit is below one of each.
    """
    shares: dict[SplitName, float] = {
        "test": spec.test_share,
        "validation": spec.validation_share,
    }
    shares = {split: share for split, share in shares.items() if split not in given}
    members = split_by_share(labels, names, shares, classes=classes, seed=spec.split_seed)
    if spec.train_limit is not None:
        members["train"] = limit_train(
            members["train"], labels, names, limit=spec.train_limit, seed=spec.split_seed
        )
    return members


def split_by_share(
    labels: np.ndarray,
    names: Sequence[str],
    shares: Mapping[SplitName, float],
    *,
    classes: Sequence[str],
    seed: int,
) -> dict[SplitName, np.ndarray]:
    """Divide images, class by class; what `shares` leave over is the training split.

    Each share of a class of n images takes max(1, n * share rounded half up).

    Args:
        labels: int array (n,), indices into `classes`.
        names: a stable name for each image.
        shares: of validation and/or test, each in (0, 1), together below 1.
        classes: class names, for messages.
        seed: another seed gives another division.

    Returns:
        Ascending indices for `train` and for each key of `shares`.

    Raises:
        DataError: a share is out of bounds, or a class has too few images for one in each.
    """
    if any(not 0 < share < 1 for share in shares.values()) or sum(shares.values()) >= 1:
        shown = ", ".join(f"{split} {share}" for split, share in shares.items())
        raise DataError(f"shares must be in (0, 1) and below 1 together, but got {shown}")
    keys = _hashes(names, seed)
    chosen: dict[SplitName, list[np.ndarray]] = {split: [] for split in ("train", *shares)}
    too_few: list[str] = []
    for label, name in enumerate(classes):
        members = _ordered(np.flatnonzero(labels == label), keys)
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
    return {split: np.sort(np.concatenate(parts)) for split, parts in chosen.items()}


def limit_train(
    members: np.ndarray,
    labels: np.ndarray,
    names: Sequence[str],
    *,
    limit: int,
    seed: int,
) -> np.ndarray:
    """Keep `limit` training images, every class in its proportion and at least one of each.

    A smaller limit keeps a subset of what a larger one keeps: the image of rank r in a class
    of n comes up at r / n, and the first `limit` of all are kept.

    Args:
        members: indices of the training split.
        labels: int array (all images,).
        names: names of all images.
        limit: images to keep; all are kept when there are no more than that.
        seed: as for the split.

    Returns:
        Ascending indices.

    Raises:
        DataError: the limit is below the number of classes.
    """
    if limit >= len(members):
        return members
    present = np.unique(labels[members])
    if limit < len(present):
        raise DataError(
            f"the training limit is {limit}, but must be at least {len(present)}: one image "
            "of each class"
        )
    keys = _hashes(names, seed)
    moments = np.empty(len(members))
    ordered = np.empty_like(members)
    start = 0
    for label in present:
        of_class = _ordered(members[labels[members] == label], keys)
        end = start + len(of_class)
        ordered[start:end] = of_class
        moments[start:end] = np.arange(len(of_class)) / len(of_class)
        start = end
    return np.sort(ordered[np.argsort(moments, kind="stable")[:limit]])


def _hashes(names: Sequence[str], seed: int) -> list[bytes]:
    prefix = f"{seed}:".encode()
    return [hashlib.blake2b(prefix + os.fsencode(n), digest_size=16).digest() for n in names]


def _ordered(members: np.ndarray, keys: Sequence[bytes]) -> np.ndarray:
    return np.array(sorted(members, key=lambda i: keys[i]), dtype=np.int64)
