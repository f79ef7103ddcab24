"""Trials of other studies, imported wherever they would come out the same here."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from dse.architecture import LATENCY
from dse.errors import StudyError, StudyMismatchError
from dse.execution.job import Job
from dse.files import replacing
from dse.space.enumerate import Pool
from dse.study.definition import Definition, check_trained_alike
from dse.study.record import Record, read_study
from dse.study.storage import storage_errors
from dse.study.trial import REUSED, Trial


@dataclass(frozen=True)
class ReuseResult:
    """What came from other studies: so many trials, and a line for what was left out."""

    count: int
    left_out: tuple[str, ...]


def import_trials(
    studies: Sequence[Path], record: Record, pool: Pool, definition: Definition
) -> ReuseResult:
    """Add the finished trials of other studies that are of this pool and not in the record yet.

    Args:
        studies: their folders.
        record: where they go.
        pool: candidates of other spaces have no place in this search.
        definition: of this search; recipe, data and study seed have to agree.

    Raises:
        StudyError: a folder holds no study, or cannot be read.
        StudyMismatchError: a study was trained differently; says what differs.
    """
    count, left_out = 0, []
    for directory, trials in zip(studies, reusable_trials(studies, definition), strict=True):
        outside = unknown = 0
        for trial in trials:
            if trial.epochs != record.full.epochs or trial.key in record.trials:
                continue
            measured = trial.latest
            assert measured is not None
            if not measured.validation_correct:
                unknown += 1
                continue
            index = pool.find(trial.candidate)
            if index is None:
                outside += 1
                continue
            _copy_weights(trial, directory, record.directory)
            imported = Trial(trial.candidate, trial.replicate, pool.costs_of(index), REUSED)
            # A search scores the test images of its answer alone.
            measured = replace(measured, test_accuracy=None, test_correct="")
            imported.add(record.full, measured, record.spent_s)
            record.add_whole(imported)
            count += 1
        if outside:
            left_out.append(f"{directory}: {outside} finished trials are outside this space")
        if unknown:
            left_out.append(
                f"{directory}: {unknown} finished trials do not say which images were correct "
                "(an older version of dse trained them)"
            )
    return ReuseResult(count, tuple(left_out))


def reusable_trials(studies: Sequence[Path], definition: Definition) -> list[list[Trial]]:
    """The finished trials of each of these studies, which have to be trained as this one's are.

    Raises:
        StudyError: a folder holds no study, or it cannot be read.
        StudyMismatchError: a study was trained differently; says what differs.
    """
    if LATENCY in definition.objectives and studies:
        raise StudyMismatchError(
            "--reuse does not go with --objective latency_s: a latency is measured on the machine "
            "and at the time of its search"
        )
    found = []
    for directory in studies:
        if not (directory / "study.db").is_file():
            raise StudyError(
                f"--reuse {directory}: no study.db found; only studies whose record is there can "
                "be reused (published tables do not say which images were correct)"
            )
        held, trials = read_study(directory)
        if held is None:
            raise StudyError(f"--reuse {directory}: its study.db holds no study")
        check_trained_alike(directory, definition.to_dict(), held)
        found.append([t for t in trials if t.latest and t.latest.status == "finished"])
    return found


def _copy_weights(trial: Trial, theirs: Path, ours: Path) -> None:
    """Take the weights along where they are there: an answer's are scored on the test images."""
    name = Job(trial.candidate, trial.replicate).weights_name
    source = theirs / "weights" / name
    if source.is_file():
        with storage_errors(ours), source.open("rb") as read:
            (ours / "weights").mkdir(exist_ok=True)
            with replacing(ours / "weights" / name) as file:
                shutil.copyfileobj(read, file)
