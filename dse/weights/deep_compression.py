"""The file in which SqueezeNet's authors published it after Deep Compression.

Little-endian, layers in the order in which they run (of a fire module: squeeze, expand1x1,
expand3x3):

    counts      one uint32 per layer: its stored entries
    then for each layer
    codebook    256 float32; code 0 is the value 0
    biases      one float32 per filter
    codes       one byte per entry
    gaps        4 bits per entry, the low half of a byte first: positions passed over

Entry i stands at flat position Σ(gap + 1) - 1 of the weights in (filter, channel, height,
width) order; what no entry names is 0. The file says nothing else, not even whose weights it
holds, and has no checksum: a changed code or bias decodes to another number.

Source: Han, Mao and Dally 2016 (arXiv 1510.00149); github.com/songhan/SqueezeNet-Deep-Compression.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dse.architecture import Architecture, Node
from dse.architecture.primitives import Conv
from dse.errors import WeightsError
from dse.weights.dsz.kernels import in_network_order

CODES_COUNT = 256
COUNT_BYTES, VALUE_BYTES = 4, 4

PUBLISHED_SHA256 = "e4ab6960ae8cd81505e1c2136921201507e930966c53deaf15862a395b3a3261"
"""SHA-256 of the published file of SqueezeNet v1.0 (675,763 bytes)."""

PUBLISHED_MD5 = "9e65b2784de743985f605095d7412130"
PUBLISHED_NAME = "compressed_SqueezeNet.net"
PUBLISHED_URL = (
    "https://raw.githubusercontent.com/songhan/SqueezeNet-Deep-Compression/"
    f"5623e3cdbe1fcd83328c61ce2ee42c34ed319aa3/{PUBLISHED_NAME}"
)
"""Where its authors have it."""


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


def read_deep_compression(path: Path, architecture: Architecture) -> Decoded:
    """Read and decode a file; never more of it than the network can fill.

    Raises:
        WeightsError: it cannot be read, or is refused as by `decode_deep_compression`.
    """
    if path.is_dir():
        raise WeightsError(f"{path} is a folder, but must be a Deep Compression file")
    if path.exists() and not path.is_file():  # a pipe would be waited for without end
        raise WeightsError(f"{path} is no ordinary file, but must be a Deep Compression file")
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
    convs = _convs(architecture)
    file = _File(content, source)
    counts = _counts(file, convs)
    file.end = _end(convs, counts)
    if len(content) > file.end:
        raise file.wrong(
            file.end,
            f"expected the end of the file by its counts, but {len(content) - file.end} more "
            "bytes follow",
        )
    arrays: dict[str, np.ndarray] = {}
    for conv, count in zip(convs, counts, strict=True):
        codebook = file.floats(f"{conv.name} codebook", CODES_COUNT)
        biases = file.floats(f"{conv.name} biases", conv.kernel_shape[3])
        if codebook[0] != 0:
            raise file.wrong(
                file.offset - VALUE_BYTES * (CODES_COUNT + conv.kernel_shape[3]),
                f"the {conv.name} codebook begins with {codebook[0]:g}, but code 0 must be the "
                "value 0",
            )
        codes = file.take(f"{conv.name} codes", count)
        values = np.zeros(math.prod(conv.kernel_shape), np.float32)
        values[_positions(file, conv, count)] = codebook[codes]
        arrays[f"{conv.name}/kernel"] = in_network_order(values, conv.kernel_shape)
        arrays[f"{conv.name}/bias"] = biases
    return Decoded(arrays, len(content), hashlib.sha256(content).hexdigest())


def largest_bytes(architecture: Architecture) -> int:
    """Most bytes that a file of this network can have: every weight stored."""
    convs = _convs(architecture)
    return _end(convs, [math.prod(conv.kernel_shape) for conv in convs])


class _File:
    """The bytes, taken from the front to the end."""

    def __init__(self, content: bytes, source: str) -> None:
        self.content, self.source = content, source
        self.offset, self.end = 0, 0

    def wrong(self, offset: int, what: str) -> WeightsError:
        return WeightsError(f"{self.source}: offset {offset}: {what}")

    def take(self, name: str, size: int) -> np.ndarray:
        """The next bytes, uint8."""
        start, self.offset = self.offset, self.offset + size
        if self.offset > len(self.content):
            raise self.wrong(
                len(self.content),
                f"the file ends within the {name} (bytes {start} to {self.offset}), but its counts "
                f"ask for {self.end} bytes",
            )
        return np.frombuffer(self.content, np.uint8, size, start)

    def floats(self, name: str, count: int) -> np.ndarray:
        start = self.offset
        values = self.take(name, VALUE_BYTES * count).view("<f4").astype(np.float32)
        bad = np.flatnonzero(~np.isfinite(values))
        if len(bad):
            raise self.wrong(
                start + VALUE_BYTES * int(bad[0]),
                f"{values[bad[0]]} in the {name}, but every value must be finite",
            )
        return values


def _convs(architecture: Architecture) -> tuple[Node, ...]:
    """The convolutions in the order of the file."""
    nodes = architecture.kernel_nodes
    convs = [node.primitive for node in nodes if isinstance(node.primitive, Conv)]
    if len(convs) < len(nodes):
        name = next(node.name for node in nodes if not isinstance(node.primitive, Conv))
        raise WeightsError(f"{name} is no convolution: this format cannot hold it")
    if any(conv.norm != "none" or conv.groups != 1 for conv in convs):
        raise WeightsError("this format holds plain convolutions with a bias: no norm, no groups")
    return nodes


def _counts(file: _File, convs: Sequence[Node]) -> list[int]:
    """Stored entries of each layer, none of them more than its weights."""
    head_bytes = COUNT_BYTES * len(convs)
    if len(file.content) < head_bytes:
        raise file.wrong(
            len(file.content),
            f"the file ends within the {len(convs)} counts, which take {head_bytes} bytes",
        )
    counts = [int(count) for count in file.take("counts", head_bytes).view("<u4")]
    for index, (count, conv) in enumerate(zip(counts, convs, strict=True)):
        size = math.prod(conv.kernel_shape)
        if count > size:
            raise file.wrong(
                COUNT_BYTES * index,
                f"{count} stored entries of {conv.name}, but it has {size} weights",
            )
    return counts


def _end(convs: Sequence[Node], counts: list[int]) -> int:
    """Bytes of a file with these counts."""
    return COUNT_BYTES * len(convs) + sum(
        VALUE_BYTES * (CODES_COUNT + conv.kernel_shape[3]) + count + -(-count // 2)
        for conv, count in zip(convs, counts, strict=True)
    )


def _positions(file: _File, conv: Node, count: int) -> np.ndarray:
    """Flat position of each entry; rising, and below the number of weights."""
    start, name = file.offset, f"{conv.name} gaps"
    packed = file.take(name, -(-count // 2))
    gaps = np.empty(2 * len(packed), np.int64)
    gaps[0::2], gaps[1::2] = packed & 15, packed >> 4
    if len(gaps) > count and gaps[-1]:
        raise file.wrong(
            file.offset - 1,
            f"the unused half of the last byte of the {name} is {gaps[-1]}, but must be 0",
        )
    positions = np.cumsum(gaps[:count] + 1) - 1
    size = math.prod(conv.kernel_shape)
    if count and positions[-1] >= size:
        first = int(np.searchsorted(positions, size))
        raise file.wrong(
            start + first // 2,
            f"the {name} lead to weight {positions[first]}, but {conv.name} has weights 0 to "
            f"{size - 1}",
        )
    return positions
