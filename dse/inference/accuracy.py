"""What int8 costs in accuracy: the same images in float32 and in integer arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dse.architecture import build, cost
from dse.errors import ExportError
from dse.inference import forward, int8
from dse.inference.calibrate import calibrate
from dse.inference.graph import Graph, read_graph

CALIBRATION_COUNT = 128
MOST_IMAGES, FEWEST_IMAGES = 1000, 50
MOST_MACS = 10**10
"""About 25 s of one core; images are fewer where a network takes more, and below 50 none are."""
_BATCH_COUNT = 32


@dataclass(frozen=True)
class Int8Accuracy:
    """Accuracies (fractions) on the same images, evenly spaced ones of those given."""

    images_count: int
    float32: float
    int8: float

    @property
    def difference(self) -> float:
        """What int8 gains."""
        return self.int8 - self.float32


def int8_accuracy(
    weights: Path, training: Any, images: Any, labels: Any, *, most_macs: int = MOST_MACS
) -> Int8Accuracy | None:
    """Accuracy of a network as `dse export --int8` has it, and in float32.

    Args:
        weights: a safetensors or `.dsz` file.
        training: what int8 is calibrated on: uint8 (image, height, width, channel), as a
            network takes them; may be decoded when it is indexed.
        images: to score, likewise.
        labels: int (image,).
        most_macs: of all images together.

    Returns:
        None where the network has no int8 form, or scoring would take too long.

    Raises:
        WeightsError: the file cannot be read.
    """
    graph = read_graph(weights, with_preprocessing=True)
    metadata = graph.metadata
    macs = cost(build(metadata.candidate, metadata.input_shape, len(metadata.classes))).macs
    count = min(MOST_IMAGES, most_macs // max(macs, 1), len(labels))
    if count < min(FEWEST_IMAGES, len(labels)) or not count or not len(training):
        return None
    given = np.asarray(training[spread(len(training), CALIBRATION_COUNT)])
    try:
        network = int8.quantize(graph, calibrate(graph, given))
    except ExportError:
        return None
    return compared(graph, network, images, labels, count)


def compared(
    graph: Graph, network: int8.Int8Graph, images: Any, labels: Any, count: int
) -> Int8Accuracy:
    """Accuracy in both arithmetics on some of the images, evenly spaced.

    Args:
        graph: in float32.
        network: of it, in int8.
        images: uint8 (image, height, width, channel); may be decoded when it is indexed.
        labels: int (image,).
        count: images to score, at most.
    """
    rows = spread(len(labels), count)
    correct = np.zeros(2)
    for start in range(0, len(rows), _BATCH_COUNT):
        batch = rows[start : start + _BATCH_COUNT]
        taken, wanted = np.asarray(images[batch]), np.asarray(labels)[batch]
        for at, scores in enumerate((forward.scores(graph, taken), int8.scores(network, taken))):
            correct[at] += (scores.argmax(1) == wanted).sum()
    return Int8Accuracy(len(rows), *(correct / len(rows)).tolist())


def spread(have: int, wanted: int) -> np.ndarray:
    """Indices of some of many, evenly spaced."""
    return np.unique(np.linspace(0, have - 1, min(have, wanted)).round().astype(int))
