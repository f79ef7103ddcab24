"""The `.dsz` file: a whole network in few bytes. `docs/dsz.md` specifies every byte.

    header   24 bytes: magic, version, coder, float bits, sizes, digest of the rest
    head     LZMA: metadata in JSON, then how each kernel is stored
    body     every number, entropy-coded

Kernels are stored in the order (filter, channel, height, width), one after the other as the
network runs; biases and norms by kind. Nothing here needs JAX.
"""

from __future__ import annotations

import hashlib
import json
import lzma
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from dse.architecture import Architecture
from dse.architecture.primitives import Parameter
from dse.errors import WeightsError
from dse.files import read_bounded, replacing
from dse.weights.dsz.floats import FloatBits, put_codebooks, put_floats, take_codebooks, take_floats
from dse.weights.dsz.kernels import (
    choose_form,
    put_kernel,
    read_form,
    take_kernel,
    write_form,
)
from dse.weights.dsz.shared import SharedWeights
from dse.weights.dsz.streams import CODERS, CoderName, StreamReader, StreamWriter
from dse.weights.metadata import (
    CLASSES_MOST,
    FILE_MOST_BYTES,
    HEAD_MOST_BYTES,
    WeightsMetadata,
    described_architecture,
    metadata_from_dict,
    refusing_damage,
)

SUFFIX = ".dsz"
MAGIC = b"\x93DSZ"
FORMAT_VERSION = 1

