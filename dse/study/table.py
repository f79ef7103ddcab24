"""Reading `trials.csv`: every cell is checked before it is believed.

The metaparameters are whatever columns stand between `candidate` and `seed`. A search writes
three columns more than a sweep (`SEARCH_COLUMNS`), and rows that were stopped early: their
accuracy is one after fewer epochs, so it says nothing beside that of a finished row.
"""

from __future__ import annotations

import csv
import io
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dse.architecture import LATENCY, OBJECTIVES
from dse.errors import StudyError, problem_lines
from dse.files import read_bounded
from dse.study.paths import TRIALS_NAME, write_file
from dse.text import csv_cell, inert, some_of

if TYPE_CHECKING:  # pandas takes a second and more to import: only who reads a table pays
    import pandas as pd

STATUSES = ("finished", "stopped", "failed")
STAGES = ("search", "finals", "reused")
SEARCH_COLUMNS = ("stage", "curve", "ended_s")
MOST_BYTES = 2**27
"""Of a table: some 500,000 trials."""

Cell = int | float | str | bool


def write_table(directory: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    """Write `trials.csv` in a study's folder, where there is a row.

    Raises:
        StudyError: the folder cannot be written.
    """
    path = directory / TRIALS_NAME
    if not rows:
        return path
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: csv_cell(value) for name, value in row.items()} for row in rows)
    return write_file(path, text.getvalue().encode())


def read_trials(path: Path) -> pd.DataFrame:
    """Trials of a study from its `trials.csv`, one row for each candidate and seed.

    Counts become integers, accuracies and times floats (NaN where nothing was measured), and
    a metaparameter whatever all of its values are: int, float or str. The columns of a search
    are there together or not at all; `stage` is one of `STAGES`, `curve` the text that
    `parse_curve` reads, and `ended_s` seconds of search time.

    Raises:
        StudyError: the file cannot be read, or cells do not hold what their column should;
            all of them are named by file, line and column.
    """
    import pandas as pd

    header, rows = _read_cells(path)
    columns = {name: [cells[index] for _, cells in rows] for index, name in enumerate(header)}
    lines = [line for line, _ in rows]
    problems: list[str] = []
    typed: dict[str, Sequence[Cell]] = {}
    for name, texts in columns.items():
        if name in _ALL_KINDS:
            typed[name] = _checked_column(name, texts, [f"{path}:{n}" for n in lines], problems)
        else:
            typed[name] = _inferred_column(texts)
    if not problems:
        problems += _contradictions(typed, [f"{path}:{n}" for n in lines])
    if problems:
        raise StudyError("\n".join(problem_lines(problems)))
    return pd.DataFrame(
        {
            name: pd.Series(values, dtype=_ALL_KINDS[name].dtype if name in _ALL_KINDS else None)
            for name, values in typed.items()
        }
    )


def parse_curve(text: str) -> tuple[tuple[int, float], ...]:
    """Accuracy after each rung's epochs, from the cell that a search writes.

    >>> parse_curve("1:0.4123 3:0.5571")
    ((1, 0.4123), (3, 0.5571))

    Returns:
        (epochs, accuracy as a fraction), epochs rising; empty where nothing was measured.

    Raises:
        ValueError: the text is something else.
    """
    parts = [part.partition(":") for part in text.split()]
    curve = tuple((int(epochs), float(accuracy)) for epochs, _, accuracy in parts)
    epochs = [0, *(epochs for epochs, _ in curve)]
    is_rising = all(before < after for before, after in itertools.pairwise(epochs))
    if not is_rising or not all(0 <= accuracy <= 1 for _, accuracy in curve):
        raise ValueError(f"{text!r} is no curve such as '1:0.4123 3:0.5571'")
    return curve


def is_search(trials: pd.DataFrame) -> bool:
    """Whether the table is that of a search: it has a `stage` column."""
    return "stage" in trials.columns


@dataclass(frozen=True)
class _Kind:
    """What the cells of a column must hold."""

    rule: str
    convert: Callable[[str], Cell]
    accepts: Callable[[Cell], bool]
    dtype: str


def _real(text: str) -> float:
    return float(text) if text else math.nan


def _is_number_or_unknown(value: Cell) -> bool:
    return math.isnan(float(value)) or abs(float(value)) < 1e300


def _is_count_or_unknown(value: Cell) -> bool:
    return math.isnan(float(value)) or (0 <= float(value) < 2**53 and float(value) == int(value))


def _is_share_or_unknown(value: Cell) -> bool:
    return math.isnan(float(value)) or 0 <= float(value) <= 1


def _is_time_or_unknown(value: Cell) -> bool:
    return math.isnan(float(value)) or 0 <= float(value) < math.inf


def _curve_text(text: str) -> str:
    parse_curve(text)
    return text


