"""What a worker is given and what it answers: plain data that names no path of any machine.

What a job reads and writes beside that (images, weights, checkpoints) are artifacts: files that
an executor brings to where the worker runs, by their key (`dse.execution.artifacts`).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from dse.architecture import Candidate, make_candidate
from dse.study.fidelity import Fidelity
from dse.study.measurement import Measurement
from dse.training import Recipe, recipe_from_dict


@dataclass(frozen=True)
class Setup:
    """What all jobs of a study share.

    Attributes:
        data_fingerprint: of the prepared images.
        recipe: how to train.
        study_seed: with the replicate, the source of all noise.
        keep_weights: store the weights of every candidate that is trained to full fidelity.
        keep_checkpoints: store runs that may be resumed.
        scores_test: score the test images as soon as a candidate is trained; a search leaves
            them alone until its answer stands.
        init: digest of the weights that every candidate starts from; empty for none.
        teacher: digest of the weights whose scores are learnt from; empty for none.
    """

    data_fingerprint: str
    recipe: Recipe
    study_seed: int = 0
    keep_weights: bool = True
    keep_checkpoints: bool = True
    scores_test: bool = True
    init: str = ""
    teacher: str = ""

    @property
    def key(self) -> str:
        """Twelve hexadecimal digits for all that training follows from beside the candidate."""
        facts: list[Any] = [self.data_fingerprint, self.recipe.to_dict(), self.study_seed]
        facts += [self.init] if self.init else []
        facts += [self.teacher_key] if self.teacher else []
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def data_key(self) -> str:
        """Artifact key of the prepared images."""
        return f"data/{self.data_fingerprint}"

    @property
    def init_key(self) -> str:
        """Artifact key of the weights that candidates start from."""
        return f"init/{self.init}"

    @property
    def teacher_key(self) -> str:
        """Artifact key of the weights whose scores are learnt from."""
        return f"teacher/{self.teacher}"

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return asdict(self) | {"recipe": self.recipe.to_dict()}


def setup_from_dict(values: dict[str, Any]) -> Setup:
    """The inverse of `Setup.to_dict`."""
    return Setup(**values | {"recipe": recipe_from_dict(values["recipe"])})


@dataclass(frozen=True)
class Job:
    """Train one candidate with one replicate's seed; doing it twice changes nothing.

    Attributes:
        candidate: what to train.
        replicate: with the study's seed, the source of all noise.
        fidelity: where to stop and measure, a rung; None for the recipe's end.
        task: `train`; `test`: score the test images with the weights that are there; `tune`: a
            training that compression asks for.
        measure_latency: measure the latency of one image too.
        folds: so many of the folds of the training images are held out, one after the other,
            and scored in place of the validation images; 0 for none.
        tuning: name of what `tune` starts from.
    """

    candidate: Candidate
    replicate: int
    fidelity: Fidelity | None = None
    task: Literal["train", "test", "tune"] = "train"
    measure_latency: bool = False
    folds: int = 0
    tuning: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """(candidate key, replicate): what the record knows it by."""
        return (self.candidate.key, self.replicate)

    @property
    def weights_name(self) -> str:
        """File name of its weights."""
        return f"{self.tuning or f'{self.candidate.key}-seed{self.replicate}'}.safetensors"

    def artifact(self, kind: Literal["weights", "checkpoints", "tunings"], setup: Setup) -> str:
        """Key of its weights, its checkpoint or its start: what they follow from, nothing else."""
        return f"{kind}/{setup.key}/{self.weights_name}"

    def reads(self, setup: Setup) -> list[str]:
        """Keys of the artifacts that it reads, where they are there."""
        if self.task == "test":
            return [self.artifact("weights", setup)]
        start = [self.artifact("tunings", setup)] if self.task == "tune" else []
        return [*start, self.artifact("checkpoints", setup)]

    def writes(self, setup: Setup) -> list[str]:
        """Keys of the artifacts that it may make."""
        return [self.artifact("weights", setup), self.artifact("checkpoints", setup)]

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON."""
        return {
            "family": self.candidate.family,
            "metaparameters": self.candidate.metaparameters,
            "replicate": self.replicate,
            "fidelity": asdict(self.fidelity) if self.fidelity else None,
            "task": self.task,
            "measure_latency": self.measure_latency,
            "folds": self.folds,
            "tuning": self.tuning,
        }


def job_from_dict(values: dict[str, Any]) -> Job:
    """The inverse of `Job.to_dict`."""
    return Job(
        make_candidate(values["family"], values["metaparameters"]),
        values["replicate"],
        Fidelity(**values["fidelity"]) if values["fidelity"] else None,
        values["task"],
        values["measure_latency"],
        values["folds"],
        values["tuning"],
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


@dataclass(frozen=True)
class GivenUp:
    """Worker after worker died over the job: a fault of the machine, which is no result."""

    job: Job
    worker: int
    reason: str


Event = Started | EpochDone | Ended | WorkerLost | GivenUp
