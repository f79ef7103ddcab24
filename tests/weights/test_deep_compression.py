"""The published format: round trips by hand and by encoder, and every way to be wrong."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from dse.architecture import PRESETS, Architecture, assemble, build, make_candidate
from dse.architecture.primitives import Conv
from dse.errors import DseError, WeightsError
from dse.weights.deep_compression import (
    decode_deep_compression,
    largest_bytes,
    read_deep_compression,
)
from tests.weights.encoder import convs, mutated, pack, random_file


def small(**values: object) -> Architecture:
    widths = {"base_e": 8, "incr_e": 4, "squeeze_ratio": 0.5}
    return build(make_candidate("squeezenet", widths | values), (16, 16, 3), 10)


SMALL = small()
PUBLISHED = build(PRESETS["squeezenet_v1.0"].candidate, (227, 227, 3), 1000)

# One convolution of 2x2 from 2 channels to 2 filters: 16 weights, so 4 bytes of count,
# 1,024 of codebook, 8 of biases.
ONE = assemble("one", (), (4, 4, 2), 2, [Conv("conv1", filters=2, kernel_size=2)])
CODEBOOK, BIASES, CODES = 4, 4 + 1024, 4 + 1024 + 8


def one(entries: list[tuple[int, int]], *, biases: tuple[float, ...] = (3.0, 4.0)) -> bytes:
    """A file of `ONE`; code c stands for c / 2."""
    codebook = np.arange(256, dtype="<f4") / 2
    return (
        struct.pack("<I", len(entries))
        + codebook.tobytes()
        + np.array(biases, "<f4").tobytes()
        + bytes(code for code, _ in entries)
        + pack([gap for _, gap in entries])
    )


def test_a_file_worked_out_by_hand() -> None:
    # Flat positions 0, 6 and 15 of (filter 2, channel 2, height 2, width 2).
    arrays = decode_deep_compression(one([(1, 0), (2, 5), (255, 8)]), ONE).arrays
    wanted = np.zeros((2, 2, 2, 2), np.float32)  # height, width, channel, filter
    wanted[0, 0, 0, 0] = 0.5
    wanted[1, 0, 1, 0] = 1.0  # 6 = 4 + 2
    wanted[1, 1, 1, 1] = 127.5
    np.testing.assert_array_equal(arrays["conv1/kernel"], wanted)
    np.testing.assert_array_equal(arrays["conv1/bias"], [3, 4])
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_a_long_gap_is_bridged_by_an_entry_of_code_0() -> None:
    decoded = decode_deep_compression(one([(0, 14), (7, 0)]), ONE)
    assert decoded.arrays["conv1/kernel"][1, 1, 1, 1] == 3.5
    assert decoded.nonzero_weights_count == 1
    assert decoded.params_count == 18


def test_no_entries_are_no_weights() -> None:
    decoded = decode_deep_compression(one([]), ONE)
    assert not decoded.arrays["conv1/kernel"].any()
    assert decoded.source_bytes == CODES


@pytest.mark.parametrize("density", [0.0, 0.01, 0.3, 1.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_decoding_undoes_encoding(density: float, seed: int) -> None:
    content, wanted = random_file(SMALL, density=density, seed=seed)
    decoded = decode_deep_compression(content, SMALL)
    assert list(decoded.arrays) == [p.path for p in SMALL.parameters] == list(wanted)
    for path, array in wanted.items():
        np.testing.assert_array_equal(decoded.arrays[path], array, path)
    kernels = [array for path, array in wanted.items() if path.endswith("/kernel")]
    assert decoded.nonzero_weights_count == sum(int((kernel != 0).sum()) for kernel in kernels)


def test_the_shape_of_the_published_network() -> None:
    content, wanted = random_file(PUBLISHED, density=0.02)
    decoded = decode_deep_compression(content, PUBLISHED)
    assert decoded.params_count == 1_248_424
    assert {p: a.shape for p, a in decoded.arrays.items()} == {
        p.path: p.shape for p in PUBLISHED.parameters
    }
    for path, array in wanted.items():
        np.testing.assert_array_equal(decoded.arrays[path], array, path)


def test_the_largest_file_stores_every_weight() -> None:
    assert largest_bytes(ONE) == CODES + 16 + 8
    content, _ = random_file(SMALL, density=1.0)
    assert len(content) == largest_bytes(SMALL)


def changed(content: bytes, offset: int, patch: bytes) -> bytes:
    return content[:offset] + patch + content[offset + len(patch) :]


WHOLE = one([(1, 0), (2, 5), (9, 8)])  # 3 codes, 2 bytes of gaps: 1,041 bytes


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "x: offset 0: the file ends within the 1 counts, which take 4 bytes"),
        (WHOLE[:3], "x: offset 3: the file ends within the 1 counts, which take 4 bytes"),
        (
            WHOLE[:4],
            "x: offset 4: the file ends within the conv1 codebook (bytes 4 to 1028), but its "
            "counts ask for 1041 bytes",
        ),
        (
            WHOLE[:1030],
            "x: offset 1030: the file ends within the conv1 biases (bytes 1028 to 1036), but its "
            "counts ask for 1041 bytes",
        ),
        (
            WHOLE[:-1],
            "x: offset 1040: the file ends within the conv1 gaps (bytes 1039 to 1041), but its "
            "counts ask for 1041 bytes",
        ),
        (
            WHOLE + b"\0\0",
            "x: offset 1041: expected the end of the file by its counts, but 2 more bytes follow",
        ),
        (
            changed(WHOLE, 0, struct.pack("<I", 17)),
            "x: offset 0: 17 stored entries of conv1, but it has 16 weights",
        ),
        (
            changed(WHOLE, CODEBOOK, struct.pack("<f", 0.5)),
            "x: offset 4: the conv1 codebook begins with 0.5, but code 0 must be the value 0",
        ),
        (
            changed(WHOLE, CODEBOOK + 4 * 200, struct.pack("<f", float("inf"))),
            "x: offset 804: inf in the conv1 codebook, but every value must be finite",
        ),
        (
            changed(WHOLE, BIASES + 4, struct.pack("<f", float("nan"))),
            "x: offset 1032: nan in the conv1 biases, but every value must be finite",
        ),
        (
            changed(WHOLE, CODES + 3, b"\xf0\x0f"),
            "x: offset 1039: the conv1 gaps lead to weight 16, but conv1 has weights 0 to 15",
        ),
        (
            changed(WHOLE, CODES + 4, b"\x18"),
            "x: offset 1040: the unused half of the last byte of the conv1 gaps is 1, but must be "
            "0",
        ),
    ],
)
def test_a_wrong_file_is_refused_with_the_offset(content: bytes, message: str) -> None:
    assert len(WHOLE) == 1041
    with pytest.raises(WeightsError) as caught:
        decode_deep_compression(content, ONE, source="x")
    assert str(caught.value) == message


def test_layers_are_named_by_the_offset_of_their_count() -> None:
    content, _ = random_file(PUBLISHED, density=0.001)
    with pytest.raises(
        WeightsError,
        match=r"offset 40: 4294967295 stored entries of fire5/squeeze, but it has 8192 weights",
    ):
        decode_deep_compression(changed(content, 40, b"\xff" * 4), PUBLISHED)


@pytest.mark.parametrize("density", [0.05, 0.6])
def test_mutated_files_are_decoded_or_refused(density: float) -> None:
    content, _ = random_file(SMALL, density=density)
    shapes = {p.path: p.shape for p in SMALL.parameters}
    rng = np.random.default_rng(0)
    messages: list[str] = []
    for _ in range(1000):
        try:
            arrays = decode_deep_compression(mutated(content, rng), SMALL).arrays
        except DseError as error:
            messages.append(str(error))
        else:
            assert {path: array.shape for path, array in arrays.items()} == shapes
            assert all(np.isfinite(array).all() for array in arrays.values())
    assert 500 < len(messages) < 1000
    assert [message for message in messages if "offset" not in message] == []


def test_counts_are_not_believed_before_they_are_compared() -> None:
    content, _ = random_file(PUBLISHED, density=0.001)
    tracemalloc.start()
    for index in range(26):
        with pytest.raises(WeightsError, match=f"offset {4 * index}: "):
            decode_deep_compression(changed(content, 4 * index, b"\xff\xff\xff\x7f"), PUBLISHED)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 500_000  # the arrays would take 5 MB, the entries 53 GB


def test_decoding_takes_a_small_multiple_of_the_network() -> None:
    content, _ = random_file(PUBLISHED, density=0.05)
    tracemalloc.start()
    decode_deep_compression(content, PUBLISHED)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 3 * 4 * 1_248_424


def test_a_file_is_read_no_further_than_the_network_goes(tmp_path: Path) -> None:
    path = tmp_path / "huge.net"
    with path.open("wb") as file:
        file.truncate(2**40)  # sparse: it takes no room
    with pytest.raises(
        WeightsError,
        match=r"huge\.net: offset 1060: the file goes on, but 1060 bytes are the most that",
    ):
        read_deep_compression(path, ONE)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"a\.net: cannot be read: No such file"):
        read_deep_compression(tmp_path / "a.net", ONE)
    with pytest.raises(WeightsError, match="is a folder, but must be a Deep Compression file"):
        read_deep_compression(tmp_path, ONE)


def test_a_network_that_the_format_cannot_hold() -> None:
    alexnet = build(PRESETS["alexnet"].candidate, (227, 227, 3), 1000)
    with pytest.raises(WeightsError, match="fc6 is no convolution"):
        decode_deep_compression(b"", alexnet)
    with pytest.raises(WeightsError, match="plain convolutions with a bias: no norm, no groups"):
        decode_deep_compression(b"", small(norm="batch"))
    assert len(convs(SMALL)) == 26
