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
from dse.files import replacing
from dse.weights.dsz import SUFFIX, read_dsz, read_dsz_metadata
from dse.weights.metadata import WeightsMetadata, metadata_from_dict

FORMAT_VERSION = 1

Arrays = dict[str, Any]


def read_metadata(path: Path) -> WeightsMetadata:
    """What a weights file says of itself; the arrays are not read.

    Raises:
        WeightsError: no such file, or not a weights file of a format that this `dse` reads.
    """
    if is_compressed(path):
        return read_dsz_metadata(path)
    with _opened(path) as file:
        return _metadata(path, file.metadata() or {})


def is_compressed(path: Path) -> bool:
    """Whether a file is a `.dsz`, by its name."""
    return path.suffix.lower() == SUFFIX


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
    content = save(tensors, {key: json.dumps(value) for key, value in header.items()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content)
    except OSError as error:
        raise WeightsError(f"{path}: the weights cannot be written: {error.strerror}") from error


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
    metadata, tensors = read_dsz(path) if is_compressed(path) else _read_checked(path)
    if architecture is not None:
        _check_arrays(path, tensors, architecture)
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


def _read_checked(path: Path) -> tuple[WeightsMetadata, dict[str, np.ndarray]]:
    tensors, header = _read(path)
    metadata = _metadata(path, header)
    if json.loads(header.get("digest", "null")) != _digest(tensors):
        raise WeightsError(
            f"{path}: the arrays are not those that were written (digest differs): the file is "
            "corrupt; train again or take another copy"
        )
    return metadata, tensors


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


def _read(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with _opened(path) as file:
        header = file.metadata() or {}
        try:
            return {name: file.get_tensor(name) for name in file.keys()}, header  # noqa: SIM118
        except (TypeError, AttributeError) as error:  # types that numpy has not, such as bfloat16
            raise WeightsError(f"{path}: arrays of a type that is not float32 ({error})") from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file")
    try:
        with safe_open(path, framework="numpy") as file:
            yield file
    except SafetensorError as error:
        raise WeightsError(
            f"{path}: not a whole safetensors file ({error}); it is truncated or something else"
        ) from error
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror or error}") from error


def _metadata(path: Path, header: Mapping[str, str]) -> WeightsMetadata:
    if "format_version" not in header:
        raise WeightsError(f"{path}: a safetensors file, but not one that dse wrote")
    try:
        values = {name: json.loads(text) for name, text in header.items()}
        version = values["format_version"]
        if version != FORMAT_VERSION:
            raise WeightsError(
                f"{path}: format version {version}, but this dse reads {FORMAT_VERSION}; "
                "use the dse that wrote it"
            )
        return metadata_from_dict(values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(
            f"{path}: the header is damaged ({type(error).__name__}: {error})"
        ) from error


def _check_arrays(
    path: Path, tensors: Mapping[str, np.ndarray], architecture: Architecture
) -> None:
    wanted = {p.path: p.shape for p in architecture.parameters}
    problems = [f"{name} is missing" for name in sorted(wanted.keys() - tensors.keys())]
    problems += [f"{name} is not one of its" for name in sorted(tensors.keys() - wanted.keys())]
    problems += [
        f"{name} has shape {tensors[name].shape}, not {shape}"
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]
    problems += [
        f"{name} is {value.dtype}, not float32"
        for name, value in tensors.items()
        if name in wanted and value.dtype != np.float32
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise WeightsError(
            f"{path}: not the weights of this {architecture.family}: "
            f"{'; '.join(problems[:3])}{more}"
        )
