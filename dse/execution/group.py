"""Several processes that train each candidate together, as one worker.

The worker is the first of them. It starts the others, passes on to them every line that it is
given, and alone answers; `jax.distributed` joins them, by gloo on CPUs. A cluster starts all of
them itself, on several machines, and tells each its `MEMBER`. All of them read the same
images and checkpoints and draw the same batches, of which each computes its share. Where one is
lost the exchange of gradients fails in all, so the worker ends, and its job is handed out again
from its last checkpoint.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dse.execution.artifacts import ArtifactStore
from dse.execution.gpus import gpu_count

MEMBER = "DSE_GROUP_MEMBER"
"""Environment variable of all that another process started: `NUMBER,COUNT,HOST:PORT`."""

LOST_S = 30
"""So long a process that no longer answers is waited for."""


def free_port(host: str = "127.0.0.1") -> int:
    """A port that nothing listens at."""
    with socket.socket() as free:
        free.bind((host, 0))
        port: int = free.getsockname()[1]
        return port


def members_count(devices_count: int) -> int:
    """Processes for so many devices: on CPUs each has one, unless XLA is told to have more.

    Args:
        devices_count: that train a candidate together.
    """
    if MEMBER in os.environ:
        return devices_count
    forced = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    return 1 if gpu_count() or forced else devices_count


class Group:
    """The other processes of this one's group; none where it is alone.

    Args:
        count: of all processes.
        first_line: what this one was told first.

    Attributes:
        is_first: whether this process is the first, or alone.
    """

    def __init__(self, count: int, first_line: str) -> None:
        self._others: list[subprocess.Popen[str]] = []
        self._count, self.is_first = count, True
        if count == 1:
            return
        text = os.environ.get(MEMBER, "")
        if not text:
            address = f"127.0.0.1:{free_port()}"
            for number in range(1, count):
                self._others.append(
                    subprocess.Popen(
                        [sys.executable, "-P", "-m", "dse.execution.worker"],
                        stdin=subprocess.PIPE,
                        stdout=subprocess.DEVNULL,
                        text=True,
                        env={**os.environ, MEMBER: f"{number},{count},{address}"},
                    )
                )
            self.tell(first_line)
            text = f"0,{count},{address}"
        place, _, address = text.split(",")
        self.is_first = place == "0"
        import jax

        jax.distributed.initialize(address, count, int(place), heartbeat_timeout_seconds=LOST_S)

    def leave(self, status: int) -> None:
        """End this process at once if it is one of several: JAX would wait for the others."""
        if self._count > 1:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)

    def tell(self, line: str) -> None:
        """Pass a line on; the end of this process is the end of the others' input."""
        for other in self._others:
            assert other.stdin is not None
            with contextlib.suppress(BrokenPipeError):  # its loss shows where gradients are awaited
                other.stdin.write(line)
                other.stdin.flush()


@dataclass(frozen=True)
class Reader:
    """An artifact store for all but the first process of a group, which write nothing."""

    store: ArtifactStore

    def fetch(self, key: str) -> Path | None:
        """As the first process does."""
        return self.store.fetch(key)

    @contextlib.contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """A path that is gone at the end."""
        with tempfile.TemporaryDirectory(prefix="dse-") as folder:
            yield Path(folder, key.rpartition("/")[2])

    def drop(self, key: str) -> None:
        """Nothing: the first process does."""
