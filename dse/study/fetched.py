"""Studies of a database server as folders, for all that reads the files of a study."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dse.errors import StudyError
from dse.study.fidelity import Fidelity
from dse.study.paths import ANSWER_NAME, DESCRIPTION_NAME, WEIGHTS_FOLDER, write_file
from dse.study.record import read_held, read_note, write_trials
from dse.study.server import looking_at
from dse.study.shared import SharedStudy, shown
from dse.study.storage import find_shared, reading, study_names
from dse.text import some_of


@contextlib.contextmanager
def fetched(url: str, names: Sequence[str] | None, results: Path) -> Iterator[Path]:
    """A folder of studies like `results`, made from what a database server holds of them.

    Args:
        url: of the database.
        names: of the studies; None for all.
        results: where the weights of those that were trained here are.

    Raises:
        StudyError: one is not there, or cannot be read.
    """
    with (
        tempfile.TemporaryDirectory(prefix="dse-") as folder,
        reading(SharedStudy(url, "list")),
        looking_at(url) as storage,
    ):
        known = sorted(study_names(storage))
        for name in known if names is None else names:
            if name not in known:
                there = f"it holds {some_of(known, 8)}" if known else "it holds none"
                raise StudyError(f"study {name!r} not found in {shown(url)}; {there}")
            with reading(where := SharedStudy(url, name)):
                _write_files(Path(folder, name), where, find_shared(where, storage))
            if (weights := results / name / WEIGHTS_FOLDER).is_dir():
                Path(folder, name, WEIGHTS_FOLDER).symlink_to(weights.resolve())
        yield Path(folder)


def _write_files(directory: Path, where: SharedStudy, study: Any) -> None:
    """Table, description and answer of a study, dated as its last result."""
    definition, trials = read_held(where, study)
    if definition is None:
        return
    directory.mkdir(parents=True)
    objectives = definition["search"].get("objectives", ()) if "search" in definition else None
    write_trials(directory, trials, objectives, Fidelity(definition["recipe"]["epochs"]))
    for name, text in (read_note(where, study, "files") or {}).items():
        if name in (DESCRIPTION_NAME, ANSWER_NAME):
            write_file(directory / name, text.encode())
    dates = [t.datetime_complete or t.datetime_start for t in study.get_trials(deepcopy=False)]
    if dates := [date.timestamp() for date in dates if date]:
        for path in directory.iterdir():
            os.utime(path, (max(dates), max(dates)))
