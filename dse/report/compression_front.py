"""Accuracy against the bytes of a compressed file: every setting that `--front` tried."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.errors import StudyError
from dse.report.axes import set_limits, set_ticks
from dse.report.canvas import save, style
from dse.report.captions import DOT
from dse.report.labels import draw_callout
from dse.report.marks import Key, key, step_corners
from dse.report.plate import new_plate
from dse.report.search_front import (
    ANSWER_LOOK,
    BLUE,
    FRONT_LINE,
    LEAST_LOOK,
    PALE_BLUE,
    REFERENCE_LOOK,
)
from dse.text import times_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIX = "-front.json"

SHOWN_LOSS = 0.08
"""What lies further below the given accuracy is counted, not drawn."""

_POINT: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5.5, "mew": 1.1}
_TRAINED: dict[str, Any] = {**_POINT, "mfc": BLUE, "mec": BLUE}
_UNTRAINED: dict[str, Any] = {**_POINT, "markersize": 3.6, "mfc": PALE_BLUE, "mec": PALE_BLUE}


@dataclass(frozen=True)
class Point:
    """A setting: what its file takes, and how often it is right.

    Attributes:
        density: share of the weights that are not zero.
        file_bytes: of the `.dsz` file.
        accuracy: on the validation images, a fraction.
        test_accuracy: of the chosen setting.
        is_trained: whether its values were trained after they were shared.
        is_on_front: no other is both smaller and as accurate.
        is_chosen: the file that was written.
    """

    density: float
    file_bytes: int
    accuracy: float
    test_accuracy: float | None
    is_trained: bool
    is_on_front: bool
    is_chosen: bool


@dataclass(frozen=True)
class CompressionTable:
    """What `dse compress --front` wrote.

    Attributes:
        name: of the file, without its ending.
        facts: what stands in the caption.
        float32_bytes: of the network.
        alexnet_bytes: float32 bytes of the AlexNet for such images; None where there is none.
        given: accuracy of the network before, a fraction.
        max_loss: what the chosen setting was allowed to lose, a fraction.
        points: all settings.
    """

    name: str
    facts: tuple[str, ...]
    float32_bytes: int
    alexnet_bytes: int | None
    given: float
    max_loss: float
    points: tuple[Point, ...]


def read_compression_table(path: Path) -> CompressionTable:
    """Read the table of a front.

    Raises:
        StudyError: it cannot be read, or is no such table; with the file's name.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise StudyError(f"{path}: is no JSON: {error}") from error
    try:
        return _table(path.name.removesuffix(SUFFIX), document)
    except (KeyError, TypeError, ValueError) as error:
        raise StudyError(
            f"{path}: is no table of `dse compress --front`: {type(error).__name__} {error}"
        ) from error


def _table(name: str, document: Mapping[str, Any]) -> CompressionTable:
    points = tuple(
        Point(
            density=float(row["density"]),
            file_bytes=int(row["file_bytes"]),
            accuracy=float(row["validation_accuracy"]),
            test_accuracy=row["test_accuracy"],
            is_trained=bool(row["values_trained"]),
            is_on_front=bool(row["on_front"]),
            is_chosen=bool(row["chosen"]),
        )
        for row in document["settings"]
    )
    if not points or min(point.file_bytes for point in points) < 1:
        raise ValueError("no settings, or one of no bytes")
    alexnet = document["alexnet_bytes"]
    return CompressionTable(
        name=name,
        facts=(
            f"network {document['candidate']}, {document['params_count']:,} parameters",
            str(document["data"]),
            f"{document['epochs']} epochs a training",
        ),
        float32_bytes=int(document["float32_bytes"]),
        alexnet_bytes=None if alexnet is None else int(alexnet),
        given=float(document["given"]["validation_accuracy"]),
        max_loss=float(document["max_loss"]),
        points=points,
    )


