"""Trials of other studies, brought in wherever they would come out the same here."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dse.architecture import FAMILIES, LATENCY, make_candidate
from dse.errors import ConfigError, StudyError, StudyMismatchError
from dse.execution.job import Job
from dse.files import replacing
from dse.space.pool import Pool
from dse.study.measurement import Measurement
from dse.study.record import REUSED, SearchRecord, read_trial
from dse.study.storage import (
    CORRECT,
    DEFINITION,
    ROW,
    Definition,
    differences,
    opened_storage,
    storage_errors,
)


@dataclass(frozen=True)
class ReuseResult:
    """What came from other studies: so many trials, and a line for what was left out."""

    count: int
    left_out: tuple[str, ...]


def import_trials(
    studies: Sequence[Path], record: SearchRecord, pool: Pool, definition: Definition
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
    _check_objectives(studies, definition)
    for directory in studies:
        outside = unknown = 0
        for job, measured in _finished(directory, definition):
            if measured.epochs != record.full_epochs or job.key in record.trials:
                continue
            if not measured.validation_correct:
                unknown += 1
                continue
            index = pool.find(job.candidate)
            if index is None:
                outside += 1
                continue
            costs = pool.costs_of(index)
            _copy_weights(job, directory, record.directory)
            record.add_whole(job, costs, [measured], REUSED, record.spent_s)
            count += 1
        if outside:
            left_out.append(f"{directory}: {outside} finished trials are outside this space")
        if unknown:
            left_out.append(
                f"{directory}: {unknown} finished trials do not say which images were right "
                "(an older version of dse trained them)"
            )
    return ReuseResult(count, tuple(left_out))


def check_reusable(studies: Sequence[Path], definition: Definition) -> None:
    """Refuse studies that do not fit, before anything is begun.

    Raises:
        StudyError: a folder holds no study, or its first trial cannot be read.
        StudyMismatchError: a study was trained differently; says what differs.
    """
    _check_objectives(studies, definition)
    for directory in studies:
        with contextlib.closing(_finished(directory, definition)) as trials:
            next(trials, None)


def _check_objectives(studies: Sequence[Path], definition: Definition) -> None:
    if LATENCY in definition.objectives and studies:
        raise StudyMismatchError(
            "--reuse does not go with --objective latency_s: a latency is measured on the machine "
            "and at the time of its search"
        )


def _copy_weights(job: Job, theirs: Path, ours: Path) -> None:
    """Take the weights along where they are there: an answer's are scored on the test images."""
    source = theirs / "weights" / job.weights_name
    if source.is_file():
        with storage_errors(ours), source.open("rb") as read:
            (ours / "weights").mkdir(exist_ok=True)
            with replacing(ours / "weights" / job.weights_name) as file:
                shutil.copyfileobj(read, file)


def _finished(
    directory: Path, definition: Definition
) -> Generator[tuple[Job, Measurement], None, None]:
    path = directory / "study.db"
    if not path.is_file():
        raise StudyError(
            f"--reuse {directory}: there is no study.db; only studies whose record is there can "
            "be reused (published tables do not say which images were right)"
        )
    with contextlib.ExitStack() as held:
        with storage_errors(directory):
            import optuna

            storage = held.enter_context(opened_storage(path))
            names = optuna.get_all_study_names(storage)
            if len(names) != 1:
                raise StudyError(f"--reuse {directory}: its study.db holds {len(names)} studies")
            study = optuna.load_study(study_name=names[0], storage=storage)
            held_definition = study.user_attrs.get(DEFINITION) or {}
            _check(directory, definition, held_definition)
            trials = study.get_trials(deepcopy=False)
        family = held_definition["space"]["family"]
        for trial in trials:
            if (found := _read(family, trial)) is not None:
                yield found


def _check(directory: Path, definition: Definition, held: Mapping[str, Any]) -> None:
    names = ("recipe", "data", "study_seed")
    wanted = definition.to_dict()
    lines = list(differences("", {n: wanted[n] for n in names}, {n: held.get(n) for n in names}))
    lines = [line for line in lines if not line.startswith("data.name:")]  # a folder's name
    if lines:
        raise StudyMismatchError(
            f"--reuse {directory}: its candidates were not trained as this study's are. It "
            "differs in:\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nleave it out, or take its recipe and data"
        )


def _read(family: str, trial: Any) -> tuple[Job, Measurement] | None:
    """A finished trial of a sweep or a search."""
    try:
        if (searched := read_trial(trial)) is not None:
            latest = searched.latest
            if latest is None or latest.status != "finished":
                return None
            return Job(searched.candidate, searched.replicate), latest
        row = trial.user_attrs.get(ROW)
        if row is None or row["status"] != "finished":
            return None
        correct = trial.user_attrs.get(CORRECT, {})
        return _of_row(family, row), Measurement(
            status="finished",
            validation_accuracy=row["validation_accuracy"],
            train_loss=row["train_loss"],
            epochs=row["epochs"],
            train_s=row["train_s"],
            compile_s=row["compile_s"],
            images_per_s=row["images_per_s"],
            validation_correct=correct.get("validation", ""),
        )
    except (ConfigError, KeyError, TypeError) as error:
        raise StudyError(f"a trial cannot be read: {type(error).__name__}: {error}") from error


def _of_row(family: str, row: Mapping[str, Any]) -> Job:
    """The job of a sweep's row, in which a list of layers is written as one word."""
    values = {
        name: tuple(str(row[name]).split())
        if part.kind == "layers" and row[name] not in part.choices
        else row[name]
        for name, part in FAMILIES[family].metaparameters.items()
    }
    return Job(make_candidate(family, values), row["seed"])
