"""What image files say of themselves that decoders believe, and that may cost much: bounded.

A few bytes can ask for thousands of passes over an image, or for memory that its size does not
show. Each format has its own such numbers; those of TIFF, JPEG and JPEG 2000 are looked at here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import IO

from PIL import ImageFile, TiffImagePlugin
from PIL.JpegImagePlugin import JpegImageFile

STRIPS = 100_000  # of a TIFF: Pillow makes Python objects of each
_SCANNED_PIXELS = 2_000_000_000  # every scan of a JPEG goes over the whole image
_TILES = 4096  # of a JPEG 2000: OpenJPEG keeps 10 kB of each
_PIXELS_PER_BYTE = 2000  # of a JPEG 2000 of more than a megapixel: OpenJPEG works on empty ones too
_PACKETS = 2_000_000  # of a JPEG 2000, a third of a second; empty ones take no byte
_CODE_BLOCKS = 1_000_000  # of a JPEG 2000: OpenJPEG keeps 100 bytes of each


def strips_count(file: IO[bytes], head: bytes) -> int:
    """Strips or tiles of the first image of a TIFF file."""
    order = "<" if head[:2] == b"II" else ">"
    is_big = 43 in head[2:4]
    (offset,) = struct.unpack_from(order + "Q" if is_big else order + "L", head, 8 if is_big else 4)
    count = struct.Struct(order + "Q" if is_big else order + "H")
    entry = struct.Struct(order + "HHQQ" if is_big else order + "HHLL")
    file.seek(offset)
    (entries_count,) = count.unpack(file.read(count.size))
    entries = file.read(min(entries_count, 2**16) * entry.size)
    entries = entries[: len(entries) // entry.size * entry.size]
    offsets = (TiffImagePlugin.STRIPOFFSETS, TiffImagePlugin.TILEOFFSETS)
    return max((n for tag, _, n, _ in entry.iter_unpack(entries) if tag in offsets), default=0)


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
