"""What a folder is taken for: splits, classes and labels, or an error that names the layout."""

from __future__ import annotations

import os
import tracemalloc
import unicodedata
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from dse.data import parse_data
from dse.data.folder import FolderSource, locate_folder
from dse.data.source import silent
from dse.data.splits import SPLITS, SplitName
from dse.errors import DataError
from tests.data.trees import random_image, write_image

LABELS = "file,label\n" + "".join(f"{n}.png,{'cat' if n % 2 else 'dog'}\n" for n in range(8))


def write(root: Path, held: Mapping[str, int | str]) -> None:
    """Folders with so many images, and files with these texts."""
    rng = np.random.default_rng(0)
    for name, content in held.items():
        path = root / name
        if isinstance(content, str):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
            continue
        path.mkdir(parents=True, exist_ok=True)
        for index in range(content):
            write_image(path / f"{index}.png", random_image(rng, (2, 2, 3)))


def opened(root: Path) -> FolderSource:
    source = locate_folder(parse_data(f"folder:{root}"), root / "unused").open(silent)
    assert isinstance(source, FolderSource)
    return source


def held_in(source: FolderSource, split: SplitName) -> list[tuple[str, str]]:
    """Path and class of each image of a split."""
    part, places = source.members[split]
    paths, labels = source.listed[part]
    return [(paths[place], source.classes[labels[place]]) for place in places]


def pets(folder: str, cats: int = 4, dogs: int = 4) -> dict[str, int | str]:
    return {f"{folder}/cat": cats, f"{folder}/dog": dogs}


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "val", "test"),
        ("Training", "VALID", "Testing"),
        ("training_set", "validation_set", "test_set"),
        ("seg_train", "seg_val", "seg_test"),
        ("seg_train/seg_train", "seg_val/seg_val", "seg_test/seg_test"),
        ("train", "dev", "test1"),
        ("trainval", "val", "test"),
        ("trainset", "valset", "TestData"),
        ("ILSVRC_img_train", "ILSVRC_img_val", "ILSVRC_img_test"),
        ("our train photos", "their valid photos", "any test photos"),
    ],
)
def test_splits_by_their_names_or_by_their_class_folders(
    tmp_path: Path, train: str, validation: str, test: str
) -> None:
    write(tmp_path, {**pets(train, 4, 3), **pets(validation, 2, 1), **pets(test, 3, 2)})
    source = opened(tmp_path)
    assert source.classes == ("cat", "dog")
    assert source.warnings == ()
    assert source.class_counts == {"train": (4, 3), "validation": (2, 1), "test": (3, 2)}


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"train": 5, "test": 3}, r"/train holds 5 images and .*/test holds 3 images, but no cla"),
        ({"train": 5, "test1": 3}, r"/train holds 5 images and .*/test1 holds 3 images, but no cl"),
        ({"train": 5, "notes/a.txt": ""}, r"/train holds 5 images, but no class folders"),
        ({"seg_train": 5, "seg_test": 3, "seg_pred": 2}, r"seg_train holds 5 images and .*seg_tes"),
        ({"training_set": 5, "test_set": 3}, r"sort them into .*/training_set/<class>/"),
        (
            {"cats_train": 5, "cats_test": 3, "dogs_train": 5},
            r"cats_train holds 5 .* no class fold",
        ),
        ({"train/images": 5, "test/images": 5}, r"/train holds 5 images and .* no class folders"),
        (
            {"all/train/a": 3, "all/train/b": 3, "all/test/a": 3, "docs": 2},
            r"/all would be a class, but holds test and train, .*; did you mean folder:.*/all\?",
        ),
        ({"cat": 3, "dog": 3, "test": 4}, r"/test holds 4 images, but no class .* rename a folder"),
        (
            {f"{c}/{s}": 3 for c in "ab" for s in ("train", "test")},
            r"/a would be a class, but holds test and train",
        ),
        (
            {**pets("learn"), **pets("test")},
            r"holds learn and test but no train folder; expected P",
        ),
        ({".": 4}, r"holds 4 images, but no class folders: .*; sort them into .*/<class>/, put"),
        ({**pets("train"), "test": 3}, r"/test holds 3 images, but no class folders"),
        ({"train": 5, **pets("test")}, r"/train holds 5 images, but no class folders"),
        ({**pets("val"), **pets("test")}, r"holds test and val but no train folder; expected PATH"),
        ({**pets("train"), **pets("holdout")}, r"holds holdout, train but no test folder; add te"),
        ({**pets("."), **pets("test")}, r"/test looks like a split, and holds cat, dog as the fo"),
        (
            {**pets("train1"), **pets("train2"), **pets("test")},
            r"holds both train1 and train2; keep one of them",
        ),
        (
            {"train/images": 5, "train/labels/0.txt": "0 .5 .5 1 1", "data.yaml": "nc: 2"},
            r"/train looks like a data set for object detection .*sort those of .*/train/images",
        ),
        (
            {"images/train": 5, "images/val": 2, "labels/train/0.txt": "0"},
            r"looks like a data set for object detection .*sort those of .*/images into class fo",
        ),
        ({"JPEGImages": 5, "Annotations/0.xml": "<a/>"}, r"object detection or segmentation: JPEG"),
        ({"images": 5, "masks": 5}, r"images/ holds the images and masks/ what is where on them"),
        (
            {f"{s}/cat": 3 for s in ("train", "val", "test")},
            r"/train has images of one class only ",
        ),
        ({f"{s}/all/{c}": 3 for s in ("train", "test") for c in "ab"}, r"train/all holds a, b: mo"),
        ({"train/bird": 0, **pets("train"), **pets("test"), "test/bird": 2}, r"lacks: bird; what"),
    ],
)
def test_what_looks_like_another_layout_is_refused(
    tmp_path: Path, held: Mapping[str, int | str], message: str
) -> None:
    write(tmp_path, held)
    with pytest.raises(DataError, match=message) as caught:
        opened(tmp_path)
    for word in str(caught.value).split():  # a folder that is named is there
        if (path := word.removeprefix("folder:")).startswith(str(tmp_path)) and "<" not in path:
            assert Path(path.rstrip(";:,?")).exists()


