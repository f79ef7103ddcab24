"""Names of classes: a class file, the class that a folder holds, and whose images fit a network."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dse.data.dataset import Dataset
from dse.data.names import normalized
from dse.data.source import DataDescription
from dse.data.spec import DataSpec
from dse.errors import DataError
from dse.files import read_bounded
from dse.text import shape_text, some_of
from dse.weights.metadata import WeightsMetadata

COLUMNS = ("index", "wnid", "name")
_CLASSES_BYTES = 2**23


@dataclass(frozen=True)
class ClassNames:
    """The classes in the order of a network's scores.

    Attributes:
        names: what people call them; two classes may share one (`crane`).
        ids: what else they are called, such as WordNet ids, each once; () for nothing.
        source: what messages call this list.
    """

    names: tuple[str, ...]
    ids: tuple[str, ...]
    source: str

    def labels(self, folders: Iterable[str]) -> dict[str, int]:
        """The class of each folder: by id, else by name.

        Raises:
            DataError: folders of no class or of several, and two folders of one class.
        """
        folders = list(folders)
        by_id = {name: index for index, name in enumerate(self.ids)}
        by_name: dict[str, list[int]] = {}
        for index, name in enumerate(self.names):
            by_name.setdefault(normalized(name), []).append(index)
        labels: dict[str, int] = {}
        for folder in folders:
            if folder in by_id:
                labels[folder] = by_id[folder]
            elif len(found := by_name.get(normalized(folder), [])) == 1:
                labels[folder] = found[0]
            elif found:
                named = [f"index {i}" + (f" ({self.ids[i]})" if self.ids else "") for i in found]
                fix = "name the folder by the id"
                if not self.ids:
                    fix = "their ids are needed: give a class file"
                raise DataError(
                    f"{len(found)} classes of {self.source} are called {folder}: "
                    f"{', '.join(named)}; {fix}"
                )
        if unknown := [folder for folder in folders if folder not in labels]:
            close = difflib.get_close_matches(unknown[0], [*by_name, *by_id], n=1, cutoff=0.6)
            hint = f"did you mean {close[0]}? " if close else ""
            count = len(unknown)
            what = "no class is called" if count == 1 else f"{count} folders are no classes:"
            raise DataError(
                f"{self.source}: {what} {some_of(unknown)}; {hint}the {len(self.names):,} "
                f"classes are {some_of([*by_name])}"
            )
        owners: dict[int, str] = {}
        for folder, label in labels.items():
            if label in owners:
                raise DataError(
                    f"the folders {owners[label]} and {folder} are one class "
                    f"({self.names[label]}, index {label}) of {self.source}; put them together"
                )
            owners[label] = folder
        return labels


def weights_classes(weights: Path, metadata: WeightsMetadata, file: Path | None) -> ClassNames:
    """The classes that a file names, else those of the weights themselves.

    Raises:
        DataError: the file cannot be read, or has another number of classes.
    """
    if file is None:
        return ClassNames(metadata.classes, metadata.class_ids, source=str(weights))
    found = read_classes(file)
    if len(found.names) != len(metadata.classes):
        raise DataError(
            f"{file} has {len(found.names):,} classes, but {weights} gives scores for "
            f"{len(metadata.classes):,}"
        )
    return found


def check_same_data(
    weights: Path, metadata: WeightsMetadata, spec: DataSpec, data: DataDescription | Dataset
) -> None:
    """Refuse images of another shape or other classes than those of a network.

    Args:
        weights: the network's file, for the message.
        metadata: of that file.
        spec: of the data, for the message.
        data: what it is.

    Raises:
        DataError: says both.
    """

    def few(names: Sequence[str]) -> str:
        return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")

    shape, classes = tuple(metadata.input_shape), tuple(metadata.classes)
    if (data.input_shape, data.classes) != (shape, classes):
        raise DataError(
            f"{weights} is not for {spec.source}: it takes {shape_text(shape)} and has "
            f"{len(classes):,} classes ({few(classes)}), but {spec.source} has "
            f"{shape_text(data.input_shape)} and {len(data.classes):,} ({few(data.classes)})"
        )


def read_classes(path: Path) -> ClassNames:
    """Read a CSV file with the columns index, wnid and name.

    Other columns are passed over; the rows may stand in any order.

    Raises:
        DataError: it cannot be read, lacks a column, or its rows are not classes 0 to n - 1,
            each once and with an id of its own; says the line.
    """
    try:
        text = read_bounded(path, _CLASSES_BYTES).decode("utf-8-sig")
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        header = list(reader.fieldnames or ())
        for name in COLUMNS:
            if header.count(name) != 1:
                found = "is there twice" if name in header else "is missing"
                raise DataError(
                    f"{path}:1: the column {name} {found}; a class file begins with the line "
                    f"{','.join(COLUMNS)}"
                )
        rows = [(reader.line_num, [row[name] for name in COLUMNS]) for row in reader]
    except OSError as error:
        raise DataError(f"{path}: the class file cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: this is no CSV file of classes: {error}") from error
    names: list[str | None] = [None] * len(rows)
    ids: list[str] = [""] * len(rows)
    seen: dict[str, int] = {}
    for line, (index_text, wnid, name) in rows:
        where = f"{path}:{line}"
        if not index_text or not wnid or not name:
            raise DataError(f"{where}: index, wnid and name must all be given")
        is_number = index_text.isascii() and index_text.isdecimal() and len(index_text) < 20
        index = int(index_text) if is_number else -1
        if not 0 <= index < len(rows):
            raise DataError(
                f"{where}: index is {index_text[:20]}, but {len(rows)} classes have 0 to "
                f"{len(rows) - 1}"
            )
        if names[index] is not None:
            raise DataError(f"{where}: index {index} was given before")
        if wnid in seen:
            raise DataError(f"{where}: wnid {wnid} was given before, in line {seen[wnid]}")
        names[index], ids[index], seen[wnid] = name, wnid, line
    if not rows:
        raise DataError(f"{path}: it holds no classes")
    return ClassNames(tuple(map(str, names)), tuple(ids), str(path))
