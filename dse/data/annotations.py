"""A file that says the class of each image: `labels.csv`, or Tiny-ImageNet's annotations."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from dse.data.decode import shown
from dse.data.tree import File
from dse.errors import DataError
from dse.text import counted, some_of

_NAME = re.compile(r"(.*[^a-z])?(labels?|annotations?)\.(csv|tsv|txt)", re.IGNORECASE)
_LABEL_COLUMNS = ("label", "class", "category", "target", "species", "breed", "diagnosis", "wnid")
_MOST_BYTES = 2**28
_TRIED_COUNT = 100  # rows that say which column names the images


def label_file(directory: str, names: Sequence[str]) -> str | None:
    """The one of these files that says the classes of the images beside it.

    Raises:
        DataError: there are several, and none is called labels.csv.
    """
    found = sorted(name for name in names if _NAME.fullmatch(name))
    plain = [name for name in found if name.lower() == "labels.csv"]
    if len(plain or found) > 1:
        raise DataError(
            f"{directory} holds {some_of(found)}; keep the one that says the classes of its images"
        )
    return next(iter(plain or found), None)


def read_labels(
    path: str, images: Sequence[File]
) -> tuple[Mapping[str, Sequence[File]], tuple[str, ...]]:
    """The images of each class, sorted, and notes on those that a file leaves out.

    One row an image, separated by commas, semicolons, tabs or spaces. Images are named by path,
    name or name without extension. A header names the column of the classes (`label`, `class`,
    …); without one, it is the next after that of the images.

    Args:
        path: of the file.
        images: beside and below it.

    Raises:
        DataError: it cannot be read, names none of the images, or gives one two classes.
    """
    where, rows = shown(path), _rows(path)
    by_name = _by_name(images)

    def find(row: Sequence[str], column: int) -> File | None:
        name = (
            row[column].strip().replace("\\", "/").removeprefix("./") if column < len(row) else ""
        )
        return by_name.get(name) or by_name.get(name.rpartition("/")[2])

    hits = Counter(
        column for _, row in rows[:_TRIED_COUNT] for column in range(len(row)) if find(row, column)
    )
    if not hits:
        raise DataError(
            f"{where} names none of the {counted(len(images), 'image')} beside it; one row an "
            "image is expected: file,label"
        )
    at = min(hits, key=lambda column: (-hits[column], column))
    label_at = at + 1
    if find(rows[0][1], at) is None:
        label_at = _label_column(where, rows[0][1], at)
        rows = rows[1:]
    classes: dict[File, tuple[str, int]] = {}
    absent: list[str] = []
    for line, row in rows:
        label = row[label_at].strip() if label_at < len(row) else ""
        if (file := find(row, at)) is None or not label:
            absent.append(row[at] if at < len(row) else f"line {line}")
        elif not label.isprintable():
            raise DataError(f"{where}:{line}: the class {label!r} is not printable")
        elif classes.setdefault(file, (label, line))[0] != label:
            first, before = classes[file]
            raise DataError(
                f"{where}:{line}: {file.path} is {label}, but {first} in line {before}; an image "
                "has one class"
            )
    files: dict[str, list[File]] = {}
    for file in sorted(classes):
        files.setdefault(classes[file][0], []).append(file)
    notes = []
    if absent:
        notes.append(
            f"{where}: {counted(len(absent), 'row')} without an image or a class, ignored: "
            f"{some_of(absent)}"
        )
    if left := [shown(file.path) for file in images if file not in classes]:
        notes.append(
            f"{where}: {counted(len(left), 'image')} without a row, ignored: {some_of(left)}"
        )
    return files, tuple(notes)


def _rows(path: str) -> list[tuple[int, list[str]]]:
    """Lines and their cells, without empty ones."""
    where, file = shown(path), Path(path)
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise DataError(f"{where} has more than {_MOST_BYTES:,} bytes")
        lines = file.read_text(encoding="utf-8-sig").splitlines()
        first = next((line for line in lines if line.strip()), "")
        separator = next((mark for mark in "\t;," if mark in first), " ")
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
        return [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} is no table of images and classes: {error}") from error


def _by_name(images: Sequence[File]) -> dict[str, File | None]:
    """Images by path, name and stem; None for what several of them are called."""
    found: dict[str, File | None] = {}
    for file in images:
        name = file.path.rpartition("/")[2]
        for key in {file.path, name, name.rpartition(".")[0]}:
            found[key] = None if key in found else file
    return found


def _label_column(where: str, header: Sequence[str], at: int) -> int:
    named = [n for n, title in enumerate(header) if title.strip().lower() in _LABEL_COLUMNS]
    others = [n for n in range(len(header)) if n != at]
    for columns in (named, others):
        if len(columns) == 1:
            return columns[0]
    raise DataError(
        f"{where}:1: which column says the class? It has {some_of(header)}; call one of them label"
    )