_TEXT = _Kind("text", inert, lambda _: True, "str")
_KEY = _Kind("a candidate's key", str, bool, "str")
_STATUS = _Kind("finished, stopped or failed", str, lambda value: value in STATUSES, "str")
_STAGE = _Kind("search, finals or reused", str, lambda value: value in STAGES, "str")
_CURVE = _Kind("epochs:accuracy, as in 1:0.4123 3:0.5571", _curve_text, lambda _: True, "str")
_TIME = _Kind("seconds from 0, or empty", _real, _is_time_or_unknown, "float64")
_SEED = _Kind(
    "a whole number of at most 64 bits", int, lambda value: -(2**63) <= int(value) < 2**63, "int64"
)
_COUNT = _Kind("a whole number from 0", int, lambda value: 0 <= int(value) < 2**63, "int64")
_EPOCHS = _Kind("a whole number from 0, or empty", _real, _is_count_or_unknown, "float64")
_SHARE = _Kind("a fraction in [0, 1] or empty", _real, _is_share_or_unknown, "float64")
_REAL = _Kind("a number or empty", _real, _is_number_or_unknown, "float64")
_KINDS = {
    "candidate": _KEY,
    "seed": _SEED,
    "status": _STATUS,
    "reason": _TEXT,
    **dict.fromkeys(OBJECTIVES, _COUNT),
    "validation_accuracy": _SHARE,
    "test_accuracy": _SHARE,
    "train_loss": _REAL,
    "epochs": _EPOCHS,
    **dict.fromkeys(("train_s", "compile_s", "images_per_s"), _REAL),
}
_SEARCH_KINDS = dict(zip(SEARCH_COLUMNS, (_STAGE, _CURVE, _TIME), strict=True))
_ALL_KINDS = _KINDS | _SEARCH_KINDS | {LATENCY: _TIME}


def _read_cells(path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """Header and rows, each row with its line; every row as long as the header."""
    rows = []
    try:
        text = read_bounded(path, MOST_BYTES).decode("utf-8-sig")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header = [inert(name) for name in next(reader, [])]
        for cells in reader:
            if cells:
                rows.append((reader.line_num, cells))
    except FileNotFoundError as error:
        raise StudyError(f"{path}: no such file; `dse sweep` and `dse search` write it") from error
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{path}: not a CSV file in UTF-8: {error}") from error
    wanted = (*_KINDS, *(SEARCH_COLUMNS if "stage" in header else ()))
    missing = [name for name in wanted if name not in header]
    if missing:
        found = some_of(header, 20) or "an empty file"
        raise StudyError(f"{path}:1: columns are missing: {', '.join(missing)}; found: {found}")
    if len(set(header)) < len(header) or header.index("seed") < header.index("candidate"):
        raise StudyError(
            f"{path}:1: each column must stand there once, and `candidate` before `seed`; "
            f"found: {some_of(header, 20)}"
        )
    for line, cells in rows:
        if len(cells) != len(header):
            raise StudyError(
                f"{path}:{line}: {len(cells)} cells, but the header has {len(header)}; "
                "the line may have been cut off"
            )
    return header, rows


def _checked_column(
    name: str, texts: Sequence[str], places: Sequence[str], problems: list[str]
) -> list[Cell]:
    kind = _ALL_KINDS[name]
    values: list[Cell] = []
    for text, place in zip(texts, places, strict=True):
        try:
            value = kind.convert(text)
            is_good = kind.accepts(value)
        except (ValueError, OverflowError):
            is_good = False
        if is_good:
            values.append(value)
        else:
            found = text if len(text) <= 60 else text[:60] + "…"
            problems.append(f"{place}: {name} is {found!r}, but must be {kind.rule}")
    return values


def _inferred_column(texts: Sequence[str]) -> list[int] | list[float] | list[str]:
    for convert in (int, float):
        try:
            values = [convert(text) for text in texts]
        except ValueError:
            continue
        if all(abs(value) < 2**63 for value in values):  # else words: no column holds them
            return values
    return [inert(text) for text in texts]


def _contradictions(columns: Mapping[str, Sequence[Cell]], places: Sequence[str]) -> list[str]:
    """Trials that stand there twice, or that finished without an accuracy."""
    problems = []
    seen: dict[tuple[Cell, Cell], str] = {}
    trials = zip(
        columns["candidate"],
        columns["seed"],
        columns["status"],
        columns["validation_accuracy"],
        places,
        strict=True,
    )
    for candidate, seed, status, accuracy, place in trials:
        if (candidate, seed) in seen:
            problems.append(
                f"{place}: candidate {candidate} with seed {seed} stands there twice, "
                f"first at {seen[candidate, seed]}"
            )
        seen.setdefault((candidate, seed), place)
        if status == "finished" and math.isnan(float(accuracy)):
            problems.append(
                f"{place}: validation_accuracy is not known, but the status is finished"
            )
    return problems
