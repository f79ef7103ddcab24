"""Workers on the machines of a Ray cluster, or of one that is started here.

Each worker is an actor that holds its cores (or its share of a GPU) and one worker process
(`dse.execution.node`). Ray places it, notices when its machine is gone, and places another; the
job it had is handed out again.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dse.errors import MachineError, StudyError, UsageError
from dse.execution.artifacts import FolderStore
from dse.execution.bucket import BucketStore, check_bucket
from dse.execution.executor import ATTEMPTS, HandingOut, JobSource
from dse.execution.job import Ended, Event, GivenUp, Job, Setup, Started, WorkerLost
from dse.execution.local import GPU_MEMORY, TICK_S
from dse.execution.node import Artifact, Home, NodeWorker, pack
from dse.files import replacing
from dse.study.description import current_versions

STORE_BYTES = 1 << 30
"""Of shared memory that a cluster started here may take; Ray's own default is 30% of memory."""

WAIT_FOR_NODES_S = 300.0
"""So long no worker may be placed anywhere before a run gives up; a cluster may be growing."""

CLOSE_S = 5.0
"""So long workers at rest may take to remove what they made."""


@dataclass(frozen=True)
class RayExecutor:
    """Workers of a cluster; `connect` makes it.

    Attributes:
        workers_count: jobs that run at a time.
        num_cpus: cores of each worker.
        num_gpus: GPUs of each worker, or a share of one.
        artifacts: address of all artifacts; empty where they travel with the jobs.
        devices_per_worker: actors, of one device each, that train a candidate together.
    """

    workers_count: int
    num_cpus: float = 1
    num_gpus: float = 0
    artifacts: str = ""
    devices_per_worker: int = 1

    def session(self, setup: Setup, artifacts: Mapping[str, Path], logs: Path) -> RaySession:
        """Workers for one setup; each is placed when there is a job for it."""
        folders = FolderStore({key: path.resolve() for key, path in artifacts.items()})
        store = BucketStore(self.artifacts, folders) if self.artifacts else folders
        return RaySession(self, setup, store, folders, logs.resolve())


