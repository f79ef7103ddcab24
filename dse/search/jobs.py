"""What a worker is asked and what it answers: plain data, one JSON line each way."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dse.architecture import Candidate, make_candidate
from dse.training import Measurement, Recipe, recipe_from_plain


@dataclass(frozen=True)
class Setup:
    """What all jobs of a study share.

    Attributes:
        dataset_directory: prepared pictures, mapped read-only by every worker.
        recipe: how to train.
        study_seed: with the replicate, the source of all noise.
        weights_directory: where the weights of finished candidates go; None keeps none.
        compile_cache: where compiled programs are kept; None for nowhere.
    """

    dataset_directory: Path
    recipe: Recipe
    study_seed: int = 0
    weights_directory: Path | None = None
    compile_cache: Path | None = None

    def to_plain(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return {
            "dataset_directory": str(self.dataset_directory),
            "recipe": self.recipe.to_plain(),
            "study_seed": self.study_seed,
            "weights_directory": str(self.weights_directory) if self.weights_directory else None,
            "compile_cache": str(self.compile_cache) if self.compile_cache else None,
        }


def setup_from_plain(values: dict[str, Any]) -> Setup:
    """The inverse of `Setup.to_plain`."""
    weights, cache = values["weights_directory"], values["compile_cache"]
    return Setup(
        Path(values["dataset_directory"]),
        recipe_from_plain(values["recipe"]),
        values["study_seed"],
        Path(weights) if weights else None,
        Path(cache) if cache else None,
    )


@dataclass(frozen=True)
class Job:
    """Train one candidate with one replicate's seed; doing it twice changes nothing."""

    candidate: Candidate
    replicate: int

    @property
    def key(self) -> tuple[str, int]:
        """(candidate key, replicate): what the record knows it by."""
        return (self.candidate.key, self.replicate)

    @property
    def weights_name(self) -> str:
        """File name of its weights."""
        return f"{self.candidate.key}-seed{self.replicate}.safetensors"

    def to_plain(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return {
            "family": self.candidate.family,
            "metaparameters": self.candidate.metaparameters,
            "replicate": self.replicate,
        }


def job_from_plain(values: dict[str, Any]) -> Job:
    """The inverse of `Job.to_plain`."""
    return Job(make_candidate(values["family"], values["metaparameters"]), values["replicate"])


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
