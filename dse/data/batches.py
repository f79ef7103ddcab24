"""Images of a split by the batch, wherever they lie.

    in memory      an array mapped from the cache, of decoded images (`dataset.open_dataset`)
    packed raw     pixels mapped from a pack as they are (`Mapped`)
    streamed       decoded each time, by threads, from a pack or from files (`Streamed`)

Who reads them sees arrays that can be indexed. What a batch holds follows from the places asked
for and from the noise given, never from how many threads decode or in which order they end.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, TypeVar

import numpy as np
from PIL import Image

from dse.data.decode import Rule, decode_by, decode_whole, fit
from dse.data.packed import image_of
from dse.data.packfile import Pack
from dse.errors import DataError, ImageError
from dse.weights.preprocessing import Preprocessing

DECODERS_VARIABLE = "DSE_DECODERS"
DECODERS_COUNT = 2
"""Threads that decode in each worker: one is enough for a CPU, which trains far more slowly."""

CROP_RATIOS = (3 / 4, 4 / 3)
_CROP_TRIES = 10
_CROP_DETAIL = 4  # times the side of a crop, which shows a twelfth of an image at the least

Noise = tuple[int, ...]
"""What draws follow from beside an image's place: seeds and the epoch."""

_Item = TypeVar("_Item")


class Batches(Protocol):
    """Images of a split: uint8 arrays (n, height, width, channel) by index or slice."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(images, height, width, channels)."""

    @property
    def nbytes(self) -> int:
        """Bytes of all of them, decoded."""

    def __len__(self) -> int:
        """Images."""

    def __getitem__(self, which: Any) -> np.ndarray:
        """Some of them, by a slice or an array of indices; or one."""


@dataclass(frozen=True, eq=False)
class Mapped:
    """Pixels of a pack that are used as they are.

    Attributes:
        pixels: of the whole pack, mapped.
        places: which images these are, int64 (n,).
    """

    pixels: np.ndarray
    places: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Batches`."""
        return (len(self.places), *self.pixels.shape[1:])

    @property
    def nbytes(self) -> int:
        """See `Batches`."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: Any) -> np.ndarray:
        return np.asarray(self.pixels[self.places[which]])


@dataclass(frozen=True, eq=False)
class Streamed:
    """Images that are decoded each time they are asked for.

    Attributes:
        decode: the array of a place.
        load: the whole image of a place, in gray or RGB.
        places: which images these are, int64 (n,).
        one_shape: (height, width, channels) of every array.
    """

    decode: Callable[[int], np.ndarray]
    load: Callable[[int], Image.Image]
    places: np.ndarray
    one_shape: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, ...]:
        """See `Batches`."""
        return (len(self.places), *self.one_shape)

    @property
    def nbytes(self) -> int:
        """See `Batches`."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, which: Any) -> np.ndarray:
        places = np.atleast_1d(self.places[which])
        found = self._decoded(len(places), lambda at: self.decode(int(places[at])))
        return found if np.ndim(self.places[which]) else found[0]

    def cropped(self, which: np.ndarray, noise: Noise, least_area: float) -> np.ndarray:
        """Random resized crops of the whole images."""

        def crop(at: int) -> np.ndarray:
            draws = np.random.default_rng((*noise, int(which[at])))
            image = self.load(int(self.places[which[at]]))
            return random_crop(image, self.one_shape[:2], draws, least_area)

        return self._decoded(len(which), crop)

    def _decoded(self, count: int, make: Callable[[int], np.ndarray]) -> np.ndarray:
        found = np.empty((count, *self.one_shape), np.uint8)

        def decode(at: int) -> None:
            found[at] = make(at).reshape(self.one_shape)

        for _ in self._pool.map(decode, range(count), chunksize=8):
            pass
        return found

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(decoders_count())


def shape_of(rule: Rule | Preprocessing) -> tuple[int, int, int]:
    """(height, width, channels) of what a rule gives."""
    return rule.shape if isinstance(rule, Rule) else rule.input_shape


def decoders_count() -> int:
    """Threads that decode, as DSE_DECODERS says.

    Raises:
        DataError: it is no number of threads.
    """
    text = os.environ.get(DECODERS_VARIABLE, "") or str(DECODERS_COUNT)
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise DataError(f"{DECODERS_VARIABLE} is {text!r}, but must be a number of threads")
    return int(text)


def stream(files: Sequence[str] | Pack, places: np.ndarray, rule: Rule | Preprocessing) -> Streamed:
    """Images of a pack, or of files, that are decoded when they are asked for."""
    height, width, channels = shape_of(rule)
    if isinstance(files, Pack):
        return Streamed(
            lambda place: fit(image_of(files, place), rule),
            lambda place: image_of(files, place),
            places,
            shape_of(rule),
        )
    enough_px = (_CROP_DETAIL * height, _CROP_DETAIL * width)
    return Streamed(
        lambda place: _still_sound(decode_by, files[place], rule),
        lambda place: _still_sound(decode_whole, files[place], channels, enough_px),
        places,
        shape_of(rule),
    )


def _still_sound(decode: Callable[..., _Item], path: str, *rest: object) -> _Item:
    """What a decoder gives; an image that it could decode before is no longer what it was."""
    try:
        return decode(path, *rest)
    except ImageError as error:
        raise DataError(f"{error}; it could be decoded when the images were prepared") from error


def take(images: Batches, which: np.ndarray, noise: Noise, crop_area: float) -> np.ndarray:
    """Images to train on: as they are, or random resized crops of the whole images.

    Args:
        images: of the training split.
        which: indices, int (n,).
        noise: with an image's index, what its draws follow from.
        crop_area: the smallest share of an image's area; 0 for no crops.

    Returns:
        uint8 (n, height, width, channels), not shared with anyone.
    """
    if not crop_area:
        return images[which]
    if isinstance(images, Streamed):
        return images.cropped(which, noise, crop_area)
    found = images[which]
    for at, image in zip(which.tolist(), found, strict=True):
        pixels = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        draws = np.random.default_rng((*noise, at))
        image[:] = random_crop(pixels, image.shape[:2], draws, crop_area).reshape(image.shape)
    return found


def random_crop(
    image: Image.Image, size: tuple[int, int], draws: np.random.Generator, least_area: float
) -> np.ndarray:
    """A random part of an image, resized to (height, width), bilinear with antialiasing.

    Its area is uniform in [least_area, 1] of the image's, the logarithm of its ratio of width to
    height uniform between those of 3/4 and 4/3; where ten draws do not fit, the middle.

    Source: Szegedy et al. 2014, "Going deeper with convolutions", section 6; as in torchvision.
    """
    wide, tall = image.size
    low, high = np.log(CROP_RATIOS)
    for _ in range(_CROP_TRIES):
        area = wide * tall * draws.uniform(least_area, 1)
        ratio = math.exp(draws.uniform(low, high))
        width, height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < width <= wide and 0 < height <= tall:
            left = int(draws.integers(wide - width + 1))
            top = int(draws.integers(tall - height + 1))
            break
    else:
        width = min(wide, round(tall * CROP_RATIOS[1]))
        height = min(tall, round(wide / CROP_RATIOS[0]))
        left, top = (wide - width) // 2, (tall - height) // 2
    box = (left, top, left + width, top + height)
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR, box=box))


def ahead(items: Iterable[_Item]) -> Iterator[_Item]:
    """The same items, the next one made by a thread while this one is used."""
    iterator, end = iter(items), object()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(next, iterator, end)
        while (item := waiting.result()) is not end:
            waiting = pool.submit(next, iterator, end)
            yield item  # type: ignore[misc]
