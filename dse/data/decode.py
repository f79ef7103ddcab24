"""From image files to uint8 arrays: one size, one number of channels, several at a time.

Threads are enough: Pillow decodes and resizes outside the interpreter lock, and images so
small that it does not matter (32x32: 60 µs each) are read in seconds anyway.
"""

from __future__ import annotations

import math
import os
import struct
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, ImageOps

from dse.data.source import BLOCK_COUNT, Block, Progress
from dse.errors import DataError
from dse.weights.preprocessing import Preprocessing

_BLOCK_BYTES = 8 * 2**20  # of decoded pixels that a thread works on
DEFAULT_SIZE = 64  # pixels, where images differ in size
LARGEST_KEPT = 256  # pixels; larger images are resized even when all have one size

_GRAY_MODES = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N"})
_16_BIT_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_ORIENTATION_TAG = 0x0112
# Pillow hands these to other programs, or only names them.
_LEFT_TO_OTHERS = frozenset({"EPS", "WMF", "MPEG", "HDF5", "GRIB", "BUFR"})
# What Pillow raises on files that are not what they claim to be.
_BROKEN = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    ZeroDivisionError,
    OverflowError,
    struct.error,
    Image.DecompressionBombError,
)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Rule:
    """How every image of a folder becomes an array.

    Attributes:
        shape: height, width, channels of the result.
        resized: the shorter side is resized to the (square) shape and the middle is cut out;
            otherwise images must have the shape as they are.
    """

    shape: tuple[int, int, int]
    resized: bool


@dataclass(frozen=True)
class _Header:
    size: tuple[int, int]  # width, height as shown
    gray: bool


def extensions() -> frozenset[str]:
    """Extensions, with the dot and in lower case, of what Pillow reads by itself."""
    return frozenset(
        extension
        for extension, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in _LEFT_TO_OTHERS
    )


def choose_rule(
    paths: Sequence[str], image_size: int | None, progress: Progress
) -> tuple[Rule, tuple[str, ...]]:
    """Look at headers until size and channels are certain.

    Grayscale images only give one channel, anything else three. Without `image_size`,
    images of one size up to 256 pixels stay as they are.

    Returns:
        The rule, and warnings about a size that was chosen for the user.

    Raises:
        DataError: no image can be opened.
    """
    sizes: list[tuple[int, int]] = []
    gray = True
    done = 0
    blocks = [paths[i : i + BLOCK_COUNT] for i in range(0, len(paths), BLOCK_COUNT)]
    for block in in_order(lambda block: [_header(path) for path in block], blocks):
        for header in block:
            if header is None:
                continue
            gray = gray and header.gray
            if header.size not in sizes and len(sizes) < 2:
                sizes.append(header.size)
        done += len(block)
        progress("looking at images", done, len(paths))
        resized = len(sizes) > 1 or any(max(size) > LARGEST_KEPT for size in sizes)
        if not gray and (resized or (image_size is not None)):
            break
    if not sizes:
        raise DataError(
            f"none of {len(paths)} images can be opened; the first is {shown(paths[0])}"
        )
    return _rule(sizes, 1 if gray else 3, image_size)


