"""The parts of a `.dsz` file, taken apart and put together again with a digest that is right."""

from __future__ import annotations

import hashlib
import lzma
import struct
from typing import Any

from dse.architecture import Architecture
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import trained_preprocessing

HEADER = struct.Struct("<4sBBBBII8s")
FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 4, "lp": 0, "pb": 0, "dict_size": 2**20}]


def opened(content: bytes) -> tuple[tuple[Any, ...], bytes, bytes, bytes]:
    """Header, metadata, the rest of the head, body."""
    header = HEADER.unpack_from(content)
    head, body = content[24 : 24 + header[5]], content[24 + header[5] :]
    plain = lzma.decompress(head, lzma.FORMAT_RAW, filters=FILTERS)
    (length,) = struct.unpack_from("<I", plain)
    return header, plain[4 : 4 + length], plain[4 + length :], body


def sealed(fields: tuple[Any, ...], head: bytes, plain_bytes: int, body: bytes) -> bytes:
    """A file whose digest is right, whatever it holds."""
    fields = (*fields[:5], len(head), plain_bytes)
    content = HEADER.pack(*fields, bytes(8)) + head + body
    digest = hashlib.blake2b(content, digest_size=8).digest()
    return content[:16] + digest + content[24:]


def rewritten(content: bytes, text: bytes, side: bytes) -> bytes:
    """The same file with another head."""
    header, _, _, body = opened(content)
    plain = struct.pack("<I", len(text)) + text + side
    head = lzma.compress(plain, lzma.FORMAT_RAW, filters=FILTERS)
    return sealed(header, head, len(plain), body)


def metadata_of(architecture: Architecture, **changes: Any) -> WeightsMetadata:
    shape = architecture.input_shape
    values: dict[str, Any] = {
        "family": architecture.family,
        "metaparameters": dict(architecture.metaparameters),
        "input_shape": shape,
        "classes": tuple(map(str, range(architecture.classes_count))),
        "preprocessing": trained_preprocessing(shape, (0.5,) * shape[2], (0.2,) * shape[2]),
    }
    return WeightsMetadata(**values | changes)
