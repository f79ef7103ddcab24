from __future__ import annotations

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