def test_a_split_whose_files_begin_with_their_classes(tmp_path: Path) -> None:
    for name in ("train/cat.0.png", "train/dog.0.png", "train/dog.1.png", "test/1.png"):
        write_image(tmp_path / name, np.zeros((2, 2, 3), np.uint8))
    with pytest.raises(DataError, match=r"\(their names begin with cat and dog\); sort them into"):
        opened(tmp_path)


def test_names_that_hold_the_word_of_a_split_are_classes(tmp_path: Path) -> None:
    write(tmp_path, {"train_station": 3, "test_tube": 3})
    assert opened(tmp_path).classes == ("test_tube", "train_station")


def test_a_class_that_is_called_train_is_told_of(tmp_path: Path) -> None:
    write(tmp_path, {"bus": 3, "train": 3})
    source = opened(tmp_path)
    assert source.classes == ("bus", "train")
    assert source.warnings[0].endswith(
        "train may be meant as a split, but what lies in it has no class folders: taken as a "
        "class, like the folders beside it"
    )


def test_what_is_passed_over_is_named_with_the_reason(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            **pets("train"),
            **pets("test"),
            "train/bird": 0,
            "train/fish/a.heic": "",
            "train": 1,
            "test1": 2,
            "raw/a": 3,
            "paper/a.pdf": "",
            ".backup": 1,
        },
    )
    assert opened(tmp_path).warnings == (
        f"{tmp_path}: .backup is passed over: its name is hidden (begins with a dot)",
        f"{tmp_path}: paper is passed over: it is none of the splits",
        f"{tmp_path}: raw (3 images) is passed over: it is none of the splits",
        f"{tmp_path}: test1 (2 images) is passed over: its images have no class folders",
        f"{tmp_path}/train: bird is passed over: it holds no images",
        f"{tmp_path}/train: fish is passed over: it holds no images",
        f"{tmp_path}/train: 1 image outside of the class folders, ignored: train/0.png",
    )


def test_litter_is_passed_over_in_silence_and_a_folder_of_images_is_not(tmp_path: Path) -> None:
    write(tmp_path, {"__background__": 3, "cat": 3, "__MACOSX/cat": 2, "@eaDir": 1, ".git/a": 1})
    for name in ("cat/Thumbs.db", "cat/desktop.ini", "cat/.DS_Store", ".DS_Store", "cat/._0.png"):
        (tmp_path / name).write_text("x")
    source = opened(tmp_path)
    assert source.classes == ("__background__", "cat")
    assert source.warnings == ()
    assert sum(source.counts.values()) == 6


