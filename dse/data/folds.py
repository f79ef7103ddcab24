"""Stratified folds of the training images: what cross-validation holds out, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from dse.data.dataset import Dataset, Split

FOLDS = 5
"""A fifth is held out at a time (Kohavi 1995, "A study of cross-validation and bootstrap")."""

_SEED = 0x666F6C64


def folds_of(dataset: Dataset, count: int) -> Iterator[Dataset]:
    """The first `count` of `FOLDS` views of a data set that never touch its validation images.

    In each a fifth of every class's training images is the validation split and the others are
    the training split; every view trains on equally many, so that one program serves them all.
    Which image is in which fold follows from the labels alone.
    """
    labels = np.asarray(dataset.train.labels)
    order = np.random.default_rng([_SEED, len(labels)]).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]  # class by class, each in any order
    fold = np.empty(len(labels), dtype=np.intp)
    fold[order] = np.arange(len(labels)) % FOLDS
    train_count = len(labels) - -(-len(labels) // FOLDS)
    for number in range(count):
        held, kept = np.flatnonzero(fold == number), np.flatnonzero(fold != number)[:train_count]
        yield replace(
            dataset,
            train=Split(dataset.train.images[kept], labels[kept]),
            validation=Split(dataset.train.images[held], labels[held]),
        )
