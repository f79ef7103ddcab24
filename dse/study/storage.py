"""Where a record lies: an Optuna study in SQLite, held by one process at a time.

Or in a database server (`dse.study.server`). Every error of the file system or of a database
becomes a `StudyError` that says what to do.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import sqlite3
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dse.errors import DseError, StudyError
from dse.study.definition import Definition, check_definition, check_same
from dse.study.paths import DATABASE_NAME, folder_error, record_damaged
from dse.study.seal import sealed, unsealed
from dse.study.shared import SharedStudy
from dse.study.snapshot import connect_read_only, copy_record

DEFINITION = "dse:definition"

Where = Path | SharedStudy
"""The folder of a study whose record lies in it, or the study in a database server."""

_DATABASES = ("optuna", "sqlalchemy", "psycopg")


@contextlib.contextmanager
def storage_errors(where: Where) -> Iterator[None]:
    """Turn what the file system or a database says into a `StudyError` that says what to do."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise _storage_error(where, error) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] not in _DATABASES:
            raise
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        raise _storage_error(where, cause) from error


def _storage_error(where: Where, cause: BaseException) -> StudyError:
    if isinstance(where, SharedStudy):
        return where.failed(cause)
    reason = str(cause).splitlines()[0]
    damaged = isinstance(cause, sqlite3.DatabaseError)
    if damaged and not isinstance(cause, sqlite3.OperationalError):
        return record_damaged(where, reason)
    if "decode to UTF-8" in reason:
        return record_damaged(where, _unreadable_row(where / DATABASE_NAME) or reason)
    return folder_error(where, cause)


@contextlib.contextmanager
def reading(where: Where) -> Iterator[None]:
    """As `storage_errors`, around all that reads rows: damaged ones are named.

    Raises:
        StudyError: with the file, and the row as far as it is known.
    """
    try:
        with storage_errors(where):
            yield
    except DseError:
        raise
    except Exception as error:  # whatever Optuna makes of a row that it cannot have written
        row = None
        # What is damaged may be no row of a table.
        with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):
            row = None if isinstance(where, SharedStudy) else _unreadable_row(where / DATABASE_NAME)
        raise record_damaged(where, row or f"{type(error).__name__}: {error}") from error


_JSON_COLUMNS = (
    ("trial_user_attributes", "trial_id", "key", "value_json"),
    ("trial_params", "trial_id", "param_name", "distribution_json"),
    ("study_user_attributes", "study_id", "key", "value_json"),
    ("study_system_attributes", "study_id", "key", "value_json"),
)
"""Of Optuna's tables: what a row is of, its name, and the column that holds JSON."""


def _unreadable_row(path: Path) -> str | None:
    """The first row whose JSON cannot be read, or None."""
    from optuna.distributions import json_to_distribution

    with contextlib.closing(connect_read_only(path)) as database:
        database.text_factory = bytes
        for table, *columns in _JSON_COLUMNS:
            for row, owner, name, text in database.execute(
                f"SELECT rowid, {', '.join(columns)} FROM {table}"
            ):
                read = json_to_distribution if table == "trial_params" else json.loads
                try:
                    read(bytes(text).decode())
                except Exception as error:  # as above: Optuna's reader says what it likes
                    whose = f"{columns[0]} {owner}, {bytes(name).decode(errors='replace')}"
                    return f"row {row} of {table} ({whose}): {type(error).__name__}: {error}"
    return None


def close_storage(storage: Any) -> None:
    """Give up every connection of Optuna's storage."""
    storage.remove_session()
    storage.engine.dispose()


@contextlib.contextmanager
def opened_storage(path: Path, *, source: Path | None = None) -> Iterator[Any]:
    """Optuna's storage in this file, which is whole again (no WAL beside it) when it is closed.

    Args:
        path: the file.
        source: the one that messages name, where `path` is a copy of it.
    """
    import optuna

    source = source or path
    if any(character in str(path.resolve()) for character in "?{}"):
        raise StudyError(
            f"{path.resolve()} cannot be opened: SQLite's address of a study has no room for ?, "
            "{ and }; choose another --study name or --results folder"
        )
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # what it warns of, an error tells
    with contextlib.closing(sqlite3.connect(path)) as database:
        try:
            (found,) = database.execute("PRAGMA integrity_check(1)").fetchone()
        except UnicodeDecodeError as error:  # SQLite's message quotes the damaged names
            raise record_damaged(source.parent, str(error)) from error
        if found != "ok":
            raise record_damaged(source.parent, found)
        database.execute("PRAGMA journal_mode=WAL")  # kept in the file; halves the time of a write
    try:
        with reading(source.parent):
            storage = optuna.storages.RDBStorage(f"sqlite:///{path.resolve()}")
    except RuntimeError as error:  # written by a release of Optuna with another schema
        raise StudyError(f"{source}: {error}") from error
    try:
        yield storage
    finally:
        close_storage(storage)


