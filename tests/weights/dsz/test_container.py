"""The .dsz file: there and back, byte by byte, and every way in which it can be wrong."""

from __future__ import annotations

import base64
import hashlib
import json
import lzma
import math
import struct
import tracemalloc
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dse.architecture import PRESETS, Architecture, build, make_candidate
from dse.errors import WeightsError
from dse.weights.deep_compression import read_deep_compression
from dse.weights.dsz import (
    Packed,
    SharedWeights,
    pack,
    read_dsz,
    read_dsz_metadata,
    share_exactly,
    unpack,
    write_content,
)
from dse.weights.dsz.floats import FloatBits
from dse.weights.dsz.kernels import FORMS
from dse.weights.dsz.streams import CODERS, CoderName
from dse.weights.preprocessing import PREPROCESSINGS, trained_preprocessing
from tests.weights.dsz.dsz_parts import FILTERS, metadata_of, opened, rewritten, sealed
from tests.weights.dsz.test_floats import slow_codebooks, slow_floats
from tests.weights.dsz.test_kernels import slow_kernel
from tests.weights.dsz.test_streams import SlowReader
from tests.weights.encoder import mutated
from tests.weights.published import FILE

Arrays = dict[str, np.ndarray]
Mixed = dict[str, SharedWeights | np.ndarray]


def squeezenet(**values: object) -> Architecture:
    widths = {"base_e": 8, "incr_e": 4, "squeeze_ratio": 0.5, "fire_modules": 3}
    return build(make_candidate("squeezenet", widths | values), (8, 8, 1), 10)


NETWORKS = {
    "biases": squeezenet(),
    "norms": squeezenet(norm="batch", bypass="complex"),
    "dense layers": build(make_candidate("alexnet", {"variant": "tiny"}), (8, 8, 1), 10),
}
BIASES = NETWORKS["biases"]


