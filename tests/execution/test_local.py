from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from dse.errors import MachineError
from dse.execution import gpus
from dse.execution import local as executor_module
from dse.execution.artifacts import FolderStore
from dse.execution.executor import JobList
from dse.execution.gpus import gpu_count
from dse.execution.job import (
    Ended,
    EpochDone,
    GivenUp,
    Job,
    Setup,
    Started,
    WorkerLost,
    job_from_dict,
    setup_from_dict,
)
from dse.execution.local import LocalExecutor, default_workers, worker_environment
from dse.study.fidelity import Fidelity
from dse.training import Recipe


def run(sweep, tmp_path: Path, *, workers: int = 2):
    executor = LocalExecutor(workers)
    with executor.session(Setup("f" * 32, sweep.recipe), {}, tmp_path / "logs") as session:
        return list(session.serve(JobList(sweep.jobs), most_workers=len(sweep.jobs)))


def ended(events) -> dict[tuple[str, int], Ended]:
    found = [event for event in events if isinstance(event, Ended)]
    assert len(found) == len({event.job.key for event in found}), "a job ended twice"
    return {event.job.key: event for event in found}


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_every_job_ends_once_with_its_measurement(sweep, tmp_path, fake_worker, workers):
    events = run(sweep, tmp_path, workers=workers)
    by_key = ended(events)
    assert set(by_key) == {job.key for job in sweep.jobs}
    for job in sweep.jobs:
        measured = by_key[job.key].measurement
        ratio = job.candidate.metaparameters["squeeze_ratio"]
        if ratio == 1.0:
            assert measured.status == "failed"
            assert measured.reason == "the loss became nan at step 7"
        else:
            assert measured.validation_accuracy == 0.5 + ratio / 4 + job.replicate / 100
    kinds = Counter(type(event) for event in events)
    assert kinds == {Started: 6, EpochDone: 6, Ended: 6}


def test_one_worker_takes_jobs_in_order(sweep, tmp_path, fake_worker):
    started = [e.job for e in run(sweep, tmp_path, workers=1) if isinstance(e, Started)]
    assert started == list(sweep.jobs)


def test_two_workers_keep_to_their_candidate_while_it_has_jobs(sweep, tmp_path, fake_worker):
    events = [e for e in run(sweep, tmp_path, workers=2) if isinstance(e, Started)]
    first = {}
    for event in events[:2]:
        first[event.worker] = event.job.candidate
    assert len(set(first.values())) == len(first), "both compiled one candidate"


def test_the_job_of_a_worker_that_dies_is_repeated(sweep, tmp_path, fake_worker, monkeypatch):
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    (deaths / "0.5-1-a").touch()
    (deaths / "0.25-0-a").touch()
    (deaths / "0.25-0-b").touch()
    monkeypatch.setenv("DSE_FAKE_DEATHS", str(deaths))
    events = run(sweep, tmp_path)
    lost = Counter(
        (e.job.candidate.metaparameters["squeeze_ratio"], e.job.replicate, e.status)
        for e in events
        if isinstance(e, WorkerLost)
    )
    assert lost == {(0.5, 1, "signal SIGKILL"): 1, (0.25, 0, "signal SIGKILL"): 2}
    assert Counter(e.measurement.status for e in ended(events).values()) == {
        "finished": 4,
        "failed": 2,
    }


def test_a_job_that_kills_three_workers_is_given_up_and_has_no_result(
    sweep, tmp_path, fake_worker, monkeypatch
):
    deaths = tmp_path / "deaths"
    deaths.mkdir()
    for name in "abcd":
        (deaths / f"0.5-0-{name}").touch()
    monkeypatch.setenv("DSE_FAKE_DEATHS", str(deaths))
    events = run(sweep, tmp_path)
    (given_up,) = [event for event in events if isinstance(event, GivenUp)]
    assert given_up.job not in [event.job for event in ended(events).values()]
    assert len(ended(events)) == 5
    assert given_up.reason == (
        "the worker died 3 times (signal SIGKILL); there may be too little memory: fewer "
        f"--workers need less; see logs/worker-{given_up.worker}.log"
    )
    assert len(list(deaths.iterdir())) == 1


def test_a_stopped_worker_is_killed_and_its_job_repeated(sweep, tmp_path, fake_worker, monkeypatch):
    monkeypatch.setattr(executor_module, "LEAST_SILENCE_S", 1.0)
    monkeypatch.setenv("DSE_FAKE_DEATHS", str(tmp_path))
    (tmp_path / "0.5-1-stop").touch()
    events = run(sweep, tmp_path)
    (lost,) = [event for event in events if isinstance(event, WorkerLost)]
    assert lost.job.replicate == 1
    assert re.fullmatch(r"silent for [12] s", lost.status)
    assert len(ended(events)) == 6


