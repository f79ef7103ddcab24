"""From a weights file to the file of another runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from dse.errors import ExportError
from dse.export.graph import Graph, read_graph
from dse.export.onnx import onnx_model
from dse.files import replacing

Format = Literal["onnx"]

FORMATS: dict[str, Callable[[Graph], bytes]] = {"onnx": onnx_model}
"""What writes each format."""


@dataclass(frozen=True)
class Exported:
    """A file that was written.

    Attributes:
        path: the file.
        format: of it.
        candidate: key of the network's candidate.
        params_count: values that it holds.
        file_bytes: its size.
    """

    path: Path
    format: str
    candidate: str
    params_count: int
    file_bytes: int


def export_weights(
    weights: Path,
    out: Path,
    *,
    format: Format | None = None,
    with_preprocessing: bool = False,
    force: bool = False,
) -> Exported:
    """Write a network in the format of another runtime.

    Args:
        weights: a safetensors or `.dsz` file.
        out: the file to write.
        format: None goes by the suffix of `out`.
        with_preprocessing: the file takes uint8 pixels and scales them itself.
        force: replace a file that is there.

    Raises:
        ExportError: no such format, an operator that it cannot hold, a package that is missing,
            or `out` exists or cannot be written.
        WeightsError: the weights cannot be read.
    """
    format = format or _format_of(out)
    if out.exists() and not force:
        raise ExportError(f"{out} exists; --force replaces it, or choose another --out")
    graph = read_graph(weights, with_preprocessing=with_preprocessing)
    content = FORMATS[format](graph)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with replacing(out) as file:
            file.write(content)
    except OSError as error:
        raise ExportError(f"{out}: cannot be written: {error.strerror or error}") from error
    return Exported(
        out, format, graph.metadata.candidate.key, graph.params_count, out.stat().st_size
    )


def _format_of(out: Path) -> Format:
    for format in get_args(Format):
        if out.suffix.lower() == f".{format}":
            return format
    raise ExportError(
        f"{out}: no format goes with {out.suffix or 'no suffix'!r}; --format is one of "
        f"{', '.join(get_args(Format))}"
    )