def random_arrays(architecture: Architecture, seed: int = 0) -> Arrays:
    """Of the kernels, one in four each is sparse, all zeros, without zeros, or any floats."""
    rng = np.random.default_rng(seed)
    arrays = {p.path: rng.normal(size=p.shape).astype(np.float32) for p in architecture.parameters}
    for index, (path, array) in enumerate(arrays.items()):
        if path.endswith("/kernel"):
            few = (np.rint(array * 4) / 4 + np.float32(0)).astype(np.float32)
            zeros = np.zeros_like(array)
            sparse = np.where(rng.random(array.shape) < 0.1, few, zeros)
            arrays[path] = [sparse, zeros, few + np.float32(100), array][index // 2 % 4]
    return arrays


def shared(arrays: Mapping[str, np.ndarray], bits: FloatBits = 32) -> Mixed:
    """Kernels share their values, but for those with many."""
    mixed: Mixed = dict(arrays)
    for path, array in arrays.items():
        if path.endswith("/kernel") and len(np.unique(array)) < 100:
            found = share_exactly(array, bits)
            assert found is not None
            mixed[path] = found
    return mixed


def packed(
    architecture: Architecture,
    *,
    bits: FloatBits = 32,
    coder: CoderName = "ans",
    seed: int = 0,
    **changes: Any,
) -> Packed:
    arrays = random_arrays(architecture, seed)
    return Packed(metadata_of(architecture, **changes), shared(arrays, bits), bits, coder)


def assert_identical(found: Mapping[str, np.ndarray], wanted: Mapping[str, np.ndarray]) -> None:
    assert list(found) == list(wanted)
    for path, array in wanted.items():
        assert (found[path].dtype, found[path].shape) == (np.float32, array.shape), path
        np.testing.assert_array_equal(found[path].view(np.uint32), array.view(np.uint32), path)


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("name", NETWORKS)
def test_every_bit_comes_back(name: str, coder: CoderName) -> None:
    network = NETWORKS[name]
    given = packed(network, coder=coder)
    content = pack(given)
    metadata, arrays = unpack(content)
    assert metadata == given.metadata
    assert list(arrays) == [p.path for p in network.parameters]
    assert_identical(arrays, random_arrays(network))
    assert pack(given) == content


@pytest.mark.parametrize("coder", CODERS)
def test_16_bits_are_those_of_numpy(coder: CoderName) -> None:
    network = NETWORKS["norms"]
    content = pack(packed(network, bits=16, coder=coder))
    wanted = {
        path: array.astype(np.float16).astype(np.float32)
        for path, array in random_arrays(network).items()
    }
    assert_identical(unpack(content)[1], wanted)
    assert len(content) < 0.75 * len(pack(packed(network, coder=coder)))


def slow_unpack(content: bytes, architecture: Architecture) -> Arrays:
    """The reader of docs/dsz.md."""
    (_, _, coder, bits, *_), _, side, body = opened(content)
    kernels = [p for p in architecture.parameters if p.kind == "kernel"]
    records = [side[8 * i : 8 * i + 8] for i in range(len(kernels))]
    reader = SlowReader(CODERS[coder], side[8 * len(kernels) :], body)
    sizes = [struct.unpack("<BHBI", record)[1] for record in records]
    codebooks = slow_codebooks(reader, sizes, bits)
    arrays: Arrays = {}
    for kind in ("bias", "mean", "scale", "variance"):
        group = [p for p in architecture.parameters if p.kind == kind]
        values = iter(slow_floats(reader, sum(p.size for p in group), bits))
        for p in group:
            arrays[p.path] = np.array([next(values) for _ in range(p.size)], np.float32)
    for p, record, codebook in zip(kernels, records, codebooks, strict=True):
        flat = np.array(slow_kernel(reader, record, codebook, p.size, bits), np.float32)
        # (filter, channel, height, width), or (feature, input), to the network's order.
        axes = (2, 3, 1, 0) if len(p.shape) == 4 else (1, 0)
        stored = tuple(p.shape[axis] for axis in ((3, 2, 0, 1) if len(p.shape) == 4 else (1, 0)))
        arrays[p.path] = np.ascontiguousarray(flat.reshape(stored).transpose(axes))
    reader.finish()
    return {p.path: arrays[p.path] for p in architecture.parameters}


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("bits", [16, 32])
def test_the_slow_reader_finds_the_same(bits: FloatBits, coder: CoderName) -> None:
    network = NETWORKS["norms"]
    content = pack(packed(network, bits=bits, coder=coder))
    assert_identical(slow_unpack(content, network), unpack(content)[1])


def test_the_header_byte_by_byte() -> None:
    content = pack(packed(BIASES, bits=16, coder="huffman"))
    assert content[:4] == b"\x93DSZ"
    assert list(content[4:8]) == [1, 1, 16, 0]  # version, coder, bits, reserved
    head_bytes, plain_bytes = struct.unpack_from("<II", content, 8)
    digest = hashlib.blake2b(content[:16] + bytes(8) + content[24:], digest_size=8).digest()
    assert content[16:24] == digest
    plain = lzma.decompress(content[24 : 24 + head_bytes], lzma.FORMAT_RAW, filters=FILTERS)
    assert len(plain) == plain_bytes
    kernels = sum(p.kind == "kernel" for p in BIASES.parameters)
    text_bytes = struct.unpack_from("<I", plain)[0]
    streams_count = plain_bytes - 4 - text_bytes - 8 * kernels - 256
    assert set(plain[4 + text_bytes + 8 * kernels :][:streams_count]) == {0, 1}
    assert list(pack(packed(BIASES))[4:8]) == [1, 0, 32, 0]


GOLDEN_NETWORK = build(
    make_candidate("squeezenet", {"fire_modules": 1, "base_e": 12, "squeeze_ratio": 0.5}),
    (8, 8, 1),
    2,
)
GOLDEN = base64.b85decode(
    "lSETm0RSKXasdDUH3I+u{K-FeM<SmS-~%)PY6JjxfIb?pAk1<c!ja;wnTX`wmX^aod1zeI^Ykdw;RMvQS0StD>4x|zw=S)"
    "(9u;a&t2FJDXJNT1;Nsmsbt-HNtXgT`4mvo&@9E5Mnk$m;@6R36CsCaAYU|k5y1H4pC96>!4u<z9mmu!u^!-U)p=L^Dyqa"
    "941K+VtT!wJsmM;2RiKBiLhHN+&S^N&TyoY6DDrX+LXC&7@G|aU!eMWbapN#SYpq|}|DvQtMEAtB&jJ6!jJlP8}#LqG2Zs"
    "}U>bXr&0Mv(JqFxM{}uErAa)kuHcSR$IeMZ<-&$bh4i1#{TtGn4+Vh>N$xY@(0VQLVEO&LD^*Axrk>=-G1j8XlBF#jDwF2"
    "`ls6c<Zj{AZ`UOWL=D&<-J~?TfAEpyQ6G+!L4;J!I(FJ5IL3&er0tiE75ncS@!kBtVfpG7Q0pgmC@790aS#1<*@22xy#c}"
    "AhcB0%<!h2{SdFdWZ6F=GyvN&4=6Icd>pMO1+7QXx<}i3bhLW3uC7PxI!EhybnB}i_p!=a`|q<6n|t)cH{b^V006BY0000"
    "0000000000000000KEA#_KEJ=e0002K000000000000000zW@LLzCORdzrQ}d00000000000000000000fPer1KmdS%0Dy"
    "o10000000000000000000006+i$fPjF2002M$000000000000000000000000000000000000000000000000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000000000000z~yWKz?NHzJQSN0KhE_mz"
    "5oC|0KWhL006!Kz5oEf0KWhL006%LzW@Nf004l1KmY)M0Du4h002M$KmY)M00000004jh0000$00000000000000000000"
    "0000000000000000000000000000000000000000000000000000Dgi^uGWA^uGWB0Q>?00RR610RR900RX@N0KWkM0000"
    "0000000009300000001EH`*{ZvzzG@e@DM-v)Di"
)


def golden_arrays() -> Arrays:
    arrays = {}
    for p in GOLDEN_NETWORK.parameters:
        places = np.arange(p.size)
        flat = np.where(places % 3 > 0, 0, (places * places % 7 - 3) / 4)
        arrays[p.path] = flat.astype(np.float32).reshape(p.shape) + np.float32("conv3" in p.path)
    return arrays


def test_an_old_file_still_decodes() -> None:
    """Where this fails, `FORMAT_VERSION` has to rise, or constriction has changed its models."""
    _, _, side, _ = opened(GOLDEN)
    forms = [FORMS[side[8 * i]] for i in range(5)]
    assert set(forms) == set(FORMS)
    metadata, arrays = unpack(GOLDEN)
    values = dict(GOLDEN_NETWORK.metaparameters)
    assert metadata.candidate == make_candidate("squeezenet", values)
    assert metadata.classes == ("0", "1")
    assert_identical(arrays, golden_arrays())
    assert_identical(slow_unpack(GOLDEN, GOLDEN_NETWORK), golden_arrays())


NAMED = metadata_of(
    BIASES,
    classes=(*(f"Käfer {i}" for i in range(9)), "4"),
    class_ids=tuple(f"n{i:08}" for i in range(10)),
    extra={"study": "squeeze_ratio", "note": 'umlaut ü, "quotes" \n'},
    preprocessing=replace(
        trained_preprocessing((8, 8, 1), (0.25,), (0.1,)), resize="exact", upright=False
    ),
)


def test_metadata_come_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.dsz"
    given = replace(packed(BIASES), metadata=NAMED)
    write_content(path, pack(given))
    assert path.stat().st_size == len(pack(given))
    assert read_dsz_metadata(path) == NAMED
    metadata, arrays = read_dsz(path)
    assert metadata == NAMED
    assert_identical(arrays, random_arrays(BIASES))
    assert [p.name for p in path.parent.iterdir()] == ["a.dsz"]


def test_classes_that_are_numbers_are_counted() -> None:
    candidate = make_candidate("squeezenet", {"fire_modules": 1, "base_e": 8})
    network = build(candidate, (8, 8, 1), 1000)
    zeros = {p.path: np.zeros(p.shape, np.float32) for p in network.parameters}
    sizes_bytes = []
    for first in (0, 1):
        classes = tuple(map(str, range(first, first + 1000)))
        content = pack(Packed(metadata_of(network, classes=classes), shared(zeros)))
        assert unpack(content)[0].classes == classes
        assert json.loads(opened(content)[1])["classes"] == ([*classes] if first else 1000)
        sizes_bytes.append(len(content))
    assert sizes_bytes[0] + 300 < sizes_bytes[1]


def test_all_zeros_of_any_size_are_a_few_hundred_bytes() -> None:
    network = NETWORKS["dense layers"]
    zeros = {p.path: np.zeros(p.shape, np.float32) for p in network.parameters}
    content = pack(Packed(metadata_of(network), shared(zeros)))
    assert len(content) < 500
    assert_identical(unpack(content)[1], zeros)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("conv5/bias"), r"conv5/bias has shape None, but squeezenet wants \(10,\)"),
        (lambda a: a.update(more=np.zeros(3)), r"more has shape \(3,\), but squeezenet wants None"),
        (
            lambda a: a.update({"conv5/bias": np.zeros(9, np.float32)}),
            r"conv5/bias has shape \(9,\), but squeezenet wants \(10,\)",
        ),
    ],
)
def test_arrays_of_another_network_are_refused(
    change: Callable[[Mixed], object], message: str
) -> None:
    given = packed(BIASES)
    arrays = dict(given.arrays)
    change(arrays)
    with pytest.raises(WeightsError, match=message):
        pack(replace(given, arrays=arrays))