def test_time_in_which_the_driver_itself_stood_still_is_no_silence(
    sweep, tmp_path, fake_worker, monkeypatch
):
    # The clock jumps by an hour in every wait, as when the driver was stopped or the system slept.
    monkeypatch.setattr(executor_module, "LEAST_SILENCE_S", 20.0)
    hours = iter(range(10**6))
    monkeypatch.setattr(executor_module.time, "monotonic", lambda: 3600.0 * next(hours))
    monkeypatch.setenv("DSE_FAKE_WAIT_S", "0.6")
    events = run(dataclasses.replace(sweep, seeds=1), tmp_path)
    assert Counter(map(type, events))[WorkerLost] == 0
    assert len(ended(events)) == 3


def test_a_job_that_is_likely_to_take_long_may_be_silent_for_long(
    sweep, tmp_path, fake_worker, monkeypatch
):
    monkeypatch.setattr(executor_module, "LEAST_SILENCE_S", 1.0)
    monkeypatch.setenv("DSE_FAKE_WAIT_S", "2.5")
    executor = LocalExecutor(3)
    with executor.session(Setup("f" * 32, sweep.recipe), {}, tmp_path / "logs") as session:
        jobs = JobList(sweep.jobs[:3])
        events = list(session.serve(jobs, forecast_s=lambda job: 0.5))
    assert Counter(map(type, events))[WorkerLost] == 0
    assert len(ended(events)) == 3


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_dies_behind_its_answer_is_replaced(
    sweep, tmp_path, fake_worker, monkeypatch, workers
):
    monkeypatch.setenv("DSE_FAKE_LAST", "0.25-1")
    events = run(sweep, tmp_path, workers=workers)
    assert len(ended(events)) == 6
    assert [e.status for e in events if isinstance(e, WorkerLost)] == ["signal SIGKILL"]


def test_a_worker_that_cannot_read_its_job_ends():
    code = (
        "import queue, threading, time; from dse.execution.group import Group\n"
        "from dse.execution.worker import _read_jobs\n"
        "told = queue.Queue(), Group(1, '')\n"
        "threading.Thread(target=_read_jobs, args=told, daemon=True).start()\n"
        "time.sleep(60)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], input="{}\n", capture_output=True, text=True, timeout=50
    )
    assert result.returncode == 1
    assert "KeyError: 'family'" in result.stderr


def test_a_signal_without_a_name_has_its_number():
    assert executor_module._status(-9) == "signal SIGKILL"
    assert executor_module._status(-40) == "signal 40"
    assert executor_module._status(3) == "exit status 3"


def test_workers_that_cannot_start_end_the_run_with_their_last_words(
    sweep, tmp_path, fake_worker, monkeypatch
):
    monkeypatch.setenv("DSE_FAKE_SILENT", "1")
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "worker-0.log").write_text("from last week\n")
    with pytest.raises(MachineError, match=r"die at their start \(exit status 3\)") as error:
        run(sweep, tmp_path, workers=1)
    assert str(error.value).splitlines()[1:] == ["no such device"]


def test_a_log_folder_that_cannot_be_made_is_named(sweep, tmp_path, fake_worker):
    (tmp_path / "logs").write_text("a file, not a folder")
    with pytest.raises(MachineError, match=r"worker 0 cannot be started: .*logs"):
        run(sweep, tmp_path)


def test_what_would_hit_every_job_ends_the_run(sweep, tmp_path, fake_worker, monkeypatch):
    monkeypatch.setenv("DSE_FAKE_FATAL", "1")
    with pytest.raises(MachineError, match="worker 0: the disk is full; what was recorded is kept"):
        run(sweep, tmp_path, workers=1)


