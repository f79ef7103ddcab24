from __future__ import annotations

from pathlib import Path

import numpy as np

from dse.data.dataset import Dataset, Split
from dse.data.folds import FOLDS, folds_of

COUNTS = (23, 11, 8)


def images(labels: np.ndarray, first: int) -> Split:
    """Each image is its own number."""
    numbers = first + np.arange(len(labels), dtype=np.uint8)
    return Split(numbers.reshape(-1, 1, 1, 1), labels.astype(np.int32))


def numbers(split: Split) -> set[int]:
    return set(split.images.ravel().tolist())


def test_each_training_image_is_held_out_once_and_no_validation_image_is_seen():
    labels = np.repeat([0, 1, 2], COUNTS)[np.random.default_rng(1).permutation(sum(COUNTS))]
    other = images(np.zeros(5), 200)
    dataset = Dataset(
        "toy",
        Path("toy"),
        ("a", "b", "c"),
        (1, 1, 1),
        images(labels, 0),
        other,
        other,
        (0.5,),
        (1.0,),
        "f" * 32,
        (),
    )
    views = list(folds_of(dataset, FOLDS))
    held = [numbers(view.validation) for view in views]
    assert sorted(number for fold in held for number in fold) == list(range(sum(COUNTS)))
    for view, fold in zip(views, held, strict=True):
        assert not numbers(view.train) & fold
        assert len(view.train) == sum(COUNTS) - 9, "equally many in each"
        of_class = np.bincount(view.validation.labels, minlength=3)
        for count, wanted in zip(of_class, COUNTS, strict=True):
            assert abs(count - wanted / FOLDS) < 1, "stratified"
        assert (labels[view.validation.images.ravel()] == view.validation.labels).all()
    assert [numbers(view.validation) for view in folds_of(dataset, 2)] == held[:2]
