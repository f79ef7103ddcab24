"""The one door of images: nothing else in the package opens an image file.

Behind it are decoders in C and files from anywhere. So only the formats listed here are tried,
whatever a file is called (never EPS, whose decoder starts another program); what an image
will take is computed from its header before a pixel is decoded; and whatever a decoder raises
is an `ImageError` of that file. Of metadata the orientation is read, and nothing is written.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from dse.data.containers import check_avif, check_jpeg, check_jpeg2000, check_parts, check_tiff
from dse.errors import DataError, ImageError
from dse.files import open_ordinary

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "AVIF", "PPM")
"""As Pillow calls them; MPO is read by the decoder of JPEG."""
FORMATS_TEXT = "JPEG, PNG, WebP, GIF, BMP, TIFF, JPEG 2000, AVIF or PPM"
EXTENSIONS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp"}
    | {".tif", ".tiff", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".avif", ".avifs"}
    | {".ppm", ".pgm", ".pbm", ".pnm"}
)
"""With the dot and in lower case: files that are taken for images."""

FILE_BYTES = 128_000_000
DECODING_BYTES = 256_000_000
"""Of memory that one image may take while it is decoded."""
_READ_WHOLE_BYTES = 32_000_000  # of a WebP or AVIF file, which is in memory twice
_PYTHON_PIXELS = 1_000_000  # of what Pillow decodes in Python, microseconds each
_PYTHON_DECODERS = ("ppm", "ppm_plain", "bmp_rle")
# Bytes of each pixel beside those of Pillow's image, measured with images of 20 megapixels.
_DECODER_BYTES = {"WEBP": 12, "AVIF": 14}

_ORIENTATION = 0x0112
_SWAPPED = (5, 6, 7, 8)  # orientations that exchange width and height
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_MACHINE_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EIO, errno.ESTALE)

# Pillow logs errors that it raises, too; without a handler Python would print them.
logging.getLogger("PIL").addHandler(logging.NullHandler())
with contextlib.suppress(OSError, AttributeError):
    # libtiff would print what Pillow raises anyway, past Python and into our own output.
    _libraries = ctypes.CDLL(Image.core.__file__)
    _libraries.TIFFSetErrorHandler(None)
    _libraries.TIFFSetWarningHandler(None)


@contextlib.contextmanager
def open_image(path: str | Path) -> Iterator[ImageFile.ImageFile]:
    """The image of a file, before any of its pixels is decoded.

    What goes wrong in the body is the image's own fault too.

    Raises:
        ImageError: no regular file, none of the formats, broken or too large.
        DataError: the machine is at fault and not the image.
    """
    try:
        with open_ordinary(path) as file:
            _check_file(path, file)
            with Image.open(file, formats=FORMATS) as image:
                if isinstance(image, JpegImageFile):
                    check_jpeg(image, file)
                elif isinstance(image, TiffImageFile):
                    check_tiff(image)
                elif image.format == "JPEG2000":
                    check_jpeg2000(image, file)
                elif image.format == "AVIF":
                    check_avif(image, file)
                yield image
    except DataError:
        raise
    except Exception as error:
        if _is_out_of_memory(error):
            raise DataError(
                f"out of memory while decoding {path}: an image may take "
                f"{DECODING_BYTES / 1e6:.0f} MB; free some and try again"
            ) from error
        reason = str(error) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "cannot identify image file"
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror
            if error.errno in _MACHINE_ERRORS:
                raise DataError(f"{path} cannot be read: {reason}; try again") from error
        raise ImageError(path, reason) from error


def upright_size(image: ImageFile.ImageFile) -> tuple[int, int]:
    """(width, height) of an opened image when it is turned as its orientation says.

    Raises:
        ImageError: a PNG, whose orientation may come after its pixels, is too large.
    """
    size = image.size
    if size[0] == size[1]:
        return size
    if image.format == "PNG":
        _check_memory(image, 0)
    elif isinstance(image, TiffImageFile) and image.tag_v2.get(_ORIENTATION) in _SWAPPED:
        return size  # turned by Pillow
    return size[::-1] if _orientation(image) in _SWAPPED else size


def load_pixels(image: ImageFile.ImageFile, *, upright: bool, copy_bytes: int) -> Image.Image:
    """Decode an opened image, its first frame, and turn it as its orientation says.

    Args:
        image: from `open_image`; a draft may be set.
        upright: turn it; else the pixels come as they are stored.
        copy_bytes: of each pixel of a copy that will be made.

    Raises:
        ImageError: it would take more than `DECODING_BYTES`.
    """
    _check_memory(image, copy_bytes)
    orientation = _orientation(image)
    if orientation in _TURNS:
        _check_memory(image, max(copy_bytes, _pixel_bytes(image)))
    image.load()
    if isinstance(image, TiffImageFile):  # was turned by Pillow
        if upright:
            return image
        orientation = {6: 8, 8: 6}.get(orientation, orientation)
    elif not upright:
        return image
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def decode_jpeg(data: bytes, shape: tuple[int, int, int]) -> np.ndarray:
    """A JPEG that dse wrote itself into a pack, as uint8 of this (height, width, channels).

    Straight from memory by libjpeg-turbo: the same pixels as Pillow's, in two thirds of the time.

    Raises:
        ValueError: no JPEG of this size.
    """
    import simplejpeg

    height, width, channels = shape
    if simplejpeg.decode_jpeg_header(data)[:2] != (height, width):
        raise ValueError(f"it is no JPEG of {width}x{height} pixels")
    pixels: np.ndarray = simplejpeg.decode_jpeg(data, "GRAY" if channels == 1 else "RGB")
    return pixels


def _check_file(path: str | Path, file: IO[bytes]) -> None:
    """What must be known before Pillow reads headers."""
    size_bytes = os.fstat(file.fileno()).st_size
    head = file.read(16)
    limit = _READ_WHOLE_BYTES if b"WEBP" in head or b"ftyp" in head else FILE_BYTES
    if size_bytes > limit:
        raise ImageError(
            path, f"{size_bytes / 1e6:.0f} MB; up to {limit / 1e6:.0f} MB are read of such a file"
        )
    check_parts(file, head, size_bytes)


def _orientation(image: ImageFile.ImageFile) -> int:
    if image.format == "PNG":
        image.load()  # its metadata may come after its pixels
    try:
        found = image.getexif().get(_ORIENTATION)
    except Exception as error:
        warnings.warn(f"its EXIF data cannot be read: {error}", stacklevel=2)
        return 1
    return found if isinstance(found, int) else 1


def _pixel_bytes(image: ImageFile.ImageFile) -> int:
    """Bytes of a pixel as Pillow keeps it."""
    return {"1": 1, "L": 1, "P": 1}.get(image.mode, 2 if image.mode.startswith("I;16") else 4)


def _check_memory(image: ImageFile.ImageFile, copy_bytes: int) -> None:
    """Refuse what would take too much memory, or too long, to decode.

    Args:
        image: not decoded; a draft may be set.
        copy_bytes: of each pixel of a copy that will be made.
    """
    pixels_count = image.width * image.height
    needed_bytes = pixels_count * (_pixel_bytes(image) + copy_bytes + _decoder_bytes(image))
    if isinstance(image, TiffImageFile) and image.info.get("compression") != "raw":
        tags = image.tag_v2
        width = tags.get(TiffImagePlugin.TILEWIDTH, image.width)
        rows = tags.get(TiffImagePlugin.TILELENGTH) or min(
            tags.get(TiffImagePlugin.ROWSPERSTRIP, image.height), image.height
        )
        needed_bytes += 2 * width * rows * _tiff_bits(image) // 8
    if needed_bytes > DECODING_BYTES:
        raise ValueError(
            f"its {pixels_count * _draft_scale(image) ** 2 / 1e6:.3g} megapixels ({image.format}) "
            f"take {needed_bytes / 1e6:,.0f} MB to decode, but at most "
            f"{DECODING_BYTES / 1e6:.0f} MB are used; make it smaller"
        )
    if pixels_count > _PYTHON_PIXELS and any(tile[0] in _PYTHON_DECODERS for tile in image.tile):
        raise ValueError(
            f"{image.width}x{image.height} pixels of this kind of {image.format} take too long"
        )


def _tiff_bits(image: TiffImageFile) -> int:
    bits = image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,))
    # One number may stand for all samples.
    return max(sum(bits), max(bits) * image.tag_v2.get(TiffImagePlugin.SAMPLESPERPIXEL, 1))


def _decoder_bytes(image: ImageFile.ImageFile) -> float:
    """Bytes of a pixel that the decoder keeps besides."""
    if image.format == "JPEG2000":
        return 6 * len(image.getbands())
    if isinstance(image, JpegImageFile) and "progressive" in image.info and image.layer:
        # All coefficients of the full image, two bytes each; colours may be coarser than gray.
        samples = [across * down for _, across, down, _ in image.layer]
        return 2 * _draft_scale(image) ** 2 * sum(samples) / max(samples)
    return _DECODER_BYTES.get(image.format or "", 0)


def _draft_scale(image: ImageFile.ImageFile) -> int:
    """How many pixels of the file, across and down, are one of the draft."""
    return image.decoderconfig[0] if isinstance(image, JpegImageFile) and image.decoderconfig else 1


def _is_out_of_memory(error: Exception) -> bool:
    """Whether the machine lacks what an image may take; decoders say it in many ways."""
    if not isinstance(error, MemoryError | OSError) or getattr(error, "errno", None):
        return False
    try:
        np.empty(DECODING_BYTES, np.uint8)
    except MemoryError:
        return True
    return False
