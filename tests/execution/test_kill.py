"""Real sweeps on digits whose driver or workers are killed; the table has to come out the same."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tests.search.processes import (
    alive,
    finish,
    kill_a_worker_after,
    kill_driver_after,
    rows,
    start,
    wait_until,
    workers_of,
)

pytestmark = pytest.mark.long

SWEEP = [
    *("sweep", "squeeze_ratio.yaml", "--seeds", "2", "--epochs", "2", "--workers", "2"),
    *("--set", "squeeze_ratio={values: [0.25, 0.5]}", "--set", "fire_modules=2"),
]


def table(folder: Path) -> list[dict[str, str]]:
    return rows(folder / "squeeze_ratio-digits" / "trials.csv")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(SWEEP, folder)
    found = table(folder)
    assert [(row["squeeze_ratio"], row["seed"]) for row in found] == [
        ("0.25", "0"),
        ("0.25", "1"),
        ("0.5", "0"),
        ("0.5", "1"),
    ]
    return found


def test_killed_workers_ctrl_c_and_killed_drivers_change_nothing(undisturbed, tmp_path):
    """One sweep through all three, which ends with the table of one that nothing befell."""
    process = start(SWEEP, tmp_path)
    killed = wait_until(lambda: workers_of(process.pid))[0]
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(workers := workers_of(process.pid)) == 2 and killed not in workers)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "died (signal SIGKILL)" in said.decode()
    assert "the same command resumes" in said.decode()
    assert "Traceback" not in said.decode()

    process = start(SWEEP, tmp_path)
    workers = wait_until(lambda: workers_of(process.pid))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(map(alive, workers)), 20)

    finish(SWEEP, tmp_path)
    assert table(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_drivers_killed_at_random_moments(undisturbed, tmp_path, number):
    rng = random.Random(number)
    while kill_driver_after(SWEEP, tmp_path, rng.uniform(0.5, 15)) and rng.random() < 0.5:
        pass
    finish(SWEEP, tmp_path)
    assert table(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_workers_killed_at_random_moments(undisturbed, tmp_path, number):
    kill_a_worker_after(SWEEP, tmp_path, random.Random(number).uniform(2, 14))
    assert table(tmp_path) == undisturbed
