"""Accuracy against the bytes of a compressed file: every setting that `--front` tried."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dse.report.figures.axes import set_limits, set_ticks
from dse.report.figures.canvas import save
from dse.report.figures.labels import draw_callout
from dse.report.figures.layout import new_plate
from dse.report.figures.marks import Key, draw_reference, key, step_corners
from dse.report.style import ANSWER_LOOK, BLUE, DOT, FRONT_LINE, PALE_BLUE, style
from dse.study.compression_front import CompressionTable, FrontSetting
from dse.text import times_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_LOSS = 0.08
"""What lies further below the given accuracy is counted, not drawn."""

_POINT: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5.5, "mew": 1.1}
_TRAINED: dict[str, Any] = {**_POINT, "mfc": BLUE, "mec": BLUE}
_UNTRAINED: dict[str, Any] = {**_POINT, "markersize": 3.6, "mfc": PALE_BLUE, "mec": PALE_BLUE}


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
    floor = table.given_accuracy - SHOWN_LOSS
    shown = [
        point for point in table.settings if point.validation_accuracy >= floor or point.chosen
    ]
    plate = new_plate()
    axes = plate.axes
    heights = [
        table.given_accuracy,
        table.given_accuracy - table.max_loss,
        *(point.validation_accuracy for point in shown),
    ]
    sizes = np.array([point.file_bytes for point in shown], dtype=float)
    set_limits(axes, sizes, 100 * np.array(heights))
    set_ticks(axes, "B")
    axes.set_xlabel("bytes of the file (logarithmic)", labelpad=5)
    axes.set_ylabel("validation accuracy, %", labelpad=6)
    level = 100 * table.given_accuracy
    references = draw_reference(
        axes,
        level,
        f"before compression: {level:.2f}%, {table.float32_bytes:,} bytes of float32",
        margin_points=100 * table.max_loss,
        margin_words=f"less {100 * table.max_loss:g} points",
    )
    corners = step_corners(_places([p for p in shown if p.on_front]), axes.get_xlim()[1])
    axes.plot(*corners.T, zorder=2, **FRONT_LINE)
    keys: list[Key] = []
    for name, is_trained, look in (
        ("values trained", True, _TRAINED),
        ("values shared, not trained", False, _UNTRAINED),
    ):
        points = [point for point in shown if point.values_trained == is_trained]
        if points:
            axes.plot(*_places(points).T, zorder=3 + is_trained, label=name, **look)
            keys.append((name, key(**look)))
    if below_count := len(table.settings) - len(shown):
        words = f"{below_count:,} more lose over {100 * SHOWN_LOSS:g} points"
        keys.append((words, key(linestyle="none", marker="None")))
    chosen = [point for point in shown if point.chosen]
    for point in chosen:
        axes.plot(*_places([point]).T, zorder=5, **ANSWER_LOOK)
        keys.insert(0, ("the file that was written", key(**(ANSWER_LOOK | {"markersize": 11}))))
    facts = (
        Path(table.out).stem,
        f"network {table.candidate}, {table.params_count:,} parameters",
        table.data,
        f"{table.epochs} epochs per training",
    )
    plate.finish(
        "Accuracy against bytes of the compressed file",
        [keys, references],
        [DOT.join(facts)],
    )
    for point in chosen:
        lines = [f"{point.file_bytes:,} bytes"]
        for other, count in (("float32", table.float32_bytes), ("AlexNet", table.alexnet_bytes)):
            if count is not None:
                lines.append(f"{times_text(count / point.file_bytes)} smaller than {other}")
        draw_callout(
            axes,
            plate.renderer,
            "\n".join(lines),
            (point.file_bytes, 100 * point.validation_accuracy),
            marks=_places([p for p in shown if not p.chosen]),
            lines=[corners, np.array([(edge, level) for edge in axes.get_xlim()])],
        )
    return plate.figure


def _places(points: Sequence[FrontSetting]) -> np.ndarray:
    """Float array (point, 2): bytes and percent, by rising bytes."""
    places = sorted((float(point.file_bytes), 100 * point.validation_accuracy) for point in points)
    return np.array(places).reshape(-1, 2)
