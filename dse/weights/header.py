"""Which network a weights file holds, from its header alone: no JAX, no numpy, no arrays read.

A safetensors file is 8 bytes with the header's length (little-endian), the header in JSON
(`__metadata__`, and for each array its type, shape and place), then the arrays. Everything
is checked before it is believed; `dse.weights.safetensors` reads the arrays themselves.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dse.architecture.architecture import Architecture
from dse.architecture.candidate import Candidate, build, make_candidate
from dse.architecture.primitives import Shape
from dse.errors import ArchitectureError, ConfigError, WeightsError

SUFFIX = ".safetensors"

_LENGTH_BYTES = 8
_HEADER_MAX_BYTES = 10**8  # safetensors' own limit


@dataclass(frozen=True)
class WeightsHeader:
    """The network that a weights file belongs to."""

    candidate: Candidate
    input_shape: Shape
    classes_count: int


def read_weights_header(path: Path) -> WeightsHeader:
    """The network of a weights file, whose arrays the header has to list, shape by shape.

    Raises:
        WeightsError: no such file, not a safetensors file or not one of dse's, cut off, or
            with arrays that are not those of the network that it names.
    """
    header, arrays_bytes = _read(path)
    metadata = header.pop("__metadata__", None)
    if not isinstance(metadata, dict) or "family" not in metadata:
        raise WeightsError(f"{path}: a safetensors file, but not one that dse wrote")
    try:
        found = _network(metadata)
        architecture = build(found.candidate, found.input_shape, found.classes_count)
        shapes, end = _arrays(header)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    except (ConfigError, ArchitectureError) as error:
        raise _damaged(path, str(error)) from error
    if end != arrays_bytes:
        raise WeightsError(
            f"{path}: {arrays_bytes:,} bytes of arrays, but the header speaks of {end:,}; it is "
            "cut off or changed"
        )
    _check_shapes(path, shapes, architecture)
    return found


def _read(path: Path) -> tuple[dict[str, Any], int]:
    """The header's JSON, and how many bytes follow it."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        with path.open("rb") as file:
            file_bytes = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
            rest_bytes = file_bytes - _LENGTH_BYTES - length
            if file_bytes <= _LENGTH_BYTES or rest_bytes < 0 or length > _HEADER_MAX_BYTES:
                raise WeightsError(
                    f"{path}: not a whole safetensors file: {file_bytes:,} bytes cannot hold a "
                    f"header of {length:,}; it is truncated or something else"
                )
            header = json.loads(file.read(length))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{path}: not a safetensors file: its header is no JSON") from error
    if not isinstance(header, dict):
        raise WeightsError(f"{path}: not a safetensors file: its header is no JSON object")
    return header, rest_bytes


def _network(metadata: dict[str, str]) -> WeightsHeader:
    family, values, input_shape, classes = (
        json.loads(metadata[name])
        for name in ("family", "metaparameters", "input_shape", "classes")
    )
    values = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    height, width, channels = input_shape
    if not all(type(extent) is int and extent > 0 for extent in input_shape):
        raise ValueError(f"input_shape is {input_shape}")
    if not isinstance(classes, list) or not classes:
        raise ValueError("classes must be a list of names")
    return WeightsHeader(make_candidate(family, values), (height, width, channels), len(classes))


def _arrays(header: dict[str, Any]) -> tuple[dict[str, tuple[int, ...]], int]:
    """Each array's shape, and where the last one ends."""
    shapes, end = {}, 0
    for name, entry in header.items():
        shape = tuple(entry["shape"])
        first, last = entry["data_offsets"]
        if not all(type(n) is int and n >= 0 for n in (*shape, first, last)) or first > last:
            raise ValueError(f"{name} has shape {shape} from byte {first} to {last}")
        value_bytes = _VALUE_BYTES[entry["dtype"]]
        if last - first != value_bytes * math.prod(shape):
            raise ValueError(f"{name} has shape {shape} in {last - first} bytes")
        shapes[name], end = shape, max(end, last)
    return shapes, end


_VALUE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1}
_VALUE_BYTES |= {"U64": 8, "U32": 4, "U16": 2, "U8": 1, "BOOL": 1}


def _check_shapes(
    path: Path, shapes: dict[str, tuple[int, ...]], architecture: Architecture
) -> None:
    wanted = {parameter.path: parameter.shape for parameter in architecture.parameters}
    wrong = sorted(
        name for name in wanted.keys() | shapes.keys() if wanted.get(name) != shapes.get(name)
    )
    if wrong:
        name = wrong[0]
        more = f", and {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
        raise WeightsError(
            f"{path}: {name} has shape {shapes.get(name)}, but the {architecture.family} that the "
            f"header names wants {wanted.get(name)}{more}"
        )


def _damaged(path: Path, what: str) -> WeightsError:
    return WeightsError(f"{path}: the header is damaged ({what})")
