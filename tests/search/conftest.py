from __future__ import annotations

import pytest

from tests.search import searching


@pytest.fixture(autouse=True)
def _fast(fast_records: None) -> None:
    pass


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches train by the closed form in this process."""
    monkeypatch.setattr(searching, "make_executor", searching.InProcess)
