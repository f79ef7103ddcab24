"""What image files say of themselves that decoders believe, and that may cost much: bounded.

A few bytes can ask for thousands of passes over an image, or for memory that its size does not
show. Each format has numbers of its own that do.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from typing import IO

from PIL import ImageFile, TiffImagePlugin
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

_PARTS = 100_000
_BLOCKS = 4000  # of a GIF, at most 255 bytes each
_SCANNED_PIXELS = 2_000_000_000  # every scan of a JPEG goes over the whole image
_TILES = 4096  # of a JPEG 2000: OpenJPEG keeps 10 kB of each
_PIXELS_PER_BYTE = 2000  # of a JPEG 2000 of more than a megapixel: OpenJPEG works on empty ones too
_PACKETS = 2_000_000  # of a JPEG 2000, a third of a second; empty ones take no byte
_CODE_BLOCKS = 1_000_000  # of a JPEG 2000: OpenJPEG keeps 100 bytes of each


def check_parts(file: IO[bytes], head: bytes, size_bytes: int) -> None:
    """Bound the parts before the pixels, of each of which Pillow makes Python objects.

    Args:
        file: at any position.
        head: its first 16 bytes.
        size_bytes: of the file.

    Raises:
        ValueError: too many of them.
    """
    count, limit, what = 0, _PARTS, "parts"
    if head[:4] in TiffImagePlugin.PREFIXES:
        count, what = _values_count(file, head), "values of one tag"
    elif head[:3] == b"GIF":
        count, limit, what = _blocks_count(file, head), _BLOCKS, "blocks before its pixels"
    elif size_bytes > 10 * _PARTS and head[:2] == b"\xff\xd8":
        file.seek(0)
        # Between them are pixels, where FF is followed by 00 or D0 to D7.
        count = sum(1 for _ in re.finditer(rb"\xff[\xe0-\xef\xfe]", file.read()))
    elif size_bytes > 10 * _PARTS and head[:4] == b"\x89PNG":
        file.seek(8)
        while count <= limit and len(chunk := file.read(8)) == 8:
            file.seek(int.from_bytes(chunk[:4]) + 4, os.SEEK_CUR)
            count += 1
    if count > limit:
        raise ValueError(f"more than {limit} {what}")


def _values_count(file: IO[bytes], head: bytes) -> int:
    """Of the longest list of numbers in a TIFF file's first directory, such as its strips."""
    order = "<" if head[:2] == b"II" else ">"
    is_big = 43 in head[2:4]
    (offset,) = struct.unpack_from(order + "Q" if is_big else order + "L", head, 8 if is_big else 4)
    count = struct.Struct(order + "Q" if is_big else order + "H")
    entry = struct.Struct(order + "HHQQ" if is_big else order + "HHLL")
    file.seek(offset)
    (entries_count,) = count.unpack(file.read(count.size))
    entries = file.read(min(entries_count, 2**16) * entry.size)
    entries = entries[: len(entries) // entry.size * entry.size]
    texts = (1, 2, 6, 7)  # bytes, ASCII, signed bytes, undefined: profiles and the like
    return max((n for _, kind, n, _ in entry.iter_unpack(entries) if kind not in texts), default=0)


def _blocks_count(file: IO[bytes], head: bytes) -> int:
    """Blocks of data before the first image of a GIF file; Pillow joins them one by one."""
    flags = int.from_bytes(head[10:11])
    file.seek(13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
    count = 0
    while count <= _BLOCKS and (mark := file.read(1)) not in (b"", b",", b";"):
        count += 1
        if mark == b"!":
            file.seek(1, os.SEEK_CUR)
            while count <= _BLOCKS and (size := file.read(1)) not in (b"", b"\0"):
                file.seek(size[0], os.SEEK_CUR)
                count += 1
    return count


def check_jpeg(image: JpegImageFile, file: IO[bytes]) -> None:
    """Bound the scans of a JPEG, each of which goes over the whole image.

    The header was read up to the first of them.
    """
    components_count = file.read(3)[2:]
    if components_count and components_count[0] < image.layers:
        image.info["progressive"] = 1  # its colours come one by one: decoded like progressive ones
    if "progressive" not in image.info:
        return
    scans_count, last = 1, b""
    while block := file.read(2**20):
        scans_count += (last + block).count(b"\xff\xda")
        last = block[-1:]
    if scans_count * image.width * image.height > _SCANNED_PIXELS:
        raise ValueError(f"{image.width}x{image.height} pixels in {scans_count} scans are too many")


def check_tiff(image: TiffImageFile) -> None:
    """Refuse a TIFF whose tiles lie on each other.

    Raises:
        ValueError: they cover the image more often than it has channels.
    """
    boxes = [tile.extents for tile in image.tile if tile.extents]
    covered = sum((right - left) * (lower - upper) for left, upper, right, lower in boxes)
    if covered > 5 * image.width * image.height:
        raise ValueError("its strips or tiles lie on each other")


def check_avif(image: ImageFile.ImageFile, file: IO[bytes]) -> None:
    """Hold the size in the pixels' own headers (AV1, 5.5.1), which rules, against the file's.

    Only headers behind a temporal delimiter are found, as the known encoders write them.

    Raises:
        ValueError: the pixels are more than the header of the file says.
    """
    file.seek(0)
    content, at = file.read(), 0
    while (at := content.find(b"\x12\x00\x0a", at) + 3) > 2:
        payload = content[at + 1 : at + 1 + content[at]] if at < len(content) else b""
        # What follows is a frame or metadata; the chance that other bytes look so is 1 in 10^10.
        if (
            not 6 <= len(payload) <= 32
            or content[at + 1 + len(payload) : at + 2 + len(payload)] not in b"\x32\x1a\x2a"
        ):
            continue
        width, height = _av1_size(payload)
        if width > image.width or height > image.height:
            raise ValueError("its header and its pixels differ in size")


def _av1_size(sequence_header: bytes) -> tuple[int, int]:
    bits, left = int.from_bytes(sequence_header), 8 * len(sequence_header)

    def take(count: int) -> int:
        nonlocal left
        left -= count
        return bits >> max(left, 0) & (1 << count) - 1

    take(4)  # seq_profile, still_picture
    if take(1):  # reduced_still_picture_header
        take(5)
    elif take(1):  # timing_info_present_flag: of films
        return 0, 0
    else:
        take(1)
        for _ in range(take(5) + 1):  # operating points
            take(12)
            if take(5) > 7:
                take(1)
    width_bits, height_bits = take(4) + 1, take(4) + 1
    return take(width_bits) + 1, take(height_bits) + 1


def check_jpeg2000(image: ImageFile.ImageFile, file: IO[bytes]) -> None:
    """Bound tiles, packets and code blocks of a JPEG 2000; its names are those of ISO 15444-1.

    Pillow reads the file's header, OpenJPEG the codestream behind it.

    Raises:
        ValueError: too much of something, or header and codestream differ.
    """
    file.seek(0)
    while (head := file.read(4)) != b"\xff\x4f\xff\x51":  # boxes, until the codestream begins
        kind, length_bytes, read_bytes = file.read(4), int.from_bytes(head), 8
        if length_bytes == 1:
            length_bytes, read_bytes = int.from_bytes(file.read(8)), 16
        if kind != b"jp2c":
            if len(kind) < 4 or length_bytes < read_bytes:
                raise ValueError("it has no codestream")
            file.seek(length_bytes - read_bytes, os.SEEK_CUR)
    file.seek(-2, os.SEEK_CUR)
    segments = _segments(file)
    _, siz = next(segments)
    _, right, bottom, left, top, tile_width, tile_height = struct.unpack_from(">H6L", siz)
    if (right - left, bottom - top) != image.size:
        raise ValueError("header and codestream differ in size")
    pixels_count, file_bytes = image.width * image.height, os.fstat(file.fileno()).st_size
    if pixels_count > max(10**6, _PIXELS_PER_BYTE * file_bytes):
        raise ValueError(f"{image.width}x{image.height} pixels in only {file_bytes} bytes")
    tiles_count = -(-right // max(tile_width, 1)) * -(-bottom // max(tile_height, 1))
    if tiles_count > _TILES:
        raise ValueError(f"{tiles_count} tiles; up to {_TILES} are read")
    components_count, layers_count = len(image.getbands()), 1
    for marker, data in segments:
        if marker == b"\xff\x52":  # COD
            layers_count = max(layers_count, int.from_bytes(data[2:4]))
            levels_count, across, down, _, _, *precincts = data[5:]
        elif marker == b"\xff\x53":  # COC, of one component
            levels_count, across, down, _, _, *precincts = data[2:]
        else:
            continue
        blocks_count = components_count * pixels_count >> min(across + down + 4, 12)
        # Of each resolution, the smallest first; where sizes are not given they are the largest.
        precincts_count = tiles_count * (levels_count + 1) + sum(
            pixels_count >> (2 * (levels_count - level) + (size & 15) + (size >> 4))
            for level, size in enumerate(precincts[: levels_count + 1])
        )
        packets_count = layers_count * components_count * precincts_count
        if blocks_count > _CODE_BLOCKS or packets_count > _PACKETS:
            raise ValueError(f"{blocks_count} code blocks, {packets_count} packets are too many")


def _segments(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Marker and content of each segment in the headers of a codestream and of its tile parts."""
    part_start = part_bytes = 0
    while (marker := file.read(2)) not in (b"", b"\xff\xd9"):
        if marker == b"\xff\x93":  # SOD: the data of a tile part
            if not part_bytes:  # goes on to the end
                return
            file.seek(part_start + part_bytes)
            continue
        if not (b"\xff\x50" <= marker < b"\xff\x80" or marker == b"\xff\x90"):
            raise ValueError("its codestream is broken")
        start, length_bytes = file.tell() - 2, int.from_bytes(file.read(2))
        data = file.read(max(length_bytes - 2, 0))
        if marker == b"\xff\x90":  # SOT
            part_start, (part_bytes,) = start, struct.unpack_from(">L", data, 2)
            if 0 < part_bytes < 14:
                raise ValueError("its codestream is broken")
        yield marker, data
