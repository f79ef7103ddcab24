"""Images of every format that is read, mutated by their parts: chunks, segments, boxes, tags."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

import numpy as np
from PIL import Image

from dse.data.decode import Rule, decode, decode_preprocessed
from dse.data.headers import choose_rule
from dse.data.library_warnings import library_warnings
from dse.data.source import silent
from dse.weights.preprocessing import PREPROCESSINGS
from tests.fuzz.harness import Kind
from tests.fuzz.mutate import TOKENS, mutate_bytes, mutate_text

Parts = list[tuple[bytes, bytes]]
"""Name and content of each part of a file."""

_NUMBERS = (0, 1, 2, 3, 4, 8, 16, 255, 256, 4096, 12_000, 32_768, 65_535, 2**20, 2**31 - 1, 2**31)
_NUMBERS = (*_NUMBERS, 2**32 - 1)


def _png_parts(data: bytes) -> Parts:
    parts, at = [(b"", data[:8])], 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4])
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += size + 12
    return parts


def _png_file(parts: Parts) -> bytes:
    return b"".join(
        struct.pack(">L", len(data)) + name + data + struct.pack(">L", zlib.crc32(name + data))
        if name
        else data
        for name, data in parts
    )


def _jpeg_parts(data: bytes) -> Parts:
    """Segments; each has the pixels behind it, if any."""
    parts, at = [(b"", data[:2])], 2
    while data[at : at + 2] != b"\xff\xd9":
        size = int.from_bytes(data[at + 2 : at + 4])
        parts.append((data[at : at + 2], data[at + 4 : at + 2 + size]))
        at = after = at + 2 + size
        while data[at] != 0xFF or data[at + 1] in (0, *range(0xD0, 0xD8)):
            at += 1
        if at > after:
            parts.append((b"", data[after:at]))
    return [*parts, (b"", data[at:])]


def _jpeg_file(parts: Parts) -> bytes:
    return b"".join(
        name + struct.pack(">H", min(len(data) + 2, 65_535)) + data if name else data
        for name, data in parts
    )


def _riff_parts(data: bytes) -> Parts:
    parts, at = [], 12
    while at < len(data):
        size = int.from_bytes(data[at + 4 : at + 8], "little")
        parts.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return parts


def _riff_file(parts: Parts) -> bytes:
    packed = b"".join(
        name + struct.pack("<L", len(data)) + data + bytes(len(data) % 2) for name, data in parts
    )
    return b"RIFF" + struct.pack("<L", len(packed) + 4) + b"WEBP" + packed


_CONTAINERS = {b"meta": 4, b"iprp": 0, b"ipco": 0, b"jp2h": 0, b"iinf": 6, b"moov": 0, b"trak": 0}


def _box_parts(data: bytes) -> Parts:
    parts, at = [], 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4]) or len(data) - at
        parts.append((data[at + 4 : at + 8], data[at + 8 : at + size]))
        at += size
    return parts


def _box_file(parts: Parts) -> bytes:
    return b"".join(struct.pack(">L", len(data) + 8) + name + data for name, data in parts)


def _mutate_boxes(rng: Random, data: bytes) -> bytes:
    """Go down to where the boxes hold no boxes; offsets into the file hold only sometimes."""

    def change(name: bytes, content: bytes) -> bytes:
        if (start := _CONTAINERS.get(name)) is not None and rng.random() < 0.9:
            head, inner = content[:start], _box_parts(content[start:])
            return head + _box_file(_changed(rng, inner, change))
        return _changed_numbers(rng, content)

    return _box_file(_changed(rng, _box_parts(data), change))


def _mutate_tiff(rng: Random, data: bytes) -> bytes:
    """Entries of the first directory."""
    changed = bytearray(data)
    (at,) = struct.unpack_from("<L", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    for _ in range(rng.choice((1, 1, 2, 3))):
        entry = at + 2 + 12 * rng.randrange(count)
        field, form = rng.choice(((0, "<H"), (2, "<H"), (4, "<L"), (8, "<L"), (8, "<L"), (8, "<H")))
        number = rng.choice(_NUMBERS if field != 2 else range(14))
        if field == 0:
            number = rng.choice(
                (
                    *range(256, 260),
                    262,
                    266,
                    273,
                    274,
                    277,
                    278,
                    279,
                    284,
                    317,
                    320,
                    *range(322, 326),
                )
            )
        struct.pack_into(form, changed, entry + field, number % 2 ** (8 * struct.calcsize(form)))
    return bytes(changed)


def _changed_numbers(rng: Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        form = rng.choice(("B", ">H", "<H", ">L", "<L"))
        if len(changed) >= (size := struct.calcsize(form)):
            number = rng.choice(_NUMBERS) % 2 ** (8 * size)
            struct.pack_into(form, changed, rng.randrange(len(changed) - size + 1), number)
    return bytes(changed)


def _changed(rng: Random, parts: Parts, change: Callable[[bytes, bytes], bytes]) -> Parts:
    """Some part has another content, is lost, repeated, moved or renamed."""
    parts = list(parts)
    for _ in range(rng.choice((1, 1, 2))):
        if not parts:
            break
        at = rng.randrange(len(parts))
        name, data = parts[at]
        kind = rng.randrange(10)
        if kind < 6:
            parts[at] = name, change(name, data)
        elif kind == 6:
            del parts[at]
        elif kind == 7:
            parts[at:at] = [parts[at]] * rng.choice((1, 1, 2, 100))
        elif kind == 8:
            parts.insert(rng.randrange(len(parts)), parts.pop(at))
        else:
            parts[at] = rng.choice(parts)[0], data
    return parts


def _mutate_parts(split: Callable[[bytes], Parts], join: Callable[[Parts], bytes]):
    def change(rng: Random, data: bytes) -> bytes:
        def content(name: bytes, old: bytes) -> bytes:
            with contextlib.suppress(zlib.error):  # of a second change
                if name == b"IDAT" and rng.random() < 0.5:
                    return zlib.compress(mutate_bytes(rng, zlib.decompress(old)))
            return (_changed_numbers if rng.random() < 0.6 else mutate_bytes)(rng, old)

        return join(_changed(rng, split(data), content))

    return change


def _mutate_head(rng: Random, data: bytes) -> bytes:
    return _changed_numbers(rng, data[:64]) + data[64:]


def _mutate_ppm(rng: Random, data: bytes) -> bytes:
    words = (*TOKENS, *map(str, _NUMBERS), "P1", "P2", "P3", "P4", "P5", "P6", "PF", "#", "\n")
    return mutate_text(rng, data[:20], words) + data[20:]


def _mixed(mutate: Callable[[Random, bytes], bytes]) -> Callable[[Random, bytes], bytes]:
    """Mostly by its parts, sometimes any bytes, sometimes both."""

    def change(rng: Random, data: bytes) -> bytes:
        kind = rng.randrange(10)
        data = mutate(rng, data) if kind > 1 else data
        return mutate_bytes(rng, data) if kind < 3 else data

    return change


def _images() -> dict[str, Image.Image]:
    rng = np.random.default_rng(0)
    rgba = Image.fromarray(rng.integers(0, 256, (14, 20, 4), np.uint8))
    rgb = rgba.convert("RGB")
    palette = rgb.quantize(9)
    return {
        **{"RGB": rgb, "RGBA": rgba, "L": rgb.convert("L"), "LA": rgba.convert("LA"), "P": palette},
        **{"1": rgb.convert("1"), "CMYK": rgb.convert("CMYK"), "YCbCr": rgb.convert("YCbCr")},
        "I;16": Image.fromarray(rng.integers(0, 2**16, (14, 20), np.uint16)),
    }


def _saved(form: str, *variants: tuple[str, dict[str, object]]) -> tuple[bytes, ...]:
    images = _images()
    contents = []
    for mode, options in variants:
        file = io.BytesIO()
        images[mode].save(file, form, **options)
        contents.append(file.getvalue())
    return tuple(contents)


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    exif.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
    return exif.tobytes()


def _read(path: Path) -> object:
    """As a folder's images, and those of `dse predict`, are read."""
    with library_warnings():
        rule, _ = choose_rule([str(path)], None, silent)
        decode_preprocessed(path, PREPROCESSINGS["torchvision"])
        return decode(path, Rule((24, 24, rule.shape[2]), resized=True))