@contextlib.contextmanager
def watched(path: Path, storage: Any) -> Iterator[Callable[[], None]]:
    """A check that the open database is still the file of this name; raises where it is not.

    SQLite writes on into a file that was removed or renamed. What it holds is then saved at the
    end: under its own name where that is free, so that the same command resumes, else beside it.

    Args:
        path: of the database.
        storage: that has it open.

    Raises:
        StudyError: the file is another one, or none; says where the record was saved.
    """
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the file
        opened = path.stat()

        def is_there() -> bool:
            try:
                return os.path.samestat(opened, path.stat())
            except (FileNotFoundError, NotADirectoryError):
                return False

        def check() -> None:
            if not is_there():
                raise StudyError(f"{path} was removed, renamed or replaced")

        try:
            yield check
        finally:
            if not is_there():
                with storage_errors(path.parent):
                    saved = _save(database, storage, path)
                resumes = (
                    "the same command resumes"
                    if saved == path
                    else f"once {path} is gone and that has its name, the same command resumes"
                )
                raise StudyError(
                    f"{path} is not the file any more that this run opened: it was removed, "
                    f"renamed or replaced meanwhile, so the run stops; all that was recorded is "
                    f"saved in {saved}: {resumes}"
                )


def _save(database: sqlite3.Connection, storage: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    with contextlib.closing(sqlite3.connect(temporary)) as copy:
        database.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")
    database.close()
    close_storage(storage)
    for suffix in ("-wal", "-shm"):  # of the file that was there; SQLite would read them into ours
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    names = (path.with_name(f"study-saved-{number}.db") for number in itertools.count(1))
    saved = next(place for place in itertools.chain([path], names) if not os.path.lexists(place))
    temporary.rename(saved)
    return saved


@contextlib.contextmanager
def copied_storage(path: Path) -> Iterator[Any]:
    """Optuna's storage in a copy of this file: nothing that is done to it reaches the record."""
    with tempfile.TemporaryDirectory(prefix="dse-") as folder:
        copy = Path(folder, path.name)
        copy_record(path, copy)
        with opened_storage(copy, source=path) as storage:
            yield storage


def check_has_record(directory: Path) -> None:
    """Refuse results without their record.

    Raises:
        StudyError: there is a table, but no database.
    """
    if (directory / "trials.csv").exists() and not (directory / "study.db").exists():
        raise StudyError(
            f"{directory} holds a trials.csv but no study.db to resume from (results that "
            "somebody published, or a study that was made with --storage?); nothing is "
            "overwritten: choose another --study name or --results folder"
        )


def find_study(directory: Path, storage: Any) -> Any:
    """Optuna's only study in the storage of this folder, or None.

    Raises:
        StudyError: there are several, or none although there are results.
    """
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


def check_is_alone(directory: Path, shared: SharedStudy) -> None:
    """Refuse a folder whose record is in it where another is meant.

    Raises:
        StudyError: it is so.
    """
    if (directory / DATABASE_NAME).exists():
        raise StudyError(
            f"{directory} holds a record of its own ({DATABASE_NAME}), and --storage names "
            f"{shared}: leave --storage out to resume it, or choose another --study name"
        )


def study_names(storage: Any) -> list[str]:
    """Names of the studies in a storage; none where there is no storage."""
    import optuna

    return optuna.get_all_study_names(storage) if storage else []


def find_shared(where: SharedStudy, storage: Any) -> Any:
    """Optuna's study of this name, or None."""
    import optuna

    is_there = where.name in study_names(storage)
    return optuna.load_study(study_name=where.name, storage=storage) if is_there else None


def open_study(where: Where, storage: Any, definition: Definition) -> Any:
    """Optuna's study of this definition, made where there is none.

    Raises:
        StudyMismatchError: another one is there; nothing is changed.
    """
    if isinstance(where, SharedStudy):
        study = find_shared(where, storage)
    else:
        study = find_study(where, storage)
    held = study.user_attrs.get(DEFINITION) if study else None
    if held is None:
        return make_study(storage, definition, study)
    check_same(where, definition.to_dict(), read_definition(where, held))
    return study


def make_study(storage: Any, definition: Definition, study: Any = None) -> Any:
    """Optuna's study of this definition, which begins.

    Args:
        storage: where it goes.
        definition: of it.
        study: what is there of it where it was killed at its beginning.
    """
    import optuna

    if study is None:
        directions: list[Any] = ["maximize", *("minimize" for _ in definition.objectives)]
        study = optuna.create_study(
            storage=storage, study_name=definition.name, directions=directions
        )
    with warnings.catch_warnings():  # marked experimental; dashboards show the names
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names(["validation_accuracy", *definition.objectives])
    plain = sealed(definition.to_dict(), DEFINITION)
    study.set_user_attr(DEFINITION, plain)  # last: whoever sees it sees all
    return study


def read_definition(where: Where, held: Any) -> dict[str, Any]:
    """The definition from what a record holds of it.

    Raises:
        StudyError: it is not the one that was written, or none at all.
    """
    try:
        plain = unsealed(held, DEFINITION)
        check_definition(plain, DEFINITION)
    except (ValueError, StudyError) as error:
        raise record_damaged(where, f"{DEFINITION}: {error}") from error
    return dict(plain)
