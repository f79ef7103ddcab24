"""Images with the same pixels, whatever their files are called."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dse.data import Dataset, parse_data, prepare_data
from dse.data.splits import SPLITS
from dse.errors import DataError
from tests.data.trees import write_classes

NONE = {"test_in_train": 0, "validation_in_train": 0, "test_in_validation": 0}
NONE |= {"several_classes": 0, "dropped": 0}


def prepared(root: Path, duplicates: str = "warn", **options: int) -> Dataset:
    spec = parse_data(f"folder:{root}", duplicates=duplicates, **options)
    return prepare_data(spec, cache_directory=root.parent / "cache")


def contents(dataset: Dataset, *splits: str) -> Counter[bytes]:
    return Counter(image.tobytes() for split in splits for image in getattr(dataset, split).images)


def counts(dataset: Dataset) -> list[int]:
    return [len(getattr(dataset, split)) for split in SPLITS]


def copy(root: Path, files: Iterable[int], source: str, target: str) -> None:
    """Copies under other names; as BMP, so that not even the bytes of the files are the same."""
    for index in files:
        image = Image.open(root / source / f"{index:04d}.png")
        image.save(root / target / f"copy{index}.bmp")


@pytest.fixture(name="parted")
def _parted(tmp_path: Path) -> Path:
    """Of 8 test images 5 are training images too, which are 24."""
    root = tmp_path / "pets"
    write_classes(root / "train", {"cat": 12, "dog": 12})
    write_classes(root / "test", {"cat": 2, "dog": 1}, seed=1)
    copy(root, range(3), "train/cat", "test/cat")
    copy(root, range(2), "train/dog", "test/dog")
    return root


def test_a_set_without_copies_has_its_fingerprint_and_splits_of_ever(tmp_path: Path) -> None:
    write_classes(tmp_path / "pets", {"cat": 20, "dog": 10})
    dataset = prepared(tmp_path / "pets")
    assert dataset.fingerprint == "305b5ee051d4321c411f7052cc0a4af9"
    assert dataset.duplicates == NONE
    assert dataset.warnings == ()
    assert prepared(tmp_path / "pets", "drop").fingerprint == dataset.fingerprint
    assert prepared(tmp_path / "pets", "error").directory == dataset.directory


def test_test_images_that_are_training_images_are_counted(parted: Path) -> None:
    dataset = prepared(parted)
    held = contents(dataset, "train"), contents(dataset, "validation")
    in_train = sum(1 for image in dataset.test.images if held[0][image.tobytes()])
    in_validation = sum(1 for image in dataset.test.images if held[1][image.tobytes()])
    assert in_train + in_validation == 5
    found = {"test_in_train": in_train, "test_in_validation": in_validation}
    assert dataset.duplicates == NONE | found
    assert dataset.warnings[0].startswith(f"{in_train} of 8 test images are also training images (")
    assert "test/cat/copy0.bmp = train/cat/0000.png" in " ".join(dataset.warnings)
    assert counts(dataset) == [22, 2, 8]


def test_dropped_copies_leave_the_training_images(parted: Path) -> None:
    dataset = prepared(parted, "drop")
    # 9 and 10 of 12 are left, of which one each is validated with.
    assert counts(dataset) == [17, 2, 8]
    assert max(contents(dataset, *SPLITS).values()) == 1
    assert dataset.duplicates == NONE | {"dropped": 5}
    assert dataset.warnings == ("5 images left out, with the same pixels as another",)
    assert prepared(parted).fingerprint != dataset.fingerprint


def test_duplicates_may_be_an_error_each_time(parted: Path) -> None:
    for _ in range(2):
        with pytest.raises(DataError, match=r"^pets holds duplicates .*:\n\d of 8 test images a"):
            prepared(parted, "error")


def test_images_of_two_classes_are_counted_and_dropped_altogether(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    write_classes(root, {"cat": 12, "dog": 12})
    copy(root, range(6), "cat", "dog")
    dataset = prepared(root)
    assert dataset.duplicates == NONE | {"several_classes": 6}
    assert dataset.warnings == (
        "6 images are in several classes (cat/0000.png = dog/copy0.bmp, cat/0001.png = "
        "dog/copy1.bmp, cat/0002.png = dog/copy2.bmp and 3 more): not more than one can be right; "
        "--duplicates drop leaves them out",
    )
    assert sum(counts(dataset)) == 30
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not contents(dataset, one) & contents(dataset, other)
    dropped = prepared(root, "drop")
    assert sum(counts(dropped)) == 18
    assert dropped.duplicates == NONE | {"dropped": 12}


@pytest.mark.parametrize("limit", [None, 20])
def test_copies_in_one_level_of_folders_stay_in_one_split(tmp_path: Path, limit: int) -> None:
    root = tmp_path / "pets"
    write_classes(root, {"cat": 30, "dog": 30})
    for times in range(3):
        copy(root, range(30), "cat", "cat")
        for path in list((root / "cat").glob("copy*")):
            path.rename(root / "cat" / f"{times}-{path.name}")
    dataset = prepared(root, train_limit=limit) if limit else prepared(root)
    assert dataset.duplicates == NONE
    held = {split: contents(dataset, split) for split in SPLITS}
    for one, other in (("train", "test"), ("train", "validation"), ("validation", "test")):
        assert not held[one] & held[other]
    # A fifth and a tenth of the 30 that differ, each with its copies; under a limit one of each.
    assert len(held["test"]) == 12
    assert np.bincount(dataset.test.labels).tolist() == [24, 6]
    assert np.bincount(dataset.validation.labels).tolist() == [12, 3]
    assert np.bincount(dataset.train.labels).tolist() == ([10, 10] if limit else [84, 21])


def test_where_too_few_images_differ_the_split_stays(tmp_path: Path) -> None:
    root = tmp_path / "pets"
    write_classes(root, {"cat": 1, "dog": 5})
    copy(root, [0], "cat", "cat")
    shutil.copy(root / "cat" / "copy0.bmp", root / "cat" / "again.bmp")
    dataset = prepared(root)
    assert counts(dataset) == [4, 2, 2]
    found = {"test_in_train": 1, "validation_in_train": 1, "test_in_validation": 1}
    assert dataset.duplicates == NONE | found
    assert dataset.warnings[0].startswith("1 of 2 test images is also a training image (")
    with pytest.raises(DataError, match=r"too few images to have one in each .*: cat \(1\)"):
        prepared(root, "drop")


def test_broken_images_do_not_shift_the_names(parted: Path) -> None:
    write_classes(parted / "train" / "dog", {"more": 80}, seed=5)
    (parted / "train" / "cat" / "0000.png").write_bytes(b"no image")
    warnings = " ".join(prepared(parted).warnings)
    assert "test/cat/copy1.bmp = train/cat/0001.png" in warnings
    assert "test/cat/copy0" not in warnings


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(DataError, match=r"duplicates is 'keep', but must be one of warn, drop, er"):
        parse_data("digits", duplicates="keep")
