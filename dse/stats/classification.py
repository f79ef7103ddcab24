"""What an accuracy hides: each class's recall and precision, confusions, calibration."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dse.stats.intervals import Interval, wilson_interval

BINS_COUNT = 15
"""Of the calibration, as in the source."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What a network says of labelled images.

    Attributes:
        classes: their names.
        labels: int array (image,), the true class of each image.
        best: int array (image, rank), the best classes of each, the best first.
        probabilities: float array (image, rank), by softmax.
        names: of the images, where they have some.
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    best: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    names: tuple[str, ...] = ()

    @property
    def is_correct(self) -> NDArray[np.bool_]:
        """Whether the best class is the true one, bool (image,)."""
        return self.best[:, 0] == self.labels

    @cached_property
    def confusion(self) -> NDArray[np.int64]:
        """Images by true class and predicted class, int (class, class)."""
        count = len(self.classes)
        flat = np.bincount(self.labels * count + self.best[:, 0], minlength=count * count)
        return flat.reshape(count, count)

    @property
    def images(self) -> NDArray[np.int64]:
        """Images of each class, int (class,)."""
        return np.bincount(self.labels, minlength=len(self.classes))

    @property
    def predicted(self) -> NDArray[np.int64]:
        """Images that are said to be of each class, int (class,)."""
        return np.bincount(self.best[:, 0], minlength=len(self.classes))

    @property
    def correct(self) -> NDArray[np.int64]:
        """Images of each class that are said to be of it, int (class,)."""
        return np.bincount(self.labels[self.is_correct], minlength=len(self.classes))

    @property
    def recall(self) -> list[Interval | None]:
        """Share of each class's images that are correct; None for a class without images."""
        return _shares(self.correct, self.images)

    @property
    def precision(self) -> list[Interval | None]:
        """Share of the images said to be of a class that are; None where none is."""
        return _shares(self.correct, self.predicted)

    @property
    def by_class(self) -> list[tuple[str, int, int, Interval, Interval | None]]:
        """(name, images that are correct, images, recall, precision) of each that has images."""
        columns = self.classes, self.correct, self.images, self.recall, self.precision
        return [
            (name, int(correct), int(count), recall, precision)
            for name, correct, count, recall, precision in zip(*columns, strict=True)
            if recall
        ]

    @property
    def balanced_accuracy(self) -> float:
        """Mean recall of the classes that have images."""
        return float(np.mean([recall.estimate for *_, recall, _ in self.by_class]))

    @property
    def largest(self) -> tuple[str, float]:
        """The class with the most images, and its share: what naming it always would give."""
        at = int(self.images.argmax())
        return self.classes[at], float(self.images[at] / len(self.labels))

    def true_probability(self, image: int) -> float | None:
        """Of an image's true class; None where that is not among the best."""
        (at,) = np.nonzero(self.best[image] == self.labels[image])
        return float(self.probabilities[image, at[0]]) if len(at) else None

    def worst(self) -> NDArray[np.int64]:
        """The images that are not correct, the most confident first."""
        (wrong,) = np.nonzero(~self.is_correct)
        return wrong[np.argsort(-self.probabilities[wrong, 0], kind="stable")]

    def confused(self) -> list[tuple[int, int, int]]:
        """(true class, predicted class, images) of all confusions, the most frequent first."""
        pairs = np.argwhere(self.confusion)
        found = [(int(t), int(p), int(self.confusion[t, p])) for t, p in pairs if t != p]
        return sorted(found, key=lambda pair: (-pair[2], pair[:2]))


@dataclass(frozen=True)
class CalibrationBin:
    """Images whose best class has a probability in (low, high]."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """How far probabilities are from accuracies.

    Attributes:
        error: mean over the images of the distance in their bin (expected calibration error).
        confidence: mean probability of the best classes.
        bins: those that hold images.
    """

    error: float
    confidence: float
    bins: tuple[CalibrationBin, ...]


def calibration(outcomes: Outcomes, *, bins_count: int = BINS_COUNT) -> Calibration:
    """Compare the probability of the best class with how often it is right.

    Args:
        outcomes: of at least one image.
        bins_count: of equal width in [0, 1].

    Source: Guo et al. 2017, "On calibration of modern neural networks", equation 5.
    """
    confidences, is_correct = outcomes.probabilities[:, 0], outcomes.is_correct
    edges = np.linspace(0, 1, bins_count + 1)
    at = np.clip(np.searchsorted(edges, confidences, side="left") - 1, 0, bins_count - 1)
    bins = [
        CalibrationBin(
            float(edges[one]),
            float(edges[one + 1]),
            int(held.sum()),
            float(confidences[held].mean()),
            float(is_correct[held].mean()),
        )
        for one in np.unique(at)
        for held in [at == one]
    ]
    error = sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / len(confidences)
    return Calibration(error, float(confidences.mean()), tuple(bins))


def _shares(correct: NDArray[np.int64], counts: NDArray[np.int64]) -> list[Interval | None]:
    return [
        wilson_interval(int(k), int(n)) if n else None for k, n in zip(correct, counts, strict=True)
    ]
