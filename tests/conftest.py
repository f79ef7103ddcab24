from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest
from hypothesis import settings

from tests import fakes

# The machines are shared: a slow example says nothing about the code.
settings.register_profile("dse", deadline=None)
settings.load_profile("dse")


@pytest.fixture
def fake_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Executors start workers that train nothing: `tests/fakes/worker.py`."""
    monkeypatch.setattr("dse.search.executor.WORKER_COMMAND", fakes.WORKER)


@pytest.fixture(scope="session")
def fast_records() -> Iterator[None]:
    """Records of studies that are opened fast: no test here asks what a power cut leaves.

    SQLite does not wait for the disk, and Optuna's list of its schemas is read once.
    """
    from optuna.storages._rdb.storage import _VersionManager
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    def no_waiting(connection, _) -> None:
        connection.execute("PRAGMA synchronous=OFF")

    event.listen(Engine, "connect", no_waiting)
    with pytest.MonkeyPatch.context() as patch:
        found = cache(_VersionManager._create_alembic_script)
        first: list[_VersionManager] = []

        def script(manager: _VersionManager):
            first.append(manager)
            return found(first[0])

        patch.setattr(_VersionManager, "_create_alembic_script", script)
        yield
    event.remove(Engine, "connect", no_waiting)
