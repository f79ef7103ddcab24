"""A worker on another machine: what runs there, between the driver and the worker process.

It is the local executor with one worker, in a process that the cluster starts. Where the driver's
folders are there too (one machine, a network file system) it uses them; elsewhere it receives the
images once per machine, and takes and gives back the artifacts of each job. Where artifacts have an
address (`dse.execution.bucket`), images and all others come from there and go there.
"""

from __future__ import annotations

import io
import os
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from dse.data.spec import cache_root
from dse.errors import MachineError
from dse.execution.artifacts import FolderStore
from dse.execution.executor import JobList
from dse.execution.group import MEMBER, free_port
from dse.execution.job import Ended, Event, GivenUp, Job, Setup, WorkerLost
from dse.execution.local import LocalExecutor
from dse.files import locked, private_folder
from dse.study.description import current_versions


@dataclass(frozen=True)
class Artifact:
    """A file that a job made, on its way to the driver."""

    key: str
    content: bytes


@dataclass(frozen=True)
class Home:
    """The driver, as its workers elsewhere know it.

    Attributes:
        setup: what all jobs share.
        folders: of the artifacts, on the driver's machine.
        logs: folder for what worker processes write to standard error, there.
        sign: a file there; a machine that sees it with this content sees the others too.
        secret: its content.
        versions: of Python and the packages that results depend on.
        artifacts: address of all artifacts; empty where they travel with the jobs.
    """

    setup: Setup
    folders: Mapping[str, Path]
    logs: Path
    sign: Path
    secret: str
    versions: Mapping[str, str]
    artifacts: str = ""

    @property
    def inputs(self) -> list[str]:
        """Keys of what every job reads and none writes."""
        setup = self.setup
        init, teacher = [setup.init_key][: bool(setup.init)], [setup.teacher_key]
        return [setup.data_key, *init, *teacher[: bool(setup.teacher)]]


class NodeWorker:
    """One worker process, for as long as this object lives.

    Args:
        home: the driver.
        number: of the worker, for the driver.
        place: in its group, 0 for the first, which answers, or for one that is alone.
        group_count: workers that train each candidate together; each has one device.
    """

    def __init__(self, home: Home, number: int, place: int = 0, group_count: int = 1) -> None:
        self._place, self._group_count = place, group_count
        self._home, self._number, self._stack = home, number, ExitStack()
        self._folders = dict(home.folders)
        self._is_apart = bool(home.artifacts) or not _sees(home)
        self._logs = home.logs / (f"ray-{number}-{place}" if place else f"ray-{number}")
        self._received = private_folder(cache_root() / "received") / home.setup.data_fingerprint
        if self._is_apart:
            scratch = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="dse-")))
            self._logs = scratch / "logs"
            for place, key in enumerate(home.folders):
                is_input = key in home.inputs
                self._folders[key] = self._received / str(place) if is_input else scratch / key
                if not is_input:
                    self._folders[key].mkdir(parents=True)
        compiled = private_folder(cache_root() / "compiled")
        executor = LocalExecutor(1, compiled, group_count, artifacts=home.artifacts)
        session = executor.session(home.setup, self._folders, self._logs)
        self._session = self._stack.enter_context(session)

    def join(self, address: str = "") -> str:
        """Be one of its group from the next worker process on.

        Args:
            address: of the first, or empty for the first itself.

        Returns:
            The address (`HOST:PORT`).
        """
        if not address:
            import ray

            host = ray.util.get_node_ip_address()
            address = f"{host}:{free_port(host)}"
        os.environ[MEMBER] = f"{self._place},{self._group_count},{address}"
        return address

    def close(self) -> None:
        """End the worker process, and remove what was made for it alone."""
        self._stack.close()

    def lacks_inputs(self) -> bool:
        """Whether `receive` is needed before the first job.

        Raises:
            MachineError: other versions are installed here than where the driver is, or artifacts
                cannot be fetched.
        """
        here, there = current_versions(), self._home.versions
        if different := [name for name in there if here.get(name) != there[name]]:
            told = ", ".join(f"{name} {here.get(name)} (not {there[name]})" for name in different)
            raise MachineError(
                f"{os.uname().nodename} has {told}: results of different versions may differ; "
                "install the same on every node"
            )
        if self._home.artifacts:
            from dse.execution.bucket import BucketStore

            store = BucketStore(self._home.artifacts, FolderStore(self._folders))
            with self._lock():
                self._received.mkdir(exist_ok=True)
                if None in map(store.fetch, self._home.inputs):
                    raise MachineError(f"the images are gone from {self._home.artifacts}")
            return False
        inputs = map(self._folders.__getitem__, self._home.inputs)
        return self._is_apart and not all(path.exists() for path in inputs)

    def receive(self, packed: bytes) -> None:
        """Unpack what `pack` made, unless another worker of this machine did."""
        with self._lock():
            if not self._received.exists():
                with tempfile.TemporaryDirectory(dir=self._received.parent) as folder:
                    content = Path(folder, "content")
                    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
                        archive.extractall(content, filter="data")
                    content.rename(self._received)

    def _lock(self) -> AbstractContextManager[None]:
        """One worker of this machine at a time."""
        return locked(self._received.with_suffix(".lock"), lambda: None)

    def run(
        self, job: Job, forecast_s: float, inputs: Mapping[str, bytes]
    ) -> Iterator[Event | Artifact]:
        """The events of one job, and what it makes, where the driver does not see it.

        Args:
            job: what to do.
            forecast_s: seconds that it is likely to take.
            inputs: of its artifacts those that the driver has.

        Raises:
            MachineError: as `Session.serve`.
        """
        store = self._session.store
        for key, content in inputs.items() if self._is_apart else ():
            store.path(key).write_bytes(content)
        source, over = JobList([job]), []
        for event in self._session.serve(source, forecast_s=lambda job: forecast_s):
            if isinstance(event, WorkerLost | GivenUp) and self._is_apart:
                where = f"on {os.uname().nodename}: "
                event = (
                    replace(event, reason=where + event.reason)
                    if isinstance(event, GivenUp)
                    else replace(event, status=where + event.status)
                )
            event = replace(event, worker=self._number)
            if isinstance(event, Ended | GivenUp):
                over.append(event)  # the driver has what the job made before it counts
            else:
                yield event
        for key in job.writes(self._home.setup) if self._is_apart else ():
            if (path := store.fetch(key)) is not None:
                if not self._home.artifacts:
                    yield Artifact(key, path.read_bytes())
                store.drop(key)
        for event in over:  # not `yield from`: Ray sends into the generator
            yield event


def pack(home: Home) -> bytes:
    """What every job reads, for machines that do not see the driver's folders."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for place, (key, path) in enumerate(home.folders.items()):
            if key in home.inputs:
                archive.add(path.resolve(), arcname=str(place))
    return packed.getvalue()


def _sees(home: Home) -> bool:
    try:
        return home.sign.read_text() == home.secret
    except OSError:
        return False
