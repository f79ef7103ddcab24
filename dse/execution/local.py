"""Worker processes: who trains what, and what happens when one dies.

On a CPU one single-thread process per core beats one process over all cores (less
synchronisation, no idle cores between operators), so that is the default; on GPUs there
is one process for each device. Workers know nothing but their job.
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from dse.errors import MachineError
from dse.execution.artifacts import FolderStore
from dse.execution.executor import ATTEMPTS, HandingOut, JobSource
from dse.execution.gpus import gpu_count
from dse.execution.group import MEMBER
from dse.execution.job import Ended, EpochDone, Event, Job, Setup, Started, WorkerLost
from dse.execution.limits import cores_and_memory
from dse.files import open_itself
from dse.study.measurement import Measurement
from dse.training.xla import check_backend, one_thread

WORKER_COMMAND: tuple[str, ...] = (sys.executable, "-P", "-m", "dse.execution.worker")
"""What starts a worker; the tests put a program here that trains nothing."""

LEAST_SILENCE_S, SILENCE_FORECASTS = 60.0, 10.0
"""A worker is silent for at most so many seconds, or so many times what its job is likely to take.

Twice as long at each further attempt: a machine may be slower than any forecast.
"""

STARTS_WITHOUT_READY = 3
"""How often a worker may die before it ever answers."""

TICK_S = 0.5
"""While workers train, a source is asked this often whether it is over."""

# Scratch memory straight from and back to the system costs up to a third of a training step in
# page faults; glibc reads these at the start of the process only. Buffers of 32 MiB and more (an
# epoch's images, a program's temporary memory) do go back: kept in the heap, where smaller ones
# settle between them, they made a worker grow without end and a step take 1.6 times as long. The
# large thread caches are for the compiler.
_MALLOC = (
    "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432"
    ":glibc.malloc.trim_threshold=20000000000:glibc.malloc.top_pad=67108864"
    ":glibc.malloc.arena_max=1:glibc.malloc.tcache_count=2000"
)


def default_workers(devices_per_worker: int = 1) -> int:
    """One worker for each GPU, or for each core that this process may use and has memory for."""
    if devices_per_worker > 1:
        return max(1, gpu_count() // devices_per_worker)
    return gpu_count() or cores_and_memory()


GPU_MEMORY = 0.9
"""Share of a GPU's memory that workers which share it take together."""

_MEMORY_VARIABLES = ("XLA_CLIENT_MEM_FRACTION", "XLA_PYTHON_CLIENT_MEM_FRACTION")


