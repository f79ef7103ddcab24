"""The record of a study: an Optuna study in SQLite, and the files written from it.

    results/<study>/study.db      the record (SQLite in WAL mode)
                    study.yaml    what was studied: space, recipe, data, versions
                    trials.csv    one row a candidate and seed
                    weights/      a safetensors file for each finished row
                    logs/         what the workers said

A trial is added whole when its measurement is there, in one transaction: whatever is
killed, the record holds each result once or not at all.
"""

from __future__ import annotations

import contextlib
import csv
import io
import os
import platform
import sqlite3
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

from dse.architecture import FAMILIES, OBJECTIVES, Cost
from dse.config import yaml_text
from dse.errors import StudyError, StudyMismatchError
from dse.execution.job import Job
from dse.files import locked, replacing
from dse.space import Categorical, FloatRange, IntRange, SearchSpace, scalar
from dse.study.measurement import Measurement

DEFINITION = "dse:definition"
ROW = "dse:row"
CORRECT = "dse:correct"

Record = TypeVar("Record")


@dataclass(frozen=True)
class Definition:
    """What a study holds; a study of the same name with another one is refused.

    Attributes:
        name: of the study, also of its folder.
        space: the resolved space as plain data.
        recipe: the recipe as plain data.
        data: name, fingerprint, input shape, classes and the size of each split.
        study_seed: with the replicate, the source of all noise.
        search: how a search goes about it (rungs, sampler, objectives); None for a sweep.
        objectives: the costs that are to be small, beside an accuracy that is to be large.
    """

    name: str
    space: Mapping[str, Any]
    recipe: Mapping[str, Any]
    data: Mapping[str, Any]
    study_seed: int = 0
    search: Mapping[str, Any] | None = None
    objectives: tuple[str, ...] = ("params_count",)

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for YAML and JSON."""
        kind: dict[str, Any] = {}
        if self.search is not None:
            kind = {"kind": "search", "search": dict(self.search)}
        return {
            "study": self.name,
            "study_seed": self.study_seed,
            "space": dict(self.space),
            "recipe": dict(self.recipe),
            "data": dict(self.data),
            **kind,
        }


@contextlib.contextmanager
def open_record(
    results: Path, definition: Definition, make: Callable[[Path, Any, Any], Record]
) -> Iterator[Record]:
    """Open the study of this name under `results`, or make it; hold it until the end.

    Args:
        results: folder of all studies.
        definition: what the study is to hold.
        make: the record, from (its folder, Optuna's study, Optuna's storage).

    Raises:
        StudyMismatchError: a study of that name holds something else; nothing is changed.
        StudyError: another process holds it, or it cannot be read or written.
    """
    directory = results / definition.name
    with contextlib.ExitStack() as held:
        with storage_errors(directory):
            record = held.enter_context(_opened(directory, definition, make))
        yield record


@contextlib.contextmanager
def _opened(
    directory: Path, definition: Definition, make: Callable[[Path, Any, Any], Record]
) -> Iterator[Record]:
    directory.mkdir(parents=True, exist_ok=True)
    _check_has_record(directory)
    busy = StudyError(
        f"{directory} is in use by another dse process; wait for it, or choose another --study name"
    )
    with locked(directory / ".lock", busy), opened_storage(directory / "study.db") as storage:
        study = _open_optuna_study(directory, storage, definition)
        yield make(directory, study, storage)


@contextlib.contextmanager
def peek(results: Path, definition: Definition) -> Iterator[Any]:
    """Optuna's study of this name under `results`, to be read before anything is begun.

    Gives None where there is none yet. The definition may come from a description of images
    that are not decoded yet: of the data only what it knows is compared, and where broken
    images changed their number, nothing that may follow from that.

    Raises:
        StudyMismatchError: a study of that name holds something else.
        StudyError: it cannot be read, or there are results without their record.
    """
    directory = results / definition.name
    _check_has_record(directory)
    if not (directory / "study.db").exists():
        yield None
        return
    with storage_errors(directory), opened_storage(directory / "study.db") as storage:
        study = _found_study(directory, storage)
        held = study.user_attrs.get(DEFINITION) if study else None
        if held is not None:
            _check_same(directory, *_as_far_as_known(definition.to_dict(), held))
        yield study


def _check_has_record(directory: Path) -> None:
    if (directory / "trials.csv").exists() and not (directory / "study.db").exists():
        raise StudyError(
            f"{directory} holds a trials.csv but no study.db to continue from (results that "
            "somebody published?); nothing is overwritten: choose another --study name or "
            "--results folder"
        )


def _as_far_as_known(
    wanted: Mapping[str, Any], held: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Both definitions without what a description of images does not tell."""
    if "train_count" not in wanted["data"]:
        return wanted, held
    data = dict(wanted["data"])
    is_as_described = data.pop("train_count") == _data_of(held)["images"]["train"]
    left_out = () if is_as_described else ("recipe", "search")

    def known(plain: Mapping[str, Any]) -> dict[str, Any]:
        parts = {name: part for name, part in plain.items() if name not in left_out}
        return parts | {"data": {name: plain["data"].get(name) for name in data}}

    return known(wanted), known(held)


