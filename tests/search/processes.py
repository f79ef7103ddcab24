"""Starting `dse` as a user does, killing it, and looking at what is left."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

TIMES = {"train_s", "compile_s", "images_per_s", "ended_s"}


def start(arguments: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """`dse ARGUMENTS` with its results and plots in `folder`."""
    folder.mkdir(exist_ok=True)
    dse = "from dse.cli.main import main; main()"
    where = ["--results", str(folder), "--plots", str(folder)]
    # Where these tests run as a shell's background job, Ctrl-C is ignored and the driver would
    # inherit that; a handler of Python's own is not inherited.
    ignored = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", dse, *arguments, *where],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    finally:
        signal.signal(signal.SIGINT, ignored)


def finish(arguments: Sequence[str], folder: Path) -> str:
    """Run to the end, give what it said."""
    process = start(arguments, folder)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said.decode()
    return said.decode()


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a `trials.csv` without times."""
    with path.open(newline="") as file:
        return [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]


def workers_of(pid: int) -> list[int]:
    """Child processes of `pid` that are workers."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    lines = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
    return [child for child, line in lines.items() if b"dse.execution.worker" in line]


def alive(pid: int) -> bool:
    """Whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(condition: Callable[[], T], seconds: float = 120.0) -> T:
    """The first true value of `condition()`."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.05)
    raise AssertionError("waited in vain")


def kill_driver_after(arguments: Sequence[str], folder: Path, seconds: float) -> bool:
    """Start, wait, `kill -9` the driver; False if it had ended before."""
    process = start(arguments, folder)
    time.sleep(seconds)
    workers = workers_of(process.pid) if process.poll() is None else []
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(map(alive, workers)), 20)
    return process.returncode == -signal.SIGKILL


def kill_driver_when(arguments: Sequence[str], folder: Path, moment: Callable[[], T]) -> None:
    """Start, wait for a moment before the end, `kill -9` the driver."""
    process = start(arguments, folder)
    wait_until(lambda: moment() or process.poll() is not None)
    assert process.poll() is None, "it ended before the moment"
    workers = workers_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    wait_until(lambda: not any(map(alive, workers)), 60)


def kill_a_worker_after(arguments: Sequence[str], folder: Path, seconds: float) -> str:
    """Start, wait, `kill -9` one worker, run to the end; give what the driver said."""
    process = start(arguments, folder)
    time.sleep(seconds)
    for worker in workers_of(process.pid)[:1] if process.poll() is None else []:
        os.kill(worker, signal.SIGKILL)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said.decode()
    return said.decode()
