"""The handwritten digits that come with scikit-learn: 1,797 images of 8x8, always at hand."""

from __future__ import annotations

import hashlib

import numpy as np

from dse.data.source import ArraySource, Progress, SourceHandle
from dse.data.spec import DataSpec
from dse.data.splits import SplitName, limit_train, split_by_share

CLASSES = tuple(str(digit) for digit in range(10))
INPUT_SHAPE = (8, 8, 1)
TRAIN_COUNT = 1079  # of 1797, at the default shares
_BRIGHTEST = 16  # scikit-learn counts dark pixels in blocks of 4x4: 0 to 16


def locate_digits(spec: DataSpec) -> SourceHandle:
    """The digits need no search; scikit-learn is imported when they are first read."""

    def open_source(progress: Progress) -> ArraySource:
        return _open(spec)

    return SourceHandle(
        "digits", hashlib.sha256(b"scikit-learn digits, 1797").hexdigest(), open_source
    )


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Scale 0..16 to 0..255: value * 255 / 16, halves rounded up (8 becomes 128)."""
    whole = values.astype(np.uint16)
    return ((whole * 255 + _BRIGHTEST // 2) // _BRIGHTEST).astype(np.uint8)


def _open(spec: DataSpec) -> ArraySource:
    from sklearn.datasets import load_digits

    pictures, targets = load_digits(return_X_y=True)
    images = to_uint8(pictures).reshape(-1, *INPUT_SHAPE)
    labels = np.asarray(targets, np.int32)
    names = [str(index) for index in range(len(labels))]
    shares: dict[SplitName, float] = {
        "test": spec.test_share,
        "validation": spec.validation_share,
    }
    members = split_by_share(labels, names, shares, classes=CLASSES, seed=spec.split_seed)
    if spec.train_limit is not None:
        members["train"] = limit_train(
            members["train"], labels, names, limit=spec.train_limit, seed=spec.split_seed
        )
    return ArraySource(CLASSES, images, labels, members)
