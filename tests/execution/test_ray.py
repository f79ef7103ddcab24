"""Workers on a real Ray cluster of several nodes, all of them on this machine."""

from __future__ import annotations

import contextlib
import random
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from dse.errors import MachineError, StudyError, UsageError
from dse.execution.executor import JobList
from dse.execution.job import Ended, EpochDone, GivenUp, Setup, WorkerLost
from dse.execution.node import Home, NodeWorker, pack
from dse.execution.ray import RayExecutor, connect
from dse.study.description import current_versions
from tests.execution.test_serve import job
from tests.search import searching

HERE = Path(__file__)


def fake_workers() -> None:
    """In every process of the cluster: start workers that train nothing."""
    import dse.execution.local
    from tests import fakes

    dse.execution.local.WORKER_COMMAND = fakes.WORKER


@pytest.fixture(scope="module")
def cluster():
    """A head without cores, and two nodes of two."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        pytest.importorskip("ray", reason="Ray is missing: pip install 'dse[ray]'")
        from ray.cluster_utils import Cluster

        options = {"object_store_memory": 100 << 20, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **options})
        cluster.add_node(num_cpus=2, object_store_memory=100 << 20)
        try:
            yield cluster
        finally:
            cluster.shutdown()


@contextlib.contextmanager
def joined(cluster, wait_s: float):
    """The driver in the cluster, whose workers take so long for an epoch."""
    import ray

    environment = {"DSE_FAKE_WAIT_S": str(wait_s), "PYTHONPATH": str(HERE.parents[2])}
    ray.init(
        address=cluster.address,
        log_to_driver=False,
        runtime_env={"worker_process_setup_hook": fake_workers, "env_vars": environment},
    )
    try:
        yield
    finally:
        ray.shutdown()


pytestmark = [
    pytest.mark.long,
    pytest.mark.ray,
    # Ray's own: sockets and processes that its shutdown leaves to the collector.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning:ray"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:ray"),
]


def searched(folder: Path, executor) -> list:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "make_executor", lambda count: executor)
        result, _ = searching.run(searching.search("4trials"), folder)
    return [replace(trial, trial_id=-1, ended_s=[]) for trial in result.trials.values()]


def jobs(count: int) -> JobList:
    return JobList([job(number % 16, number // 16, epochs=3) for number in range(count)])


SETUP = Setup("f" * 32, searching.RECIPE, scores_test=False)


def served(executor, folder: Path, count: int, on_event) -> list:
    artifacts = {f"{kind}/{SETUP.key}": folder / kind for kind in ("weights", "checkpoints")}
    events = []
    with executor.session(SETUP, artifacts, folder / "logs") as session:
        for event in session.serve(jobs(count)):
            events.append(event)
            on_event(event)
    ended = [event.job for event in events if isinstance(event, Ended)]
    assert len(ended) == len(set(ended)) == count
    assert not [event for event in events if isinstance(event, GivenUp)]
    return events


@pytest.mark.slow
def test_search_is_that_of_one_process(cluster, tmp_path):
    wanted = searched(tmp_path / "here", searching.InProcess(1))
    with joined(cluster, 0):
        executor = connect()
        assert executor == RayExecutor(2, 1, 0.0)
        assert searched(tmp_path / "there", replace(executor, workers_count=1)) == wanted
        with pytest.raises(MachineError, match="no node of the cluster has room for a worker"):
            connect(num_gpus=3)
        session = executor.session(SETUP, {}, tmp_path / "logs")
        with session:
            session._home = replace(session._home, versions={**current_versions(), "jax": "0.1"})
            said = r"has jax \S+ \(not 0.1\).*the same on every node"
            with pytest.raises(MachineError, match=said):
                list(session.serve(jobs(1)))


def test_node_that_is_lost_loses_no_job_and_repeats_none(cluster, tmp_path):
    node = cluster.add_node(num_cpus=2, object_store_memory=100 << 20)
    busy = set()

    def remove_node(event) -> None:
        nonlocal node
        busy.update({event.worker} if isinstance(event, EpochDone) else ())
        if len(busy) == 4 and node:
            cluster.remove_node(node, allow_graceful=False)
            node = None

    with joined(cluster, 1.0):
        events = served(connect(workers_count=4), tmp_path, 8, remove_node)
    assert 1 <= len([event for event in events if isinstance(event, WorkerLost)]) <= 2


def test_ray_that_is_missing_or_open_to_all_is_refused(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with pytest.raises(UsageError, match="RAY_AUTH_MODE is 'disabled', but must be token"):
        connect()
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    with pytest.raises(
        MachineError, match=r"Ray cluster at 127.0.0.1:1 cannot be reached: .*refused"
    ):
        connect("127.0.0.1:1")
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(StudyError, match=r"pip install 'dse\[ray\]'"):
        connect()


def test_node_apart_receives_inputs_once_and_gives_back_what_jobs_make(
    tmp_path, fake_worker, monkeypatch
):
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "cache"))
    images = tmp_path / "driver" / "images"
    images.mkdir(parents=True)
    (images / "train.npy").write_bytes(b"pixels")
    setup = Setup("e" * 32, searching.RECIPE, scores_test=False)
    weights = f"weights/{setup.key}"
    folders = {
        setup.data_key: images,
        weights: tmp_path / "w",
        f"checkpoints/{setup.key}": tmp_path,
    }
    home = Home(setup, folders, tmp_path, tmp_path / "not there", "s", current_versions())
    node, other = NodeWorker(home, 3), NodeWorker(home, 4)
    assert node.lacks_inputs()
    node.receive(pack(home))
    assert not other.lacks_inputs(), "once per machine"
    store = node._session.store
    assert (store.fetch(setup.data_key) / "train.npy").read_bytes() == b"pixels"
    one = job(0)
    checkpoint = one.artifact("checkpoints", setup)
    said = list(node.run(one, 1.0, {checkpoint: b"so far"}))
    assert {event.worker for event in said if isinstance(event, Ended)} == {3}
    (made,) = [part for part in said if not hasattr(part, "worker")]
    assert (made.key, made.content) == (checkpoint, b"so far")
    assert store.fetch(checkpoint) is None
    scratch = store.path(checkpoint)
    node.close()
    other.close()
    assert not scratch.parent.exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(20))
def test_node_killed_at_a_random_moment(cluster, tmp_path, number):
    node = cluster.add_node(num_cpus=2, object_store_memory=100 << 20)
    wait_s = random.Random(number).uniform(0, 10)
    kill = threading.Timer(wait_s, cluster.remove_node, [node], {"allow_graceful": False})
    with joined(cluster, 0.3):
        executor = connect(workers_count=4)
        kill.start()
        served(executor, tmp_path, 16, lambda event: None)
        kill.join()
