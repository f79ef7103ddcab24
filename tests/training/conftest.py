from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dse.data import Dataset, Split


def _split(rng: np.random.Generator, count: int) -> Split:
    """Pictures whose class shows in the brightness of one quarter."""
    labels = rng.integers(0, 4, count).astype(np.int32)
    images = rng.integers(0, 100, (count, 8, 8, 2)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[row : row + 4, column : column + 4] += 120
    return Split(images, labels)


@pytest.fixture(scope="session")
def quarters() -> Dataset:
    """Four classes that are easy to tell apart: 70 training, 30 validation, 300 test pictures."""
    rng = np.random.default_rng(0)
    return Dataset(
        name="quarters",
        directory=Path("nowhere"),
        classes=("a", "b", "c", "d"),
        input_shape=(8, 8, 2),
        train=_split(rng, 70),
        validation=_split(rng, 30),
        test=_split(rng, 300),
        mean=(0.3, 0.31),
        std=(0.25, 0.2),
        fingerprint="0" * 32,
        warnings=(),
    )
