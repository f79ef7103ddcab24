"""Real sweeps on digits whose driver or workers are killed; the table has to come out the same."""

from __future__ import annotations

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TIMES = {"train_s", "compile_s", "images_per_s"}
SWEEP = [
    *("sweep", "squeeze_ratio.yaml", "--seeds", "2", "--epochs", "2", "--workers", "2"),
    *("--set", "squeeze_ratio={values: [0.25, 0.5]}", "--set", "fire_modules=2"),
]


def command(folder: Path) -> list[str]:
    dse = "from dse.cli.main import main; main()"
    return [sys.executable, "-c", dse, *SWEEP, "--results", str(folder), "--plots", str(folder)]


def start(folder: Path) -> subprocess.Popen[bytes]:
    folder.mkdir(exist_ok=True)
    # Where these tests run as a shell's background job, Ctrl-C is ignored and the driver would
    # inherit that; a handler of Python's own is not inherited.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    finally:
        signal.signal(signal.SIGINT, ignored)


def finish(folder: Path) -> str:
    """Run to the end, give what it said."""
    process = start(folder)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said.decode()
    return said.decode()


def table(folder: Path) -> list[dict[str, str]]:
    """The rows of `trials.csv` without times."""
    with (folder / "squeeze_ratio-digits" / "trials.csv").open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def workers_of(pid: int) -> list[int]:
    """Child processes of `pid` that are workers."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, line in lines.items() if b"dse.search.worker" in line]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition, seconds: float = 120.0):
    """The first true value of `condition()`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> list[dict[str, str]]:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(folder)
    rows = table(folder)
    assert [(row["squeeze_ratio"], row["seed"]) for row in rows] == [
        ("0.25", "0"),
        ("0.25", "1"),
        ("0.5", "0"),
        ("0.5", "1"),
    ]
    return rows


def kill_driver_after(folder: Path, seconds: float) -> bool:
    """Start, wait, `kill -9` the driver; False if it had ended before."""
    process = start(folder)
    time.sleep(seconds)
    workers = workers_of(process.pid) if process.poll() is None else []
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(map(alive, workers)), 20)
    return process.returncode == -signal.SIGKILL


def test_a_killed_driver_leaves_nothing_running_and_goes_on(undisturbed, tmp_path):
    process = start(tmp_path)
    workers = wait_until(lambda: workers_of(process.pid))
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(map(alive, workers)), 20)
    finish(tmp_path)
    assert table(tmp_path) == undisturbed


def test_a_killed_worker_is_replaced(undisturbed, tmp_path):
    process = start(tmp_path)
    os.kill(wait_until(lambda: workers_of(process.pid))[0], signal.SIGKILL)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0
    assert "died (signal SIGKILL)" in said.decode()
    assert table(tmp_path) == undisturbed


def test_ctrl_c_ends_in_order_and_says_how_to_go_on(undisturbed, tmp_path):
    process = start(tmp_path)
    wait_until(lambda: workers_of(process.pid))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command goes on from here" in said.decode()
    assert "Traceback" not in said.decode()
    finish(tmp_path)
    assert table(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_drivers_killed_at_random_moments(undisturbed, tmp_path, number):
    rng = random.Random(number)
    while kill_driver_after(tmp_path, rng.uniform(0.5, 15)) and rng.random() < 0.5:
        pass
    finish(tmp_path)
    assert table(tmp_path) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_workers_killed_at_random_moments(undisturbed, tmp_path, number):
    process = start(tmp_path)
    time.sleep(random.Random(number).uniform(2, 14))
    for worker in workers_of(process.pid)[:1] if process.poll() is None else []:
        os.kill(worker, signal.SIGKILL)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said.decode()
    assert table(tmp_path) == undisturbed
