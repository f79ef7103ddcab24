from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.report.rows import HEADER, row


@pytest.fixture
def write_trials(tmp_path):
    def write(rows: Sequence[Sequence[object]], header: Sequence[str] = HEADER) -> Path:
        path = tmp_path / "trials.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        return path

    return write


@pytest.fixture
def sweep_rows():
    """Four candidates: on the front, on the front, dominated, failed."""
    return [
        row("00000000000a", 0, 0.90, squeeze_ratio=0.125, params_count=1000, macs=50_000),
        row("00000000000a", 1, 0.94, squeeze_ratio=0.125, params_count=1000, macs=50_000),
        row("00000000000b", 0, 0.95, squeeze_ratio=0.25, params_count=2000, macs=70_000),
        row("00000000000b", 1, 0.97, squeeze_ratio=0.25, params_count=2000, macs=70_000),
        row("12345e678901", 0, 0.93, squeeze_ratio=0.5, params_count=3000, macs=30_000),
        row("12345e678901", 1, None, squeeze_ratio=0.5, params_count=3000, macs=30_000),
        row("00000000000d", 0, None, squeeze_ratio=1, params_count=4000, macs=10_000),
    ]
