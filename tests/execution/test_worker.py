"""What a worker makes of what goes wrong: the candidate's failure, or the machine's."""

from __future__ import annotations

import errno
import queue
from pathlib import Path
from typing import Any

import pytest

from dse.architecture import build, make_candidate
from dse.data.folds import folds_of
from dse.errors import DivergenceError, WeightsError
from dse.execution import worker as worker_module
from dse.execution.artifacts import FolderStore
from dse.execution.job import Job, Setup
from dse.execution.worker import Evaluator, serve
from dse.study.measurement import Measurement
from dse.training import Recipe
from dse.training.trainer import Seed, Trainer

GOOD = Measurement(status="finished", validation_accuracy=0.5, epochs=2)


class Scripted(Evaluator):
    """Trains by a script: each training gives or raises the next of these."""

    def __init__(self, setup: Setup, store: FolderStore, *script: Any) -> None:
        self.setup, self.store, self.script = setup, store, list(script)

    def _trainer_of(self, job: Job) -> tuple[Any, float]:
        return None, 0.0

    def _train(self, *_: Any) -> Measurement:
        outcome = self.script.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def evaluated(sweep, tmp_path: Path, *script: Any) -> Measurement:
    setup, job = Setup("f" * 32, sweep.recipe), sweep.jobs[0]
    store = FolderStore({f"checkpoints/{setup.key}": tmp_path})
    (tmp_path / job.weights_name).write_bytes(b"a run with a flipped bit")
    found = Scripted(setup, store, *script).evaluate(job, lambda epochs, loss: None)
    assert not (tmp_path / job.weights_name).exists(), "the second training begins anew"
    return found


def diverged(step: int) -> DivergenceError:
    return DivergenceError(step, 0.1, float("nan"), epochs=1, train_s=3.0)


def test_what_diverges_once_but_not_from_the_start_is_not_the_candidates_fault(sweep, tmp_path):
    assert evaluated(sweep, tmp_path, diverged(7), GOOD) == GOOD


def test_what_diverges_again_is(sweep, tmp_path):
    found = evaluated(sweep, tmp_path, diverged(90), diverged(7))
    assert (found.status, found.epochs, found.train_s) == ("failed", 1, 3.0)
    assert found.reason.startswith("the loss became nan at step 7 (learning rate 0.1)")
    assert not found.is_machine_fault


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/w"), "No space left on device: /w"),
        (WeightsError("w: cannot be written: No space left"), "w: cannot be written: No space"),
    ],
)
def test_a_full_disk_ends_the_worker_and_is_no_result(sweep, tmp_path, monkeypatch, fault, said):
    def full(setup: Setup, store: FolderStore, *_: object) -> Scripted:
        return Scripted(setup, store, fault)

    monkeypatch.setattr(worker_module, "Evaluator", full)
    jobs: queue.Queue[Job] = queue.Queue()
    jobs.put(sweep.jobs[0])
    sent: list[dict[str, Any]] = []
    serve(Setup("f" * 32, sweep.recipe), FolderStore({}), jobs, sent.append)
    assert [message["type"] for message in sent] == ["ready", "fatal"]
    assert sent[1]["message"].startswith(said)


def test_cross_validation_is_a_training_for_each_fold(quarters):
    candidate = make_candidate("squeezenet", {"base_e": 4, "incr_e": 0, "fire_modules": 1})
    evaluator = Evaluator.__new__(Evaluator)
    recipe = Recipe(epochs=4, batch_size=8, crop_px=0, flip=False)
    evaluator.setup, evaluator.dataset = Setup(quarters.fingerprint, recipe), quarters
    told = []
    measured = evaluator.evaluate(Job(candidate, 0, folds=2), lambda epochs, _: told.append(epochs))

    right = images_count = 0
    for view in folds_of(quarters, 2):
        trainer = Trainer(build(candidate, quarters.input_shape, 4), view, recipe)
        alone = trainer.train(Seed(0, 0)).measurement
        images_count += len(view.validation)
        right += round(alone.validation_accuracy * len(view.validation))
    assert images_count == 28, "14 of 70 in each"
    assert measured.validation_accuracy == right / images_count
    assert (measured.status, measured.epochs, measured.validation_correct) == ("finished", 4, "")
    assert told == [0, 1, 1, 2, 2, 3, 3, 4]
