"""The file in which SqueezeNet's authors published it after Deep Compression.

Little-endian, layers in the order in which they run (of a fire module: squeeze, expand1x1,
expand3x3):

    counts      one uint32 a layer: its stored entries
    then for each layer
    codebook    256 float32; code 0 is the value 0
    biases      one float32 a filter
    codes       one byte an entry
    gaps        4 bits an entry, the low half of a byte first: positions passed over

Entry i stands at flat position Σ(gap + 1) - 1 of the weights in (filter, channel, height,
width) order; what no entry names is 0. The file says nothing else, not even whose weights it
holds, and has no checksum: a changed code or bias decodes to another number.

Source: Han, Mao and Dally 2016 (arXiv 1510.00149); github.com/songhan/SqueezeNet-Deep-Compression.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dse.architecture import Architecture
from dse.architecture.primitives import Conv
from dse.errors import WeightsError

CODES_COUNT = 256
COUNT_BYTES, VALUE_BYTES = 4, 4

PUBLISHED_SHA256 = "e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261"
"""SHA-256 of the published file of SqueezeNet v1.0 (675,763 bytes)."""


@dataclass(frozen=True)
class Decoded:
    """What a file holds.

    Attributes:
        arrays: float32 by parameter path (`fire2/squeeze/kernel`), kernels as (height, width,
            channels, filters).
        source_bytes: size of the file.
        sha256: of the file, hexadecimal.
    """

    arrays: dict[str, np.ndarray]
    source_bytes: int
    sha256: str

    @property
    def params_count(self) -> int:
        """Values of all arrays."""
        return sum(array.size for array in self.arrays.values())

    @property
    def nonzero_weights_count(self) -> int:
        """Values of the kernels that are not zero; biases are not counted."""
        kernels = (array for path, array in self.arrays.items() if path.endswith("/kernel"))
        return sum(int(np.count_nonzero(array)) for array in kernels)


@dataclass(frozen=True)
class _Section:
    """A stretch of the file that belongs to one layer."""

    name: str  # conv1 codebook
    start: int
    stop: int


@dataclass(frozen=True)
class _Stored:
    """Where the parts of one layer stand."""

    conv: Conv
    entries_count: int
    codebook: _Section
    biases: _Section
    codes: _Section
    gaps: _Section

    @property
    def sections(self) -> tuple[_Section, ...]:
        return (self.codebook, self.biases, self.codes, self.gaps)


def read_deep_compression(path: Path, architecture: Architecture) -> Decoded:
    """Read and decode a file; never more of it than the network can fill.

    Raises:
        WeightsError: it cannot be read, or is refused as by `decode_deep_compression`.
    """
    if path.is_dir():
        raise WeightsError(f"{path} is a folder, but must be a Deep Compression file")
    most = largest_bytes(architecture)
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    if len(content) > most:
        raise WeightsError(
            f"{path}: offset {most}: the file goes on, but {most} bytes are the most that the "
            "weights of this network can take; it is something else"
        )
    return decode_deep_compression(content, architecture, source=str(path))


def decode_deep_compression(
    content: bytes, architecture: Architecture, *, source: str = "content"
) -> Decoded:
    """The arrays of a network of convolutions from the bytes of a file.

    Counts are compared with the architecture before anything is set aside for them.

    Args:
        content: all bytes of the file.
        architecture: whose weights they are; every convolution has a bias and no norm.
        source: what messages call the content.

    Raises:
        WeightsError: truncated, extended, or values that no such file holds; with the offset
            of the first byte that is wrong and what was expected there.
    """
    layers = _layout(content, _convs(architecture), source)
    arrays: dict[str, np.ndarray] = {}
    for stored in layers:
        name = stored.conv.name
        arrays[f"{name}/kernel"] = _kernel(content, stored, source)
        arrays[f"{name}/bias"] = _floats(content, stored.biases, source)
    return Decoded(arrays, len(content), hashlib.sha256(content).hexdigest())


def largest_bytes(architecture: Architecture) -> int:
    """Most bytes that a file of this network can have: every weight stored."""
    convs = _convs(architecture)
    sizes = [math.prod(conv.kernel_shape) for conv in convs]
    layers = _place(convs, sizes)
    return layers[-1].gaps.stop


def _convs(architecture: Architecture) -> list[Conv]:
    """The convolutions in the order of the file."""
    convs: list[Conv] = []
    for layer in architecture.kernel_layers:
        if not isinstance(layer, Conv):
            raise WeightsError(f"{layer.name} is no convolution: this format cannot hold it")
        convs.append(layer)
    if any(conv.norm != "none" or conv.groups != 1 for conv in convs):
        raise WeightsError("this format holds plain convolutions with a bias: no norm, no groups")
    return convs


def _layout(content: bytes, convs: list[Conv], source: str) -> list[_Stored]:
    """Where everything stands, after the counts and the length were checked."""
    head_bytes = COUNT_BYTES * len(convs)
    if len(content) < head_bytes:
        raise WeightsError(
            f"{source}: offset {len(content)}: the file ends within the {len(convs)} counts, which "
            f"take {head_bytes} bytes"
        )
    counts = [int(count) for count in np.frombuffer(content, "<u4", len(convs))]
    for index, (count, conv) in enumerate(zip(counts, convs, strict=True)):
        size = math.prod(conv.kernel_shape)
        if count > size:
            raise WeightsError(
                f"{source}: offset {COUNT_BYTES * index}: {count} stored entries of {conv.name}, "
                f"but it has {size} weights"
            )
    layers = _place(convs, counts)
    end = layers[-1].gaps.stop
    if len(content) > end:
        raise WeightsError(
            f"{source}: offset {end}: expected the end of the file by its counts, but "
            f"{len(content) - end} more bytes follow"
        )
    if len(content) < end:
        cut = next(part for x in layers for part in x.sections if part.stop > len(content))
        raise WeightsError(
            f"{source}: offset {len(content)}: the file ends within the {cut.name} (bytes "
            f"{cut.start} to {cut.stop}), but its counts ask for {end} bytes"
        )
    return layers


def _place(convs: list[Conv], counts: list[int]) -> list[_Stored]:
    layers: list[_Stored] = []
    offset = COUNT_BYTES * len(convs)
    for conv, count in zip(convs, counts, strict=True):
        sections: list[_Section] = []
        for name, size in _section_sizes(conv, count):
            sections.append(_Section(f"{conv.name} {name}", offset, offset + size))
            offset += size
        layers.append(_Stored(conv, count, *sections))
    return layers


def _section_sizes(conv: Conv, count: int) -> Iterator[tuple[str, int]]:
    yield "codebook", VALUE_BYTES * CODES_COUNT
    yield "biases", VALUE_BYTES * conv.filters
    yield "codes", count
    yield "gaps", -(-count // 2)


def _kernel(content: bytes, stored: _Stored, source: str) -> np.ndarray:
    """(height, width, channels, filters) float32."""
    height, width, channels, filters = stored.conv.kernel_shape
    codebook = _floats(content, stored.codebook, source)
    if codebook[0] != 0:
        raise WeightsError(
            f"{source}: offset {stored.codebook.start}: the {stored.codebook.name} begins with "
            f"{codebook[0]:g}, but code 0 must be the value 0"
        )
    values = np.zeros(math.prod(stored.conv.kernel_shape), np.float32)
    codes = np.frombuffer(content, np.uint8, stored.entries_count, stored.codes.start)
    values[_positions(content, stored, source)] = codebook[codes]
    by_filter = values.reshape(filters, channels, height, width)
    return np.ascontiguousarray(by_filter.transpose(2, 3, 1, 0))


def _positions(content: bytes, stored: _Stored, source: str) -> np.ndarray:
    """Flat position of each entry; rising, and below the number of weights."""
    count, part = stored.entries_count, stored.gaps
    packed = np.frombuffer(content, np.uint8, part.stop - part.start, part.start)
    gaps = np.empty(2 * len(packed), np.int64)
    gaps[0::2], gaps[1::2] = packed & 15, packed >> 4
    if len(gaps) > count and gaps[-1]:
        raise WeightsError(
            f"{source}: offset {part.stop - 1}: the unused half of the last byte of the "
            f"{part.name} is {gaps[-1]}, but must be 0"
        )
    positions = np.cumsum(gaps[:count] + 1) - 1
    size = math.prod(stored.conv.kernel_shape)
    if count and positions[-1] >= size:
        first = int(np.searchsorted(positions, size))
        raise WeightsError(
            f"{source}: offset {part.start + first // 2}: the {part.name} lead to weight "
            f"{positions[first]}, but {stored.conv.name} has weights 0 to {size - 1}"
        )
    return positions


def _floats(content: bytes, part: _Section, source: str) -> np.ndarray:
    count = (part.stop - part.start) // VALUE_BYTES
    values = np.frombuffer(content, "<f4", count, part.start).astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise WeightsError(
            f"{source}: offset {part.start + VALUE_BYTES * int(wrong[0])}: {values[wrong[0]]} in "
            f"the {part.name}, but every value must be finite"
        )
    return values
