from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _fast(fast_records: None) -> None:
    pass
