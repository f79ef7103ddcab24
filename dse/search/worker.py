"""A worker process: reads jobs from standard input, answers on standard output.

Started by the executor as `python -m dse.search.worker`. The first line in is the setup;
every later line is a job. Lines out: `ready`, `epoch`, `ended`, and `fatal` for what would
hit every job. When the input ends (the driver is gone, however it went) the process ends
at once.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import queue
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dse.architecture import build
from dse.errors import DseError
from dse.preprocessing import trained_preprocessing
from dse.search.jobs import Job, Setup, job_from_plain, setup_from_plain
from dse.training import Measurement

Send = Callable[[dict[str, Any]], None]


class Evaluator:
    """Measures jobs of one study; keeps the compiled programs of the last candidate."""

    def __init__(self, setup: Setup) -> None:
        from dse.data import open_dataset

        self.setup = setup
        self.dataset = open_dataset(setup.dataset_directory)
        self._candidate_key = ""
        self._trainer: Any = None

    def evaluate(self, job: Job, on_epoch: Callable[[int, float], None]) -> Measurement:
        """Train the job's candidate, keep its weights and say what was measured.

        A candidate that cannot be built or diverges gives a failed measurement.
        """
        from dse.training.loop import Seed

        try:
            trainer, compile_s = self._trainer_of(job)
            trained = trainer.train(Seed(self.setup.study_seed, job.replicate), on_epoch=on_epoch)
        except DseError as error:
            return Measurement(status="failed", reason=str(error))
        self._keep(job, trained)
        return trained.measurement.with_compile_s(compile_s)

    def _trainer_of(self, job: Job) -> tuple[Any, float]:
        from dse.training.loop import Trainer

        if job.candidate.key == self._candidate_key:
            return self._trainer, 0.0
        shape, classes = self.dataset.input_shape, len(self.dataset.classes)
        architecture = build(job.candidate, shape, classes)
        trainer = Trainer(architecture, self.dataset, self.setup.recipe)
        self._candidate_key, self._trainer = job.candidate.key, trainer
        return trainer, trainer.compile_s

    def _keep(self, job: Job, trained: Any) -> None:
        from dse.networks import WeightsMetadata, save_weights

        if self.setup.weights_directory is None:
            return
        metadata = WeightsMetadata(
            family=job.candidate.family,
            metaparameters=job.candidate.metaparameters,
            input_shape=self.dataset.input_shape,
            classes=self.dataset.classes,
            preprocessing=trained_preprocessing(
                self.dataset.input_shape, self.dataset.mean, self.dataset.std
            ),
            extra={
                "data_fingerprint": self.dataset.fingerprint,
                "recipe": json.dumps(self.setup.recipe.to_plain()),
                "seed": f"{self.setup.study_seed},{job.replicate}",
            },
        )
        path = self.setup.weights_directory / job.weights_name
        save_weights(path, trained.params, trained.statistics, metadata)


def _of_this_processor(folder: Path) -> Path:
    """The part of a compile cache that is for this kind of processor.

    JAX names a program by its source and options alone, so machines that share a home
    directory would hand each other programs with instructions that the other lacks.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    features = [line for line in lines if line.lower().startswith(("flags", "features"))]
    text = "\n".join([platform.machine(), platform.processor(), *features[:1]])
    return folder / hashlib.sha256(text.encode()).hexdigest()[:12]


def serve(setup: Setup, jobs: queue.Queue[Job], send: Send) -> None:
    """Answer jobs until the process is ended."""
    import jax

    if setup.compile_cache:
        folder = _of_this_processor(setup.compile_cache)
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

    def on_epoch(epochs: int, loss: float) -> None:
        send({"type": "epoch", "epochs": epochs, "loss": loss})

    try:
        evaluator = Evaluator(setup)
        send({"type": "ready"})
        while True:
            measurement = evaluator.evaluate(jobs.get(), on_epoch)
            send({"type": "ended", "measurement": measurement.to_plain()})
    except (OSError, DseError) as error:  # a full disk, pictures that are gone: no job's fault
        send({"type": "fatal", "message": str(error)})


def _read_jobs(jobs: queue.Queue[Job]) -> None:
    try:
        for line in sys.stdin:
            jobs.put(job_from_plain(json.loads(line)))
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
    jobs: queue.Queue[Job] = queue.Queue()
    threading.Thread(target=_read_jobs, args=(jobs,), daemon=True).start()
    serve(setup_from_plain(json.loads(line)), jobs, send)


if __name__ == "__main__":
    main()
