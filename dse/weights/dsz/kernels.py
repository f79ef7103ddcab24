"""How one kernel is stored, and its streams.

    dense    each weight's code
    mask     a bit for each weight (is it zero?), then the codes of the others
    gaps     zeros passed over before each other weight, then the codes of the others
    floats   each weight's bytes, where (almost) no two weights share a value

Whichever takes the fewest bytes is chosen. Weights stand in the order (filter, channel,
height, width), those of a dense layer as (feature, input).

Source: Han, Mao and Dally 2016 (arXiv 1510.00149), for gaps and shared weights.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import numpy as np

from dse.architecture.primitives import Parameter
from dse.errors import WeightsError
from dse.weights.dsz.floats import FloatBits, codebook_bits, put_floats, take_floats
from dse.weights.dsz.shared import CODES_MAX, SharedWeights
from dse.weights.dsz.streams import CoderName, StreamReader, StreamWriter, estimated_bits

FormName = Literal["dense", "mask", "gaps", "floats"]
FORMS: tuple[FormName, ...] = get_args(FormName)

GAP_LIMITS = (15, 31, 63, 127, 255)

FEW_CODES = 256
"""A codebook of more is held against storing the weights as floats."""

_RECORD = struct.Struct("<BHBI")


@dataclass(frozen=True, eq=False)
class KernelForm:
    """What the head says of a kernel, and its codebook.

    Attributes:
        name: one of the four.
        codes_count: entries of the codebook; of mask and gaps, the 0 is none of them.
        gap_limit: longest gap; that symbol passes over so many zeros and stores no weight.
        gaps_count: symbols in the stream of gaps.
        codebook: float32 (code,); empty where the form was read from a file.
        bytes: about what the kernel takes.
    """

    name: FormName
    codes_count: int = 0
    gap_limit: int = 0
    gaps_count: int = 0
    codebook: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    bytes: float = 0.0


def write_form(form: KernelForm) -> bytes:
    """The form as the head holds it."""
    return _RECORD.pack(FORMS.index(form.name), form.codes_count, form.gap_limit, form.gaps_count)


def read_form(content: bytes, parameter: Parameter) -> tuple[KernelForm, bytes]:
    """The form of a kernel, and the bytes behind it.

    Raises:
        WeightsError: what cannot be of this kernel.
    """
    if len(content) < _RECORD.size:
        raise WeightsError(f"the head ends before {parameter.path}")
    index, codes, limit, gaps = _RECORD.unpack_from(content)
    if index >= len(FORMS) or codes > min(CODES_MAX, parameter.size):
        raise WeightsError(f"{parameter.path} of form {index} with {codes} codes")
    form = KernelForm(FORMS[index], codes, limit, gaps)
    if form.name == "dense" and parameter.size and not codes:
        raise WeightsError(f"{parameter.path} without a codebook")
    if form.name == "gaps" and (limit not in GAP_LIMITS or gaps > parameter.size):
        raise WeightsError(f"{parameter.path} with {gaps} gaps of at most {limit}")
    return form, content[_RECORD.size :]


def in_file_order(array: np.ndarray) -> np.ndarray:
    """Flat, in the order (filter, channel, height, width); kernels are (h, w, channel, filter)."""
    axes = (3, 2, 0, 1) if array.ndim == 4 else (1, 0)
    return np.ascontiguousarray(array.transpose(axes)).reshape(-1)


def in_network_order(flat: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A kernel of this shape, of its weights as `in_file_order` gives them."""
    if len(shape) == 4:
        height, width, channels, filters = shape
        by_filter = flat.reshape(filters, channels, height, width)
        return np.ascontiguousarray(by_filter.transpose(2, 3, 1, 0))
    return np.ascontiguousarray(flat.reshape(shape[::-1]).T)


