from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import dse.data
from dse.data import DataSpec, parse_data
from dse.data.spec import cache_root
from dse.errors import DataError


def test_the_public_names() -> None:
    assert dse.data.__all__ == [
        "ClassNames",
        "DataDescription",
        "DataSpec",
        "Dataset",
        "LabelledTree",
        "Split",
        "check_same_data",
        "describe_data",
        "open_dataset",
        "open_labelled",
        "parse_data",
        "prepare_data",
        "read_classes",
        "weights_classes",
    ]


def test_each_source_has_its_shares() -> None:
    assert parse_data("digits") == DataSpec(
        source="digits", validation_share=0.2, test_share=0.2, split_seed=0
    )
    assert parse_data("folder:/a/b", image_size=48, train_limit=9, split_seed=3) == DataSpec(
        source="folder",
        path=Path("/a/b"),
        image_size=48,
        train_limit=9,
        validation_share=0.1,
        test_share=0.2,
        split_seed=3,
    )
    assert parse_data("cifar10").path is None
    assert parse_data("cifar10:/a/b.tar.gz").path == Path("/a/b.tar.gz")


def test_a_path_is_made_absolute_and_may_hold_a_colon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/somebody")
    assert parse_data("folder:a:b").path == tmp_path / "a:b"
    assert parse_data("folder:~/images").path == Path("/home/somebody/images")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digts", r"data 'digts' is not a source; did you mean digits\? known are digits, folder:"),
        ("cifar-10:/x", r"did you mean cifar10\?"),
        ("Folder:/x", r"did you mean folder\?"),
        ("imagenet", r"data 'imagenet' is not a source; known are"),
        ("digits:8", r"digits is built in and takes no path; write `digits`"),
        ("folder", r"folder needs a path; write `folder:PATH`"),
        ("folder:", r"folder needs a path"),
        ("cifar10:", r"nothing stands behind the colon; write `cifar10`"),
        ("", r"data '' is not a source"),
    ],
)
def test_a_wrong_source_is_refused(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_data(text)


def test_a_bare_folder_is_recognised(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"is a folder; did you mean folder:{tmp_path}\?"):
        parse_data(str(tmp_path))


def test_numbers_out_of_bounds_are_refused() -> None:
    with pytest.raises(DataError, match=r"image size is 0, but must be at least 1 pixel"):
        parse_data("folder:x", image_size=0)
    with pytest.raises(DataError, match=r"training limit is 0, but must be at least 1 image"):
        parse_data("digits", train_limit=0)
    with pytest.raises(DataError, match=r"digits has one size; an image size \(16\) is for folder"):
        parse_data("digits", image_size=16)


def test_the_cache_is_argument_then_variable_then_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "variable"))
    assert cache_root(tmp_path / "argument") == tmp_path / "argument"
    assert cache_root() == tmp_path / "variable"
    monkeypatch.delenv("DSE_CACHE")
    assert cache_root().name == "dse"


def test_neither_jax_nor_scikit_learn_is_imported() -> None:
    program = (
        "import sys, dse.data; dse.data.describe_data(dse.data.parse_data('digits')); "
        "print(sorted({'jax', 'sklearn', 'flax', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("asked", "size"),
    [("48", 48), ("48x64", (48, 64)), (" 64X48 ", (64, 48)), ("32x32", 32), ((8, 12), (8, 12))],
)
def test_a_size_is_a_side_or_height_and_width(asked, size):
    assert parse_data("folder:x", image_size=asked).image_size == size


@pytest.mark.parametrize(
    "asked", ["", "x", "48x", "4x6x3", "-4", "4.5", "４８", (4,) * 3, (4.0, 5)]
)
def test_what_is_no_size_is_told(asked):
    with pytest.raises(DataError, match=r"image size is .*a side in pixels \(64\) or HEIGHTxWIDTH"):
        parse_data("folder:x", image_size=asked)
    with pytest.raises(DataError, match="image size is 0x9, but must be at least 1 pixel"):
        parse_data("folder:x", image_size="0x9")
