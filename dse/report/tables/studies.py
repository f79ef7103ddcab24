"""Finding a finished or running study by its name, from the files that it writes.

Reads `trials.csv` and `study.yaml` only, never the database: published results are enough.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path

from dse.architecture import FAMILIES, Candidate, Metaparameter, Shape, Value, make_candidate
from dse.errors import ConfigError, StudyError
from dse.report.tables.summary import StudyTable, metaparameters
from dse.study.description import find_description
from dse.study.paths import DATABASE_NAME, DESCRIPTION_NAME, TRIALS_NAME
from dse.study.table import read_trials
from dse.text import inert, some_of


def study_names(results: Path) -> list[str]:
    """Names of the studies under `results`, sorted."""
    return sorted(path.parent.name for path in results.glob(f"*/{TRIALS_NAME}"))


def open_study(results: Path, name: str) -> StudyTable:
    """A study's trials with its description, which may be absent.

    Args:
        results: folder of all studies.
        name: the study's name, or its folder.

    Raises:
        StudyError: there is no such study (those that there are, nearest first), or its
            files do not hold what they should.
        ConfigError: `study.yaml` is no YAML.
    """
    directory = study_directory(results, name)
    trials = read_trials(directory / TRIALS_NAME)
    return StudyTable(inert(directory.resolve().name), trials, find_description(directory))


@dataclass(frozen=True)
class StudiedCandidate:
    """A candidate of a study with what it was trained for."""

    candidate: Candidate
    input_shape: Shape
    classes_count: int


def studied_candidate(study: StudyTable, key: str) -> StudiedCandidate:
    """The candidate that the study's table calls `key`, or the one that begins so.

    Raises:
        StudyError: there is none or more than one, `study.yaml` lacks family, input shape or
            classes, or the row's metaparameters do not give that key.
    """
    keys = list(dict.fromkeys(study.trials["candidate"]))
    begin_so = [known for known in keys if key and known.startswith(key)]
    if len(begin_so) == 1:
        key = begin_so[0]
    elif begin_so and key not in keys:
        raise StudyError(
            f"study {study.name}: {key!r} begins {len(begin_so)} candidates: "
            f"{', '.join(begin_so[:8])}{', …' if len(begin_so) > 8 else ''}; write more of it"
        )
    rows = study.trials[study.trials["candidate"] == key]
    if rows.empty:
        raise StudyError(f"study {study.name} has no candidate {key!r}; {_there_are(keys, key)}")
    family, data = study.description.space.get("family"), study.description.data
    if (
        not isinstance(family, str)
        or family not in FAMILIES
        or len(data.input_shape) != 3
        or not data.classes
    ):
        raise StudyError(
            f"study {study.name}: {DESCRIPTION_NAME} must name space.family, data.input_shape "
            "[height, width, channels] and data.classes"
        )
    known = FAMILIES[family].metaparameters
    texts = {name: str(rows.iloc[0][name]) for name in metaparameters(study.trials)}
    try:
        candidate = make_candidate(
            family, {name: recorded_value(text, known.get(name)) for name, text in texts.items()}
        )
    except ConfigError as error:
        raise StudyError(f"study {study.name}, candidate {key}: {error}") from error
    if candidate.key != key:
        raise StudyError(
            f"study {study.name}: the metaparameters of candidate {key} give {candidate.key}; "
            f"{TRIALS_NAME} was changed, or another version of dse wrote it"
        )
    height, width, channels = data.input_shape
    return StudiedCandidate(candidate, (height, width, channels), len(data.classes))


def recorded_value(text: str, part: Metaparameter | None) -> Value:
    """A metaparameter's value from its cell in `trials.csv`; layer names stand between spaces.

    >>> recorded_value("8", None), recorded_value("0.25", None), recorded_value("late", None)
    (8, 0.25, 'late')
    """
    if part is not None and part.kind == "layers" and text not in part.choices:
        return tuple(text.split())
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def study_directory(results: Path, name: str) -> Path:
    """The folder of a study, named by itself or by its name under `results`.

    Raises:
        StudyError: there is no such study, or it has no trials.csv yet.
    """
    for directory in (results / name, Path(name)):
        # Not `Path.is_file`, which raises for a name that no file can have.
        if name.strip() and os.path.isfile(directory / TRIALS_NAME):
            return directory
    if name.strip() and os.path.isfile(results / name / DATABASE_NAME):
        raise StudyError(
            f"study {name} in {results} has no {TRIALS_NAME} yet: no candidate has ended; "
            "the command that made it resumes it"
        )
    names = study_names(results)
    if not names:
        raise StudyError(
            f"study {name!r} not found: {results} holds none; `dse sweep` and "
            "`dse search` make one, and --results says where they are"
        )
    raise StudyError(f"study {name!r} not found in {results}; {_there_are(names, name)}")


def _there_are(names: list[str], name: str) -> str:
    """`there are a, b, c`, the nearest to `name` first."""
    by_nearness = sorted(names, key=lambda other: -SequenceMatcher(None, name, other).ratio())
    return f"there {'is' if len(names) == 1 else 'are'} {some_of(by_nearness, 8)}"