_HEADER = struct.Struct("<4sBBBBII8s")
_WEIGHTS_MAX = 2**28
# Weights may cost no bits, and a small file must not ask for all memory: so many are free, and so
# many more for each byte. AlexNet with 1 weight in 100 left takes 1 byte for 100.
_WEIGHTS_FREE, _WEIGHTS_PER_BYTE = 2**22, 128
_FLOAT16_OVERFLOW = 65520.0  # from here on, the nearest float16 is infinity
_LZMA = {"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 4, "lp": 0, "pb": 0, "dict_size": 2**20}
_LZMA_LEAST_BYTES = 2**12  # of a dictionary


@dataclass(frozen=True, eq=False)
class Packed:
    """What a `.dsz` file holds.

    Attributes:
        metadata: the network, its classes, how images are fed to it.
        arrays: by parameter path; kernels as `SharedWeights` where they share values, else
            float32 arrays.
        float_bits: of codebooks, and of all that is not shared: 32 or 16.
        coder: how numbers became bits.
    """

    metadata: WeightsMetadata
    arrays: Mapping[str, SharedWeights | np.ndarray]
    float_bits: FloatBits = 32
    coder: CoderName = "ans"


def pack(packed: Packed) -> bytes:
    """All bytes of a `.dsz` file; the same input gives the same bytes.

    Raises:
        WeightsError: arrays that are not those of the network, or values that 16 bits
            cannot hold.
    """
    architecture = described_architecture(Path("this network"), packed.metadata)
    kernels, others = _parameters(architecture)
    _check(packed, architecture)
    writer = StreamWriter(packed.coder)
    forms = [choose_form(packed.arrays[p.path], packed.coder, packed.float_bits) for p in kernels]
    put_codebooks(writer, [form.codebook for form in forms], packed.float_bits)
    for group in others:
        values = [np.asarray(packed.arrays[p.path], np.float32).reshape(-1) for p in group]
        put_floats(writer, np.concatenate(values), packed.float_bits)
    for form, parameter in zip(forms, kernels, strict=True):
        put_kernel(writer, form, packed.arrays[parameter.path], packed.float_bits)
    streams, body = writer.finish()
    document, classes = packed.metadata.to_dict(), packed.metadata.classes
    if classes == tuple(map(str, range(len(classes)))):
        document["classes"] = len(classes)  # called by their numbers: counted
    content = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    plain = struct.pack("<I", len(content)) + content
    plain += b"".join(write_form(form) for form in forms) + streams
    head = lzma.compress(plain, format=lzma.FORMAT_RAW, filters=[_LZMA])
    digest = _digest(packed.coder, packed.float_bits, len(plain), head, body)
    header = _header(packed.coder, packed.float_bits, len(head), len(plain), digest)
    if len(plain) > HEAD_MOST_BYTES:
        raise WeightsError(f"a head of {len(plain):,} bytes; at most {HEAD_MOST_BYTES:,}")
    _check_count(architecture, len(header) + len(head) + len(body))
    return header + head + body


def unpack(content: bytes, *, source: str = "content") -> tuple[WeightsMetadata, dict[str, Any]]:
    """The metadata and the float32 arrays, by path, of the bytes of a file.

    Args:
        content: all of them.
        source: what messages call it.

    Raises:
        WeightsError: it is no `.dsz` file, of another version, cut off or changed.
    """
    coder, bits, plain, body = _open(content, source)
    try:
        metadata, side = _metadata(plain, source)
        architecture = described_architecture(Path(source), metadata)
        _check_count(architecture, len(content))
        kernels, others = _parameters(architecture)
        forms, rest = [], side
        for parameter in kernels:
            form, rest = read_form(rest, parameter)
            forms.append(form)
        reader = StreamReader(coder, rest, body)
        codebooks = take_codebooks(reader, [form.codes_count for form in forms], bits)
        arrays: dict[str, Any] = {}
        for group in others:
            values = take_floats(reader, sum(p.size for p in group), bits)
            stops = np.cumsum([p.size for p in group])[:-1]
            for parameter, part in zip(group, np.split(values, stops), strict=True):
                arrays[parameter.path] = part.reshape(parameter.shape)
        for parameter, form, codebook in zip(kernels, forms, codebooks, strict=True):
            arrays[parameter.path] = take_kernel(reader, form, parameter, codebook, bits)
        reader.finish()
    except WeightsError as error:
        raise WeightsError(f"{source}: a damaged .dsz file: {error}") from error
    return metadata, {p.path: arrays[p.path] for p in architecture.parameters}


def write_content(path: Path, content: bytes) -> None:
    """Write what `pack` gave, whole or not at all.

    Raises:
        WeightsError: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        raise WeightsError(
            f"{path}: the weights cannot be written: {error.strerror or error}"
        ) from error


def read_dsz(path: Path) -> tuple[WeightsMetadata, dict[str, Any]]:
    """The metadata and the float32 arrays, by path, of a file.

    Raises:
        WeightsError: it cannot be read, or is refused as by `unpack`.
    """
    return unpack(_content(path), source=str(path))


def read_dsz_metadata(path: Path) -> WeightsMetadata:
    """What a file says of its network; the numbers are not decoded.

    Raises:
        WeightsError: as of `read_dsz`.
    """
    _, _, plain, _ = _open(_content(path), str(path))
    return _metadata(plain, str(path))[0]


def _content(path: Path) -> bytes:
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        return read_bounded(path, FILE_MOST_BYTES)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error


def _header(coder: CoderName, bits: int, head_bytes: int, plain_bytes: int, digest: bytes) -> bytes:
    return _HEADER.pack(
        MAGIC, FORMAT_VERSION, CODERS.index(coder), bits, 0, head_bytes, plain_bytes, digest
    )


def _digest(coder: CoderName, bits: int, plain_bytes: int, head: bytes, body: bytes) -> bytes:
    """Of everything: the header with an empty digest, then all that follows."""
    digest = hashlib.blake2b(digest_size=8)
    for part in (_header(coder, bits, len(head), plain_bytes, bytes(8)), head, body):
        digest.update(part)
    return digest.digest()


def _open(content: bytes, source: str) -> tuple[CoderName, FloatBits, bytes, bytes]:
    """Coder, float bits, the head unpacked, the body."""
    if len(content) < _HEADER.size or content[:4] != MAGIC:
        raise WeightsError(
            f"{source}: not a .dsz file: it does not begin with its {_HEADER.size} bytes of header"
        )
    _, version, coder, bits, zero, head_bytes, plain_bytes, digest = _HEADER.unpack_from(content)
    if version != FORMAT_VERSION:
        raise WeightsError(
            f"{source}: .dsz version {version}, but this dse reads {FORMAT_VERSION}; "
            "use the dse that wrote it"
        )
    head, body = content[_HEADER.size :][:head_bytes], content[_HEADER.size + head_bytes :]
    sound = coder < len(CODERS) and bits in (16, 32) and not zero and len(head) == head_bytes
    if not sound or digest != _digest(CODERS[coder], bits, plain_bytes, head, body):
        raise WeightsError(
            f"{source}: the bytes are not those that were written (digest differs): it is cut off "
            "or changed; take another copy"
        )
    if plain_bytes > HEAD_MOST_BYTES:
        raise WeightsError(
            f"{source}: a head of {plain_bytes:,} bytes; at most {HEAD_MOST_BYTES:,}"
        )
    try:
        # Nothing looks back further than to the start: a small head needs little memory.
        size = min(_LZMA["dict_size"], max(plain_bytes, _LZMA_LEAST_BYTES))
        filters = [{**_LZMA, "dict_size": size}]
        decompressor = lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=filters)
        plain = decompressor.decompress(head, max_length=plain_bytes + 1)
    except lzma.LZMAError as error:
        raise WeightsError(f"{source}: the head is damaged ({error})") from error
    if len(plain) != plain_bytes:
        raise WeightsError(f"{source}: the head is damaged: not {plain_bytes:,} bytes")
    return CODERS[coder], bits, plain, body


def _metadata(plain: bytes, source: str) -> tuple[WeightsMetadata, bytes]:
    """The metadata, and the bytes that follow it in the head."""
    with refusing_damage(source, "head"):
        (length,) = struct.unpack_from("<I", plain)
        values = json.loads(plain[4 : 4 + length])
        count = values["classes"]
        if isinstance(count, int):
            if count > CLASSES_MOST:
                raise ValueError(f"{count} classes; at most {CLASSES_MOST:,}")
            values["classes"] = range(count)
        return metadata_from_dict(values), plain[4 + length :]


def _check_count(architecture: Architecture, file_bytes: int) -> None:
    """Refuse a network that is too large for its file.

    Raises:
        WeightsError: with both numbers.
    """
    count = sum(p.size for p in architecture.parameters)
    most = min(_WEIGHTS_MAX, _WEIGHTS_FREE + _WEIGHTS_PER_BYTE * file_bytes)
    if count > most:
        raise WeightsError(
            f"a network of {count:,} weights in {file_bytes:,} bytes; at most {most:,}"
        )


def _parameters(architecture: Architecture) -> tuple[list[Parameter], list[list[Parameter]]]:
    """Kernels in the order in which they run; the other arrays, grouped by kind."""
    kernels = [p for p in architecture.parameters if p.kind == "kernel"]
    others = sorted(
        (p for p in architecture.parameters if p.kind != "kernel"), key=lambda p: p.kind
    )
    return kernels, [list(group) for _, group in groupby(others, key=lambda p: p.kind)]


def _check(packed: Packed, architecture: Architecture) -> None:
    wanted = {p.path: p.shape for p in architecture.parameters}
    found = {
        path: (array.codes if isinstance(array, SharedWeights) else array).shape
        for path, array in packed.arrays.items()
    }
    for path in wanted.keys() | found.keys():
        if wanted.get(path) != found.get(path):
            raise WeightsError(
                f"{path} has shape {found.get(path)}, but {architecture.family} wants "
                f"{wanted.get(path)}"
            )
    if packed.float_bits == 16:
        for path, array in packed.arrays.items():
            values = array.codebook if isinstance(array, SharedWeights) else array
            if float(np.abs(values).max(initial=0)) >= _FLOAT16_OVERFLOW:
                raise WeightsError(f"{path} has values above 65,504, which float16 cannot hold")