def worker_environment(
    worker: int, workers_count: int = 1, devices_count: int = 1
) -> dict[str, str]:
    """The environment in which a worker starts: one thread and calm malloc, or one GPU.

    Where there are more workers than GPUs, those on one share its memory evenly: each would
    otherwise take three quarters of it as it starts.

    Args:
        worker: its number.
        workers_count: of all workers of this machine.
        devices_count: GPUs of each worker.
    """
    environment = dict(os.environ, PYTHONUNBUFFERED="1", JAX_ENABLE_X64="0")
    if gpus := gpu_count():
        devices = os.environ.get("CUDA_VISIBLE_DEVICES", ",".join(map(str, range(gpus))))
        own = range(worker * devices_count, (worker + 1) * devices_count)
        chosen = dict.fromkeys(devices.split(",")[at % gpus] for at in own)
        environment["CUDA_VISIBLE_DEVICES"] = ",".join(chosen)
        sharing = -(-workers_count * devices_count // gpus)
        if sharing > 1 and not any(name in environment for name in _MEMORY_VARIABLES):
            environment[_MEMORY_VARIABLES[0]] = f"{GPU_MEMORY / sharing:.3f}"
        return environment
    return one_thread(environment) | {"GLIBC_TUNABLES": _MALLOC}


@dataclass
class _Worker:
    number: int
    process: subprocess.Popen[bytes]
    log: IO[bytes]
    log_start_bytes: int  # what stands before is of earlier workers
    ready: bool = False
    job: Job | None = None
    candidate_key: str = ""
    pending_bytes: bytes = b""
    silent_s: float = 0.0
    most_silent_s: float = 0.0
    status: str = ""  # why it was ended, where it did not die by itself


@dataclass(frozen=True)
class LocalExecutor:
    """Worker processes of this machine, which read and write the driver's folders themselves.

    Attributes:
        workers_count: number of processes.
        compile_cache: folder for compiled programs; None for nowhere.
        devices_per_worker: devices that train a candidate together.
        artifacts: address of a `BucketStore` that workers use; empty for the folders alone.
    """

    workers_count: int
    compile_cache: Path | None = None
    devices_per_worker: int = 1
    artifacts: str = ""

    def session(self, setup: Setup, artifacts: Mapping[str, Path], logs: Path) -> LocalSession:
        """Processes for one setup; each is started when there is a job for it."""
        store = FolderStore({key: path.resolve() for key, path in artifacts.items()})
        return LocalSession(self, setup, store, logs)


@dataclass
class LocalSession:
    """Worker processes that hold one setup; use it as a context manager.

    Attributes:
        executor: whose workers they are.
        setup: what all jobs share.
        store: of the artifacts; workers see the same folders.
        logs: folder for each worker's standard error (`worker-0.log`, …).
    """

    executor: LocalExecutor
    setup: Setup
    store: FolderStore
    logs: Path
    _workers: dict[int, _Worker] = field(default_factory=dict)
    _selector: selectors.BaseSelector = field(default_factory=selectors.DefaultSelector)
    _failed_starts: int = 0

    def __enter__(self) -> LocalSession:
        return self

    def __exit__(self, *_: object) -> None:
        """End every worker; what they were doing is lost, what is recorded stays."""
        for worker in self._workers.values():
            worker.process.kill()
        for worker in self._workers.values():
            self._close(worker)
        self._workers.clear()
        self._selector.close()

    def serve(
        self,
        source: JobSource,
        *,
        most_workers: int | None = None,
        forecast_s: Callable[[Job], float] = lambda job: 0.0,
    ) -> Iterator[Event]:
        """See `Session.serve`."""
        first = None if source.is_over() else source.next_job("", frozenset())
        if first is None:  # no worker is started for nothing
            return
        if not self._workers:
            check_backend(self._environment(0))
        jobs = HandingOut(source, first)
        count = self.executor.workers_count
        for number in range(count if most_workers is None else min(count, most_workers)):
            if number not in self._workers:
                self._start(number)
        while True:
            if source.is_over():
                self._give_up()
                return
            idle = [w for w in self._workers.values() if w.ready and w.job is None]
            for worker in idle:
                elsewhere = {w.candidate_key for w in self._workers.values() if w is not worker}
                job = jobs.next_job(worker.candidate_key, elsewhere)
                if job is not None:
                    worker.job, worker.candidate_key = job, job.candidate.key
                    likely_s = SILENCE_FORECASTS * forecast_s(job)
                    worker.most_silent_s = max(LEAST_SILENCE_S, likely_s) * 2 ** jobs.attempts[job]
                    worker.silent_s = 0.0
                    self._write(worker, job.to_dict())
                    yield Started(job, worker.number)
            is_busy = any(worker.job for worker in self._workers.values())
            if idle and not is_busy:
                return
            for key, _ in self._heard():
                for event in self._read(key.data):
                    if isinstance(event, WorkerLost) and event.job is not None:
                        event = jobs.lost(event, _given_up(event))
                    yield event

    def _heard(self) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for workers; those that are silent for too long are killed, as their end is heard.

        Only what this process spent waiting counts: while it was stopped itself, or busy, nobody
        was silent. A system that sleeps stops the clock.
        """
        started = time.monotonic()
        heard = self._selector.select(timeout=TICK_S)
        waited_s = min(time.monotonic() - started, 2 * TICK_S)
        talking = [key.data.number for key, _ in heard]
        for worker in self._workers.values():
            is_busy = worker.job is not None or not worker.ready
            worker.silent_s = (
                worker.silent_s + waited_s if is_busy and worker.number not in talking else 0.0
            )
            if worker.silent_s > worker.most_silent_s and not worker.status:
                worker.status = f"silent for {worker.silent_s:.0f} s"
                worker.process.kill()
        return heard

    def _give_up(self) -> None:
        """End the workers that are training; `serve` starts others when it is called again."""
        for worker in [w for w in self._workers.values() if w.job is not None]:
            worker.process.kill()
            self._selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
            self._close(worker)
            del self._workers[worker.number]

    def _start(self, number: int) -> None:
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            log = open_itself(self._log(number), os.O_WRONLY | os.O_APPEND)
            log_start_bytes = os.fstat(log.fileno()).st_size
            process = subprocess.Popen(
                WORKER_COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=self._environment(number),
                start_new_session=True,  # Ctrl-C is the driver's to handle
            )
        except OSError as error:
            raise MachineError(
                f"worker {number} cannot be started: {error}; once this is fixed, the same "
                "command resumes"
            ) from error
        worker = _Worker(number, process, log, log_start_bytes)
        worker.most_silent_s = LEAST_SILENCE_S * 2**self._failed_starts
        self._workers[number] = worker
        assert process.stdout is not None
        self._selector.register(process.stdout, selectors.EVENT_READ, worker)
        folders = {key: str(path) for key, path in self.store.folders.items()}
        here = {
            "folders": folders,
            "compile_cache": str(self.executor.compile_cache or ""),
            "devices_count": self.executor.devices_per_worker,
            "artifacts": self.executor.artifacts,
        }
        self._write(worker, {"setup": self.setup.to_dict(), "here": here})

    def _write(self, worker: _Worker, message: dict[str, Any]) -> None:
        assert worker.process.stdin is not None
        try:
            worker.process.stdin.write(json.dumps(message).encode() + b"\n")
            worker.process.stdin.flush()
        except BrokenPipeError:
            pass  # its death is noticed where its answers are read

    def _read(self, worker: _Worker) -> Iterator[Event]:
        assert worker.process.stdout is not None
        data = os.read(worker.process.stdout.fileno(), 1 << 16)
        if not data:
            yield self._replace(worker)
            return
        *lines, worker.pending_bytes = (worker.pending_bytes + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if message["type"] == "ready":
                worker.ready, self._failed_starts = True, 0
                continue
            if message["type"] == "alive":
                continue
            if message["type"] == "fatal":
                raise MachineError(
                    f"worker {worker.number}: {message['message']}; what was recorded is kept: "
                    "once this is fixed, the same command resumes"
                )
            assert worker.job is not None
            if message["type"] == "epoch":
                yield EpochDone(worker.job, worker.number, message["epochs"], message["loss"])
            else:
                job, worker.job = worker.job, None
                yield Ended(job, worker.number, Measurement(**message["measurement"]))

    def _replace(self, worker: _Worker) -> WorkerLost:
        """Start another in place of a worker that died."""
        self._selector.unregister(worker.process.stdout)  # type: ignore[arg-type]
        self._close(worker)
        status = worker.status or _status(worker.process.returncode)
        words = [] if worker.status else self._last_words(worker)
        if not worker.ready:
            self._failed_starts += 1
            if self._failed_starts >= STARTS_WITHOUT_READY:
                raise MachineError(
                    f"workers die at their start ({status}); once this is fixed (enough memory?), "
                    f"the same command resumes; the last lines of {self._log(worker.number)}:\n"
                    + "\n".join(words[-5:])
                )
        if words and worker.process.returncode in (1, -signal.SIGABRT):  # it ended itself
            status += f": {words[-1]}"
        self._start(worker.number)
        return WorkerLost(worker.job, worker.number, status)

    def _environment(self, number: int) -> dict[str, str]:
        executor = self.executor
        # A member of a group that a cluster started has one of its devices.
        devices_count = 1 if MEMBER in os.environ else executor.devices_per_worker
        return worker_environment(number, executor.workers_count, devices_count)

    def _log(self, number: int) -> Path:
        return self.logs / f"worker-{number}.log"

    def _last_words(self, worker: _Worker) -> list[str]:
        """The last lines that a worker wrote to its log; without addresses of machine code."""
        try:
            with self._log(worker.number).open("rb") as log:
                size = os.fstat(log.fileno()).st_size
                log.seek(max(worker.log_start_bytes, size - 16384))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            return []
        return [
            line[:300] for line in lines if line.strip() and not re.match(r" +@ |\*\*\* ", line)
        ]

    @staticmethod
    def _close(worker: _Worker) -> None:
        worker.process.wait()
        for stream in (worker.process.stdin, worker.process.stdout, worker.log):
            try:
                if stream:
                    stream.close()
            except BrokenPipeError:
                pass


def _status(returncode: int) -> str:
    if returncode < 0:
        known = -returncode in set(signal.Signals)
        return f"signal {signal.Signals(-returncode).name if known else -returncode}"
    return f"exit status {returncode}"


def _given_up(event: WorkerLost) -> str:
    words = event.status.lower()
    # How the kernel, XLA, numpy and glibc say it.
    signs = (
        "sigkill",
        "exhausted",
        "memoryerror",
        "bad_alloc",
        "allocate memory",
        "pthread_create",
    )
    hint = ""
    if any(sign in words for sign in signs):
        hint = "; there may be too little memory: fewer --workers need less"
    return (
        f"the worker died {ATTEMPTS} times ({event.status}){hint}; see logs/worker-"
        f"{event.worker}.log"
    )