def choose_form(array: SharedWeights | np.ndarray, coder: CoderName, bits: FloatBits) -> KernelForm:
    """The form that takes the fewest bytes.

    Args:
        array: the kernel; one that shares no values is stored as floats.
        coder: how symbols will become bits.
        bits: of codebooks and floats.
    """
    if not isinstance(array, SharedWeights):
        return _floats_form(array, coder, bits)
    codebook, zero = array.codebook, array.zero_code
    counts = np.bincount(array.codes.reshape(-1), minlength=len(codebook))
    forms = [_sized(KernelForm("dense", len(codebook), codebook=codebook), [counts], coder, bits)]
    if len(codebook) > FEW_CODES:
        forms.append(_floats_form(array.values, coder, bits))
    if zero is None:
        return min(forms, key=lambda form: form.bytes)
    others, other_counts = np.delete(codebook, zero), np.delete(counts, zero)
    zeros_and_others = np.array([counts[zero], other_counts.sum()])
    form = KernelForm("mask", len(others), codebook=others)
    forms.append(_sized(form, [zeros_and_others, other_counts], coder, bits))
    flat = in_file_order(array.codes)
    for limit in GAP_LIMITS:
        gaps = np.bincount(_gaps(flat, zero, limit), minlength=limit + 1)
        form = KernelForm("gaps", len(others), limit, int(gaps.sum()), others)
        forms.append(_sized(form, [gaps, other_counts], coder, bits))
        if not gaps[limit]:
            break
    return min((form for form in forms if form.gaps_count <= flat.size), key=lambda f: f.bytes)


def _floats_form(values: np.ndarray, coder: CoderName, bits: FloatBits) -> KernelForm:
    raw = np.ascontiguousarray(values, f"<f{bits // 8}").reshape(-1).view(np.uint8)
    planes = raw.reshape(-1, bits // 8).T
    return _sized(
        KernelForm("floats"), [np.bincount(plane, minlength=256) for plane in planes], coder, bits
    )


def _sized(
    form: KernelForm, streams: list[np.ndarray], coder: CoderName, bits: FloatBits
) -> KernelForm:
    """The form with about what its streams and its codebook take."""
    stream_bits = sum(estimated_bits(coder, counts) for counts in streams)
    return replace(form, bytes=(stream_bits + codebook_bits(form.codebook, bits)) / 8)


def _gaps(flat: np.ndarray, zero: int, limit: int) -> np.ndarray:
    """Symbols: zeros passed over before each weight that is none; `limit` stores no weight."""
    places = np.flatnonzero(flat != zero)
    gaps = np.diff(places, prepend=-1) - 1
    bridges = gaps // limit
    ends = np.cumsum(bridges + 1)
    symbols = np.full(int(ends[-1]) if len(ends) else 0, limit)
    symbols[ends - 1] = gaps % limit
    return symbols


def put_kernel(
    writer: StreamWriter, form: KernelForm, array: SharedWeights | np.ndarray, bits: FloatBits
) -> None:
    """Write the streams of a kernel; its codebook stands with the others."""
    if form.name == "floats" or not isinstance(array, SharedWeights):
        values = array.values if isinstance(array, SharedWeights) else array
        put_floats(writer, in_file_order(values), bits)
        return
    flat = in_file_order(array.codes)
    if form.name == "dense":
        writer.put(flat, form.codes_count)
        return
    zero = array.zero_code
    assert zero is not None
    nonzero = flat != zero
    if form.name == "mask":
        writer.put(nonzero.astype(np.uint8), 2)
    else:
        writer.put(_gaps(flat, zero, form.gap_limit), form.gap_limit + 1)
    codes = flat[nonzero]
    writer.put(codes - (codes > zero), form.codes_count)


def take_kernel(
    reader: StreamReader,
    form: KernelForm,
    parameter: Parameter,
    codebook: np.ndarray,
    bits: FloatBits,
) -> np.ndarray:
    """The kernel that `put_kernel` wrote, float32 in the shape of the parameter.

    Raises:
        WeightsError: streams that do not fit it.
    """
    size = parameter.size
    if form.name == "floats":
        flat = take_floats(reader, size, bits)
    elif form.name == "dense":
        flat = codebook[reader.take(size, form.codes_count)]
    else:
        flat = np.zeros(size, np.float32)
        if form.name == "mask":
            mask = reader.take(size, 2).view(bool)
        else:
            symbols = reader.take(form.gaps_count, form.gap_limit + 1)
            stores = symbols != form.gap_limit
            places = np.cumsum(symbols.astype(np.int32) + stores, dtype=np.int64)
            if len(places) and places[-1] > size:
                raise WeightsError(f"the gaps of {parameter.path} lead behind its last weight")
            mask = np.zeros(size, bool)
            mask[places[stores] - 1] = True
        count = int(np.count_nonzero(mask))
        if count and not form.codes_count:
            raise WeightsError(f"{parameter.path} without a codebook")
        flat[mask] = codebook[reader.take(count, form.codes_count)]
    return in_network_order(flat, parameter.shape)
