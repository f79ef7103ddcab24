from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings

from dse.data import Dataset, Split
from dse.search.plan import Sweep
from dse.space import Categorical, Fixed, SearchSpace
from dse.space.enumerate import survey
from dse.training import Recipe
from tests import fakes
from tests.report.rows import HEADER, row

RATIOS = (0.25, 0.5, 1.0)

# The machines are shared: a slow example says nothing about the code.
settings.register_profile("dse", deadline=None)
settings.load_profile("dse")


@pytest.fixture
def fake_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Executors start workers that train nothing: `tests/fakes/worker.py`."""
    monkeypatch.setattr("dse.execution.local.WORKER_COMMAND", fakes.WORKER)


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


@pytest.fixture
def space() -> SearchSpace:
    """Three candidates: squeeze_ratio 0.25, 0.5 and 1."""
    return SearchSpace(
        "ratios",
        "squeezenet",
        {"base_e": Fixed(8), "incr_e": Fixed(8), "squeeze_ratio": Categorical(RATIOS)},
    )


@pytest.fixture
def sweep(space: SearchSpace) -> Sweep:
    """The three candidates with two seeds each, on images of 8x8x1 in ten classes."""
    recipe = Recipe(epochs=1, batch_size=10, crop_px=0, flip=False)
    return Sweep("ratios", space, survey(space, (8, 8, 1), 10), recipe, seeds=2)


def _split(rng: np.random.Generator, count: int) -> Split:
    """Images whose class shows in the brightness of one quarter."""
    labels = rng.integers(0, 4, count).astype(np.int32)
    images = rng.integers(0, 100, (count, 8, 8, 2)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[row : row + 4, column : column + 4] += 120
    return Split(images, labels)


@pytest.fixture(scope="session")
def quarters() -> Dataset:
    """Four classes that are easy to tell apart: 70 training, 30 validation, 300 test images."""
    rng = np.random.default_rng(0)
    return Dataset(
        name="quarters",
        directory=Path("nowhere"),
        classes=("a", "b", "c", "d"),
        input_shape=(8, 8, 2),
        train=_split(rng, 70),
        validation=_split(rng, 30),
        test=_split(rng, 300),
        mean=(0.3, 0.31),
        std=(0.25, 0.2),
        fingerprint="0" * 32,
        warnings=(),
    )


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
