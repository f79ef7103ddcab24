from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from dse.study.record import read_study

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sweep" / "tiny-digits" / "study.db"


@pytest.fixture
def shut(tmp_path, monkeypatch):
    """Makes a folder one that cannot be written, whoever runs the tests."""
    folders, access = [], os.access

    def shut(folder: Path) -> None:
        folder.chmod(0o555)
        folders.append(folder)
        monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK and access(path, mode))

    yield shut
    for folder in folders:
        folder.chmod(0o755)


def test_a_closed_record_is_read_and_nothing_is_made_beside_it(tmp_path, shut):
    shutil.copy(FIXTURE, tmp_path)
    before = (tmp_path / "study.db").read_bytes()
    shut(tmp_path)
    assert len(read_study(tmp_path)[1]) == 4
    assert os.listdir(tmp_path) == ["study.db"]
    assert (tmp_path / "study.db").read_bytes() == before


def test_what_a_killed_driver_left_in_its_log_is_read_too(tmp_path, shut):
    running, published = tmp_path / "running", tmp_path / "published"
    for folder in (running, published):
        folder.mkdir()
        shutil.copy(FIXTURE, folder)
    with closing(sqlite3.connect(running / "study.db")) as driver:
        (last,) = driver.execute("SELECT max(trial_id) FROM trials").fetchone()
        for table in ("trial_user_attributes", "trial_values", "trials"):
            driver.execute(f"DELETE FROM {table} WHERE trial_id = ?", (last,))
        driver.commit()
        assert len(read_study(running)[1]) == 3, "while the driver writes"
        shutil.copy(running / "study.db-wal", published)
    shut(published)
    assert len(read_study(published)[1]) == 3
    assert sorted(os.listdir(published)) == ["study.db", "study.db-wal"]
