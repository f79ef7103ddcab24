"""An accuracy estimated from few validation images with less noise than by counting them.

What is averaged is the probability of the true class, over several views of each image, after the
scores were scaled until a network is as sure of itself as the parent is: networks differ in that
without being better or worse.
"""

from __future__ import annotations

import numpy as np

from dse.data import Split

VIEWS_MOST = 256
"""Images and their further views."""

STEPS_COUNT = 40
"""Of bisection."""


def views_of(split: Split, shift_px: int, *, flips: bool) -> Split:
    """Images, and where they are few, their mirror images and both moved to two corners.

    Args:
        split: validation images.
        shift_px: how far they are moved; edges are repeated.
        flips: whether the mirror image of one is an image of the same class.
    """
    height, width = split.images.shape[1:3]
    pads = ((0, 0), (shift_px, shift_px), (shift_px, shift_px), (0, 0))
    places = [(shift_px, shift_px), (0, 0), (2 * shift_px, 2 * shift_px)]
    kinds = [(at, flip) for at in places[: 3 if shift_px else 1] for flip in (False, flips)]
    kinds = list(dict.fromkeys(kinds))[: max(1, VIEWS_MOST // len(split))]
    if len(kinds) == 1:
        return split
    padded = np.pad(np.asarray(split.images[:]), pads, mode="edge")
    images = [
        padded[:, y : y + height, x : x + width][:, :, :: -1 if flip else 1]
        for (y, x), flip in kinds
    ]
    return Split(np.concatenate(images), np.tile(np.asarray(split.labels), len(kinds)))


def sureness(scores: np.ndarray) -> float:
    """Mean probability of the class with the highest score; scores (image, class)."""
    return float(_softmax(scores).max(1).mean())


def likely_accuracy(scores: np.ndarray, labels: np.ndarray, sure: float) -> float:
    """Mean probability of the true class once scores are scaled to a mean highest one of `sure`.

    Args:
        scores: float (image, class).
        labels: int (image,).
        sure: see `sureness`; of a network that serves as the measure.

    Source: the scaling is that of Guo et al. 2017 (arXiv 1706.04599), "On calibration of modern
    neural networks", to another end.
    """
    low, high = -6.0, 6.0  # logarithms of the factor; sureness rises with it
    for _ in range(STEPS_COUNT):
        middle = (low + high) / 2
        low, high = (middle, high) if sureness(scores * np.exp(middle)) < sure else (low, middle)
    found = _softmax(scores * np.exp(low))
    return float(found[np.arange(len(labels)), labels].mean())


def _softmax(scores: np.ndarray) -> np.ndarray:
    shares = np.exp(scores.astype(np.float64) - scores.max(1, keepdims=True))
    return np.asarray(shares / shares.sum(1, keepdims=True))
