"""Ten thousand broken files: whole or refused, in little memory and little time."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from dse.architecture import PRESETS, Architecture, build, cost, make_candidate
from dse.errors import DseError
from dse.weights.dsz import pack, unpack
from dse.weights.dsz.container import Packed
from dse.weights.dsz.shared import SharedWeights, share_exactly
from tests.weights.dsz.dsz_parts import metadata_of, opened, rewritten, sealed
from tests.weights.encoder import mutated

MOST_CPU_S = 1.0
MOST_MEMORY, TABLES_BYTES = 3, 2**19
"""Times the float32 arrays of the network; and what tables take, however small it is."""

PLAIN_COUNT, SEALED_COUNT = 6_000, 4_000

LARGE = build(PRESETS["squeezenet_v1.0"].candidate, (227, 227, 3), 1000)
SMALL = build(make_candidate("squeezenet", {"base_e": 32, "incr_e": 32, "norm": "batch"}),
              (32, 32, 3), 10)  # fmt: skip

# Of each twenty files whose digest is right: four of the large network, the others of the small.
CYCLE = [(LARGE, "ans")] * 3 + [(LARGE, "huffman")] + [(SMALL, "ans"), (SMALL, "huffman")] * 8


def file_of(architecture: Architecture, coder: str) -> bytes:
    """As large as the published one: a third of the weights, 255 values and zero a layer."""
    rng = np.random.default_rng(0)
    arrays: dict[str, SharedWeights | np.ndarray] = {}
    for parameter in architecture.parameters:
        if parameter.kind == "kernel":
            values = rng.normal(0, 0.1, 256).astype(np.float32)
            picked = values[rng.integers(0, 256, parameter.shape)]
            picked[rng.random(parameter.shape) > 0.33] = 0
            arrays[parameter.path] = share_exactly(picked, 32) or picked
        else:
            arrays[parameter.path] = rng.normal(size=parameter.shape).astype(np.float32)
    return pack(Packed(metadata_of(architecture), arrays, 32, coder))


def broken() -> Iterator[tuple[Architecture, bytes]]:
    """Files of which most fail at the digest, then files whose digest is right."""
    contents = {(network, coder): file_of(network, coder) for network, coder in set(CYCLE)}
    parts = {which: opened(content) for which, content in contents.items()}
    rng = np.random.default_rng(1)
    for index in range(PLAIN_COUNT):
        which = CYCLE[index % len(CYCLE)]
        yield which[0], mutated(contents[which], rng)
    for index in range(SEALED_COUNT):
        which = CYCLE[index % len(CYCLE)]
        content, (header, text, side, body) = contents[which], parts[which]
        head = content[24 : len(content) - len(body)]
        match int(rng.integers(10)):
            case 0:
                yield which[0], sealed(header, mutated(head, rng), header[6], body)
            case 1 | 2 | 3 | 4:
                yield which[0], rewritten(content, text, mutated(side, rng))
            case _:
                yield which[0], sealed(header, head, header[6], mutated(body, rng))


@pytest.mark.slow
def test_ten_thousand_broken_files() -> None:
    messages: list[str] = []
    slowest_s = most_memory = 0.0
    for network, content in broken():
        started = time.process_time()
        found = outcome(network, content)
        slowest_s = max(slowest_s, time.process_time() - started)
        messages += [found] if found else []
        tracemalloc.start()
        outcome(network, content)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        network_bytes = cost(network).weight_bytes
        most_memory = max(most_memory, (peak_bytes - TABLES_BYTES) / network_bytes)
    print(f"{len(messages):,} refused, slowest {slowest_s:.2f} s of CPU, {most_memory:.2f}x memory")
    assert [message for message in messages if not message.startswith("x: ")] == []
    assert 0.6 < len(messages) / (PLAIN_COUNT + SEALED_COUNT) < 1
    assert slowest_s < MOST_CPU_S
    assert most_memory < MOST_MEMORY


def outcome(network: Architecture, content: bytes) -> str | None:
    """The message of a refusal; None where all arrays have their shapes."""
    try:
        _, arrays = unpack(content, source="x")
    except DseError as error:
        return str(error)
    shapes = {p.path: p.shape for p in network.parameters}
    assert {path: array.shape for path, array in arrays.items()} == shapes
    return None
