"""A confusion matrix as a figure: true classes down, predicted classes across."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from dse.report.figures.canvas import save
from dse.report.style import GREY, INK, style
from dse.stats.classification import Outcomes
from dse.text import counted, inert, percent

_CELL_IN, _LEAST_IN, _MOST_IN = 0.42, 4.2, 16.0
_NAMED_COUNT = 60
"""Classes whose names and counts are written; more of them are colours alone."""


def plot_confusion(outcomes: Outcomes, path: Path) -> None:
    """Draw the matrix into a .png or .svg file; colours are shares of the true class.

    Raises:
        StudyError: the file cannot be written.
    """
    with style():
        from matplotlib.figure import Figure

        counts = outcomes.confusion
        count = len(outcomes.classes)
        side_in = min(max(_CELL_IN * count + 2.2, _LEAST_IN), _MOST_IN)
        figure = Figure(figsize=(side_in, side_in), layout="constrained")
        axes = figure.add_subplot()
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if count <= _NAMED_COUNT:
            texts = map(inert, outcomes.classes)
            names = [text if len(text) <= 24 else f"{text[:23]}…" for text in texts]
            axes.set_xticks(range(count), names, rotation=90)
            axes.set_yticks(range(count), names)
            for at in np.argwhere(counts):
                axes.text(
                    at[1],
                    at[0],
                    str(counts[tuple(at)]),
                    color="white" if shares[tuple(at)] > 0.55 else INK,
                    fontsize=7.5,
                    ha="center",
                    va="center",
                )
        axes.set_xlabel("predicted class")
        axes.set_ylabel("true class")
        axes.tick_params(length=0, labelsize=8)
        axes.spines[:].set_color(GREY)
        accuracy = percent(float(outcomes.is_correct.mean()))
        images = counted(len(outcomes.labels), "image")
        balanced = percent(outcomes.balanced_accuracy)
        axes.set_title(
            f"{accuracy} of {images} correct; balanced accuracy {balanced}", fontsize=9, loc="left"
        )
        save(figure, path)
