"""What studies there are, each in one line, from their files alone."""

from __future__ import annotations

import contextlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dse.errors import DseError
from dse.report.tables.studies import open_study
from dse.report.tables.summary import StudyTable, front_table
from dse.study.answer import find_answer
from dse.study.paths import DATABASE_NAME, DESCRIPTION_NAME, STUDY_FILES, TRIALS_NAME
from dse.study.table import is_search


@dataclass(frozen=True)
class Best:
    """The best that a study has to show.

    For a search what `answer.json` says, with `times_fewer` than the reference and whether it
    `qualifies`; for a sweep the most accurate of the front, where both are None.
    """

    candidate: str
    params_count: int
    validation_accuracy: float
    times_fewer: float | None = None
    qualifies: bool | None = None


@dataclass(frozen=True)
class StudyEntry:
    """One study of the list.

    Attributes:
        name: of the study's folder.
        changed: when one of its files last changed.
        kind: sweep or search.
        data: name of the data; None where `study.yaml` does not say.
        space_size: candidates of its space before limits; None where they are not known or
            cannot be counted.
        feasible_count: those within the limits; None where `study.yaml` does not say.
        finished_count: rows that finished; `reused_count` of them came from other studies.
        stopped_count: rows that were stopped early.
        failed_count: rows that failed.
        best: None where there is none yet.
        problem: why nothing else is known: the first line of what is wrong; else None.
    """

    name: str
    changed: datetime
    kind: str | None = None
    data: str | None = None
    space_size: int | None = None
    feasible_count: int | None = None
    finished_count: int = 0
    reused_count: int = 0
    stopped_count: int = 0
    failed_count: int = 0
    best: Best | None = None
    problem: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return asdict(self) | {"changed": self.changed.isoformat(timespec="seconds")}


def list_studies(results: Path) -> tuple[StudyEntry, ...]:
    """The studies under `results`, the one that changed last first.

    A folder with a table, a description or a database is a study; what cannot be read is an
    entry with its problem.
    """
    folders = [
        folder
        for folder in (results.iterdir() if results.is_dir() else ())
        if any((folder / name).is_file() for name in (TRIALS_NAME, DESCRIPTION_NAME, DATABASE_NAME))
    ]
    entries = [_entry(folder) for folder in folders]
    return tuple(sorted(entries, key=lambda entry: (-entry.changed.timestamp(), entry.name)))


def _entry(folder: Path) -> StudyEntry:
    from dse.config import space_from_dict

    times_s = [path.stat().st_mtime for name in STUDY_FILES if (path := folder / name).is_file()]
    changed = datetime.fromtimestamp(max(times_s), UTC)
    if not (folder / TRIALS_NAME).is_file():
        return StudyEntry(folder.name, changed, problem=f"no {TRIALS_NAME} yet: nothing has ended")
    try:
        study = open_study(folder.parent, folder.name)
        best = _best(study, folder)
    except DseError as error:
        return StudyEntry(folder.name, changed, problem=str(error).splitlines()[0])
    except Exception as error:  # one study must not hide the others, whatever is wrong with it
        problem = f"it cannot be read: {type(error).__name__}: {error}"
        return StudyEntry(folder.name, changed, problem=problem)
    trials, description = study.trials, study.description
    space_size = description.space_size
    if space_size is None and description.space:
        with contextlib.suppress(DseError):  # a part of a space, or one of another version
            space_size = space_from_dict(description.space).size
    counts = trials["status"].value_counts()
    is_reused = trials["stage"] == "reused" if is_search(trials) else trials["status"] == ""
    return StudyEntry(
        name=folder.name,
        changed=changed,
        kind="search" if is_search(trials) or description.kind == "search" else "sweep",
        data=description.data.name,
        space_size=space_size,
        feasible_count=description.feasible_count,
        finished_count=int(counts.get("finished", 0)),
        reused_count=int(is_reused.sum()),
        stopped_count=int(counts.get("stopped", 0)),
        failed_count=int(counts.get("failed", 0)),
        best=best,
    )


def _best(study: StudyTable, folder: Path) -> Best | None:
    if is_search(study.trials):
        answer = find_answer(folder)
        found = (answer.answer or answer.nearest) if answer else None
        if answer is None or found is None:
            return None
        return Best(
            found.candidate,
            found.params_count,
            found.validation_accuracy,
            found.times_fewer,
            answer.found,
        )
    front = front_table(study.trials)
    if front.empty:
        return None
    last = front.iloc[-1]
    accuracy = float(last["validation_accuracy_mean"])
    return Best(str(last["candidate"]), int(last["params_count"]), accuracy)
