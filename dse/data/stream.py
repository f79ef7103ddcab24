"""Images decoded in threads, in order, a few blocks ahead: memory does not grow with their number.

Threads are enough: Pillow decodes and resizes outside the interpreter lock, and images so
small that it does not matter (32x32: 60 µs each) are read in seconds anyway.
"""

from __future__ import annotations

import itertools
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from dse.data import source
from dse.data.decode import decode_preprocessed, shown
from dse.data.library_warnings import library_warnings
from dse.data.source import Block
from dse.errors import ImageError
from dse.weights.preprocessing import Preprocessing

BLOCK_COUNT = 8  # images that a thread decodes at a time for `stream_batches`
_BLOCK_BYTES = 8 * 2**20  # of decoded pixels that a thread works on

Labelled = tuple[str, int]
"""Path of an image, and its label."""

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def decode_blocks(
    images: Iterable[Labelled],
    decode: Callable[[str, int], np.ndarray],
    *,
    shape: tuple[int, int, int],
    root: Path | None,
    block_count: int | None = None,
) -> Iterator[Block]:
    """Decode images in order; broken ones are named and left out.

    Args:
        images: taken as room is made.
        decode: gives uint8 (height, width, channel) of a path and its label.
        shape: of what it gives.
        root: broken images are named from here; None names them by their path.
        block_count: images in a block; as usual 8 MiB of them, 128 at most.
    """
    size = block_count or min(source.BLOCK_COUNT, max(1, _BLOCK_BYTES // math.prod(shape)))

    def decode_block(block: list[Labelled]) -> Block:
        arrays = np.empty((len(block), *shape), np.uint8)
        labels: list[int] = []
        broken: list[str] = []
        warned: list[str] = []
        for path, label in block:
            name = shown(path if root is None else os.path.relpath(path, root))
            with library_warnings() as said:
                try:
                    arrays[len(labels)] = decode(path, label)
                except ImageError as error:
                    broken.append(f"{name} ({error.reason})")
                    continue
            labels.append(label)
            if said:
                warned.append(f"{name} ({'; '.join(said)})")
        return Block(
            arrays[: len(labels)], np.array(labels, np.int32), tuple(broken), tuple(warned)
        )

    iterator = iter(images)
    return in_order(decode_block, iter(lambda: list(itertools.islice(iterator, size)), []))


def stream_batches(
    images: Iterable[Labelled],
    rule: Preprocessing,
    *,
    batch_count: int,
    root: Path | None = None,
) -> Iterator[Block]:
    """Decode images in their order; every batch but the last is full, or has none at all.

    Args:
        images: taken one by one, as room is made.
        rule: how they become arrays.
        batch_count: images in a batch.
        root: broken images are named from here; None names them by their path.
    """
    shape = rule.input_shape
    arrays: list[np.ndarray] = []
    labels: list[int] = []
    broken: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()

    def batch(count: int) -> Block:
        together = np.stack(arrays[:count]) if count else np.empty((0, *shape), np.uint8)
        return Block(together, np.array(labels[:count], np.int32), broken, warned)

    blocks = decode_blocks(
        images,
        lambda path, label: decode_preprocessed(path, rule),
        shape=shape,
        root=root,
        block_count=BLOCK_COUNT,
    )
    for block in blocks:
        arrays.extend(block.images)
        labels += block.labels.tolist()
        broken += block.broken
        warned += block.warnings
        while len(labels) >= batch_count:
            yield batch(batch_count)
            arrays, labels, broken, warned = arrays[batch_count:], labels[batch_count:], (), ()
        if len(broken) >= batch_count:  # a hopeless folder must not pile up names either
            yield batch(0)
            broken = warned = ()
    if labels or broken:
        yield batch(len(labels))


def in_order(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Iterator[_Result]:
    """`map` over threads, in order, with only a few results waiting: memory stays bounded."""
    usable = (
        os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    )
    workers_count = len(usable)
    waiting: deque[Future[_Result]] = deque()
    pool = ThreadPoolExecutor(workers_count)
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) > 2 * workers_count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