@pytest.mark.parametrize("path", ["conv5/bias", "conv1/kernel"])
@pytest.mark.parametrize("value", [65520, -1e30, np.inf])
def test_values_that_16_bits_cannot_hold_are_refused(path: str, value: float) -> None:
    given = packed(BIASES)
    array = random_arrays(BIASES)[path]
    array.reshape(-1)[0] = value
    arrays = shared({**random_arrays(BIASES), path: array})
    with pytest.raises(WeightsError, match=f"{path} has values above 65,504, which float16 cannot"):
        pack(replace(given, arrays=arrays, float_bits=16))
    array.reshape(-1)[0] = 65519.9  # is rounded down
    arrays = shared({**random_arrays(BIASES), path: array})
    found = unpack(pack(replace(given, arrays=arrays, float_bits=16)))[1]
    assert found[path].max() == 65504


CONTENT = pack(packed(BIASES))


def changed(offset: int, patch: bytes) -> bytes:
    return CONTENT[:offset] + patch + CONTENT[offset + len(patch) :]


NOT_WRITTEN = r"x: the bytes are not those that were written \(digest differs\)"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"x: not a \.dsz file: it does not begin with its 24 bytes of header"),
        (CONTENT[:23], r"x: not a \.dsz file"),
        (b"\x08\0\0\0\0\0\0\0{}" + bytes(100), r"x: not a \.dsz file"),  # of safetensors
        (changed(4, b"\2"), r"x: \.dsz version 2, but this dse reads 1; use the dse that wrote it"),
        (CONTENT[:24], NOT_WRITTEN),
        (CONTENT[:-1], NOT_WRITTEN),
        (CONTENT + b"\0", NOT_WRITTEN),
        (changed(5, b"\2"), NOT_WRITTEN),  # no such coder
        (changed(6, b"\x08"), NOT_WRITTEN),  # 8 bits
        (changed(7, b"\1"), NOT_WRITTEN),  # reserved
        (changed(8, b"\xff\xff\xff\xff"), NOT_WRITTEN),
        (changed(12, b"\0"), NOT_WRITTEN),
        (changed(16, b"\0\0\0\0\0\0\0\0"), NOT_WRITTEN),
    ],
)
def test_other_files_are_refused_with_the_reason(content: bytes, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        unpack(content, source="x")


def test_files_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    path = tmp_path / "a.dsz"
    for read in (read_dsz, read_dsz_metadata):
        with pytest.raises(WeightsError, match=r"a\.dsz: no such weights file"):
            read(path)
        with pytest.raises(WeightsError, match=r"no such weights file"):
            read(tmp_path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(WeightsError, match=r"a\.dsz: the bytes are not those that were written"):
        read_dsz(path)
    with pytest.raises(WeightsError, match=r"b\.dsz: the weights cannot be written: File exists"):
        write_content(path / "b.dsz", CONTENT)


def assert_whole_or_refused(contents: list[bytes], *, decoded: range) -> None:
    """Each content gives arrays of the shapes it speaks of, or a WeightsError that names it."""
    messages = []
    for content in contents:
        try:
            metadata, arrays = unpack(content, source="x")
        except WeightsError as error:
            messages.append(str(error))
        else:
            network = build(metadata.candidate, metadata.input_shape, len(metadata.classes))
            wanted = {p.path: p.shape for p in network.parameters}
            assert {path: array.shape for path, array in arrays.items()} == wanted
            assert all(isinstance(value, str) for value in metadata.extra.values())
    assert [message for message in messages if not message.startswith("x: ")] == []
    assert len(contents) - len(messages) in decoded


def test_mutated_files_are_refused() -> None:
    rng = np.random.default_rng(0)
    contents = [mutated(CONTENT, rng) for _ in range(2000)]
    assert_whole_or_refused([c for c in contents if c != CONTENT], decoded=range(1))


@pytest.mark.parametrize("coder", CODERS)
def test_mutated_files_with_a_right_digest_are_decoded_or_refused(coder: CoderName) -> None:
    rng = np.random.default_rng(0)
    content = pack(packed(BIASES, coder=coder))
    header, text, side, body = opened(content)
    head = content[24 : len(content) - len(body)]
    contents = [sealed(header, head, header[6], mutated(body, rng)) for _ in range(100)]
    contents += [rewritten(content, text, mutated(side, rng)) for _ in range(125)]
    contents += [sealed(header, mutated(head, rng), header[6], body) for _ in range(25)]
    assert_whole_or_refused(contents, decoded=range(3, 200))


HOSTILE: list[Any] = [
    *(None, True, False, 0, -1, 1, 1.0, 8.0, 1.5, math.nan, math.inf, 10**9, 10**30, -(10**30)),
    *("", "x", "auto", "\ud800", [], [[]], [None], ["conv1"], {}, {"a": None}, {"": [1]}),
]


def leaves(plain: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of every value within JSON."""
    inner = plain.items() if isinstance(plain, dict) else enumerate(plain)
    found = [place] if place else []
    if isinstance(plain, dict | list):
        for key, value in inner:
            found += leaves(value, (*place, key)) if isinstance(value, dict | list) else []
            found += [(*place, key)]
    return found


def test_metadata_of_any_kind_are_decoded_or_refused() -> None:
    content = pack(replace(packed(BIASES), metadata=NAMED))
    _, text, side, _ = opened(content)
    contents = []
    for place in leaves(json.loads(text)):
        for value in HOSTILE:
            plain = json.loads(text)
            inner = plain
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = value
            contents.append(rewritten(content, json.dumps(plain).encode(), side))
    for text in (b"", b"null", b"5", b"[]", b"{", b"[" * 100_000, b"\xff", b'{"classes": 3}'):
        contents.append(rewritten(content, text, side))
    assert len(contents) > 500
    assert_whole_or_refused(contents, decoded=range(len(contents) // 2))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": 10**9}, r"x: the head is damaged \(ValueError: 1000000000 classes; at most"),
        ({"metaparameters": {"base_e": 10**6}}, "x: a damaged .dsz file: a network of .* weights"),
        ({"family": "squeezenets"}, "x: .* cannot be built: family 'squeezenets' not found; did"),
        ({"input_shape": [8, 9, 1]}, r"\(8, 9, 1\), but the preprocessing gives \(8, 8, 1\)"),
    ],
)
def test_a_head_that_asks_for_too_much(changes: dict[str, Any], message: str) -> None:
    _, text, side, _ = opened(CONTENT)
    content = rewritten(CONTENT, json.dumps(json.loads(text) | changes).encode(), side)
    with pytest.raises(WeightsError, match=message):
        unpack(content, source="x")


def test_the_size_of_the_head_is_checked_before_it_is_unpacked() -> None:
    header, _, _, body = opened(CONTENT)
    bomb = lzma.compress(bytes(10**8), lzma.FORMAT_RAW, filters=FILTERS)
    tracemalloc.start()
    with pytest.raises(WeightsError, match="the head is damaged: not 1,000 bytes"):
        unpack(sealed(header, bomb, 1000, body))
    with pytest.raises(WeightsError, match="a head of 100,000,000 bytes; at most 4,194,304"):
        unpack(sealed(header, bomb, 10**8, body))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 2_000_000


@pytest.mark.parametrize(
    ("density", "coder"), [(0.3, "ans"), (1.0, "ans"), (None, "ans"), (0.3, "huffman")]
)
def test_decoding_takes_a_small_multiple_of_the_network(
    density: float | None, coder: CoderName
) -> None:
    """Of a layer that shares values or, without a density, of floats."""
    network = NETWORKS["dense layers"]
    arrays: Mixed = dict(random_arrays(network))
    rng = np.random.default_rng(0)
    for p in network.parameters:
        if p.kind == "kernel" and density is None:
            arrays[p.path] = rng.normal(size=p.shape).astype(np.float32)
        elif p.kind == "kernel":
            codes = rng.integers(1, 16, p.shape) * (rng.random(p.shape) < density)
            arrays[p.path] = SharedWeights(np.arange(16, dtype=np.float32), codes.astype(np.uint16))
    content = pack(Packed(metadata_of(network), arrays, coder=coder))
    arrays_bytes = sum(4 * p.size for p in network.parameters)  # 5.9 MB
    unpack(content)  # what is imported late is no part of it
    tracemalloc.start()
    unpack(content)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 3 * arrays_bytes + 2_000_000


@pytest.mark.data
@pytest.mark.skipif(not FILE.is_file(), reason=f"needs {FILE}")
def test_the_published_network_without_loss() -> None:
    """Its own file takes 675,763 bytes."""
    preset = PRESETS["squeezenet_v1.0"]
    network = build(preset.candidate, preset.input_shape, 1000)
    wanted = read_deep_compression(FILE, network).arrays
    mixed: Mixed = {
        path: share_exactly(array) or array if path.endswith("/kernel") else array
        for path, array in wanted.items()
    }
    metadata = metadata_of(network, preprocessing=PREPROCESSINGS["caffe"])
    sizes = {}
    for coder in CODERS:
        content = pack(Packed(metadata, mixed, coder=coder))
        assert_identical(unpack(content)[1], wanted)
        sizes[coder] = len(content)
    assert sizes["ans"] < sizes["huffman"]
    assert sizes["ans"] <= 540_000
