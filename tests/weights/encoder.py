"""The published format written the slow and obvious way, for networks that the tests make up."""

from __future__ import annotations

import struct

import numpy as np

from dse.architecture import Architecture, Node
from dse.architecture.primitives import Conv

Encoded = tuple[bytes, dict[str, np.ndarray]]


def convs(architecture: Architecture) -> list[Node]:
    found: list[Node] = []
    for layer in architecture.layers:
        found += [node for node in layer.nodes if isinstance(node.primitive, Conv)]
    return found


def entries_of(codes: np.ndarray) -> list[tuple[int, int]]:
    """(code, gap) of each stored entry of a layer's flat codes."""
    entries: list[tuple[int, int]] = []
    last = -1
    for position in np.flatnonzero(codes).tolist():
        while position - last - 1 > 15:
            entries.append((0, 15))
            last += 16
        entries.append((int(codes[position]), position - last - 1))
        last = position
    return entries


def pack(gaps: list[int]) -> bytes:
    gaps = [*gaps, 0] if len(gaps) % 2 else gaps
    return bytes(low | high << 4 for low, high in zip(gaps[0::2], gaps[1::2], strict=True))


def random_file(architecture: Architecture, *, density: float, seed: int = 0) -> Encoded:
    """A file of random weights, and the arrays by path that it decodes to."""
    rng = np.random.default_rng(seed)
    counts, parts, arrays = b"", b"", {}
    for conv in convs(architecture):
        height, width, channels, filters = conv.kernel_shape
        shape = (filters, channels, height, width)
        codes = rng.integers(1, 256, shape).astype(np.uint8) * (rng.random(shape) < density)
        codebook = rng.normal(size=256).astype("<f4")
        codebook[0] = 0
        biases = rng.normal(size=filters).astype("<f4")
        entries = entries_of(codes.reshape(-1))
        counts += struct.pack("<I", len(entries))
        parts += codebook.tobytes() + biases.tobytes() + bytes(code for code, _ in entries)
        parts += pack([gap for _, gap in entries])
        kernel = np.zeros(conv.kernel_shape, np.float32)
        for f, c, y, x in np.argwhere(codes):
            kernel[y, x, c, f] = codebook[codes[f, c, y, x]]
        arrays[f"{conv.name}/kernel"], arrays[f"{conv.name}/bias"] = kernel, biases
    return counts + parts, arrays


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """One of the ways in which a file goes wrong, drawn at random; never the same content."""
    changed = bytearray(content)
    place = int(rng.integers(len(changed)))
    match int(rng.integers(7)):
        case 0:  # some bits flip
            for _ in range(int(rng.integers(1, 9))):
                changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
        case 1:
            del changed[place:]
        case 2:
            changed += rng.bytes(int(rng.integers(1, 5000)))
        case 3:  # two counts change places: the length stays right
            first, second = 4 * int(rng.integers(26)), 4 * int(rng.integers(26))
            for i in range(4):
                left, right = changed[first + i], changed[second + i]
                changed[first + i], changed[second + i] = right, left
        case 4:
            huge = [0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1]
            index = int(rng.integers(26))
            changed[4 * index : 4 * index + 4] = struct.pack("<I", huge[int(rng.integers(6))])
        case 5:  # a stretch of noise
            changed[place : place + 200] = rng.bytes(len(changed[place : place + 200]))
        case 6:  # bytes go missing or come in within
            changed[place : place + int(rng.integers(1, 9))] = rng.bytes(int(rng.integers(9)))
    return bytes(changed)
