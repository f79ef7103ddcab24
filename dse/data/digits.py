"""The handwritten digits that come with scikit-learn: 1,797 images of 8x8, always at hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dse.data.source import ArraySource, DataDescription, Progress, SourceHandle
from dse.data.spec import DataSpec
from dse.data.splits import SplitName, divide

CLASSES = tuple(str(digit) for digit in range(10))
INPUT_SHAPE = (8, 8, 1)
TRAIN_COUNT = 1079  # of 1797, at the default shares
CLASS_COUNTS: Mapping[SplitName, tuple[int, ...]] = {
    "train": (106, 110, 107, 109, 109, 110, 109, 107, 104, 108),
    "validation": (36, 36, 35, 37, 36, 36, 36, 36, 35, 36),
    "test": (36, 36, 35, 37, 36, 36, 36, 36, 35, 36),
}
_BRIGHTEST = 16  # scikit-learn counts dark pixels in blocks of 4x4: 0 to 16


def locate_digits(spec: DataSpec, cache: Path) -> SourceHandle:
    """The digits need no search; scikit-learn is imported when they are first read."""

    def open_source(progress: Progress) -> ArraySource:
        from sklearn.datasets import load_digits

        values, targets = load_digits(return_X_y=True)
        labels = np.asarray(targets, np.int32)
        names = [str(index) for index in range(len(labels))]
        members = divide(
            labels,
            names,
            {"test": spec.test_share, "validation": spec.validation_share},
            classes=CLASSES,
            seed=spec.split_seed,
            train_limit=spec.train_limit,
        )
        return ArraySource(CLASSES, to_uint8(values).reshape(-1, *INPUT_SHAPE), labels, members)

    signature = hashlib.sha256(b"scikit-learn digits, 1797").hexdigest()
    train_count = min(TRAIN_COUNT, spec.train_limit or TRAIN_COUNT)
    counts = CLASS_COUNTS if train_count == TRAIN_COUNT else {}
    known = DataDescription("digits", INPUT_SHAPE, CLASSES, train_count, class_counts=counts)
    return SourceHandle("digits", signature, open_source, known)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Scale 0..16 to 0..255: value * 255 / 16, halves rounded up (8 becomes 128)."""
    whole = values.astype(np.uint16)
    return ((whole * 255 + _BRIGHTEST // 2) // _BRIGHTEST).astype(np.uint8)
