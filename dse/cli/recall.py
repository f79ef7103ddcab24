"""What an accuracy hides: the share of the largest class, and how much of each class is found."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dse.text import counted, percent, some_of

if TYPE_CHECKING:
    from dse.data import Dataset
    from dse.study.trial import Trial

SHOWN_COUNT = 5


@dataclass(frozen=True)
class ClassScores:
    """Of each class, how many images were scored and how many of them were correct.

    Attributes:
        classes: their names.
        images: counts; of several seeds together.
        correct: counts.
        seeds: whose images and correct ones are counted together.
    """

    classes: Sequence[str]
    images: Sequence[int]
    correct: Sequence[int]
    seeds: int = 1

    @property
    def interval(self) -> str:
        """Wilson's 95% interval of the mean accuracy over images; seeds add no images."""
        from dse.stats.intervals import wilson_interval

        count = sum(self.images) // self.seeds
        found = wilson_interval(round(sum(self.correct) / self.seeds), count)
        ends = f"{100 * found.low:.2f} to {100 * found.high:.2f}"
        return f"95% interval {ends} over {counted(count, 'image')}"

    @property
    def recall(self) -> dict[str, float]:
        """Share of each class's images that are correct, the lowest first."""
        scored = zip(self.classes, self.images, self.correct, strict=True)
        shares = {name: correct / count for name, count, correct in scored if count}
        return dict(sorted(shares.items(), key=lambda item: item[1]))

    @property
    def largest(self) -> tuple[str, float]:
        """The class with the most images, and its share: what naming it always would give."""
        at = max(range(len(self.images)), key=self.images.__getitem__)
        return self.classes[at], self.images[at] / sum(self.images)

    def __str__(self) -> str:
        """In words.

        >>> str(ClassScores(("healthy", "ill"), (190, 10), (190, 0)))
        'largest class healthy, 95.00% of the images; recall ill 0.00%, healthy 100.00%'
        """
        name, share = self.largest
        recall = [f"{name} {percent(value)}" for name, value in self.recall.items()]
        lowest = "lowest recall" if len(recall) > SHOWN_COUNT else "recall"
        return (
            f"largest class {name}, {percent(share)} of the images; {lowest} "
            f"{some_of(recall, SHOWN_COUNT)}"
        )


def validation_scores(trials: Iterable[Trial], key: str, dataset: Dataset) -> ClassScores | None:
    """A candidate's on the validation images, all its seeds together; None where none are known."""
    import numpy as np

    from dse.study.measurement import unpack_bits

    labels, count = np.asarray(dataset.validation.labels), len(dataset.classes)
    images, correct, seeds = np.zeros(count, np.int64), np.zeros(count, np.int64), 0
    for trial in trials:
        measured = trial.latest
        if trial.candidate.key == key and measured and measured.validation_correct:
            is_correct = unpack_bits(measured.validation_correct, len(labels))
            seeds += 1
            images += np.bincount(labels, minlength=count)
            correct += np.bincount(labels[is_correct], minlength=count)
    if not images.any():
        return None
    return ClassScores(dataset.classes, images.tolist(), correct.tolist(), seeds)
