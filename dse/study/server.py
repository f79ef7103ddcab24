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
from datetime import UTC, datetime
from typing import Any

from dse.errors import StudyError
from dse.study.shared import SharedStudy, shown
from dse.study.storage import close_storage

LOST_AFTER_S = 30
"""After so many seconds without an answer, driver and server give each other up."""


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
        close_storage(storage)


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