def connect(
    address: str = "",
    *,
    workers_count: int | None = None,
    num_cpus: float = 1,
    num_gpus: float | None = None,
    artifacts: str = "",
    devices_per_worker: int = 1,
) -> RayExecutor:
    """Connect to a Ray cluster, or start one on this machine.

    Args:
        address: of the cluster's head (`HOST:6379`), or `auto` for the one that runs here; empty
            starts one that ends with this process.
        workers_count: at most so many workers; None for as many as there is room for.
        num_cpus: cores of each worker.
        num_gpus: GPUs of each worker, or a share of one; None for one where there are any.
        artifacts: address for all artifacts (see `BucketStore`).
        devices_per_worker: devices that train a candidate together, wherever in the cluster;
            `num_cpus` and `num_gpus` are of each.

    Raises:
        StudyError: Ray is not installed.
        MachineError: no cluster at the address, another token or version, no room in it, or
            artifacts that cannot be written.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise StudyError(
            "Ray is not installed; install it beside dse: pip install 'dse[ray]', or from a "
            "checkout pip install '.[ray]'"
        ) from error
    if os.environ["RAY_AUTH_MODE"] != "token":
        raise UsageError(
            f"RAY_AUTH_MODE is {os.environ['RAY_AUTH_MODE']!r}, but must be token (or not set): "
            "without it whoever reaches the cluster runs what he likes on it"
        )
    if artifacts:
        check_bucket(artifacts)
    if not ray.is_initialized():
        _initialize(address)
    have = ray.cluster_resources()
    num_gpus = float(have.get("GPU", 0) > 0) if num_gpus is None else num_gpus
    wanted = {"CPU": num_cpus, "GPU": num_gpus}
    room = sum(_room(node["Resources"], wanted) for node in ray.nodes() if node["Alive"])
    if room < devices_per_worker:
        lacking = (
            "no node of the cluster has room for a worker"
            if devices_per_worker == 1
            else f"the cluster has room for {room} of the {devices_per_worker} devices of a worker"
        )
        raise MachineError(
            f"{lacking} with {num_cpus:g} CPUs and {num_gpus:g} GPUs"
            f"{'' if devices_per_worker == 1 else ' each'}; all of its nodes have "
            f"{have.get('CPU', 0):g} CPUs and {have.get('GPU', 0):g} GPUs"
        )
    count = room // devices_per_worker
    count = count if workers_count is None else min(workers_count, count)
    return RayExecutor(count, num_cpus, num_gpus, artifacts, devices_per_worker)


def _room(resources: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    """Workers that a node takes."""
    return int(min(resources.get(name, 0) // count for name, count in wanted.items() if count))


def _initialize(address: str) -> None:
    import ray

    where = f"the Ray cluster at {address}" if address else "a Ray cluster on this machine"
    host, colon, port = address.rpartition(":")
    answers = False
    try:
        if colon and port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=5).close()
            answers = True
        ray.init(
            address=address or "local",
            include_dashboard=None if address else False,
            log_to_driver=False,
            configure_logging=False,
            namespace="dse",
            object_store_memory=None if address else STORE_BYTES,
        )
    except ray.exceptions.AuthenticationError as error:
        raise MachineError(
            f"{where} wants another token than this machine has; copy ~/.ray/auth_token of the "
            "head here (readable for you alone), or set RAY_AUTH_TOKEN_PATH"
        ) from error
    except (ConnectionError, RuntimeError, ValueError, OSError, ray.exceptions.RayError) as error:
        said = " ".join(str(error).split())
        if answers:
            raise MachineError(
                f"{where} answers, but does not let this machine in ({said}): its token or its "
                "version of Ray is another; copy ~/.ray/auth_token of the head here (readable for "
                "you alone), and install the same Ray"
            ) from error
        raise MachineError(
            f"{where} cannot be reached: {said}; start its head with RAY_AUTH_MODE=token "
            "ray start --head, give --address HOST:6379, and see that ~/.ray/auth_token (or "
            "RAY_AUTH_TOKEN) here is that of the head"
        ) from error


@dataclass
class _Worker:
    number: int
    actor: Any
    asked: Any  # what is waited for: a reference before it is ready, a generator while it works
    has_inputs: bool = False
    job: Job | None = None
    candidate_key: str = ""
    others: list[_Worker] = field(default_factory=list)  # of its group
    placement: Any = None  # of its group

    @property
    def ready(self) -> bool:
        return self.has_inputs and all(other.ready for other in self.others)

    @property
    def waited_for(self) -> list[_Worker]:
        """Of the group: all without their inputs, then all that work."""
        group = [self, *self.others]
        lacking = [one for one in group if not one.has_inputs]
        return lacking or [one for one in group if one.asked is not None]


@dataclass
class RaySession:
    """Workers that hold one setup; use it as a context manager.

    Attributes:
        executor: whose workers they are.
        setup: what all jobs share.
        store: of the artifacts.
        folders: that hold them on this machine.
        logs: folder for what worker processes write to standard error.
    """

    executor: RayExecutor
    setup: Setup
    store: BucketStore | FolderStore
    folders: FolderStore
    logs: Path
    _workers: dict[int, _Worker] = field(default_factory=dict)
    _packed: Any = None
    _home: Home | None = None

    def __enter__(self) -> RaySession:
        self.logs.mkdir(parents=True, exist_ok=True)
        secret = secrets.token_hex(16)
        sign = self.logs / f".{secret[:8]}.sign"
        sign.write_text(secret)
        self._home = Home(
            setup=self.setup,
            folders=self.folders.folders,
            logs=self.logs,
            sign=sign,
            secret=secret,
            versions=current_versions(),
            artifacts=self.executor.artifacts,
        )
        return self

    def __exit__(self, *_: object) -> None:
        """End every worker; what they were doing is lost, what is recorded stays."""
        import ray

        # A worker at rest tidies up; one that works would not hear.
        at_rest = [w for w in self._workers.values() if w.ready and w.job is None]
        at_rest = [one for worker in at_rest for one in (worker, *worker.others)]
        if closing := [worker.actor.close.remote() for worker in at_rest]:
            ray.wait(closing, num_returns=len(closing), timeout=CLOSE_S)
        for number in list(self._workers):
            self._end(number)
        assert self._home is not None
        self._home.sign.unlink(missing_ok=True)

    def serve(
        self,
        source: JobSource,
        *,
        most_workers: int | None = None,
        forecast_s: Callable[[Job], float] = lambda job: 0.0,
    ) -> Iterator[Event]:
        """See `Session.serve`."""
        first = None if source.is_over() else source.next_job("", frozenset())
        if first is None:  # no worker is placed for nothing
            return
        jobs = HandingOut(source, first)
        if isinstance(self.store, BucketStore) and not self._workers and self._home:
            for key in self._home.inputs:
                self.store.offer(key)
        count = self.executor.workers_count
        for number in range(count if most_workers is None else min(count, most_workers)):
            if number not in self._workers:
                self._start(number)
        placed = time.monotonic()
        while True:
            if source.is_over():
                for worker in [w for w in self._workers.values() if w.job is not None]:
                    self._end(worker.number)
                return
            idle = [w for w in self._workers.values() if w.ready and w.job is None]
            for worker in idle:
                elsewhere = {w.candidate_key for w in self._workers.values() if w is not worker}
                job = jobs.next_job(worker.candidate_key, elsewhere)
                if job is not None:
                    worker.job, worker.candidate_key = job, job.candidate.key
                    inputs = self._inputs_of(job)
                    for one in (*worker.others, worker):
                        run = one.actor.run.options(num_returns="streaming")
                        one.asked = run.remote(job, forecast_s(job), inputs)
                    yield Started(job, worker.number)
            if idle and not any(worker.job for worker in self._workers.values()):
                return
            if any(worker.ready for worker in self._workers.values()):
                placed = time.monotonic()
            elif time.monotonic() - placed > WAIT_FOR_NODES_S:
                raise MachineError(
                    f"no node of the cluster has taken a worker for {WAIT_FOR_NODES_S:.0f} s; what "
                    "was recorded is kept: once there are nodes, the same command resumes"
                )
            for worker, one in self._heard():
                if self._workers.get(worker.number) is not worker:
                    continue  # ended with another of its group
                for event in self._read(worker, one):
                    is_here = worker.number in self._workers
                    if is_here and worker.others and isinstance(event, WorkerLost):
                        self._end(worker.number)  # the others of its group wait for it in vain
                    elif is_here or not isinstance(event, WorkerLost):
                        yield event  # a worker process that died is its node's to replace
                        continue
                    self._start(worker.number)
                    said = f"its machine was lost {ATTEMPTS} times ({event.status})"
                    yield event if event.job is None else jobs.lost(event, said)

    def _heard(self) -> list[tuple[_Worker, _Worker]]:
        """Who has something to say: a worker, and which of its group, itself or another."""
        import ray

        asked = {
            one.asked: (worker, one)
            for worker in self._workers.values()
            if worker.job or not worker.ready
            for one in worker.waited_for
        }
        found, _ = ray.wait(list(asked), timeout=TICK_S, fetch_local=False)
        return [asked[one] for one in found]

    def _read(self, worker: _Worker, one: _Worker) -> Iterator[Event]:
        """What a worker has to say; what it made is stored first. Of the others of its group
        only that they are lost.
        """
        import ray

        try:
            if not worker.ready:
                if ray.get(one.asked):
                    one.asked = one.actor.receive.remote(self._packed_inputs())
                else:
                    one.has_inputs = True
                return
            said = ray.get(next(one.asked))
        except StopIteration:  # of another than the first, which ends with its measurement
            one.asked = None
            return
        except ray.exceptions.RayTaskError as error:
            raise _told(error) from error
        except ray.exceptions.RayError as error:
            self._end(worker.number)
            status = " ".join(str(error).split())[:200]
            yield WorkerLost(worker.job, worker.number, status)
            return
        if one is not worker:
            if isinstance(said, WorkerLost):
                yield WorkerLost(worker.job, worker.number, said.status)
        elif isinstance(said, Artifact):
            with self.store.writing(said.key) as path, replacing(path) as file:
                file.write(said.content)
        elif not isinstance(said, Started):
            if isinstance(said, Ended | GivenUp):
                worker.job = None  # whatever becomes of the worker: it is not handed out again
                if isinstance(self.store, BucketStore):
                    self.store.fetch(said.job.artifact("weights", self.setup))
            yield said

    def _inputs_of(self, job: Job) -> dict[str, bytes]:
        """What the job continues from, or tests."""
        if isinstance(self.store, BucketStore):
            for key in job.reads(self.setup):
                self.store.offer(key)
            return {}
        found = {key: self.store.fetch(key) for key in job.reads(self.setup)}
        return {key: path.read_bytes() for key, path in found.items() if path is not None}

    def _packed_inputs(self) -> Any:
        import ray

        assert self._home is not None
        if self._packed is None:
            try:
                self._packed = ray.put(pack(self._home))
            except ray.exceptions.RayError as error:
                raise MachineError(
                    f"the images do not fit Ray's object store: {str(error).splitlines()[0]}; "
                    "start the head with a larger --object-store-memory, or put --results and "
                    "DSE_CACHE where every node sees them"
                ) from error
        return self._packed

    def _start(self, number: int) -> None:
        import ray

        executor, variables = self.executor, {"PYTHONUNBUFFERED": "1"}
        if not executor.num_gpus:
            variables["JAX_PLATFORMS"] = "cpu"
        elif executor.num_gpus < 1:  # Ray's shares do not limit memory
            variables["XLA_CLIENT_MEM_FRACTION"] = f"{GPU_MEMORY * executor.num_gpus:.3f}"
        count = executor.devices_per_worker
        options: dict[str, Any] = {
            "num_cpus": executor.num_cpus,
            "num_gpus": executor.num_gpus,
            "max_restarts": 0,
            "runtime_env": {"env_vars": variables},
        }
        remote = ray.remote(NodeWorker)
        if count == 1:
            actor: Any = remote.options(**options).remote(self._home, number)
            self._workers[number] = _Worker(number, actor, actor.lacks_inputs.remote())
            return
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        bundle = {"CPU": executor.num_cpus, "GPU": executor.num_gpus}
        bundle = {name: amount for name, amount in bundle.items() if amount}
        placement = ray.util.placement_group([bundle] * count, strategy="PACK")
        group, address = [], ""
        for place in range(count):
            strategy = PlacementGroupSchedulingStrategy(placement, place)
            placed = remote.options(**options, scheduling_strategy=strategy)
            actor = placed.remote(self._home, number, place, count)
            address = actor.join.remote(address)  # of the first; the others wait for it
            group.append(_Worker(number, actor, actor.lacks_inputs.remote()))
        group[0].others, group[0].placement = group[1:], placement
        self._workers[number] = group[0]

    def _end(self, number: int) -> None:
        import ray

        worker = self._workers.pop(number)
        for one in (worker, *worker.others):
            ray.kill(one.actor)
        if worker.placement is not None:
            ray.util.remove_placement_group(worker.placement)


def _told(error: Any) -> Exception:
    """What a worker raised; a fault of ours with its trace."""
    cause = error.cause
    if isinstance(cause, MachineError):
        return cause
    return MachineError(
        f"a worker of the cluster failed: {type(cause).__name__}: {cause}; is dse installed on "
        "every node, and can it write its DSE_CACHE there?"
    )
