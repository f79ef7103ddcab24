"""Trainings of compression on workers are those of one process."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest

from dse.architecture import build, make_candidate
from dse.compress.finetune import pruning_recipe, sharing_recipe
from dse.compress.prune import kept_count
from dse.compress.quantize import share_by_bits
from dse.compress.tuning import InProcess, Tuning, TuningTrainer, read_packed
from dse.errors import MachineError, TrainingError, WeightsError
from dse.execution.artifacts import FolderStore
from dse.execution.job import Ended, EpochDone, GivenUp, Job, Setup, job_from_dict
from dse.execution.worker import Evaluator
from dse.networks import build_network
from dse.search.tuning import OnWorkers
from dse.training import Recipe
from dse.weights.dsz import SharedWeights
from dse.weights.safetensors import flat

CANDIDATE = make_candidate(
    "squeezenet", {"base_e": 4, "incr_e": 2, "fire_modules": 1, "norm": "batch"}
)
RECIPE = Recipe(learning_rate=0.05, batch_size=16, epochs=2, crop_px=0, flip=False)


@pytest.fixture(scope="module", autouse=True)
def _quickly_compiled():
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


class Worker(Evaluator):
    """In this process, on images that are here."""

    def __init__(self, setup, store, dataset) -> None:
        self.setup, self.store, self.dataset = setup, store, dataset
        self._network = self._teacher = None
        self._on_progress = lambda: None


def _note(said, *epoch) -> None:
    said.append(epoch)


@dataclass
class Inline:
    """A session without processes; `lost` jobs are given up."""

    worker: Worker
    lost: bool = False

    @property
    def store(self):
        return self.worker.store

    def serve(self, source, *, most_workers=None, forecast_s=None):
        while (job := source.next_job("", frozenset())) is not None:
            assert forecast_s(job) > 0
            assert job_from_dict(job.to_dict()) == job
            if self.lost:
                yield GivenUp(job, 0, "the worker died 3 times")
                continue
            said = []
            found = self.worker.evaluate(job, partial(_note, said))
            yield from (EpochDone(job, 0, *epoch) for epoch in said)
            yield Ended(job, 0, found)


@pytest.fixture
def runner(tmp_path, quarters):
    setup = Setup(quarters.fingerprint, RECIPE, scores_test=False)
    folders = {f"{kind}/{setup.key}": tmp_path / kind for kind in ("tunings", "weights")}
    folders[f"checkpoints/{setup.key}"] = tmp_path / "checkpoints"
    for folder in folders.values():
        folder.mkdir()
    session = Inline(Worker(setup, FolderStore(folders), quarters))
    return OnWorkers(session, setup, 2, len(quarters.train), None)


def arrays_of_network(quarters):
    network = build_network(build(CANDIDATE, quarters.input_shape, 4))
    return {path: np.asarray(a) for path, a in flat(*network.init(jax.random.key(0))).items()}


def tunings(quarters) -> list[Tuning]:
    arrays = arrays_of_network(quarters)
    kernels = {path: 0.5 for path in arrays if path.endswith("/kernel")}
    shared = {**arrays, **share_by_bits(arrays, 2)}
    return [
        Tuning("density 0.5", "sparse", pruning_recipe(RECIPE, 2), arrays, kernels),
        Tuning("density 0.5, lambda 1", "shared", sharing_recipe(RECIPE, 2), shared),
    ]


def equal(one, other) -> None:
    assert one.keys() == other.keys()
    for path, array in one.items():
        if isinstance(array, SharedWeights):
            np.testing.assert_array_equal(array.codebook, other[path].codebook)
            array, other[path] = array.codes, other[path].codes
        np.testing.assert_array_equal(array, other[path])


def test_arrays_are_those_of_one_process_and_are_not_trained_twice(runner, quarters):
    network, wanted = TuningTrainer(CANDIDATE, quarters), tunings(quarters)
    said, again = [], []
    found = list(runner.train(network, wanted, lambda *epoch: said.append(epoch)))
    for one, other in zip(found, InProcess().train(network, wanted, print), strict=True):
        equal(one, other)
    stages = ["density 0.5"] * 2 + ["density 0.5, lambda 1"] * 2
    assert [(stage, done, total) for stage, done, total, _ in said] == [
        (stage, done, 2) for stage, done in zip(stages, [1, 2, 1, 2], strict=True)
    ]
    sparse, shared = found
    for path, kernel in sparse.items():
        if path.endswith("/kernel"):
            assert np.count_nonzero(kernel) == kept_count(kernel.size, 0.5)
            assert isinstance(shared[path], SharedWeights)
            assert len(shared[path].codebook) <= 5  # four values, and zero
    for one, other in zip(found, runner.train(network, wanted, again.append), strict=True):
        equal(one, other)
    assert again == []


def test_what_diverges_or_is_lost_is_told(runner, quarters):
    network, (sparse, shared) = TuningTrainer(CANDIDATE, quarters), tunings(quarters)
    bias = np.full_like(shared.arrays["conv1/bias"], np.inf)
    wild = replace(shared, arrays={**shared.arrays, "conv1/bias": bias})
    with pytest.raises(TrainingError, match=r"density 0.5, lambda 1: the loss became (nan|inf)"):
        list(runner.train(network, [wild], print))
    runner.session.lost = True
    with pytest.raises(MachineError, match=r"density 0.5: the worker died 3 times"):
        list(runner.train(network, [sparse], print))


def test_a_damaged_file_is_named(tmp_path: Path, runner, quarters):
    path = tmp_path / "tunings" / "x.safetensors"
    path.write_bytes(b"half of it")
    with pytest.raises(WeightsError, match=r"x.safetensors is damaged or gone"):
        read_packed(path)
    job = Job(CANDIDATE, 0, task="tune", tuning="y")
    with pytest.raises(WeightsError, match=r"y.safetensors, from which to train, is gone"):
        runner.session.worker.evaluate(job, print)
