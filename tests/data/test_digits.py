from __future__ import annotations

from pathlib import Path

import numpy as np

from dse.data import Split, parse_data, prepare_data
from dse.data.digits import to_uint8


def test_sixteen_shades_become_256() -> None:
    assert to_uint8(np.arange(17.0)).tolist() == [
        *(0, 16, 32, 48, 64, 80, 96, 112),
        *(128, 143, 159, 175, 191, 207, 223, 239, 255),
    ]


def test_the_split_is_60_20_20(tmp_path: Path) -> None:
    dataset = prepare_data(parse_data("digits"), cache_directory=tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (1079, 359, 359)
    assert dataset.classes == tuple("0123456789")
    assert dataset.input_shape == (8, 8, 1)


def test_the_fingerprint_is_the_one_that_studies_hold(tmp_path: Path) -> None:
    # It follows from scikit-learn's file and from frozen rules: no version may change it.
    dataset = prepare_data(parse_data("digits"), cache_directory=tmp_path)
    assert dataset.fingerprint == "e049bfea3e3b5d78a7346605784f2719"


def test_a_split_and_a_dataset_are_short_to_read(tmp_path: Path) -> None:
    dataset = prepare_data(parse_data("digits"), cache_directory=tmp_path)
    assert repr(dataset) == "Dataset('digits', 10 classes, 1079/359/359 images)"
    assert repr(dataset.train) == "Split(1,079 images of 8x8x1)"
    one = Split(dataset.train.images[:1], dataset.train.labels[:1])
    assert repr(one) == "Split(1 image of 8x8x1)"
