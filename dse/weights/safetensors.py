"""Weights files: safetensors with what is needed to use them, checked when read.

A file holds the arrays under their paths (`fire2/squeeze/kernel`) and, in its header, the
format's version, the network's metaparameters, the classes and the preprocessing, each as
JSON, with a digest of the arrays. Nothing in it is ever executed.

Compressed files, whose names end in .dsz, are read here too; `dse.weights.dsz` has their format.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dse.architecture import Architecture
from dse.errors import WeightsError
from dse.weights.dsz import SUFFIX as DSZ_SUFFIX
from dse.weights.dsz import read_dsz, read_dsz_metadata, write_content
from dse.weights.metadata import (
    FILE_MOST_BYTES,
    HEAD_MOST_BYTES,
    WeightsMetadata,
    described_architecture,
    metadata_from_dict,
    refusing_damage,
)

SUFFIX = ".safetensors"
FORMAT_VERSION = 1

Arrays = dict[str, Any]

_LENGTH_BYTES = 8  # of the header's length, with which a file begins


def read_metadata(path: Path) -> WeightsMetadata:
    """What a weights file says of itself; the arrays are not read.

    Raises:
        WeightsError: no such file, or not a weights file of a format that this `dse` reads.
    """
    if path.suffix.lower() == DSZ_SUFFIX:
        return read_dsz_metadata(path)
    with _opened(path) as file:
        return _metadata(path, file)


def read_network(path: Path) -> tuple[WeightsMetadata, Architecture]:
    """What a weights file says of itself, and its network; the arrays are not read.

    Those that the header of a safetensors file lists have to be the network's, shape by shape.

    Raises:
        WeightsError: as of `read_metadata`, no network is like that, or other arrays are listed.
    """
    metadata = read_metadata(path)
    architecture = described_architecture(path, metadata)
    if path.suffix.lower() != DSZ_SUFFIX:
        with _opened(path) as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            shapes = {name: tuple(array.get_shape()) for name, array in slices.items()}
        _check_shapes(path, shapes, architecture)
    return metadata, architecture


def save_weights(path: Path, params: Arrays, statistics: Arrays, metadata: WeightsMetadata) -> None:
    """Writes a weights file under a temporary name, then renames it.

    A reader sees the old file or the whole new one, never a part.

    Args:
        path: the file; its directory is made if need be.
        params: nested dict of arrays, as a network's `init` gives it.
        statistics: the same for running statistics; may be {}.
        metadata: goes into the header.

    Raises:
        WeightsError: the file cannot be written (full disk, read-only directory).
    """
    tensors = {name: np.ascontiguousarray(v) for name, v in flat(params, statistics).items()}
    header = metadata.to_dict() | {"format_version": FORMAT_VERSION, "digest": _digest(tensors)}
    write_content(path, save(tensors, {key: json.dumps(value) for key, value in header.items()}))


def load_weights(
    path: Path, architecture: Architecture | None = None
) -> tuple[Arrays, Arrays, WeightsMetadata]:
    """Reads and checks a weights file.

    Args:
        path: the file.
        architecture: if given, the arrays have to be exactly those of this network.

    Returns:
        (params, statistics, metadata); nested dicts of numpy arrays.

    Raises:
        WeightsError: no such file, not a weights file of this format, truncated or changed
            since it was written, or arrays that are not the architecture's.
    """
    if path.suffix.lower() == DSZ_SUFFIX:
        metadata, tensors = read_dsz(path)
    else:
        metadata, tensors = _read(path)
    if architecture is not None:
        _check_shapes(path, {name: array.shape for name, array in tensors.items()}, architecture)
        for name, array in tensors.items():
            if array.dtype != np.float32:
                raise WeightsError(f"{path}: {name} is {array.dtype}, not float32")
    return *nested(tensors), metadata


def nested(arrays: Mapping[str, Any]) -> tuple[Arrays, Arrays]:
    """(params, statistics) as nested dicts, of arrays by path."""
    params: Arrays = {}
    statistics: Arrays = {}
    for name, value in sorted(arrays.items()):
        *groups, kind = name.split("/")
        place = statistics if kind in ("mean", "variance") else params
        for group in groups:
            place = place.setdefault(group, {})
        place[kind] = value
    return params, statistics


def flat(*trees: Arrays) -> Arrays:
    """Arrays by path, of nested dicts."""
    return {name: value for tree in trees for name, value in _flatten(tree)}


def _flatten(tree: Arrays, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(dict(value), f"{prefix}{key}/")
        else:
            yield prefix + key, value


def _digest(tensors: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names, types, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        digest.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _read(path: Path) -> tuple[WeightsMetadata, dict[str, np.ndarray]]:
    with _opened(path) as file:
        metadata = _metadata(path, file)
        with refusing_damage(path, "header"):
            digest = json.loads(file.metadata().get("digest", "null"))
        try:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        # A type that numpy has not, such as bfloat16.
        except (TypeError, AttributeError, LookupError, ValueError) as error:
            raise WeightsError(f"{path}: arrays of a type that is not float32 ({error})") from error
    if digest != _digest(tensors):
        raise WeightsError(
            f"{path}: the arrays are not those that were written (digest differs): the file is "
            "corrupt; train again or take another copy"
        )
    return metadata, tensors


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        _check_header(path)
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        raise _refused(path, error) from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error


def _check_header(path: Path) -> None:
    """Refuse what would take much memory to parse, before it is parsed."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    content_bytes = path.stat().st_size
    if HEAD_MOST_BYTES < header_bytes < content_bytes or content_bytes > FILE_MOST_BYTES:
        raise WeightsError(
            f"{path}: {content_bytes:,} bytes with a header of {header_bytes:,}; at most "
            f"{FILE_MOST_BYTES:,} and {HEAD_MOST_BYTES:,} are read"
        )


