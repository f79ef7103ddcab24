"""What a folder's images have in common, from their headers: one size or several, gray or not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dse.data.decode import GRAY_MODES, Rule
from dse.data.library_warnings import library_warnings
from dse.data.opening import open_image, upright_size
from dse.data.source import BLOCK_COUNT, Progress
from dse.data.stream import in_order
from dse.errors import DataError, ImageError

DEFAULT_SIZE = 64  # pixels, where images differ in size
LARGEST_KEPT = 256  # pixels; larger images are resized even when all have one size


def choose_rule(
    paths: Sequence[str], image_size: int | tuple[int, int] | None, progress: Progress
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
    is_gray = True
    broken: list[ImageError] = []
    done = 0
    blocks = [paths[i : i + BLOCK_COUNT] for i in range(0, len(paths), BLOCK_COUNT)]
    for headers in in_order(lambda block: [_size_and_gray(path) for path in block], blocks):
        for header in headers:
            if isinstance(header, ImageError):
                broken.append(header)
                continue
            size, gray = header
            is_gray = is_gray and gray
            if size not in sizes and len(sizes) < 2:
                sizes.append(size)
        done += len(headers)
        progress("looking at images", done, len(paths))
        resized = len(sizes) > 1 or any(max(size) > LARGEST_KEPT for size in sizes)
        if not is_gray and (resized or image_size is not None):
            break
    if not sizes:
        raise DataError(f"none of {len(paths)} images can be opened; the first is {broken[0]}")
    return rule_of_sizes(sizes, 1 if is_gray else 3, image_size)


def rule_of_sizes(
    sizes: Sequence[tuple[int, int]], channels: int, image_size: int | tuple[int, int] | None
) -> tuple[Rule, tuple[str, ...]]:
    """The rule of images of these (width, height), of which two are enough, and warnings."""
    if image_size is not None:
        side = (image_size, image_size) if isinstance(image_size, int) else image_size
        return Rule((*side, channels), resized=True), ()
    (width, height), *others = sizes
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


def shorter_sides(paths: Sequence[str]) -> np.ndarray:
    """The shorter side of each image that can be opened, in pixels, int (image,).

    Raises:
        DataError: none can.
    """
    headers = [_size_and_gray(path) for path in paths]
    found = [min(header[0]) for header in headers if not isinstance(header, ImageError)]
    if not found:
        raise DataError(f"none of {len(paths)} images can be opened; the first is {headers[0]}")
    return np.array(found)


def _size_and_gray(path: str) -> tuple[tuple[int, int], bool] | ImageError:
    """(width, height) as shown, and whether it is gray; or why it is broken."""
    with library_warnings():  # they are told when it is decoded
        try:
            with open_image(path) as image:
                return upright_size(image), image.mode in GRAY_MODES
        except ImageError as error:
            return error