def test_a_studys_own_folders_are_no_classes(tmp_path: Path) -> None:
    write(tmp_path, {"cat": 3, "dog": 3, "plots": 3, "results/a/study.yaml": "", "results/a": 1})
    write(tmp_path, {"plots/0.svg": "", "plots/1.svg": "", "plots/2.svg": ""})
    source = opened(tmp_path)
    assert source.classes == ("cat", "dog")
    assert source.warnings == (
        f"{tmp_path}: plots (3 images) is passed over: it holds plots: each PNG has its SVG",
        f"{tmp_path}: results (1 image) is passed over: it holds studies of dse",
    )
    (tmp_path / "plots" / "0.svg").unlink()
    assert opened(tmp_path).classes == ("cat", "dog", "plots")


def test_classes_that_all_hold_the_same_folders_are_told(tmp_path: Path) -> None:
    write(tmp_path, {**pets("fold1"), **pets("fold2")})
    source = opened(tmp_path)
    assert source.classes == ("fold1", "fold2")
    assert source.warnings[0].endswith(
        "the folders fold1, fold2 are taken as classes, though each holds cat, dog; if those are "
        "the classes, call the folders train and test"
    )


def test_tiny_imagenet(tmp_path: Path) -> None:
    rows = "0.png\tn02\t0\t32\t44\t62\n1.png\tn01\t1\t2\t3\t4\n2.png\tn02\t5\t6\t7\t8\n"
    held = {"val/images": 3, "val/val_annotations.txt": rows, "test/images": 5, "wnids.txt": "n01"}
    write(tmp_path, {"train/n01/images": 10, "train/n02/images": 10, **held})
    source = opened(tmp_path)
    assert source.classes == ("n01", "n02")
    found = [(Path(path).name, name) for path, name in held_in(source, "validation")]
    assert found == [("1.png", "n01"), ("0.png", "n02"), ("2.png", "n02")]
    assert source.counts == {"train": 16, "validation": 3, "test": 4}  # a fifth of 20
    assert source.warnings == (
        f"{tmp_path}: a share of the training images is taken as test images",
        f"{tmp_path}: test (5 images) is passed over: its images have no class folders",
    )


@pytest.mark.parametrize(
    ("held", "labels"),
    [
        ({".": 8}, LABELS),
        ({"images": 8}, LABELS.replace(".png", "")),
        ({"images": 8}, LABELS.replace("\n", "\n./images\\")[: -len("./images\\")]),
        ({"train": 8}, LABELS.replace("file,label\n", "").replace(",", "\t")),
        ({".": 8}, LABELS.replace("file,label", "file;breed;age").replace(",", ";")),
        ({".": 8}, "id,file,class\n" + LABELS[11:].replace(".png", ".png").replace("\n", "\n9,")),
    ],
)
def test_a_file_of_labels_beside_flat_images(
    tmp_path: Path, held: Mapping[str, int], labels: str
) -> None:
    if labels.startswith("id,"):
        labels = "id,file,class\n" + "".join(f"9,{row}\n" for row in LABELS.split("\n")[1:-1])
    write(tmp_path, {**held, "labels.csv": labels})
    source = opened(tmp_path)
    assert source.classes == ("cat", "dog")
    every = [image for split in SPLITS for image in held_in(source, split)]
    found = {Path(path).stem: name for path, name in every}
    assert found == {str(n): "cat" if n % 2 else "dog" for n in range(8)}
    assert source.warnings == ()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("", r"labels\.csv names none of the 8 images beside it; one row an image is expected"),
        ("a.png,cat\nb.png,dog\n", r"names none of the 8 images"),
        ("file,label\n0.png,cat\n0.png,dog\n", r"csv:3: 0\.png is dog, but cat in line 2; an im"),
        ("file,cat,dog\n0.png,1,0\n", r"csv:1: which column says the class\? It has 'file', 'c"),
        ("0.png,c\x1b[1mat\n", r"csv:1: the class 'c\\x1b\[1mat' is not printable"),
        ('0.png,"cat\n', r"is no table of images and classes"),
    ],
)
def test_a_file_of_labels_that_cannot_be_followed(
    tmp_path: Path, labels: str, message: str
) -> None:
    write(tmp_path, {".": 8, "labels.csv": labels})
    with pytest.raises(DataError, match=message):
        opened(tmp_path)


