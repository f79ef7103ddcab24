from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from dse.data import Dataset, parse_data, prepare_data
from dse.errors import DataError
from tests.data.trees import write_classes


def prepared(root: Path, cache: Path, **options: int) -> Dataset:
    return prepare_data(parse_data(f"folder:{root}", **options), cache_directory=cache)


@pytest.fixture(name="root")
def _root(tmp_path: Path) -> Path:
    (tmp_path / "pets").mkdir()
    return tmp_path / "pets"


@pytest.fixture(name="cache")
def _cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_a_missing_path(root: Path, cache: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist; folder:PATH needs a folder of"):
        prepared(root / "nowhere", cache)


def test_a_file_instead_of_a_folder(root: Path, cache: Path) -> None:
    (root / "cat.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"cat\.png is a file; folder:PATH needs a folder of"):
        prepared(root / "cat.png", cache)


def test_no_images(root: Path, cache: Path) -> None:
    (root / "cat").mkdir()
    (root / "cat" / "notes.txt").write_text("none here")
    with pytest.raises(DataError, match=r"pets holds no images in class folders; expected PATH/"):
        prepared(root, cache)


def test_one_class(root: Path, cache: Path) -> None:
    write_classes(root, {"cat": 3})
    with pytest.raises(DataError, match=r"images of one class only \(cat\); two class folders"):
        prepared(root, cache)


def test_a_folder_too_high_up(root: Path, cache: Path) -> None:
    write_classes(root / "archive", {"cat": 3, "dog": 3})
    with pytest.raises(DataError, match=r"one class only .*did you mean folder:.*pets/archive\?"):
        prepared(root, cache)


def test_a_class_that_is_tested_but_not_trained(root: Path, cache: Path) -> None:
    write_classes(root / "train", {"cat": 3, "dog": 3})
    write_classes(root / "test", {"cat": 3, "cow": 3})
    with pytest.raises(DataError, match=r"pets/test has classes that .*pets/train lacks: cow"):
        prepared(root, cache)


def test_a_class_that_is_trained_but_not_tested_is_a_warning(root: Path, cache: Path) -> None:
    write_classes(root / "train", {"cat": 3, "dog": 3})
    write_classes(root / "test", {"cat": 3}, seed=1)
    assert prepared(root, cache).warnings == (f"{root}/test has no images of dog",)


def test_train_without_test(root: Path, cache: Path) -> None:
    write_classes(root / "train", {"cat": 3, "dog": 3})
    write_classes(root / "val", {"cat": 3, "dog": 3})
    with pytest.raises(DataError, match=r"holds train, val but no test folder; add test/"):
        prepared(root, cache)


def test_two_validation_folders(root: Path, cache: Path) -> None:
    for part in ("train", "test", "val", "valid"):
        write_classes(root / part, {"cat": 3, "dog": 3})
    with pytest.raises(DataError, match=r"holds both val and valid; keep one of them"):
        prepared(root, cache)


def test_a_class_may_be_called_train(root: Path, cache: Path) -> None:
    write_classes(root, {"train": 5, "test": 5, "tram": 5})
    assert prepared(root, cache).classes == ("test", "train", "tram")


def test_too_few_images(root: Path, cache: Path) -> None:
    write_classes(root, {"cat": 9, "dog": 2})
    with pytest.raises(DataError, match=r"in each of train, test, validation: dog \(2\); every"):
        prepared(root, cache)
    # With parts given, two are enough: one to train on and one to validate.
    for part in ("train", "test"):
        write_classes(root / "parts" / part, {"cat": 2, "dog": 2})
    assert len(prepared(root / "parts", cache).train) == 2


def test_hidden_and_other_files_are_passed_over(root: Path, cache: Path) -> None:
    write_classes(root, {"cat": 5, "dog": 5})
    (root / "cat" / ".hidden.png").write_bytes(b"")
    (root / ".thumbs").mkdir()
    (root / "dog" / "labels.csv").write_text("")
    dataset = prepared(root, cache)
    assert dataset.classes == ("cat", "dog")
    warning = f"{root}: 1 file is not an image and is ignored: dog/labels.csv"
    assert dataset.warnings == (warning,)


def test_images_below_their_class(root: Path, cache: Path) -> None:
    held = write_classes(root, {"cat/black": 3, "cat/white": 4, "dog": 5}, extension="PNG")
    dataset = prepared(root, cache)
    assert dataset.classes == ("cat", "dog")
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == len(held)


def test_linked_class_folders_are_followed(root: Path, cache: Path, tmp_path: Path) -> None:
    write_classes(tmp_path / "elsewhere", {"cat": 5, "dog": 5})
    for name in ("cat", "dog"):
        (root / name).symlink_to(tmp_path / "elsewhere" / name)
    # A circle below a class is not entered.
    (tmp_path / "elsewhere" / "dog" / "again").symlink_to(tmp_path / "elsewhere")
    dataset = prepared(root, cache)
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == 10


def test_names_that_are_not_text(root: Path, cache: Path) -> None:
    write_classes(root, {"cat": 5, "dog": 5})
    os.rename(root / "cat", os.fsencode(root) + b"/c\xffat")
    dataset = prepared(root, cache)
    assert dataset.classes == ("c\ufffdat", "dog")


def break_images(root: Path, count: int) -> None:
    for index in range(count):
        path = root / "cat" / f"{index:04d}.png"
        path.write_bytes(path.read_bytes()[:50])


def test_a_few_broken_images_are_left_out_and_named(root: Path, cache: Path) -> None:
    write_classes(root, {"cat": 150, "dog": 50}, shape=(2, 2, 3))
    break_images(root, 2)
    dataset = prepared(root, cache)
    assert len(dataset.train) + len(dataset.validation) + len(dataset.test) == 198
    (warning,) = dataset.warnings
    assert warning.startswith("2 of 200 images cannot be decoded: cat/000")
    assert "cat/0001.png (" in warning
    assert "cat/0000.png (" in warning
    assert warning.endswith("left out")
    # What is left is what it would be without them; the labels have moved with the images.
    for index in range(2):
        (root / "cat" / f"{index:04d}.png").unlink()
    clean = prepared(root, cache)
    assert clean.warnings == ()
    assert {image.tobytes() for image in clean.test.images} >= {
        image.tobytes() for image in dataset.test.images
    }


def test_more_broken_images_than_the_share_are_an_error(root: Path, cache: Path) -> None:
    write_classes(root, {"cat": 150, "dog": 50}, shape=(2, 2, 3))
    break_images(root, 7)
    with pytest.raises(DataError) as caught:
        prepared(root, cache)
    message = str(caught.value)
    assert message.startswith("7 of 200 images cannot be decoded: cat/")
    assert message.count(".png (") == 5
    assert message.endswith("and 2 more; up to 1% are left out, but not more: fix or remove them")
    assert list(cache.glob("pets-*")) == []


def test_a_hopeless_folder_is_not_read_to_its_end(root: Path, cache: Path) -> None:
    write_classes(root, {"cat": 400, "dog": 200}, shape=(2, 2, 3))
    break_images(root, 400)
    with pytest.raises(DataError, match=r"^at least 1\d\d of 600 images cannot be decoded"):
        prepared(root, cache)


def test_an_empty_file_and_one_of_another_kind_are_broken(root: Path, cache: Path) -> None:
    write_classes(root, {"cat": 5, "dog": 5})
    (root / "cat" / "empty.png").write_bytes(b"")
    (root / "dog" / "text.jpg").write_text("not an image")
    with pytest.raises(DataError, match=r"2 of 12 images .*empty\.png \(cannot identify image"):
        prepared(root, cache)


def test_a_link_that_leads_nowhere_is_broken_and_a_pipe_is_no_image(
    root: Path, cache: Path
) -> None:
    write_classes(root, {"cat": 5, "dog": 5})
    os.mkfifo(root / "cat" / "pipe.png")
    warning = f"{root}: 1 file is not an image and is ignored: cat/pipe.png"
    assert prepared(root, cache).warnings == (warning,)
    (root / "dog" / "gone.png").symlink_to(root / "nowhere.png")
    with pytest.raises(DataError, match=r"1 of 11 images .*dog/gone\.png \(.*No such file"):
        prepared(root, cache)


def test_large_images_are_decoded_in_small_blocks(root: Path, cache: Path) -> None:
    held = write_classes(root, {"cat": 4, "dog": 4}, shape=(40, 40, 1))
    steps: list[int] = []
    dataset = prepare_data(
        parse_data(f"folder:{root}", image_size=1800),
        cache_directory=cache,
        progress=lambda stage, done, total: steps.append(done) if stage == "decoding" else None,
    )
    assert dataset.train.images.shape == (4, 1800, 1800, 1)
    # 3.24 MB each: two to a block of 8 MiB; 4 + 2 + 2 images.
    assert steps == [2, 4, 6, 8]
    assert len(held) == 8


def test_a_limit_does_not_change_the_size_of_images(root: Path, cache: Path) -> None:
    write_classes(root, {"cat": 20, "dog": 20})
    write_classes(root, {"dog/large": 1}, shape=(9, 9, 3))
    assert prepared(root, cache).input_shape == (64, 64, 3)
    for seed in range(3):
        few = prepared(root, cache, train_limit=2, split_seed=seed)
        assert few.input_shape == (64, 64, 3)


def test_image_size_is_used(root: Path, cache: Path) -> None:
    write_classes(root, {"cat": 3, "dog": 3}, shape=(6, 9, 3))
    dataset = prepared(root, cache, image_size=4)
    assert dataset.input_shape == (4, 4, 3)
    assert dataset.train.images.std() > 0
    np.testing.assert_array_equal(dataset.train.labels, [0, 1])