def _kinds() -> Sequence[tuple[str, tuple[bytes, ...], Callable[[Random, bytes], bytes]]]:
    exif, more = {"exif": _exif()}, {"save_all": True, "append_images": [_images()["RGB"]]}
    png = _saved(
        "PNG",
        *(("RGB", exif), ("RGBA", {}), ("L", {"transparency": 7}), ("LA", {}), ("1", {})),
        *(("P", {"transparency": b"\0\x80"}), ("I;16", {"transparency": 7}), ("RGB", more)),
    )
    jpeg = _saved(
        "JPEG",
        *(("RGB", exif), ("L", {}), ("CMYK", {}), ("RGB", {"progressive": True})),
        *(("YCbCr", {"restart_marker_blocks": 1}), ("RGB", {"icc_profile": bytes(200)})),
    )
    packed = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma")
    tiff = _saved(
        "TIFF",
        *(("RGB", {"compression": name, "tiffinfo": {274: 6}}) for name in packed),
        *((mode, {"compression": "tiff_lzw"}) for mode in ("RGBA", "L", "P", "I;16", "CMYK")),
        *(("1", {"compression": "group4"}), ("YCbCr", {}), ("LA", {}), ("RGB", more)),
        *(("L", {"tiffinfo": {278: 1}}), ("RGB", exif)),
    )
    webp = _saved("WEBP", ("RGB", exif), ("RGBA", {}), ("RGBA", {"lossless": True}), ("RGB", more))
    jp2 = _saved("JPEG2000", *((mode, {}) for mode in ("RGB", "RGBA", "L", "LA", "I;16")))
    tiles = {"tile_size": (8, 8), "no_jp2": True}
    j2k = _saved("JPEG2000", ("RGB", tiles), ("L", {"no_jp2": True, "num_resolutions": 1}))
    avif = _saved("AVIF", ("RGB", exif), ("RGBA", {}), ("L", {}), ("RGB", more))
    gif = _saved("GIF", ("P", {"transparency": 1}), ("L", {}), ("RGB", {**more, "disposal": 2}))
    bmp = _saved("BMP", ("RGB", {}), ("RGBA", {}), ("L", {}), ("P", {}), ("1", {}))
    ppm = (*_saved("PPM", ("RGB", {}), ("L", {}), ("1", {})), b"P3 2 1 9\n1 2 3 4 5 6\n")
    ppm += (b"P2 # gray\n2 2 300\n1 2 3 300\n", b"P5 2 2 999\n" + bytes(8), b"P1 2 2\n1 0 0 1\n")
    return (
        ("a.png", png, _mutate_parts(_png_parts, _png_file)),
        ("a.jpg", jpeg, _mutate_parts(_jpeg_parts, _jpeg_file)),
        ("a.mpo", _saved("MPO", ("RGB", more)), _mutate_parts(_jpeg_parts, _jpeg_file)),
        ("a.tif", tiff, _mutate_tiff),
        ("a.webp", webp, _mutate_parts(_riff_parts, _riff_file)),
        ("a.jp2", jp2, _mutate_boxes),
        ("a.j2k", j2k, _mutate_head),
        ("a.avif", avif, _mutate_boxes),
        ("a.gif", gif, _mutate_head),
        ("a.bmp", bmp, _mutate_head),
        ("a.ppm", ppm, _mutate_ppm),
    )


KINDS = tuple(
    Kind(name, sound, _mixed(mutate), _read, count=60, long_count=3000)
    for name, sound, mutate in _kinds()
)
