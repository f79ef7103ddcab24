"""A file that says the class of each image: `labels.csv`, or Tiny-ImageNet's annotations."""

from __future__ import annotations

import csv
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice

from dse.data.decode import shown
from dse.data.names import normalized
from dse.data.tree import File
from dse.errors import DataError
from dse.text import counted, some_of

_NAME = re.compile(r"(.*[^a-z])?(labels?|annotations?)\.(csv|tsv|txt)", re.IGNORECASE)
_LABEL_COLUMNS = ("label", "class", "category", "target", "species", "breed", "diagnosis", "wnid")
_LINE_LENGTH = 2**16
_NAMED_COUNT = 5
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
        name = row[column].strip().replace("\\", "/") if column < len(row) else ""
        name = normalized(name)
        return by_name.get(name.removeprefix("./")) or by_name.get(name.rpartition("/")[2])

    tried = list(islice(rows, _TRIED_COUNT))
    hits = Counter(column for _, row in tried for column in range(len(row)) if find(row, column))
    if not hits:
        raise DataError(
            f"{where} names none of the {counted(len(images), 'image')} beside it; one row an "
            "image is expected: file,label"
        )
    at = min(hits, key=lambda column: (-hits[column], column))
    label_at = at + 1
    if find(tried[0][1], at) is None:
        label_at = _label_column(where, tried.pop(0)[1], at)
    classes: dict[File, tuple[str, int]] = {}
    absent: list[str] = []
    absent_count = 0
    for line, row in chain(tried, rows):
        label = normalized(row[label_at].strip()) if label_at < len(row) else ""
        if (file := find(row, at)) is None or not label:
            absent_count += 1
            absent += [f"line {line}"] if len(absent) < _NAMED_COUNT else []
        elif not label.isprintable():
            raise DataError(f"{where}:{line}: the class {label!r} is not printable")
        elif classes.setdefault(file, (label, line))[0] != label:
            first, before = classes[file]
            raise DataError(
                f"{where}:{line}: {shown(file.path)} is {label}, but {first} in line {before}; an "
                "image has one class"
            )
    files: dict[str, list[File]] = {}
    for file in sorted(classes):
        files.setdefault(classes[file][0], []).append(file)
    notes = []
    if absent:
        notes.append(
            f"{where}: {counted(absent_count, 'row')} without an image or a class, ignored: "
            f"{some_of(absent, _NAMED_COUNT, count=absent_count)}"
        )
    if left := [shown(file.path) for file in images if file not in classes]:
        notes.append(
            f"{where}: {counted(len(left), 'image')} without a row, ignored: {some_of(left)}"
        )
    return dict(sorted(files.items())), tuple(notes)


def _rows(path: str) -> Iterator[tuple[int, list[str]]]:
    """Lines and their cells, without empty ones; what is read is never held as a whole."""
    where = shown(path)
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError(f"{where} is a pipe or a device, not a table of images and classes")
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = iter(lambda: file.readline(_LINE_LENGTH), "")
            first = next(lines, "")
            separator = next((mark for mark in "\t;," if mark in first), " ")
            reader = csv.reader(
                chain([first], lines), delimiter=separator, skipinitialspace=True, strict=True
            )
            for row in reader:
                if any(cell.strip() for cell in row):
                    yield reader.line_num, row
    except OSError as error:
        raise DataError(f"{where} cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{where} is no table of images and classes in UTF-8: {error}") from error


def _by_name(images: Sequence[File]) -> dict[str, File | None]:
    """Images by path, name and stem; None for what several of them are called."""
    found: dict[str, File | None] = {}
    for file in images:
        name = file.path.rpartition("/")[2]
        for key in {normalized(key) for key in (file.path, name, name.rpartition(".")[0])}:
            found[key] = None if key in found else file
    return found


def _label_column(where: str, header: Sequence[str], at: int) -> int:
    named = [n for n, title in enumerate(header) if title.strip().lower() in _LABEL_COLUMNS]
    others = [n for n in range(len(header)) if n != at]
    for columns in (named, others):
        if len(columns) == 1:
            return columns[0]
    raise DataError(
        f"{where}:1: which column says the class? It has {some_of(list(map(repr, header)))}; call "
        "one of them label"
    )
