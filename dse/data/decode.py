"""From an image file to a uint8 array: one size, one number of channels."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile

from dse.data.opening import load_pixels, open_image, upright_size
from dse.weights.preprocessing import Preprocessing

_16_BIT_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N", "I"})  # "I" of PGM files alone
GRAY_MODES = _16_BIT_MODES | {"1", "L", "LA", "La"}
_STRIP_PIXELS = 2**18  # flattened at a time
_LONGEST = 65_500  # pixels that a JPEG can have
_THIN = 8  # times as long as wide: such images, once resized, are cropped while resizing


@dataclass(frozen=True)
class Rule:
    """How every image of a folder becomes an array.

    Attributes:
        shape: height, width, channels of the result.
        resized: the image is resized to just cover the shape and the middle is cut out;
            otherwise images must have the shape as they are.
    """

    shape: tuple[int, int, int]
    resized: bool


def decode(path: str | Path, rule: Rule) -> np.ndarray:
    """One image as uint8 (height, width, channels).

    It is turned as its EXIF orientation says, transparency is laid on white, 16-bit gray is
    divided by 257; then it is resized (bilinear, with antialiasing) and cropped as `rule` says.

    Raises:
        ImageError: the file is broken or too large, or its pixels have no 8-bit meaning.
    """
    height, width, channels = rule.shape
    size = (height, width)
    with open_image(path) as opened:
        image, full_size = _load(opened, channels, draft_px=size if rule.resized else None)
        if rule.resized:
            image = _cover_and_crop(image, full_size, size, size)
        if image.size != (width, height):
            raise ValueError(f"{image.width}x{image.height} instead of {width}x{height} pixels")
        return np.asarray(image, np.uint8).reshape(rule.shape)


def decode_shorter(path: str | Path, channels: int, side: int) -> Image.Image:
    """One image in gray or RGB, as by `decode`, its shorter side at most so many pixels.

    The aspect stays, and a smaller image keeps its size.

    Raises:
        ImageError: see `decode`.
    """
    with open_image(path) as opened:
        image, (wide, tall) = _load(opened, channels, draft_px=(side, side))
        scale = side / min(wide, tall)
        if scale < 1:
            size = (max(side, round(wide * scale)), max(side, round(tall * scale)))
        else:
            size = (wide, tall)
        if max(size) > _LONGEST:
            raise ValueError(f"{wide}x{tall} pixels are too long for their width")
        return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def decode_whole(path: str | Path, channels: int, enough_px: tuple[int, int]) -> Image.Image:
    """One whole image in gray or RGB, laid on white and turned as by `decode`.

    A JPEG may come smaller than it is, but not below `enough_px` (height, width).

    Raises:
        ImageError: see `decode`.
    """
    with open_image(path) as opened:
        height, width = enough_px
        return _load(opened, channels, draft_px=(height // 2, width // 2))[0]


def fit(image: Image.Image, rule: Rule | Preprocessing) -> np.ndarray:
    """A decoded image, gray or RGB, as `decode` or `decode_preprocessed` gives it from its file.

    Raises:
        ValueError: it has not the one size that the rule takes.
    """
    if isinstance(rule, Rule):
        height, width, _ = shape = rule.shape
        if rule.resized:
            image = _cover_and_crop(image, image.size, (height, width), (height, width))
        if image.size != (width, height):
            raise ValueError(f"{image.width}x{image.height} instead of {width}x{height} pixels")
    else:
        height, width = rule.resize_px
        shape = rule.input_shape
        if rule.resize == "exact":
            image = image.resize((width, height), Image.Resampling.BILINEAR)
            image = image.crop(_middle(image.size, rule.crop_px))
        else:
            image = _cover_and_crop(image, image.size, rule.resize_px, rule.crop_px)
    return np.asarray(image, np.uint8).reshape(shape)


def decode_preprocessed(path: str | Path, rule: Preprocessing) -> np.ndarray:
    """One image as a network takes it, before its channels are ordered and scaled.

    Laid on white and divided as by `decode`, which gives the same pixels where the rule is
    that of a network that was trained on them.

    Returns:
        uint8 (height, width, channels), RGB or gray.

    Raises:
        ImageError: the file is broken or too large, or its pixels have no 8-bit meaning.
    """
    height, width = rule.resize_px
    draft_px = rule.resize_px if rule.draft else None
    with open_image(path) as opened:
        image, full_size = _load(
            opened, rule.channels_count, draft_px=draft_px, upright=rule.upright
        )
        if rule.resize == "exact":
            image = image.resize((width, height), Image.Resampling.BILINEAR)
            image = image.crop(_middle(image.size, rule.crop_px))
        else:
            image = _cover_and_crop(image, full_size, rule.resize_px, rule.crop_px)
        return np.asarray(image, np.uint8).reshape(rule.input_shape)


def decode_by(path: str | Path, rule: Rule | Preprocessing) -> np.ndarray:
    """`decode` or `decode_preprocessed`, by the kind of the rule."""
    return decode(path, rule) if isinstance(rule, Rule) else decode_preprocessed(path, rule)


def shown(path: str) -> str:
    """A name as it can be printed, whatever bytes it holds."""
    return os.fsencode(path).decode("utf-8", "replace")


def _load(
    opened: ImageFile.ImageFile,
    channels: int,
    *,
    draft_px: tuple[int, int] | None,
    upright: bool = True,
) -> tuple[Image.Image, tuple[int, int]]:
    """The pixels in gray or RGB, and the full (width, height), of which a draft is a part."""
    mode = "L" if channels == 1 else "RGB"
    _scale_transparent_value(opened)
    full_size = upright_size(opened) if upright else opened.size
    if draft_px is not None:
        # JPEG can decode at 1/2, 1/4, 1/8; twice the target leaves the resizing its work.
        opened.draft(opened.mode, (2 * draft_px[1], 2 * draft_px[0]))
    is_ready = opened.mode == mode and not opened.has_transparency_data
    copy_bytes = 0 if is_ready else 1 if mode == "L" else 4
    image = load_pixels(opened, upright=upright, copy_bytes=copy_bytes)
    if is_ready:
        return image, full_size
    if image.mode == "F" or (image.mode == "I" and opened.format != "PPM"):
        raise ValueError(f"32-bit pixels (mode {image.mode}) have no stated range")
    result = Image.new(mode, image.size)
    rows_count = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows_count):
        box = (0, top, image.width, min(top + rows_count, image.height))
        result.paste(_flattened(image.crop(box), mode), box)
    return result, full_size


def _scale_transparent_value(image: ImageFile.ImageFile) -> None:
    """Make the one transparent value of a PNG comparable with its pixels.

    It has the depth of the file, but Pillow gives 2 and 4 bits of gray and 16 of RGB as 8.
    """
    value = image.info.get("transparency")
    if image.format == "PNG" and value is not None and image.tile:
        raw_mode = image.tile[0][3]
        if raw_mode in ("L;2", "L;4"):
            image.info["transparency"] = min(value * {"L;2": 85, "L;4": 17}[raw_mode], 255)
        elif raw_mode == "RGB;16B":
            image.info["transparency"] = tuple(part >> 8 for part in value)


def _flattened(image: Image.Image, mode: str) -> Image.Image:
    """In another mode, transparent parts laid on white."""
    if image.mode in _16_BIT_MODES:
        values = np.asarray(image).astype(np.uint32)
        gray = ((values + 128) // 257).astype(np.uint8)
        gray[values == image.info.get("transparency", -1)] = 255
        image = Image.fromarray(gray)
    if image.has_transparency_data:
        on_top = image.convert("RGBA")
        white = Image.new("RGBA", on_top.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, on_top)
    return image if image.mode == mode else image.convert(mode)


def _cover_and_crop(
    image: Image.Image,
    full_size: tuple[int, int],
    cover_px: tuple[int, int],
    crop_px: tuple[int, int],
) -> Image.Image:
    """The middle of the image when it is as small as covers `cover_px` at its aspect.

    The aspect is that of the full size, not that of a draft. Sizes in pixels are (height,
    width) but for `full_size`.
    """
    height, width = cover_px
    wide, tall = full_size
    if width * tall >= height * wide:
        height = max(height, round(tall * width / wide))
    else:
        width = max(width, round(wide * height / tall))
    left, top, right, bottom = box = _middle((width, height), crop_px)
    if width * height <= _THIN * cover_px[0] * cover_px[1]:
        return image.resize((width, height), Image.Resampling.BILINEAR).crop(box)
    # All of a thin image would be huge. Only its middle is resized; that rounds a few pixels
    # differently, as Pillow takes the corners in single precision.
    x, y = image.width / width, image.height / height
    kept = (left * x, top * y, min(right * x, image.width), min(bottom * y, image.height))
    return image.resize((right - left, bottom - top), Image.Resampling.BILINEAR, box=kept)


def _middle(size: tuple[int, int], crop_px: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the middle `crop_px` (height, width) of (width, height)."""
    height, width = crop_px
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return left, top, left + width, top + height