def decode_blocks(
    paths: Sequence[str], labels: np.ndarray, rule: Rule, *, root: Path
) -> Iterator[Block]:
    """Decode images in order, a few blocks ahead; broken ones are named and left out."""
    block_count = min(BLOCK_COUNT, max(1, _BLOCK_BYTES // math.prod(rule.shape)))
    starts = range(0, len(paths), block_count)
    slices = [slice(start, start + block_count) for start in starts]

    def decode_block(part: slice) -> Block:
        return _decode_block(paths[part], labels[part], rule, root)

    return in_order(decode_block, slices)


def decode(path: str | Path, rule: Rule) -> np.ndarray:
    """One image as uint8 (height, width, channels).

    It is turned as its EXIF orientation says, transparency is laid on white, 16-bit gray is
    divided by 257; then it is resized (bilinear, with antialiasing) and cropped as `rule` says.

    Raises:
        OSError, ValueError and others: the file is broken or its pixels have no 8-bit meaning.
    """
    height, width, channels = rule.shape
    size = (height, width)
    picture, full_size = _open(path, channels, draft_px=size if rule.resized else None)
    if rule.resized:
        picture = _crop(_cover(picture, full_size, size), size)
    if picture.size != (width, height):
        raise ValueError(f"{picture.width}x{picture.height} instead of {width}x{height} pixels")
    return np.asarray(picture, np.uint8).reshape(rule.shape)


def decode_preprocessed(path: str | Path, rule: Preprocessing) -> np.ndarray:
    """One image as a network takes it, before its channels are ordered and scaled.

    Laid on white and divided as by `decode`, which gives the same pixels where the rule is
    that of a network that was trained on them.

    Returns:
        uint8 (height, width, channels), RGB or gray.

    Raises:
        OSError, ValueError and others: the file is broken or its pixels have no 8-bit meaning.
    """
    height, width = rule.resize_px
    draft_px = rule.resize_px if rule.draft else None
    picture, full_size = _open(path, rule.channels_count, draft_px=draft_px, upright=rule.upright)
    if rule.resize == "exact":
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    else:
        picture = _cover(picture, full_size, rule.resize_px)
    return np.asarray(_crop(picture, rule.crop_px), np.uint8).reshape(rule.input_shape)


def attempt(
    path: str, function: Callable[[str], np.ndarray], *, name: str
) -> tuple[np.ndarray | None, str]:
    """What `function` makes of an image, or None and `name (reason)` where it is broken."""
    try:
        return function(path), ""
    except _BROKEN as error:
        said = getattr(error, "strerror", None) or str(error).replace(f" {path!r}", "")
        reason = said or type(error).__name__
        return None, f"{shown(name)} ({reason})"


def shown(path: str) -> str:
    """A name as it can be printed, whatever bytes it holds."""
    return os.fsencode(path).decode("utf-8", "replace")


def _rule(
    sizes: Sequence[tuple[int, int]], channels: int, image_size: int | None
) -> tuple[Rule, tuple[str, ...]]:
    (width, height), *others = sizes
    if image_size is not None:
        return Rule((image_size, image_size, channels), resized=True), ()
    if not others and max(width, height) <= LARGEST_KEPT:
        return Rule((height, width, channels), resized=False), ()
    if others:
        why = f"images differ in size ({width}x{height} and {others[0][0]}x{others[0][1]})"
    else:
        why = f"images are large ({width}x{height})"
    warning = (
        f"{why}: the shorter side is resized to {DEFAULT_SIZE} pixels and the middle cropped; "
        "--image-size sets another size"
    )
    return Rule((DEFAULT_SIZE, DEFAULT_SIZE, channels), resized=True), (warning,)


def _header(path: str) -> _Header | None:
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = width != height and _turns(image)
            size = (height, width) if turned else (width, height)
            return _Header(size, image.mode in _GRAY_MODES)
    except _BROKEN:
        return None


def _turns(image: Image.Image) -> bool:
    """Whether the EXIF orientation swaps width and height."""
    return image.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8)


def _decode_block(paths: Sequence[str], labels: np.ndarray, rule: Rule, root: Path) -> Block:
    images = np.empty((len(paths), *rule.shape), np.uint8)
    kept = np.ones(len(paths), bool)
    broken: list[str] = []
    for index, path in enumerate(paths):
        name = os.path.relpath(path, root)
        image, problem = attempt(path, lambda path: decode(path, rule), name=name)
        if image is None:
            kept[index] = False
            broken.append(problem)
        else:
            images[index] = image
    return Block(images[kept], labels[kept], tuple(broken))


def _to_channels(image: Image.Image, channels: int) -> Image.Image:
    mode = "L" if channels == 1 else "RGB"
    if image.mode in _16_BIT_MODES:
        values = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((values + 128) // 257).astype(np.uint8))
    elif image.mode in ("I", "F"):
        raise ValueError(f"32-bit pixels (mode {image.mode}) have no stated range")
    if image.mode in _ALPHA_MODES or "transparency" in image.info:
        on_top = image.convert("RGBA")
        white = Image.new("RGBA", on_top.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, on_top)
    return image if image.mode == mode else image.convert(mode)


def _open(
    path: str | Path, channels: int, *, draft_px: tuple[int, int] | None, upright: bool = True
) -> tuple[Image.Image, tuple[int, int]]:
    """The image, and its full (width, height), of which a draft is a part."""
    with Image.open(path) as image:
        full_size = image.size
        if draft_px is not None:
            # JPEG can decode at 1/2, 1/4, 1/8; twice the target leaves the resizing its work.
            image.draft(image.mode, (2 * draft_px[1], 2 * draft_px[0]))
        if not upright:
            image.load()
            return _to_channels(image, channels), full_size
        turned = _turns(image)
        return _to_channels(ImageOps.exif_transpose(image), channels), full_size[
            ::-1
        ] if turned else full_size


def _cover(picture: Image.Image, full_size: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """As small as covers `size` (height, width) at its aspect: a square's shorter side.

    By the full size, not that of a draft.
    """
    height, width = size
    wide, tall = full_size
    if width * tall >= height * wide:
        height = max(height, round(tall * width / wide))
    else:
        width = max(width, round(wide * height / tall))
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _crop(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of `size` (height, width)."""
    height, width = size
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


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