def _data_of(definition: Mapping[str, Any]) -> dict[str, Any]:
    """What a definition says of its data; 0.1 called the number of images `pictures`."""
    return {"images" if k == "pictures" else k: v for k, v in definition["data"].items()}


def _check_same(directory: Path, wanted: Mapping[str, Any], held: Mapping[str, Any]) -> None:
    differing = list(differences("", _bare(wanted), _bare(held)))
    if not differing:
        return
    if differing[0].startswith("kind:"):  # what follows from it says nothing more
        differing = [line for line in differing if not line.startswith("search.")]
    raise StudyMismatchError(
        f"{directory} holds another study; nothing was changed. It differs in:\n"
        + "\n".join(f"  {line}" for line in differing)
        + "\nchoose another --study name, or repeat the command that made it"
    )


class StudyRecord:
    """The record of an open sweep; `open_record` sees that one process holds it."""

    def __init__(self, directory: Path, study: Any, space: SearchSpace) -> None:
        self.directory, self._study = directory, study
        self._distributions = distributions_of(space)
        self._rows: dict[tuple[str, int], dict[str, Any]] = {}
        self._correct: dict[tuple[str, int], dict[str, str]] = {}
        for trial in study.get_trials(deepcopy=False):
            if (row := trial.user_attrs.get(ROW)) is not None:
                self._keep(row, trial.user_attrs.get(CORRECT, {}))

    @property
    def rows(self) -> Mapping[tuple[str, int], Mapping[str, Any]]:
        """The latest row of each (candidate key, replicate)."""
        return self._rows

    @property
    def correct(self) -> Mapping[tuple[str, int], Mapping[str, str]]:
        """Which images were right, by split, as `pack_bits` writes it."""
        return self._correct

    def add(self, job: Job, cost: Cost, measurement: Measurement) -> None:
        """Record a result, in one transaction.

        Raises:
            StudyError: the record cannot be written.
        """
        from optuna.trial import TrialState, create_trial

        row = row_of(job, costs_of(cost), measurement)
        accuracy = measurement.validation_accuracy
        values = job.candidate.metaparameters
        trial = create_trial(
            state=TrialState.FAIL if accuracy is None else TrialState.COMPLETE,
            values=None if accuracy is None else [accuracy, cost.params_count],
            params={name: scalar(values[name]) for name in self._distributions},
            distributions=self._distributions,
            user_attrs={ROW: row, CORRECT: correct_of(measurement)},
        )
        with storage_errors(self.directory):
            self._study.add_trial(trial)
        self._keep(row, correct_of(measurement))

    def _keep(self, row: dict[str, Any], correct: dict[str, str]) -> None:
        key = (row["candidate"], row["seed"])
        self._rows[key], self._correct[key] = row, correct

    def write_table(self, jobs: Sequence[Job]) -> Path:
        """Write `trials.csv`: a row for each job that has ended, in the order of `jobs`.

        Raises:
            StudyError: the folder cannot be written.
        """
        rows = [self._rows[job.key] for job in jobs if job.key in self._rows]
        return write_rows(self.directory, rows)


def write_rows(directory: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write `trials.csv`, where there is a row.

    Raises:
        StudyError: the folder cannot be written.
    """
    path = directory / "trials.csv"
    if not rows:
        return path
    with storage_errors(directory), replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        text.flush()
        text.detach()
    return path


def write_description(directory: Path, plain: Mapping[str, Any], *, command: str) -> None:
    """Write `study.yaml`: what was studied, by which command, with which versions.

    Raises:
        StudyError: the folder cannot be written.
    """
    whole = dict(plain) | {
        "command": command,
        "versions": _versions(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    with storage_errors(directory), replacing(directory / "study.yaml") as file:
        file.write(yaml_text(whole).encode())


@contextlib.contextmanager
def storage_errors(directory: Path) -> Iterator[None]:
    """Turn what the file system or SQLite says into a `StudyError` that says what to do."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise _storage_error(directory, error) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("optuna", "sqlalchemy"):
            raise
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise _storage_error(directory, cause) from error


def _storage_error(directory: Path, cause: BaseException) -> StudyError:
    reason = str(cause).splitlines()[0]
    damaged = isinstance(cause, sqlite3.DatabaseError)
    if damaged and not isinstance(cause, sqlite3.OperationalError):
        return StudyError(
            f"{directory / 'study.db'} is damaged: {reason}; put a sound copy in its place, or "
            "choose another --study name (trials.csv beside it is as it was)"
        )
    return StudyError(
        f"{directory} cannot be read or written: {reason}; what was recorded is kept: once this "
        "is mended (space on the disk, rights of the folder, or another --results folder), the "
        "same command goes on"
    )


@contextlib.contextmanager
def opened_storage(path: Path) -> Iterator[Any]:
    """Optuna's storage in this file, which is whole again (no WAL beside it) when it is closed."""
    import optuna

    if any(character in str(path.resolve()) for character in "?{}"):
        raise StudyError(
            f"{path.resolve()} cannot be opened: SQLite's address of a study has no room for ?, "
            "{ and }; choose another --study name or --results folder"
        )
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode=WAL")  # kept in the file; halves the time of a write
    try:
        storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}")
    except RuntimeError as error:  # written by a release of Optuna with another schema
        raise StudyError(f"{path}: {error}") from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _found_study(directory: Path, storage: Any) -> Any:
    """Optuna's only study in the storage of this folder, or None."""
    import optuna

    names = optuna.get_all_study_names(storage)
    if len(names) > 1:
        raise StudyError(
            f"{directory / 'study.db'} holds {len(names)} studies ({', '.join(names)}), but a "
            "folder has one; choose another --study name"
        )
    # By the name it has there: a folder may have been renamed.
    study = optuna.load_study(study_name=names[0], storage=storage) if names else None
    is_empty = study is None or DEFINITION not in study.user_attrs
    if is_empty and (directory / "trials.csv").exists():
        raise StudyError(
            f"{directory / 'study.db'} is empty, but trials.csv beside it holds results; nothing "
            "is overwritten: put the study.db back, or choose another --study name"
        )
    return study


