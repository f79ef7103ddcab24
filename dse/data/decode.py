"""From an image file to a uint8 array: one size, one number of channels."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from dse.weights.preprocessing import Preprocessing

GRAY_MODES = frozenset({"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N"})
_16_BIT_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})
_ALPHA_MODES = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})
_ORIENTATION_TAG = 0x0112
# Pillow hands these to other programs, or only names them.
_LEFT_TO_OTHERS = frozenset({"EPS", "WMF", "MPEG", "HDF5", "GRIB", "BUFR"})
# What Pillow raises on files that are not what they claim to be.
BROKEN = (
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


def extensions() -> frozenset[str]:
    """Extensions, with the dot and in lower case, of what Pillow reads by itself."""
    return frozenset(
        extension
        for extension, kind in Image.registered_extensions().items()
        if kind in Image.OPEN and kind not in _LEFT_TO_OTHERS
    )


def decode(path: str | Path, rule: Rule) -> np.ndarray:
    """One image as uint8 (height, width, channels).

    It is turned as its EXIF orientation says, transparency is laid on white, 16-bit gray is
    divided by 257; then it is resized (bilinear, with antialiasing) and cropped as `rule` says.

    Raises:
        OSError, ValueError and others: the file is broken or its pixels have no 8-bit meaning.
    """
    height, width, channels = rule.shape
    size = (height, width)
    image, full_size = _open(path, channels, draft_px=size if rule.resized else None)
    if rule.resized:
        image = _crop(_cover(image, full_size, size), size)
    if image.size != (width, height):
        raise ValueError(f"{image.width}x{image.height} instead of {width}x{height} pixels")
    return np.asarray(image, np.uint8).reshape(rule.shape)


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
    image, full_size = _open(path, rule.channels_count, draft_px=draft_px, upright=rule.upright)
    if rule.resize == "exact":
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    else:
        image = _cover(image, full_size, rule.resize_px)
    return np.asarray(_crop(image, rule.crop_px), np.uint8).reshape(rule.input_shape)


def shown(path: str) -> str:
    """A name as it can be printed, whatever bytes it holds."""
    return os.fsencode(path).decode("utf-8", "replace")


def swaps_sides(image: Image.Image) -> bool:
    """Whether the EXIF orientation swaps width and height."""
    return image.getexif().get(_ORIENTATION_TAG, 1) in (5, 6, 7, 8)


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
        turned = swaps_sides(image)
        return _to_channels(ImageOps.exif_transpose(image), channels), full_size[
            ::-1
        ] if turned else full_size


def _cover(image: Image.Image, full_size: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """As small as covers `size` (height, width) at its aspect: a square's shorter side.

    By the full size, not that of a draft.
    """
    height, width = size
    wide, tall = full_size
    if width * tall >= height * wide:
        height = max(height, round(tall * width / wide))
    else:
        width = max(width, round(wide * height / tall))
    return image.resize((width, height), Image.Resampling.BILINEAR)


def _crop(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of `size` (height, width)."""
    height, width = size
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))