def plot_compression(table: CompressionTable, paths: Sequence[Path]) -> None:
    """Draw the front of a table and write it, once for each path (.png or .svg).

    Raises:
        StudyError: a file cannot be written.
    """
    with style():
        figure = compression_figure(table)
        for path in paths:
            save(figure, path)


def compression_figure(table: CompressionTable) -> Figure:
    """The figure that `plot_compression` writes; call it inside `canvas.style`."""
    floor = table.given - SHOWN_LOSS
    shown = [point for point in table.points if point.accuracy >= floor or point.is_chosen]
    below_count = len(table.points) - len(shown)
    plate = new_plate()
    axes = plate.axes
    heights = [table.given, table.given - table.max_loss, *(point.accuracy for point in shown)]
    sizes = np.array([point.file_bytes for point in shown], dtype=float)
    set_limits(axes, sizes, 100 * np.array(heights))
    set_ticks(axes, "B")
    axes.set_xlabel("bytes of the file (logarithmic)", labelpad=5)
    axes.set_ylabel("validation accuracy, %", labelpad=6)
    references = _draw_references(axes, table)
    corners = step_corners(_places([p for p in shown if p.is_on_front]), axes.get_xlim()[1])
    axes.plot(*corners.T, zorder=2, **FRONT_LINE)
    keys = [*_draw_points(axes, shown), *_below(below_count)]
    chosen = [point for point in shown if point.is_chosen]
    for point in chosen:
        axes.plot(*_places([point]).T, zorder=5, **ANSWER_LOOK)
        keys.insert(0, ("the file that was written", key(**(ANSWER_LOOK | {"markersize": 11}))))
    plate.finish(
        "Accuracy against bytes as weights are taken away and values shared",
        [keys, references],
        [f"{table.name}{DOT}{DOT.join(table.facts)}"],
    )
    for point in chosen:
        level = 100 * table.given
        draw_callout(
            axes,
            plate.renderer,
            _callout(point, table),
            (point.file_bytes, 100 * point.accuracy),
            marks=_places([p for p in shown if not p.is_chosen]),
            lines=[corners, np.array([(edge, level) for edge in axes.get_xlim()])],
        )
    return plate.figure


def _places(points: Sequence[Point]) -> np.ndarray:
    """Float array (point, 2): bytes and percent, by rising bytes."""
    places = sorted((float(point.file_bytes), 100 * point.accuracy) for point in points)
    return np.array(places).reshape(-1, 2)


def _draw_points(axes: Axes, shown: Sequence[Point]) -> list[Key]:
    keys: list[Key] = []
    for name, is_trained, look in (
        ("values trained", True, _TRAINED),
        ("values shared, not trained", False, _UNTRAINED),
    ):
        points = [point for point in shown if point.is_trained == is_trained]
        if points:
            axes.plot(*_places(points).T, zorder=3 + is_trained, label=name, **look)
            keys.append((name, key(**look)))
    return keys


def _below(count: int) -> list[Key]:
    if not count:
        return []
    words = f"{count:,} more lose over {100 * SHOWN_LOSS:g} points"
    return [(words, key(linestyle="none", marker="None"))]


def _draw_references(axes: Axes, table: CompressionTable) -> list[Key]:
    percent = 100 * table.given
    axes.axhline(percent, zorder=1.2, **REFERENCE_LOOK)
    axes.axhline(percent - 100 * table.max_loss, zorder=1.2, **LEAST_LOOK)
    size = f"{table.float32_bytes:,} bytes of float32"
    return [
        (f"before compression: {percent:.2f}%, {size}", key(**REFERENCE_LOOK)),
        (f"less {100 * table.max_loss:g} points", key(**LEAST_LOOK)),
    ]


def _callout(point: Point, table: CompressionTable) -> str:
    lines = [f"{point.file_bytes:,} bytes"]
    lines.append(f"{times_text(table.float32_bytes / point.file_bytes)} smaller than float32")
    if table.alexnet_bytes is not None:
        times = times_text(table.alexnet_bytes / point.file_bytes)
        lines.append(f"{times} smaller than AlexNet")
    return "\n".join(lines)
