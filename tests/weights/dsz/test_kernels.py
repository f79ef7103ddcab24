"""Kernels: gaps by hand, every form there and back, and which form is chosen.

A gap symbol below the limit is the number of zeros passed over before a stored weight; the
limit itself passes over that many zeros and stores nothing. The published file of Deep
Compression differs: there the longest gap, 15, still stores an entry, of value 0.
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.architecture.primitives import Parameter
from dse.errors import WeightsError
from dse.weights.dsz.floats import FloatBits, put_codebooks, take_codebooks
from dse.weights.dsz.kernels import (
    FORMS,
    GAP_LIMITS,
    FormName,
    KernelForm,
    _gaps,
    choose_form,
    in_file_order,
    put_kernel,
    read_form,
    take_kernel,
    write_form,
)
from dse.weights.dsz.shared import SharedWeights, share_exactly
from dse.weights.dsz.streams import CODERS, CoderName, StreamReader, StreamWriter
from tests.weights.dsz.test_floats import bits_of, slow_codebooks, slow_floats
from tests.weights.dsz.test_streams import SlowReader

Kernel = SharedWeights | np.ndarray


def slow_kernel(
    reader: SlowReader, record: bytes, codebook: list[float], size: int, bits: FloatBits
) -> list[float]:
    """What docs/dsz.md says of kernels: the values in the order of the file."""
    form, codes_count, limit, gaps_count = struct.unpack("<BHBI", record)
    match FORMS[form]:
        case "floats":
            return slow_floats(reader, size, bits)
        case "dense":
            return [codebook[code] for code in reader.take(size, codes_count)]
        case "mask":
            flags = reader.take(size, 2)
        case "gaps":
            flags = []
            for symbol in reader.take(gaps_count, limit + 1):
                flags += [0] * symbol + [1] * (symbol < limit)
            flags += [0] * (size - len(flags))
    codes = iter(reader.take(sum(flags), codes_count))
    return [codebook[next(codes)] if flag else 0.0 for flag in flags]


def parameter(*shape: int) -> Parameter:
    return Parameter("conv1/kernel", shape, "kernel")


def values_of(kernel: Kernel) -> np.ndarray:
    return kernel.values if isinstance(kernel, SharedWeights) else kernel


def there_and_back(
    kernel: Kernel,
    form: KernelForm,
    coder: CoderName,
    bits: FloatBits = 32,
    *,
    slowly: bool = False,
) -> tuple[np.ndarray, int]:
    """The kernel that comes back, and the bytes that it took."""
    given = parameter(*values_of(kernel).shape)
    writer = StreamWriter(coder)
    put_codebooks(writer, [form.codebook], bits)
    put_kernel(writer, form, kernel, bits)
    head, body = writer.finish()
    record = write_form(form)

    found, rest = read_form(record + head, given)
    assert rest == head
    reader = StreamReader(coder, rest, body)
    (codebook,) = take_codebooks(reader, [found.codes_count], bits)
    array = take_kernel(reader, found, given, codebook, bits)
    reader.finish()
    assert (array.shape, array.dtype) == (given.shape, np.float32)

    if slowly:
        slow = SlowReader(coder, head, body)
        (values,) = slow_codebooks(slow, [form.codes_count], bits)
        flat = slow_kernel(slow, record, values, given.size, bits)
        slow.finish()
        np.testing.assert_array_equal(in_file_order(array), np.array(flat, np.float32))
    return array, len(body)


def every_form(kernel: SharedWeights) -> list[tuple[Kernel, KernelForm]]:
    """The kernel in each form that can hold it, chosen or not."""
    codebook, zero = kernel.codebook, kernel.zero_code
    forms: list[tuple[Kernel, KernelForm]] = [
        (kernel.values, KernelForm("floats")),
        (kernel, KernelForm("dense", len(codebook), codebook=codebook)),
    ]
    if zero is not None:
        others = np.delete(codebook, zero)
        forms.append((kernel, KernelForm("mask", len(others), codebook=others)))
        for limit in GAP_LIMITS:
            count = len(_gaps(in_file_order(kernel.codes), zero, limit))
            forms.append((kernel, KernelForm("gaps", len(others), limit, count, others)))
    return forms


@pytest.mark.parametrize(
    ("flat", "limit", "symbols"),
    [
        ([7, 0, 0, 7, 7, 0], 15, [0, 2, 0]),  # zeros at the end are not spoken of
        ([0, 0, 7], 15, [2]),
        ([0] * 14 + [7], 15, [14]),
        ([0] * 15 + [7], 15, [15, 0]),  # 15 passes over 15 and stores nothing
        ([0] * 16 + [7], 15, [15, 1]),
        ([0] * 30 + [7], 15, [15, 15, 0]),
        ([7] + [0] * 31 + [7, 7], 15, [0, 15, 15, 1, 0]),
        ([0] * 31 + [7], 31, [31, 0]),
        ([0] * 30 + [7], 31, [30]),
        ([0] * 300 + [7], 255, [255, 45]),
        ([0] * 100, 15, []),
        ([], 15, []),
    ],
)
def test_gaps_worked_out_by_hand(flat: list[int], limit: int, symbols: list[int]) -> None:
    assert _gaps(np.array(flat, int), 0, limit).tolist() == symbols


def test_the_order_of_the_file_worked_out_by_hand() -> None:
    # (height 1, width 2, channels 2, filters 2): the number is 100 h + 10 w, letters apart.
    kernel = np.array([[[["a0", "b0"], ["c0", "d0"]], [["a1", "b1"], ["c1", "d1"]]]])
    # Filter 0 has channel a then c, filter 1 b then d; within a channel, width runs.
    assert in_file_order(kernel).tolist() == ["a0", "a1", "c0", "c1", "b0", "b1", "d0", "d1"]
    dense = np.array([["x0", "y0"], ["x1", "y1"], ["x2", "y2"]])  # (input, feature)
    assert in_file_order(dense).tolist() == ["x0", "x1", "x2", "y0", "y1", "y2"]


def sparse(shape: tuple[int, ...], density: float, values_count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    values = rng.normal(size=values_count).astype(np.float32)
    kept = rng.random(shape) < density
    return np.where(kept, rng.choice(values, shape), np.float32(0))


def with_negative_zero() -> np.ndarray:
    array = sparse((3, 3, 2, 4), 0.5, 5)
    array[0] = -0.0
    return array


CASES = {
    "one weight": np.full((1, 1, 1, 1), 0.5, np.float32),
    "one zero": np.zeros((1, 1, 1, 1), np.float32),
    "one value": np.full((3, 3, 4, 5), -2, np.float32),
    "all zeros": np.zeros((3, 3, 4, 5), np.float32),
    "one that is not zero": np.eye(1, 300, 299, dtype=np.float32).reshape(1, 1, 20, 15),
    "first and last": np.array([1, *[0] * 598, 1], np.float32).reshape(1, 1, 20, 30),
    "two values": sparse((3, 3, 5, 6), 1.0, 2),
    "half zeros": sparse((3, 3, 5, 6), 0.5, 15),
    "few": sparse((1, 3, 50, 7), 0.02, 15),
    "all distinct": sparse((3, 3, 5, 6), 1.0, 10_000),
    "all distinct but zeros": sparse((3, 3, 5, 6), 0.3, 10_000),
    "more than 256 values": sparse((1, 1, 40, 50), 1.0, 900),
    "a dense layer": sparse((30, 20), 0.3, 15),
    "a dense layer without zeros": sparse((30, 20), 1.0, 15),
    "minus zero is a value": with_negative_zero(),
    "infinity": np.array([[np.inf, -np.inf, 0, 1e-45]], np.float32),
}


@pytest.mark.parametrize("coder", CODERS)
@pytest.mark.parametrize("name", CASES)
def test_every_form_gives_the_kernel_back(name: str, coder: CoderName) -> None:
    kernel = share_exactly(CASES[name])
    assert kernel is not None
    for array, form in every_form(kernel):
        found, _ = there_and_back(array, form, coder, slowly=True)
        assert bits_of(found) == bits_of(CASES[name]), form


@given(st.lists(st.integers(0, 70), max_size=12))
@settings(max_examples=20)
def test_any_zeros_come_back(runs: list[int]) -> None:
    flat = np.array([*itertools.chain(*([0.0] * run + [1.0 + run] for run in runs)), 0], np.float32)
    kernel = share_exactly(flat.reshape(1, -1))
    assert kernel is not None
    for array, form in every_form(kernel)[2:5]:  # mask, gaps of at most 15 and 31
        found, _ = there_and_back(array, form, "ans")
        np.testing.assert_array_equal(found, flat.reshape(1, -1))


@pytest.mark.parametrize("coder", CODERS)
def test_the_chosen_form_gives_the_kernel_back_in_16_bits(coder: CoderName) -> None:
    for array in CASES.values():
        with np.errstate(over="raise"):
            wanted = array.astype(np.float16).astype(np.float32)
        for kernel in (share_exactly(array, 16), share_exactly(array), array):
            assert kernel is not None
            found, _ = there_and_back(kernel, choose_form(kernel, coder, 16), coder, 16)
            assert bits_of(found) == bits_of(wanted)


SHAPE = (3, 3, 32, 40)  # 11,520 weights


@pytest.mark.parametrize(
    ("density", "values_count", "forms"),
    [
        (1.0, 16, {"dense"}),
        (0.99, 16, {"dense", "mask"}),
        (0.3, 16, {"mask", "gaps"}),
        (0.05, 16, {"mask", "gaps"}),
        (0.01, 300, {"mask", "gaps"}),
        (0.0, 1, {"gaps"}),
    ],
)
@pytest.mark.parametrize("coder", CODERS)
def test_the_form_fits_the_zeros_and_its_price_the_bytes(
    density: float, values_count: int, forms: set[FormName], coder: CoderName
) -> None:
    kernel = share_exactly(sparse(SHAPE, density, values_count))
    assert kernel is not None
    form = choose_form(kernel, coder, 32)
    assert form.name in forms
    _, taken_bytes = there_and_back(kernel, form, coder)
    assert abs(form.bytes - taken_bytes) <= 0.05 * taken_bytes + 64
    for other, other_form in every_form(kernel):
        assert taken_bytes <= there_and_back(other, other_form, coder)[1] * 1.05 + 16


@pytest.mark.parametrize("coder", CODERS)
def test_the_price_of_many_values_and_of_floats_is_near(coder: CoderName) -> None:
    array = sparse(SHAPE, 0.4, 3000)
    kernel = share_exactly(array)
    assert kernel is not None
    for found in (kernel, array):
        form = choose_form(found, coder, 32)
        _, taken_bytes = there_and_back(found, form, coder)
        assert abs(form.bytes - taken_bytes) <= 0.05 * taken_bytes + 64


def test_gaps_are_chosen_where_huffman_pays_a_bit_for_each_zero() -> None:
    kernel = share_exactly(sparse(SHAPE, 0.02, 15))
    assert kernel is not None
    huffman = choose_form(kernel, "huffman", 32)
    assert huffman.name == "gaps"
    assert choose_form(kernel, "ans", 32).bytes < huffman.bytes < 11_520 / 8


def test_all_zeros_take_nothing() -> None:
    kernel = share_exactly(np.zeros(SHAPE, np.float32))
    assert kernel is not None
    form = choose_form(kernel, "ans", 32)
    assert (form.name, form.codes_count, form.gaps_count, form.bytes) == ("gaps", 0, 0, 0)
    assert there_and_back(kernel, form, "ans")[1] == 0


def test_a_record_worked_out_by_hand() -> None:
    form = KernelForm("gaps", 300, 63, 1_000_000)
    record = write_form(form)
    assert record == b"\x02" + b"\x2c\x01" + b"\x3f" + b"\x40\x42\x0f\x00"
    found, rest = read_form(record + b"rest", parameter(1000, 2000))
    assert (found.name, found.codes_count, found.gap_limit, found.gaps_count) == (
        "gaps",
        300,
        63,
        1_000_000,
    )
    assert rest == b"rest"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"\0\1\0\0\0\0\0", "the head ends before conv1/kernel"),
        (struct.pack("<BHBI", 4, 1, 0, 0), "conv1/kernel of form 4 with 1 codes"),
        (struct.pack("<BHBI", 0, 13, 0, 0), "conv1/kernel of form 0 with 13 codes"),
        (struct.pack("<BHBI", 0, 2**14 + 1, 0, 0), "of form 0 with 16385 codes"),
        (struct.pack("<BHBI", 0, 0, 0, 0), "conv1/kernel without a codebook"),
        (struct.pack("<BHBI", 2, 1, 14, 1), "conv1/kernel with 1 gaps of at most 14"),
        (struct.pack("<BHBI", 2, 1, 15, 13), "conv1/kernel with 13 gaps of at most 15"),
    ],
)
def test_a_record_of_no_such_kernel_is_refused(record: bytes, message: str) -> None:
    with pytest.raises(WeightsError, match=message):
        read_form(record, parameter(3, 4))


def too_far(writer: StreamWriter) -> KernelForm:
    writer.put(np.array([11, 0]), 16)
    return KernelForm("gaps", 1, 15, 2)


def without_codebook(writer: StreamWriter) -> KernelForm:
    writer.put(np.array([1] + [0] * 11), 2)
    return KernelForm("mask")


def without_codebook_by_gaps(writer: StreamWriter) -> KernelForm:
    writer.put(np.array([3]), 16)
    return KernelForm("gaps", 0, 15, 1)


@pytest.mark.parametrize(
    ("put", "message"),
    [
        (too_far, "the gaps of conv1/kernel lead behind its last weight"),
        (without_codebook, "conv1/kernel without a codebook"),
        (without_codebook_by_gaps, "conv1/kernel without a codebook"),
    ],
)
@pytest.mark.parametrize("coder", CODERS)
def test_streams_of_no_such_kernel_are_refused(
    put: Callable[[StreamWriter], KernelForm], message: str, coder: CoderName
) -> None:
    writer = StreamWriter(coder)
    form = put(writer)
    reader = StreamReader(coder, *writer.finish())
    codebook = np.ones(form.codes_count, np.float32)
    with pytest.raises(WeightsError, match=message):
        take_kernel(reader, form, parameter(3, 4), codebook, 32)


@pytest.mark.slow
@pytest.mark.parametrize("coder", CODERS)
def test_ten_million_weights(coder: CoderName) -> None:
    array = sparse((4096, 2500), 0.3, 31)
    kernel = share_exactly(array)
    assert kernel is not None
    form = choose_form(kernel, coder, 32)
    found, taken_bytes = there_and_back(kernel, form, coder)
    np.testing.assert_array_equal(found, array)
    # 10.24 M times the entropy of 0.3 and 0.3 times that of 31 values.
    entropy_bits = -0.3 * np.log2(0.3) - 0.7 * np.log2(0.7) + 0.3 * np.log2(31)
    slack = {"ans": 1.005, "huffman": 1.1}[coder]
    assert taken_bytes < slack * array.size * entropy_bits / 8
