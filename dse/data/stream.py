"""Images decoded in threads and handed on in batches: memory does not grow with their number."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dse.data.decode import attempt, decode_preprocessed, in_order
from dse.weights.preprocessing import Preprocessing

BLOCK_COUNT = 8  # images that a thread decodes at a time; 2 blocks a thread wait, and no more

Labelled = tuple[str, int]
"""Path of an image, and its label."""


@dataclass(frozen=True)
class Batch:
    """Some decoded images.

    Attributes:
        pictures: uint8 (n, height, width, channels), RGB or gray; n is 0 where only broken
            images are told of.
        labels: int32 (n,).
        broken: `path (reason)` of each image that could not be decoded on the way.
    """

    images: np.ndarray
    labels: np.ndarray
    broken: tuple[str, ...]


@dataclass(frozen=True)
class _Block:
    images: list[np.ndarray]
    labels: list[int]
    broken: list[str]


def stream_batches(
    pictures: Iterable[Labelled],
    rule: Preprocessing,
    *,
    batch_count: int,
    root: Path | None = None,
) -> Iterator[Batch]:
    """Decode images in their order; every batch but the last is full, or has none at all.

    Args:
        pictures: taken one by one, as room is made.
        rule: how they become arrays.
        batch_count: images in a batch.
        root: broken images are named from here; None names them by their path.
    """
    images: list[np.ndarray] = []
    labels: list[int] = []
    broken: list[str] = []
    blocks = in_order(lambda block: _decode(block, rule, root), _blocks(pictures))
    for block in blocks:
        images += block.images
        labels += block.labels
        broken += block.broken
        while len(images) >= batch_count:
            yield _batch(images[:batch_count], labels[:batch_count], broken, rule)
            images, labels, broken = images[batch_count:], labels[batch_count:], []
        if len(broken) >= batch_count:  # a hopeless folder must not pile up names either
            yield _batch([], [], broken, rule)
            broken = []
    if images or broken:
        yield _batch(images, labels, broken, rule)


def _blocks(pictures: Iterable[Labelled]) -> Iterator[list[Labelled]]:
    iterator = iter(pictures)
    while block := list(itertools.islice(iterator, BLOCK_COUNT)):
        yield block


def _decode(block: Sequence[Labelled], rule: Preprocessing, root: Path | None) -> _Block:
    result = _Block([], [], [])
    for path, label in block:
        name = path if root is None else os.path.relpath(path, root)
        image, problem = attempt(path, lambda path: decode_preprocessed(path, rule), name=name)
        if image is None:
            result.broken.append(problem)
        else:
            result.images.append(image)
            result.labels.append(label)
    return result


def _batch(
    images: list[np.ndarray], labels: list[int], broken: list[str], rule: Preprocessing
) -> Batch:
    together = np.stack(images) if images else np.empty((0, *rule.input_shape), np.uint8)
    return Batch(together, np.array(labels, np.int32), tuple(broken))
