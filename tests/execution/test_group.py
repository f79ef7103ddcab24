"""Two processes that train one candidate together: results of one, and what a lost one costs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from dse.architecture import make_candidate
from dse.data import parse_data, prepare_data
from dse.errors import MachineError
from dse.execution.artifacts import FolderStore
from dse.execution.executor import JobList
from dse.execution.group import Reader, members_count
from dse.execution.job import Ended, Job, Setup, Started, WorkerLost
from dse.execution.local import LocalExecutor
from dse.training import Recipe
from tests.data.trees import write_classes

SMALL = {"base_e": 4, "incr_e": 4, "fire_modules": 1, "norm": "batch"}
RECIPE = Recipe(batch_size=8, epochs=5, learning_rate=0.02, crop_px=1)  # four steps an epoch
JOB = Job(make_candidate("squeezenet", SMALL), 0)


def trained(data, folder: Path, executor, on_event=lambda event, session: None):
    """Its weights, and how often the worker was lost."""
    setup = Setup(data.fingerprint, RECIPE, 1)
    artifacts = {setup.data_key: data.directory}
    for kind in ("weights", "checkpoints"):
        artifacts[f"{kind}/{setup.key}"] = folder / kind
        (folder / kind).mkdir(parents=True)
    lost: list[WorkerLost] = []
    with executor.session(setup, artifacts, folder / "logs") as session:
        for event in session.serve(JobList([JOB])):
            lost += [event] if isinstance(event, WorkerLost) else []
            if not lost:
                on_event(event, session)
            if isinstance(event, Ended):
                assert event.measurement.status == "finished"
        return load_file(session.store.fetch(JOB.artifact("weights", setup))), lost


def local(folder: Path, devices_count: int) -> LocalExecutor:
    (folder / "compiled").mkdir(mode=0o700, exist_ok=True)
    return LocalExecutor(1, folder / "compiled", devices_count)


def kill_member(event, session) -> None:
    if not isinstance(event, Started):
        return
    first = session._workers[0].process.pid
    (member,) = Path(f"/proc/{first}/task/{first}/children").read_text().split()
    os.kill(int(member), signal.SIGKILL)


@pytest.mark.slow
def test_two_processes_train_as_one_does_and_a_lost_one_is_replaced(tmp_path):
    """After 20 steps parameters and statistics agree to 1e-5."""
    write_classes(tmp_path / "photos", {"ant": 24, "bee": 24}, shape=(12, 12, 3))
    data = prepare_data(parse_data(f"folder:{tmp_path / 'photos'}"), cache_directory=tmp_path)
    assert RECIPE.epochs * (len(data.train) // RECIPE.batch_size) == 20
    wanted, _ = trained(data, tmp_path / "one", local(tmp_path, 1))
    found, lost = trained(data, tmp_path / "two", local(tmp_path, 2), kill_member)
    assert len(lost) == 1
    assert_close(found, wanted)
    assert os.listdir(tmp_path / "two" / "weights") == [JOB.weights_name]


def assert_close(found, wanted) -> None:
    assert found.keys() == wanted.keys()
    for path, array in wanted.items():
        np.testing.assert_allclose(found[path], array, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")  # sockets that Ray's shutdown leaves to the collector
def test_a_group_over_two_nodes_trains_as_one_process_and_a_lost_node_is_replaced(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")  # Ray reads it when it is imported
    pytest.importorskip("ray", reason="Ray is missing: pip install 'dse[ray]'")
    import ray
    from ray.cluster_utils import Cluster

    from dse.execution.ray import connect

    write_classes(tmp_path / "photos", {"ant": 24, "bee": 24}, shape=(12, 12, 3))
    data = prepare_data(parse_data(f"folder:{tmp_path / 'photos'}"), cache_directory=tmp_path)
    wanted, _ = trained(data, tmp_path / "one", local(tmp_path, 1))
    memory = {"object_store_memory": 100 << 20}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": False, **memory},
    )
    nodes = [cluster.add_node(num_cpus=1, **memory) for _ in range(2)]

    def lose_a_node(event, session) -> None:
        if isinstance(event, Started) and len(nodes) == 2:
            cluster.remove_node(nodes.pop(), allow_graceful=False)
            cluster.add_node(num_cpus=1, **memory)

    try:
        environment = {"PYTHONPATH": str(Path(__file__).parents[2])}
        ray.init(
            address=cluster.address,
            log_to_driver=False,
            runtime_env={"env_vars": environment},
        )
        with pytest.raises(MachineError, match="room for 2 of the 3 devices of a worker"):
            connect(devices_per_worker=3)
        executor = connect(devices_per_worker=2)
        assert (executor.workers_count, executor.devices_per_worker) == (1, 2)
        found, lost = trained(data, tmp_path / "two", executor, lose_a_node)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert len(lost) == 1
    assert_close(found, wanted)


def test_devices_are_processes_on_cpus_alone(monkeypatch):
    monkeypatch.setattr("dse.execution.group.gpu_count", lambda: 0)
    monkeypatch.setenv("XLA_FLAGS", "")
    assert [members_count(count) for count in (1, 3)] == [1, 3]
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
    assert members_count(4) == 1
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr("dse.execution.group.gpu_count", lambda: 4)
    assert members_count(4) == 1


def test_all_but_the_first_write_nothing(tmp_path):
    store = FolderStore({"weights/k": tmp_path})
    with Reader(store).writing("weights/k/x") as path:
        path.write_bytes(b"the same")
    assert not list(tmp_path.iterdir())
    (tmp_path / "x").write_bytes(b"of the first")
    Reader(store).drop("weights/k/x")
    assert Reader(store).fetch("weights/k/x").read_bytes() == b"of the first"
