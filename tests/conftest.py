from __future__ import annotations

import csv
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

from dse.space import Categorical, Fixed, SearchSpace
from tests import fakes
from tests.report.rows import HEADER, row

if TYPE_CHECKING:  # importing JAX waits until the compile cache is set
    from dse.data import Dataset, Split
    from dse.search.plan import Sweep

RATIOS = (0.25, 0.5, 1.0)

# The machines are shared: a slow example says nothing about the code.
settings.register_profile("dse", deadline=None)
settings.load_profile("dse")


XDIST_OPTIONS = ("--numprocesses", "--dist")
"""Those that `addopts` in pyproject.toml gives."""


COMPILED_SOON = (
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1"
)
"""Programs that a test runs once are compiled in half the time; `dse` gives its own their level."""


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Accept them where `-p no:xdist` runs the tests one after another."""
    if not pluginmanager.hasplugin("xdist"):
        for option in XDIST_OPTIONS:
            parser.addoption(option, help="without effect: pytest-xdist is not loaded")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A worker per core; none where single files are asked for, which are done sooner."""
    paths = [Path(argument.split("::")[0]) for argument in config.args]
    if not all(map(Path.is_dir, paths)):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return min(cores or 1, 8)


def pytest_configure(config: pytest.Config) -> None:
    """Make the caches that xdist's workers and all processes of the tests share.

    Whoever names a compile cache by JAX_COMPILATION_CACHE_DIR keeps it for the next run.
    """
    if hasattr(config, "workerinput"):  # a worker of xdist inherits them
        return
    folder = Path(tempfile.mkdtemp(prefix="dse-tests-"))
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
    os.environ["DSE_CACHE"] = str(folder / "data")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "compiled"))
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
    if version("jaxlib").startswith("0.10."):  # others may not know the flags, and abort
        os.environ.setdefault("XLA_FLAGS", COMPILED_SOON)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with what takes long, so that no worker is left with it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


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
        if isinstance(connection, sqlite3.Connection):
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
    from dse.search.plan import Sweep
    from dse.space.enumerate import survey
    from dse.training import Recipe

    recipe = Recipe(epochs=1, batch_size=10, crop_px=0, flip=False)
    return Sweep("ratios", space, survey(space, (8, 8, 1), 10), recipe, seeds=2)


def _split(rng: np.random.Generator, count: int) -> Split:
    """Images whose class shows in the brightness of one quarter."""
    from dse.data import Split

    labels = rng.integers(0, 4, count).astype(np.int32)
    images = rng.integers(0, 100, (count, 8, 8, 2)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        row, column = 4 * (label // 2), 4 * (label % 2)
        image[row : row + 4, column : column + 4] += 120
    return Split(images, labels)


@pytest.fixture(scope="session")
def quarters() -> Dataset:
    """Four classes that are easy to tell apart: 70 training, 30 validation, 300 test images."""
    from dse.data import Dataset

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
