"""A worker process: reads jobs from standard input, answers on standard output.

Started by the executor as `python -m dse.execution.worker`. The first line in is the setup, with
the folders of this machine that hold its artifacts; every later line is a job. Lines out:
`ready`, `epoch`, `alive` (between epochs), `ended`, and `fatal` for what would hit every job. When
the input ends (the driver is gone, however it went) the process ends at once.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dse.architecture import build
from dse.errors import DataError, DivergenceError, DseError, WeightsError
from dse.execution.artifacts import ArtifactStore, FolderStore
from dse.execution.group import Group, Reader, members_count
from dse.execution.job import Job, Setup, job_from_dict, setup_from_dict
from dse.files import replacing
from dse.study.measurement import Measurement, pack_bits
from dse.training.latency import measure_latency
from dse.weights.given import GivenWeights, read_given

Send = Callable[[dict[str, Any]], None]


CHECKPOINT_EVERY_S = 20.0
"""Seconds of training after which a run is kept, besides the ends of jobs."""

COMPILED_COUNT = 4
"""Candidates whose compiled programs a worker keeps."""


class Evaluator:
    """Measures jobs of one study; keeps the compiled programs of the last few candidates.

    Args:
        setup: what all jobs share.
        store: of the artifacts.
        on_progress: called now and then between epochs.
        devices_count: devices that train a candidate together.
    """

    def __init__(
        self,
        setup: Setup,
        store: ArtifactStore,
        on_progress: Callable[[], None] = lambda: None,
        devices_count: int = 1,
    ) -> None:
        from dse.data import open_dataset

        self.setup, self.store, self._devices_count = setup, store, devices_count
        images = store.fetch(setup.data_key)
        if images is None:
            raise DataError(f"the prepared images {setup.data_fingerprint} are gone")
        self.dataset = open_dataset(images)
        self._trainers: dict[str, Any] = {}
        self._network: Any = None  # of the last tuning
        self._on_progress = on_progress
        self._given = _weights(store, setup.init_key, setup.init) if setup.init else None
        self._teacher: np.ndarray | None = None
        if setup.teacher:
            from dse.training.teacher import teacher_scores

            teacher = _weights(store, setup.teacher_key, setup.teacher)
            self._teacher = teacher_scores(teacher, self.dataset)

    def evaluate(self, job: Job, on_epoch: Callable[[int, float], None]) -> Measurement:
        """Train the job's candidate as far as it says and tell what was measured.

        A candidate that diverges, and does so again from its initial weights, gives a failed
        measurement; whatever else is raised is no fault of the candidate.

        Raises:
            DseError: images or weights are not what they should be, or a file cannot be written.
            OSError: likewise.
        """
        if job.task == "tune":
            return self._tune(job, on_epoch)
        if job.folds:
            return self._cross_validate(job, on_epoch)
        trainer, compile_s = self._trainer_of(job)
        if job.task == "test":
            return self._test(job, trainer, on_epoch)
        try:
            measurement = self._train(job, trainer, on_epoch)
        except DivergenceError:  # the candidate's, or of a damaged checkpoint or a flipped bit?
            self.store.drop(job.artifact("checkpoints", self.setup))
            try:
                measurement = self._train(job, trainer, on_epoch)
            except DivergenceError as error:
                return Measurement(
                    status="failed", reason=str(error), epochs=error.epochs, train_s=error.train_s
                )
        if job.measure_latency:
            shape, classes = self.dataset.input_shape, self.dataset.classes
            latency = measure_latency(job.candidate, shape, len(classes))
            measurement = replace(measurement, latency_s=latency.median_s)
        return measurement.with_compile_s(compile_s)

    def _trainer_of(self, job: Job) -> tuple[Any, float]:
        from dse.training.trainer import Trainer

        key = job.candidate.key
        if key in self._trainers:
            self._trainers[key] = self._trainers.pop(key)  # the latest is the last
            return self._trainers[key], 0.0
        shape, classes = self.dataset.input_shape, len(self.dataset.classes)
        architecture = build(job.candidate, shape, classes)
        trainer = Trainer(
            architecture,
            self.dataset,
            self.setup.recipe,
            given=self._given,
            teacher=self._teacher,
            on_progress=self._on_progress,
            devices_count=self._devices_count,
        )
        self._trainers[key] = trainer
        while len(self._trainers) > COMPILED_COUNT:
            del self._trainers[next(iter(self._trainers))]
        return trainer, trainer.compile_s

    def _train(self, job: Job, trainer: Any, on_epoch: Callable[[int, float], None]) -> Measurement:
        from dse.training.checkpoint import load_run, save_run
        from dse.training.trainer import Seed

        seed, recipe = Seed(self.setup.study_seed, job.replicate), self.setup.recipe
        until = job.fidelity.epochs if job.fidelity else recipe.epochs
        key = job.artifact("checkpoints", self.setup)
        about = {"candidate": job.candidate.key, **self._training(job)}

        def keep(run: Any) -> None:
            with self.store.writing(key) as path:
                save_run(path, run, about)

        held = self.store.fetch(key) if self.setup.keep_checkpoints else None
        run = load_run(held, trainer.state_shape, about) if held else None
        if run is None or run.epochs > until:
            run = trainer.begin(seed)
        kept_epochs, kept_s = run.epochs, run.train_s
        for grown in trainer.epochs(run, seed, until):
            run = grown
            on_epoch(run.epochs, run.loss)
            if self.setup.keep_checkpoints and run.train_s - kept_s > CHECKPOINT_EVERY_S:
                keep(run)
                kept_epochs, kept_s = run.epochs, run.train_s
        if until == recipe.epochs:
            self._keep_weights(job, trainer, run)
        elif self.setup.keep_checkpoints and run.epochs > kept_epochs:
            keep(run)
        if run.train_s:  # told in the worker's log
            share = run.wait_s / run.train_s
            print(f"{job.candidate.key}: {share:.1%} of training waited for images", flush=True)
        measurement: Measurement = trainer.measure(run, scores_test=self.setup.scores_test)
        return measurement

    def _cross_validate(self, job: Job, on_epoch: Callable[[int, float], None]) -> Measurement:
        """The accuracy on all that the folds hold out; one program serves them, none is kept."""
        from dse.data.folds import folds_of
        from dse.training.trainer import Seed, Trainer

        architecture = build(job.candidate, self.dataset.input_shape, len(self.dataset.classes))
        seed, epochs = Seed(self.setup.study_seed, job.replicate), self.setup.recipe.epochs
        trainer, correct, train_s = None, [], 0.0
        for number, view in enumerate(folds_of(self.dataset, job.folds)):
            if trainer is None:
                trainer = Trainer(architecture, view, self.setup.recipe)
            trainer.dataset = view
            run = trainer.begin(seed)
            try:
                for grown in trainer.epochs(run, seed, epochs):
                    run = grown
                    on_epoch((number * epochs + run.epochs) // job.folds, run.loss)
            except DivergenceError as error:
                return Measurement(
                    status="failed",
                    reason=str(error),
                    epochs=error.epochs,
                    train_s=train_s + error.train_s,
                )
            train_s += run.train_s
            params, statistics = trainer.params_of(run), trainer.statistics_of(run)
            correct.append(trainer.correct(params, statistics, view.validation))
        assert trainer is not None
        images_count = job.folds * epochs * trainer.steps_per_epoch * self.setup.recipe.batch_size
        return Measurement(
            status="finished",
            validation_accuracy=float(np.concatenate(correct).mean()),
            train_loss=run.loss,
            epochs=epochs,
            train_s=train_s,
            compile_s=trainer.compile_s,
            images_per_s=images_count / train_s if train_s else 0.0,
        )

    def _test(self, job: Job, trainer: Any, on_epoch: Callable[[int, float], None]) -> Measurement:
        from dse.weights.safetensors import load_weights

        key = job.artifact("weights", self.setup)
        path = self.store.fetch(key)
        try:
            if path is None:
                raise WeightsError(f"the weights {job.weights_name} are gone")
            params, statistics, _ = load_weights(path, trainer.architecture)
        except WeightsError:  # removed or damaged since: the same training makes them again
            self._train(job, trainer, on_epoch)
            path = self.store.fetch(key)
            assert path is not None
            params, statistics, _ = load_weights(path, trainer.architecture)
        correct = trainer.correct(params, statistics, self.dataset.test)
        return Measurement(
            status="finished", test_accuracy=float(correct.mean()), test_correct=pack_bits(correct)
        )

    def _tune(self, job: Job, on_epoch: Callable[[int, float], None]) -> Measurement:
        """A training that compression asks for; what it makes is among the weights."""
        from dse.compress.tuning import TuningTrainer, packed, read_tuning

        start = self.store.fetch(job.artifact("tunings", self.setup))
        if start is None:
            raise WeightsError(f"{job.weights_name}, from which to train, is gone")
        if self._network is None or self._network.candidate != job.candidate:
            self._network = TuningTrainer(
                job.candidate,
                self.dataset,
                seed=self.setup.study_seed,
                teacher=self._teacher,
                on_progress=self._on_progress,
            )
        tuning, key = read_tuning(start), job.artifact("checkpoints", self.setup)
        self.store.fetch(key)
        try:
            with self.store.writing(key) as checkpoint:
                found = self._network.trained(tuning, checkpoint, on_epoch)
        except DivergenceError as error:
            return Measurement(
                status="failed", reason=str(error), epochs=error.epochs, train_s=error.train_s
            )
        with self.store.writing(job.artifact("weights", self.setup)) as path, replacing(path) as to:
            to.write(packed(found))
        self.store.drop(key)
        return Measurement(status="finished", epochs=tuning.recipe.epochs)

    def _training(self, job: Job) -> dict[str, str]:
        return {
            "data_fingerprint": self.dataset.fingerprint,
            "recipe": json.dumps(self.setup.recipe.to_dict()),
            "seed": f"{self.setup.study_seed},{job.replicate}",
            **({"init": self.setup.init} if self.setup.init else {}),
            **({"teacher": self.setup.teacher} if self.setup.teacher else {}),
        }

    def _keep_weights(self, job: Job, trainer: Any, run: Any) -> None:
        from dse.weights.metadata import WeightsMetadata
        from dse.weights.safetensors import save_weights

        if not self.setup.keep_weights:
            return
        metadata = WeightsMetadata(
            family=job.candidate.family,
            metaparameters=job.candidate.metaparameters,
            input_shape=self.dataset.input_shape,
            classes=self.dataset.classes,
            preprocessing=self.dataset.preprocessing,
            extra=self._training(job),
        )
        with self.store.writing(job.artifact("weights", self.setup)) as path:
            save_weights(path, trainer.params_of(run), trainer.statistics_of(run), metadata)


def _weights(store: ArtifactStore, key: str, digest: str) -> GivenWeights:
    path = store.fetch(key)
    if path is None:
        raise WeightsError(f"the weights that the study was given ({digest[:12]}) are gone")
    given = read_given(path)
    if given.digest != digest:
        raise WeightsError(f"{path}: not the weights that the study was given")
    return given


def serve(
    setup: Setup,
    store: ArtifactStore,
    jobs: queue.Queue[Job],
    send: Send,
    compile_cache: str = "",
    devices_count: int = 1,
) -> None:
    """Answer jobs until the process is ended."""
    from dse.training.xla import use_compile_cache

    if compile_cache:
        use_compile_cache(Path(compile_cache))

    def on_epoch(epochs: int, loss: float) -> None:
        send({"type": "epoch", "epochs": epochs, "loss": loss})

    try:
        evaluator = Evaluator(setup, store, lambda: send({"type": "alive"}), devices_count)
        import jax

        import dse.training.trainer  # noqa: F401  what every job needs: imported, then set apart

        jax.devices()  # a backend that cannot start is no job's fault
        gc.freeze()  # the collector would walk through all of it several times a tracing
        send({"type": "ready"})
        while True:
            measurement = evaluator.evaluate(jobs.get(), on_epoch)
            send({"type": "ended", "measurement": measurement.to_dict()})
    except (OSError, DseError) as error:  # a full disk, images that are gone: no job's fault
        said = str(error)
        if isinstance(error, OSError) and error.filename:
            said = f"{error.strerror}: {error.filename}"
        send({"type": "fatal", "message": said})


def _read_jobs(jobs: queue.Queue[Job], group: Group) -> None:
    try:
        for line in sys.stdin:
            group.tell(line)
            jobs.put(job_from_dict(json.loads(line)))
        os._exit(0)
    except BaseException:  # nobody would read on: a worker that waits for ever helps no one
        traceback.print_exc()
        os._exit(1)


def main() -> None:
    """Serve the driver at the other end of standard input and output."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to the log

    def send(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    line = sys.stdin.readline()
    if not line:
        return
    first = json.loads(line)
    here = first["here"]
    group = Group(members_count(here["devices_count"]), line)
    jobs: queue.Queue[Job] = queue.Queue()
    threading.Thread(target=_read_jobs, args=(jobs, group), daemon=True).start()
    folders = FolderStore({key: Path(folder) for key, folder in here["folders"].items()})
    store: ArtifactStore = folders
    if here["artifacts"]:
        from dse.execution.bucket import BucketStore

        store = BucketStore(here["artifacts"], folders)
    if not group.is_first:
        store = Reader(store)
    setup = setup_from_dict(first["setup"])
    try:
        serve(setup, store, jobs, send, here["compile_cache"], here["devices_count"])
    except BaseException:
        traceback.print_exc()
        group.leave(1)
        raise
    group.leave(0)


if __name__ == "__main__":
    main()
