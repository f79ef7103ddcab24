from __future__ import annotations

import os
from pathlib import Path

import pytest

from dse.data import ClassNames, read_classes
from dse.errors import DataError

BIRDS = ClassNames(
    names=("tench", "crane", "tiger shark", "crane"),
    ids=("n01440764", "n02012849", "n01491361", "n03126707"),
    source="birds.csv",
)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_rows_in_any_order_with_other_columns(tmp_path: Path) -> None:
    text = "wnid,note,index,name\nn2,x,1,crane\nn1,y,0,'tench, or fish'\n"
    found = read_classes(written(tmp_path / "a.csv", text.replace("'", '"')))
    assert found == ClassNames(("tench, or fish", "crane"), ("n1", "n2"), str(tmp_path / "a.csv"))


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    text = "\ufeffindex,wnid,name\r\n0,n1,tench\r\n"
    assert read_classes(written(tmp_path / "a.csv", text)).names == ("tench",)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a\.csv:1: the column index is missing; a class file begins with the line index,wni"),
        ("index,id,name\n0,n1,a\n", r"a\.csv:1: the column wnid is missing"),
        ("index,wnid,name\n", r"a\.csv: it holds no classes"),
        ("index,wnid,name\n0,n1,a\n2,n2,b\n", r"a\.csv:3: index is 2, but 2 classes have 0 to 1"),
        ("index,wnid,name,name\n0,n1,a,b\n", r"a\.csv:1: the column name is there twice"),
        (f"index,wnid,name\n{'9' * 9999},n1,a\n", r"a\.csv:2: index is 9{20}, but 1 classes"),
        ("index,wnid,name\n-1,n1,a\n", r"a\.csv:2: index is -1, but 1 classes"),
        ("index,wnid,name\nx,n1,a\n", r"a\.csv:2: index is x"),
        ("index,wnid,name\n0,n1\n", r"a\.csv:2: index, wnid and name must all be given"),
        ("index,wnid,name\n0,n1,a\n0,n2,b\n", r"a\.csv:3: index 0 was given before"),
        ("index,wnid,name\n0,n,a\n1,n,b\n", r"a\.csv:3: wnid n was given before, in line 2"),
        ('index,wnid,name\n0,"n', r"a\.csv: this is no CSV file of classes: unexpected end of"),
    ],
)
def test_what_is_no_class_file(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_classes(written(tmp_path / "a.csv", text))


def test_files_that_are_no_text_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00index")
    with pytest.raises(DataError, match=r"a\.csv: this is no CSV file of classes: 'utf-8' codec"):
        read_classes(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"b\.csv: the class file cannot be read: No such file"):
        read_classes(tmp_path / "b.csv")


def test_a_class_file_that_never_ends(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(DataError, match=r"a\.csv: the class file cannot be read: not an ordinary"):
        read_classes(tmp_path / "a.csv")
    (tmp_path / "b.csv").touch()
    os.truncate(tmp_path / "b.csv", 10**12)
    with pytest.raises(DataError, match=r"b\.csv: the class file cannot be read: larger than"):
        read_classes(tmp_path / "b.csv")


def test_folders_by_id_or_by_name() -> None:
    assert BIRDS.labels(["n03126707", "n02012849", "tench", "tiger shark"]) == {
        "n03126707": 3,
        "n02012849": 1,
        "tench": 0,
        "tiger shark": 2,
    }


def test_a_name_of_two_classes_needs_the_id() -> None:
    with pytest.raises(DataError) as caught:
        BIRDS.labels(["crane"])
    assert str(caught.value) == (
        "2 classes of birds.csv are called crane: index 1 (n02012849), index 3 (n03126707); name "
        "the folder by the id"
    )


def test_two_folders_of_one_class() -> None:
    with pytest.raises(DataError, match=r"folders n01440764 and tench are one class \(tench, inde"):
        BIRDS.labels(["n01440764", "tench"])


def test_folders_of_no_class_are_all_named() -> None:
    with pytest.raises(DataError) as caught:
        BIRDS.labels(["tenhc", "tench", "n0"])
    assert str(caught.value) == (
        "birds.csv: 2 folders are no classes: tenhc, n0; did you mean tench? the 4 classes are "
        "tench, crane, tiger shark"
    )
    with pytest.raises(DataError, match=r"birds\.csv: no class is called house; the 4 classes are"):
        BIRDS.labels(["house"])
