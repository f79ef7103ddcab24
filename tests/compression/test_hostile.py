"""Ten thousand broken files: whole or refused, in little memory and little time."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from dse.architecture import PRESETS, Architecture, build, cost
from dse.compression import pack, unpack
from dse.compression.container import Packed
from dse.compression.shared import SharedWeights, share_exactly
from dse.errors import DseError
from dse.metadata import WeightsMetadata
from dse.preprocessing import trained_preprocessing
from tests.compression.dsz_parts import opened, rewritten, sealed
from tests.compression.encoder import mutated

MOST_CPU_S = 1.0
MOST_MEMORY = 3
"""Times the float32 arrays of the network."""

PLAIN_COUNT, SEALED_COUNT = 6_000, 4_000

SQUEEZENET = build(PRESETS["squeezenet_v1.0"].candidate, (227, 227, 3), 1000)


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
    shape = architecture.input_shape
    metadata = WeightsMetadata(
        family=architecture.family,
        metaparameters=dict(architecture.metaparameters),
        input_shape=shape,
        classes=tuple(map(str, range(architecture.classes_count))),
        preprocessing=trained_preprocessing(shape, (0.5,) * shape[2], (0.2,) * shape[2]),
    )
    return pack(Packed(metadata, arrays, 32, coder))


def broken(contents: list[bytes]) -> Iterator[bytes]:
    """Files of which most fail at the digest, then files whose digest is right."""
    rng = np.random.default_rng(1)
    for index in range(PLAIN_COUNT):
        yield mutated(contents[index % len(contents)], rng)
    parts = [opened(content) for content in contents]
    for index in range(SEALED_COUNT):
        content, (header, text, side, body) = (
            contents[index % len(parts)],
            parts[index % len(parts)],
        )
        head = content[24 : len(content) - len(body)]
        match index % 10:
            case 0:
                yield sealed(header, mutated(head, rng), header[6], body)
            case 1 | 2 | 3 | 4:
                yield rewritten(content, text, mutated(side, rng))
            case _:
                yield sealed(header, head, header[6], mutated(body, rng))


@pytest.mark.slow
def test_ten_thousand_broken_files() -> None:
    contents = [file_of(SQUEEZENET, coder) for coder in ("ans", "huffman")]
    shapes = {p.path: p.shape for p in SQUEEZENET.parameters}
    network_bytes = cost(SQUEEZENET).weight_bytes
    messages: list[str] = []
    slowest_s = most_bytes = 0.0
    tracemalloc.start()
    for content in broken(contents):
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        started = time.process_time()
        try:
            _, arrays = unpack(content, source="x")
        except DseError as error:
            messages.append(str(error))
        else:
            assert {path: array.shape for path, array in arrays.items()} == shapes
            del arrays
        slowest_s = max(slowest_s, time.process_time() - started)
        most_bytes = max(most_bytes, tracemalloc.get_traced_memory()[1] - before)
    tracemalloc.stop()
    times = most_bytes / network_bytes
    print(f"{len(messages):,} refused, slowest {slowest_s:.2f} s of CPU, {times:.2f}x memory")
    assert [message for message in messages if not message.startswith("x: ")] == []
    assert 0.6 < len(messages) / (PLAIN_COUNT + SEALED_COUNT) < 1
    assert slowest_s < MOST_CPU_S
    assert most_bytes < MOST_MEMORY * network_bytes
