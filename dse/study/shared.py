"""Records in a database server, which many studies, users and machines share.

A study is there under its name. Whoever drives it holds a lock of the server that ends with the
connection, and every connection that could write takes that lock first: a driver that was cut off
writes nothing more unless the study is still free. `pg_stat_activity` says who holds it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from dse.errors import StudyError, UsageError

LOST_AFTER_S = 30
"""After so many seconds without an answer, driver and server give each other up."""


@dataclass(frozen=True)
class SharedStudy:
    """A study of a database server; as text it is named without the password.

    Attributes:
        url: of the database, as `parse_url` gives it.
        name: of the study.
    """

    url: str
    name: str

    def __str__(self) -> str:
        return f"study {self.name} in {shown(self.url)}"

    def failed(self, cause: BaseException) -> StudyError:
        """What to say where the server does not do what it is asked for."""
        return StudyError(
            f"{self} cannot be read or written: {str(cause).strip().splitlines()[0]}; what was "
            "recorded is kept: once this is fixed (a server that runs, its address, user, password "
            "and rights), the same command resumes"
        )


def parse_url(text: str) -> str:
    """The URL of a database, with the driver that is meant where it names none.

    Raises:
        UsageError: it is no URL, or one of a database without the locks that a study needs.
        StudyError: its driver is not installed.
    """
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    example = "postgresql+psycopg://USER:PASSWORD@HOST/DATABASE"
    try:
        url = make_url(text)
        if url.drivername == "postgresql":
            url = url.set(drivername="postgresql+psycopg")
        dialect = url.get_backend_name()
        if dialect != "postgresql":
            known = "it is what a study uses without --storage" if dialect == "sqlite" else ""
            raise UsageError(
                f"--storage names a {dialect} database, but must be PostgreSQL, such as {example}"
                + (f"; SQLite needs no option: {known}" if known else "")
            )
        url.get_dialect().import_dbapi()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        # The text may hold a password.
        raise UsageError(f"--storage is no database URL such as {example}") from error
    except ImportError as error:
        raise StudyError(
            f"--storage {shown(text)}: the driver {error.name} is not installed; install it beside "
            "dse: pip install 'dse[postgresql]', or from a checkout pip install '.[postgresql]'"
        ) from error
    return url.render_as_string(hide_password=False)


def shown(url: str) -> str:
    """The URL without its password."""
    from sqlalchemy.engine import make_url

    return make_url(url).render_as_string(hide_password=True)


@contextlib.contextmanager
def driving(study: SharedStudy) -> Iterator[Any]:
    """Optuna's storage for the one process that asks and tells; tables are made if need be.

    Raises:
        StudyError: another process drives the study; says which, and since when.
    """
    import optuna

    key = _lock_key(study.name)

    def connected(connection: Any, _: object) -> None:
        with connection.cursor() as cursor:
            who = f"dse {socket.gethostname()[:28]} {os.getpid()} {datetime.now(UTC):%FT%TZ}"
            cursor.execute("SELECT set_config('application_name', %s, false)", (who,))
            for name, value in (("idle", LOST_AFTER_S // 2), ("interval", 5), ("count", 3)):
                # A driver whose machine is gone says no goodbye, and would hold its lock for hours.
                cursor.execute(f"SET tcp_keepalives_{name} = {value}")
            cursor.execute("SELECT pg_try_advisory_lock(%s)", (key,))
            (is_ours,) = cursor.fetchone()
            holder = "" if is_ours else _holder(cursor, key)
        connection.commit()
        if not is_ours:
            connection.close()
            raise StudyError(
                f"{study} is in use by {holder}; wait for it, or choose another --study name"
            )

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    _make_tables(study.url)
    # One connection, whose lock is the study's.
    options = {"pool_size": 1, "max_overflow": 0, "pool_events": [(connected, "connect")]}
    with _storage(study.url, options) as storage:
        yield storage


def _make_tables(url: str) -> None:
    """Make those that are missing, and see that this release of Optuna knows them.

    One process at a time: two that make the same tables at once are refused by the server.
    """
    import sqlalchemy

    arguments = _connect_args(url)
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=arguments)
    with engine.connect() as connection:
        lock = sqlalchemy.text("SELECT pg_advisory_lock(:key)")
        connection.execute(lock, {"key": _lock_key("")})
        with _storage(url, {}, makes_tables=True):
            pass


@contextlib.contextmanager
def _storage(url: str, options: dict[str, Any], *, makes_tables: bool = False) -> Iterator[Any]:
    import optuna
    import sqlalchemy

    # Without a pool no connection is left open where the storage cannot be made.
    options = options or {"poolclass": sqlalchemy.NullPool}
    try:
        storage = optuna.storages.RDBStorage(
            url,
            engine_kwargs={"connect_args": _connect_args(url), **options},
            skip_table_creation=not makes_tables,
            skip_compatibility_check="pool_size" in options,  # it would take a second connection
        )
    except RuntimeError as error:  # written by a release of Optuna with another schema
        raise StudyError(f"{shown(url)}: {error}") from error
    try:
        yield storage
    finally:
        storage.remove_session()
        storage.engine.dispose()


@contextlib.contextmanager
def looking_at(url: str) -> Iterator[Any]:
    """Optuna's storage for reading alone: nothing is made; None where no study ever was there."""
    import optuna
    import sqlalchemy

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    arguments = _connect_args(url)
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=arguments)
    if not sqlalchemy.inspect(engine).has_table("alembic_version"):
        yield None
        return
    with _storage(url, {}) as storage:
        yield storage


def _lock_key(name: str) -> int:
    """The server's locks have numbers of 64 bits."""
    digest = hashlib.blake2b(f"dse:{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def _connect_args(url: str) -> dict[str, Any]:
    if "+psycopg" not in url.partition("://")[0]:  # other drivers have options of their own
        return {}
    return {
        "connect_timeout": 10,
        "keepalives_idle": LOST_AFTER_S // 2,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 1000 * LOST_AFTER_S,
    }


def _holder(cursor: Any, key: int) -> str:
    """`the dse process 4711 of HOST since 2026-11-28T05:08:07Z`, as far as the server says."""
    unsigned = key % 2**64
    cursor.execute(
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid)"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND l.classid::bigint = %s AND l.objid::bigint = %s",
        (unsigned >> 32, unsigned % 2**32),
    )
    found = (cursor.fetchone() or ("",))[0].split()
    if len(found) != 4:
        return "another process"
    _, host, process, since = found
    return f"the dse process {process} on {host} since {since}"
