from __future__ import annotations

import os
from pathlib import Path

import pytest

from dse.data import ClassNames, open_labelled
from dse.errors import DataError
from tests.data.trees import write_classes

PETS = ClassNames(("cat", "cow", "dog", "test", "train"), (), "pets.csv")


def names(root: Path) -> list[tuple[str, int]]:
    tree = open_labelled(root, PETS)
    return [(os.path.relpath(path, root), label) for path, label in tree.images()]


def test_one_level_of_folders(tmp_path: Path) -> None:
    write_classes(tmp_path, {"dog": 2, "cat/black": 1})
    (tmp_path / "dog" / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()  # a folder without images need not be a class
    assert names(tmp_path) == [("cat/black/0000.png", 0), ("dog/0000.png", 2), ("dog/0001.png", 2)]
    tree = open_labelled(tmp_path, PETS)
    assert (tree.directory, tree.images_count) == (tmp_path, 3)
    assert tree.warnings == (
        f"{tmp_path}: empty is passed over: it holds no images",
        f"{tmp_path}: 1 file is not an image and is ignored: dog/notes.txt",
    )


def test_one_class_is_enough(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cow": 1})
    assert names(tmp_path) == [("cow/0000.png", 1)]


def test_the_test_part_of_a_tree(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", {"cat": 2, "dog": 2, "horse": 1})
    write_classes(tmp_path / "Test", {"dog": 1})
    assert names(tmp_path) == [("Test/dog/0000.png", 2)]


def test_a_test_part_alone(tmp_path: Path) -> None:
    write_classes(tmp_path / "test", {"dog": 1})
    assert open_labelled(tmp_path, PETS).directory == tmp_path / "test"


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    write_classes(tmp_path, {"train": 1, "test": 1})
    assert names(tmp_path) == [("test/0000.png", 3), ("train/0000.png", 4)]


@pytest.mark.parametrize(("part", "found"), [("train", "train"), ("VAL", "VAL")])
def test_a_tree_without_a_test_part(tmp_path: Path, part: str, found: str) -> None:
    write_classes(tmp_path / part, {"dog": 1})
    with pytest.raises(
        DataError, match=rf"holds {found} but no test folder; .* give folder:.*/{found}$"
    ):
        open_labelled(tmp_path, PETS)


def test_what_is_no_tree(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere does not exist; folder:PATH needs"):
        open_labelled(tmp_path / "nowhere", PETS)
    (tmp_path / "cat.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"cat\.png is a file; folder:PATH needs"):
        open_labelled(tmp_path / "cat.png", PETS)
    with pytest.raises(DataError, match=r"holds no images in class folders; expected PATH/<cl"):
        open_labelled(tmp_path, PETS)


def test_a_folder_of_no_class(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 1, "dogs": 1})
    with pytest.raises(DataError, match=r"pets\.csv: no class is called dogs; did you mean dog\?"):
        open_labelled(tmp_path, PETS)


def test_a_folder_whose_name_is_not_text(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cat": 1})
    os.rename(tmp_path / "cat", os.fsencode(tmp_path) + b"/c\xffat")
    classes = ClassNames(("c\ufffdat",), (), "x")
    tree = open_labelled(tmp_path, classes)
    assert [(os.path.exists(path), label) for path, label in tree.images()] == [(True, 0)]


def test_a_folder_may_spell_its_class_in_another_normalization(tmp_path: Path) -> None:
    write_classes(tmp_path, {"cafe\u0301": 1})
    tree = open_labelled(tmp_path, ClassNames(("tea", "caf\u00e9"), (), "x"))
    assert [label for _, label in tree.images()] == [1]


def test_images_with_a_file_of_their_classes(tmp_path: Path) -> None:
    write_classes(tmp_path / "val", {"images": 3})
    rows = "0000.png\tdog\t1\n0001.png\tcat\t1\n0002.png\tdog\t1\n"
    (tmp_path / "val" / "val_annotations.txt").write_text(rows)
    tree = open_labelled(tmp_path / "val", PETS)
    found = [(Path(path).name, label) for path, label in tree.images()]
    assert found == [("0001.png", 0), ("0000.png", 2), ("0002.png", 2)]