def _open_optuna_study(directory: Path, storage: Any, definition: Definition) -> Any:
    import optuna

    study = _found_study(directory, storage)
    if study is None:
        directions: list[Any] = ["maximize", *("minimize" for _ in definition.objectives)]
        study = optuna.create_study(
            storage=storage, study_name=definition.name, directions=directions
        )
    held = study.user_attrs.get(DEFINITION)
    if held is None:
        with warnings.catch_warnings():  # marked experimental; dashboards show the names
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names(["validation_accuracy", *definition.objectives])
        study.set_user_attr(DEFINITION, definition.to_dict())  # last: whoever sees it sees all
    else:
        _check_same(directory, definition.to_dict(), held)
    return study


def _bare(definition: Mapping[str, Any]) -> dict[str, Any]:
    """A definition without its name and the words about it: they may change at any time."""
    space = {key: value for key, value in definition["space"].items() if key != "description"}
    definition = {**definition, "data": _data_of(definition)}
    return {"kind": "sweep", "search": {}, **definition, "space": space, "study": None}


def differences(path: str, wanted: Any, held: Any) -> Iterator[str]:
    """Lines that say where two plain structures differ."""
    if isinstance(wanted, Mapping) and isinstance(held, Mapping):
        for name in dict.fromkeys([*wanted, *held]):
            inner = f"{path}.{name}" if path else str(name)
            yield from differences(inner, wanted.get(name), held.get(name))
    elif _plain(wanted) != _plain(held):
        yield f"{path}: {_plain(wanted)} asked for, {_plain(held)} in the study"


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def distributions_of(space: SearchSpace) -> dict[str, Any]:
    """Optuna's distributions of what varies; a list of layers is written as one word."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    distributions: dict[str, Any] = {}
    for name in space.varying:
        domain = space.domains[name]
        if isinstance(domain, Categorical):
            canonical = FAMILIES[space.family].metaparameters[name].canonical
            words = dict.fromkeys(scalar(canonical(value)) for value in domain.values())
            distributions[name] = CategoricalDistribution(list(words))
        elif isinstance(domain, IntRange):
            last: Any = domain.values()[-1]  # Optuna wants the range to end on a step
            distributions[name] = IntDistribution(
                domain.low, last, step=domain.step, log=domain.log
            )
        elif isinstance(domain, FloatRange):
            last = domain.high if domain.step is None else domain.values()[-1]
            distributions[name] = FloatDistribution(
                domain.low, last, step=domain.step, log=domain.log
            )
    return distributions


def costs_of(cost: Cost) -> dict[str, int]:
    """The exact costs that a table shows."""
    return {name: getattr(cost, name) for name in OBJECTIVES}


def row_of(job: Job, costs: Mapping[str, int], measurement: Measurement) -> dict[str, Any]:
    """A row of `trials.csv`."""
    measured = measurement.to_dict()
    del measured["latency_s"]  # a cost, where it counts
    for name in correct_of(measurement):
        del measured[f"{name}_correct"]
    return {
        "candidate": job.candidate.key,
        **{name: scalar(value) for name, value in job.candidate.values},
        "seed": job.replicate,
        "status": measured.pop("status"),
        "reason": measured.pop("reason"),
        **costs,
        **measured,
    }


def correct_of(measurement: Measurement) -> dict[str, str]:
    """Which images were right, by split, as `pack_bits` writes it."""
    return {
        "validation": measurement.validation_correct,
        "test": measurement.test_correct,
    }


def _versions() -> dict[str, str]:
    names = ("dse", "jax", "flax", "optax", "optuna", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
