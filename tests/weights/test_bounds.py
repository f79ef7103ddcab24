"""Weights files that ask for more memory than they are worth."""

from __future__ import annotations

import json
import lzma
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dse.architecture import build, make_candidate
from dse.errors import WeightsError
from dse.weights.dsz import SharedWeights, pack, unpack
from dse.weights.dsz.container import _LZMA, Packed, _digest, _header
from dse.weights.metadata import WeightsMetadata
from dse.weights.preprocessing import trained_preprocessing
from dse.weights.safetensors import load_weights, read_metadata

MOST_BYTES = 150e6


def metadata_of(base_e: int, fire_modules: int = 2, classes_count: int = 10) -> WeightsMetadata:
    values = {"base_e": base_e, "incr_e": 0, "squeeze_ratio": 1.0, "fire_modules": fire_modules}
    return WeightsMetadata(
        family="squeezenet",
        metaparameters=values,
        input_shape=(32, 32, 3),
        classes=tuple(map(str, range(classes_count))),
        preprocessing=trained_preprocessing((32, 32, 3), (0.5,) * 3, (0.2,) * 3),
    )


def empty_network(metadata: WeightsMetadata) -> bytes:
    """A `.dsz` file of a network whose weights are all 0: they cost no bits."""
    candidate = make_candidate(metadata.family, metadata.metaparameters)
    network = build(candidate, metadata.input_shape, len(metadata.classes))
    arrays = {
        p.path: SharedWeights(np.zeros(1, np.float32), np.zeros(p.shape, np.uint16))
        if p.kind == "kernel"
        else np.zeros(p.shape, np.float32)
        for p in network.parameters
    }
    return pack(Packed(metadata, arrays))


def with_head(content: bytes, change) -> bytes:
    """The file with another head, and the digest that belongs to it."""
    _, _, _, _, _, head_bytes, _, _ = struct.unpack_from("<4sBBBBII8s", content)
    head, body = content[24 : 24 + head_bytes], content[24 + head_bytes :]
    plain = lzma.decompress(head, lzma.FORMAT_RAW, filters=[_LZMA])
    (length,) = struct.unpack_from("<I", plain)
    document = json.loads(plain[4 : 4 + length])
    change(document)
    text = json.dumps(document).encode()
    plain = struct.pack("<I", len(text)) + text + plain[4 + length :]
    head = lzma.compress(plain, lzma.FORMAT_RAW, filters=[_LZMA])
    digest = _digest("ans", 32, len(plain), head, body)
    return _header("ans", 32, len(head), len(plain), digest) + head + body


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        # 3.2 GB of weights in some 300 bytes.
        (
            lambda d: d["metaparameters"].update(base_e=8192, fire_modules=2),
            r"a network of 788,815,882 weights in \d{3} bytes; at most 4,2\d\d,\d{3}",
        ),
        (
            lambda d: d["metaparameters"].update(base_e=10**4000),
            "base_e is a number of more than 64",
        ),
        (lambda d: d["metaparameters"].update(pools=["9" * 5000]), "pools is "),
        (lambda d: d.update(classes=2**20), "1048576 classes; at most 131,072"),
        (lambda d: d.update(classes=["x"] * 200_000), "200,000 classes; at most 131,072"),
        (lambda d: d.update(classes=["x" * 80] * 60_000), "a head of .*; at most 4,194,304"),
        (lambda d: d.update(note="x" * 2**23), "a head of .*; at most 4,194,304"),
        (lambda d: d["preprocessing"].update(scale=10**400), "scale is 1000"),
        (lambda d: d["preprocessing"].update(crop_px=[10**6] * 2, resize_px=[10**6] * 2), "4,096"),
    ],
)
def test_a_small_file_does_not_ask_for_all_memory(change, problem):
    content = with_head(empty_network(metadata_of(8)), change)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError, match=problem) as caught:
            unpack(content, source="x.dsz")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < MOST_BYTES
    assert len(str(caught.value)) < 1000


def test_what_would_not_be_read_is_not_written():
    empty = empty_network(metadata_of(256))  # 1.2 million weights in a few hundred bytes
    assert len(empty) < 1000
    with pytest.raises(WeightsError, match=r"weights in .* bytes; at most"):
        empty_network(metadata_of(900))


@pytest.mark.parametrize("header_bytes", [2**23, 2**62])
def test_a_safetensors_header_is_bounded_before_it_is_parsed(tmp_path: Path, header_bytes: int):
    path = tmp_path / "x.safetensors"
    header = b'{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}' + b" " * 2**23 + b"}"
    path.write_bytes(header_bytes.to_bytes(8, "little") + header)
    with pytest.raises(WeightsError, match=r"x.safetensors: .*header of [0-9,]+"):
        read_metadata(path)


@pytest.mark.parametrize("digest", ["no JSON", "[" * 2000, '"0"'])
def test_a_digest_that_is_none(tmp_path: Path, digest: str):
    from safetensors.numpy import save_file

    path = tmp_path / "x.safetensors"
    values = replace(metadata_of(8)).to_dict() | {"format_version": 1}
    header = {name: json.dumps(value) for name, value in values.items()}
    save_file({"a": np.zeros(1, np.float32)}, path, header | {"digest": digest})
    with pytest.raises(WeightsError, match=r"header is damaged|digest differs"):
        load_weights(path)
