"""A loss of accuracy bounded by few validation images, with less noise than by counting them.

What is compared, image by image, is the probability of the true class, averaged over several
views, after the scores were scaled until a network is as sure of itself as the parent is: networks
differ in that without being better or worse.
"""

from __future__ import annotations

import numpy as np

from dse.data import Split
from dse.training.predict import softmax

VIEWS_MOST = 256
"""Images and their further views."""

STEPS_COUNT = 40
"""Of bisection."""

SURE = 1.645
"""Standard errors below a difference: 95% to one side."""


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
    return float(softmax(scores).max(1).mean())


def likely_correct(scores: np.ndarray, labels: np.ndarray, sure: float) -> np.ndarray:
    """Probability of each image's true class, scores scaled to a mean highest one of `sure`.

    Args:
        scores: float (view · image, class), all images of one view behind those of another.
        labels: int (image,).
        sure: see `sureness`; of a network that serves as the measure.

    Returns:
        float64 (image,), means over the views.

    Source: the scaling is that of Guo et al. 2017 (arXiv 1706.04599), "On calibration of modern
    neural networks", to another end.
    """
    low, high = -6.0, 6.0  # logarithms of the factor; sureness rises with it
    for _ in range(STEPS_COUNT):
        middle = (low + high) / 2
        low, high = (middle, high) if sureness(scores * np.exp(middle)) < sure else (low, middle)
    found = softmax(scores * np.exp(low)).reshape(-1, len(labels), scores.shape[1])
    true = np.take_along_axis(found, labels[None, :, None].astype(np.intp), 2)
    return np.asarray(true[:, :, 0].mean(0))


def least_difference(before: np.ndarray, after: np.ndarray) -> float:
    """Lower bound, at 95%, of what one network gains over another; paired, normal.

    Args:
        before: float (image,), of the one; see `likely_correct`.
        after: of the other.
    """
    differences = after - before
    if len(differences) < 2:
        return -1.0
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    return float(differences.mean()) - SURE * error