def _refused(path: Path, error: SafetensorError) -> WeightsError:
    """What is wrong with a file that safetensors refuses, with the numbers of bytes."""
    content_bytes = path.stat().st_size
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    arrays_bytes = content_bytes - _LENGTH_BYTES - header_bytes
    if content_bytes <= _LENGTH_BYTES or arrays_bytes < 0:
        reason = (
            f"{content_bytes:,} bytes cannot hold a header of {header_bytes:,}; it is truncated or "
            "something else"
        )
    elif "invalid JSON" in str(error) or "invalid UTF-8" in str(error):
        reason = f"its header is no JSON object ({error})"
    else:
        reason = f"{arrays_bytes:,} bytes of arrays, but the header speaks of others ({error})"
    return WeightsError(f"{path}: not a whole safetensors file: {reason}")


def _metadata(path: Path, file: Any) -> WeightsMetadata:
    header = file.metadata() or {}
    if "format_version" not in header:
        raise WeightsError(f"{path}: a safetensors file, but not one that dse wrote")
    with refusing_damage(path, "header"):
        values = {name: json.loads(text) for name, text in header.items()}
        version = values["format_version"]
        if version != FORMAT_VERSION:
            raise WeightsError(
                f"{path}: format version {version}, but this dse reads {FORMAT_VERSION}; "
                "use the dse that wrote it"
            )
        return metadata_from_dict(values)


def _check_shapes(
    path: Path, found: Mapping[str, tuple[int, ...]], architecture: Architecture
) -> None:
    wanted = {p.path: p.shape for p in architecture.parameters}
    problems = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"{name} is not one of its" for name in sorted(found.keys() - wanted.keys())]
    problems += [
        f"{name} has shape {found[name]}, not {shape}"
        for name, shape in wanted.items()
        if found.get(name, shape) != shape
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(
            f"{path}: not the weights of this {architecture.family}: "
            f"{'; '.join(problems[:3])}{more}"
        )