def test_workers_are_single_threaded_on_a_cpu(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("XLA_FLAGS", "--mine=1")
    environment = worker_environment(0)
    assert environment["XLA_FLAGS"] == "--mine=1 --xla_cpu_multi_thread_eigen=false"
    assert environment["PJRT_NPROC"] == environment["OMP_NUM_THREADS"] == "1"
    assert "glibc.malloc.arena_max=1" in environment["GLIBC_TUNABLES"]


@pytest.mark.parametrize("platforms", ["", "cuda,cpu"])
def test_one_worker_and_its_own_device_for_each_gpu(monkeypatch, platforms):
    monkeypatch.setattr(gpus, "_jax_has_plugins", lambda: True)
    monkeypatch.setenv("JAX_PLATFORMS", platforms)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    assert default_workers() == 2
    assert worker_environment(1)["CUDA_VISIBLE_DEVICES"] == "5"
    assert worker_environment(2)["CUDA_VISIBLE_DEVICES"] == "2"


def test_what_is_for_cpus_alone_is_not_in_the_environment_of_a_gpu_worker(monkeypatch):
    monkeypatch.setattr(gpus, "_jax_has_plugins", lambda: True)
    for name in ("PJRT_NPROC", "NPROC", "GLIBC_TUNABLES", "XLA_CLIENT_MEM_FRACTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JAX_PLATFORMS", "")
    monkeypatch.setenv("XLA_FLAGS", "--mine=1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    alone, shared = worker_environment(1, 2), worker_environment(3, 5)
    assert alone["XLA_FLAGS"] == "--mine=1"
    assert not {"PJRT_NPROC", "NPROC", "GLIBC_TUNABLES", "XLA_CLIENT_MEM_FRACTION"} & alone.keys()
    assert (shared["CUDA_VISIBLE_DEVICES"], shared["XLA_CLIENT_MEM_FRACTION"]) == ("5", "0.300")
    both = worker_environment(0, 1, devices_count=2)
    assert both["CUDA_VISIBLE_DEVICES"] == "2,5"
    assert "XLA_CLIENT_MEM_FRACTION" not in both
    assert default_workers(2) == 1
    monkeypatch.setenv("XLA_CLIENT_MEM_FRACTION", "0.5")  # the user knows better
    assert worker_environment(3, 5)["XLA_CLIENT_MEM_FRACTION"] == "0.5"


def test_devices_that_jax_cannot_use_do_not_count(monkeypatch):
    monkeypatch.setattr(gpus, "_jax_has_plugins", lambda: False)
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    assert gpu_count() == 0
    assert "--xla_cpu_multi_thread_eigen=false" in worker_environment(0)["XLA_FLAGS"]


def test_jobs_and_setup_survive_the_pipe(sweep, tmp_path):
    for job in sweep.jobs:
        assert job_from_dict(job.to_dict()) == job
    rung = dataclasses.replace(sweep.jobs[0], fidelity=Fidelity(3, 24, 0.5), measure_latency=True)
    assert job_from_dict(json.loads(json.dumps(rung.to_dict()))) == rung
    setup = Setup("f" * 32, Recipe(epochs=3), 7, keep_checkpoints=False, scores_test=False)
    assert setup_from_dict(json.loads(json.dumps(setup.to_dict()))) == setup
    assert Job(sweep.jobs[0].candidate, 1).weights_name.endswith("-seed1.safetensors")


def test_what_a_worker_is_given_names_no_path_of_this_machine(sweep, tmp_path):
    setup = Setup("f" * 32, sweep.recipe)
    for plain in (setup.to_dict(), sweep.jobs[0].to_dict()):
        assert str(tmp_path) not in json.dumps(plain)
        assert "/" not in json.dumps(plain)


def test_an_artifacts_key_says_what_it_follows_from(sweep):
    job, other = sweep.jobs[0], sweep.jobs[1]
    setup = Setup("f" * 32, sweep.recipe)
    key = job.artifact("weights", setup)
    assert key == f"weights/{setup.key}/{job.weights_name}"
    assert job.artifact("weights", dataclasses.replace(setup, scores_test=False)) == key
    changed = (
        job.artifact("checkpoints", setup),
        other.artifact("weights", setup),
        job.artifact("weights", Setup("e" * 32, sweep.recipe)),
        job.artifact("weights", Setup("f" * 32, sweep.recipe, study_seed=1)),
        job.artifact("weights", Setup("f" * 32, dataclasses.replace(sweep.recipe, epochs=7))),
    )
    assert len({key, *changed}) == 6


def test_a_folder_store_reads_and_writes_where_it_is_told(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "weights").mkdir()
    store = FolderStore({"data/abc": tmp_path / "images", "weights/t": tmp_path / "weights"})
    assert store.fetch("data/abc") == tmp_path / "images"
    assert store.fetch("weights/t/a.safetensors") is None
    with store.writing("weights/t/a.safetensors") as path:
        path.write_bytes(b"weights")
    assert store.fetch("weights/t/a.safetensors").read_bytes() == b"weights"
    store.drop("weights/t/a.safetensors")
    store.drop("weights/t/a.safetensors")
    assert list((tmp_path / "weights").iterdir()) == []
    with pytest.raises(KeyError):
        store.fetch("weights/other/a.safetensors")