def test_a_table_that_has_no_end(tmp_path: Path) -> None:
    write(tmp_path, {".": 8})
    os.mkfifo(tmp_path / "labels.csv")
    with pytest.raises(DataError, match=r"labels\.csv is a pipe or a device, not a table"):
        opened(tmp_path)
    (tmp_path / "labels.csv").unlink()
    (tmp_path / "labels.csv").write_text("," * 2_000_000)
    tracemalloc.start()
    with pytest.raises(DataError, match=r"names none of the 8 images"):
        opened(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()


def test_rows_without_an_image_and_images_without_a_row_are_told(tmp_path: Path) -> None:
    write(tmp_path, {".": 9, "labels.csv": LABELS + "gone.png,cat\n"})
    assert opened(tmp_path).warnings == (
        f"{tmp_path}/labels.csv: 1 row without an image or a class, ignored: line 10",
        f"{tmp_path}/labels.csv: 1 image without a row, ignored: 8.png",
    )


COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def test_two_spellings_of_one_name_are_one_class(tmp_path: Path) -> None:
    write(tmp_path, {COMPOSED: 4, DECOMPOSED: 3, "tea": 3})
    if len(list(tmp_path.iterdir())) < 3:
        pytest.skip("this file system has one spelling only")
    source = opened(tmp_path)
    assert source.classes == (COMPOSED, "tea")
    assert sum(source.counts.values()) == 10
    assert "2 folders called café differ in Unicode normalization alone" in source.warnings[0]


def test_splits_may_spell_a_class_in_two_ways(tmp_path: Path) -> None:
    write(tmp_path, {f"train/{DECOMPOSED}": 3, "train/tea": 3})
    write(tmp_path, {f"test/{COMPOSED}": 2, "test/tea": 3})
    source = opened(tmp_path)
    assert source.classes == (DECOMPOSED, "tea")  # as it was called before
    assert source.class_counts["test"] == (2, 3)


def test_a_file_of_labels_may_spell_names_in_two_ways(tmp_path: Path) -> None:
    for index in range(8):
        write_image(tmp_path / f"{DECOMPOSED}{index}.png", np.zeros((2, 2, 3), np.uint8))
    rows = [f"{COMPOSED}{n}.png,{(COMPOSED, DECOMPOSED, 'tea')[n % 3]}\n" for n in range(8)]
    (tmp_path / "labels.csv").write_text("".join(rows))
    with pytest.raises(DataError, match=r"in each of train, test, validation: tea \(2\)"):
        opened(tmp_path)
    (tmp_path / "labels.csv").write_text("".join(rows).replace(f"7.png,{DECOMPOSED}", "7.png,tea"))
    assert opened(tmp_path).classes == (COMPOSED, "tea")


def test_links_are_followed_but_not_into_circles(tmp_path: Path) -> None:
    write(tmp_path, {"pets/cat": 3, "pets/dog": 3, "more/cats": 2, "more/cats/tabby": 1})
    pets, more = tmp_path / "pets", tmp_path / "more"
    (pets / "cat" / "linked").symlink_to(more / "cats")
    (more / "cats" / "back").symlink_to(pets)
    (more / "cats" / "self").symlink_to(more / "cats")
    (pets / "loop").symlink_to(tmp_path)
    (pets / "dog" / "nowhere").symlink_to(pets / "gone")
    (pets / "dog" / "ring").symlink_to(pets / "dog" / "ring")
    source = opened(pets)
    assert source.classes == ("cat", "dog")
    assert sum(source.counts.values()) == 9
    reason = "is passed over: a link to a folder that it lies in"
    assert source.warnings == (
        f"{pets}: loop {reason}",
        f"{pets}/cat/linked: back {reason}",
        f"{pets}/cat/linked: self {reason}",
        f"{pets}: 2 files are no images and are ignored: dog/nowhere, dog/ring",
    )


def test_links_do_not_multiply(tmp_path: Path) -> None:
    names = "abcde"
    write(tmp_path, {f"all/{name}": 1 for name in names})
    for name in names:
        for other in names:
            if name != other:
                (tmp_path / "all" / name / other).symlink_to(tmp_path / "all" / other)
    source = opened(tmp_path / "all")
    # Itself, and by one link or two: 1 + 4 + 4·3 images of each class.
    assert sum(source.counts.values()) == 5 * 17
