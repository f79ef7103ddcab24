"""What a worker is asked and what it answers: plain data, one JSON line each way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dse.architecture import Candidate, make_candidate
from dse.study.measurement import Measurement
from dse.training import Recipe, recipe_from_dict


@dataclass(frozen=True)
class Setup:
    """What all jobs of a study share.

    Attributes:
        dataset_directory: prepared images, mapped read-only by every worker.
        recipe: how to train.
        study_seed: with the replicate, the source of all noise.
        weights_directory: where the weights of finished candidates go; None keeps none.
        compile_cache: where compiled programs are kept; None for nowhere.
        checkpoints_directory: where runs that may go on are kept; None keeps none.
        scores_test: score the test images as soon as a candidate is trained; a search
            leaves them alone until its answer stands.
    """

    dataset_directory: Path
    recipe: Recipe
    study_seed: int = 0
    weights_directory: Path | None = None
    compile_cache: Path | None = None
    checkpoints_directory: Path | None = None
    scores_test: bool = True

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return {
            "dataset_directory": str(self.dataset_directory),
            "recipe": self.recipe.to_dict(),
            "study_seed": self.study_seed,
            "weights_directory": _text(self.weights_directory),
            "compile_cache": _text(self.compile_cache),
            "checkpoints_directory": _text(self.checkpoints_directory),
            "scores_test": self.scores_test,
        }


def setup_from_dict(values: dict[str, Any]) -> Setup:
    """The inverse of `Setup.to_dict`."""
    return Setup(
        Path(values["dataset_directory"]),
        recipe_from_dict(values["recipe"]),
        values["study_seed"],
        _path(values["weights_directory"]),
        _path(values["compile_cache"]),
        _path(values["checkpoints_directory"]),
        values["scores_test"],
    )


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None


@dataclass(frozen=True)
class Job:
    """Train one candidate with one replicate's seed; doing it twice changes nothing.

    Attributes:
        candidate: what to train.
        replicate: with the study's seed, the source of all noise.
        epochs: where to stop and measure, a rung; None for the recipe's end.
        task: `train`, or `test`: score the test images with the weights that are there.
        measure_latency: measure the latency of one image too.
    """

    candidate: Candidate
    replicate: int
    epochs: int | None = None
    task: Literal["train", "test"] = "train"
    measure_latency: bool = False

    @property
    def key(self) -> tuple[str, int]:
        """(candidate key, replicate): what the record knows it by."""
        return (self.candidate.key, self.replicate)

    @property
    def weights_name(self) -> str:
        """File name of its weights."""
        return f"{self.candidate.key}-seed{self.replicate}.safetensors"

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return {
            "family": self.candidate.family,
            "metaparameters": self.candidate.metaparameters,
            "replicate": self.replicate,
            "epochs": self.epochs,
            "task": self.task,
            "measure_latency": self.measure_latency,
        }


def job_from_dict(values: dict[str, Any]) -> Job:
    """The inverse of `Job.to_dict`."""
    candidate = make_candidate(values["family"], values["metaparameters"])
    return Job(
        candidate, values["replicate"], values["epochs"], values["task"], values["measure_latency"]
    )


@dataclass(frozen=True)
class Started:
    """A worker has taken the job."""

    job: Job
    worker: int


@dataclass(frozen=True)
class EpochDone:
    """An epoch of the job is complete."""

    job: Job
    worker: int
    epochs: int
    loss: float


@dataclass(frozen=True)
class Ended:
    """The job has its measurement, finished or failed."""

    job: Job
    worker: int
    measurement: Measurement


@dataclass(frozen=True)
class WorkerLost:
    """A worker died; its job (if it had one) will be repeated."""

    job: Job | None
    worker: int
    status: str


Event = Started | EpochDone | Ended | WorkerLost
