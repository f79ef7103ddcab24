"""A training that compression asks for, as plain data, so that any worker can do it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from dse.architecture import Candidate, build
from dse.compress.finetune import retrain, retrain_shared, retrain_sparse
from dse.compress.quantize import Mixed
from dse.data import Dataset
from dse.errors import WeightsError
from dse.training.parametrization import AllParameters, MaskedKernels, Relative
from dse.training.recipe import Recipe, recipe_from_dict
from dse.training.trainer import Seed, Trainer
from dse.weights.dsz import SharedWeights
from dse.weights.safetensors import flat, nested

_HEADER, _CODES, _CODEBOOK = "dse:tuning", ":codes", ":codebook"


@dataclass(frozen=True, eq=False)
class Tuning:
    """One training, all that it follows from beside the network, the images and the seed.

    Attributes:
        stage: what it is called.
        kind: `all` weights are trained, or those that are left while some are taken away
            (`sparse`), or the values that weights share, biases and norms (`shared`).
        recipe: of this training.
        arrays: to start from, by path; kernels that share values as they do.
        densities: of `sparse`, the share of its weights that each kernel keeps.
        is_relative: steps are relative to the magnitude of each array.
    """

    stage: str
    kind: Literal["all", "sparse", "shared"]
    recipe: Recipe
    arrays: Mixed
    densities: Mapping[str, float] = field(default_factory=dict)
    is_relative: bool = False

    @cached_property
    def content(self) -> bytes:
        """It as a file."""
        facts = {
            "stage": self.stage,
            "kind": self.kind,
            "recipe": self.recipe.to_dict(),
            "densities": dict(self.densities),
            "is_relative": self.is_relative,
        }
        return packed(self.arrays, facts)

    @cached_property
    def name(self) -> str:
        """Of its files: its stage, and what tells it from others of that name."""
        slug = self.stage.replace(",", "").replace(" ", "-")
        return f"{slug}-{hashlib.sha256(self.content).hexdigest()[:12]}"


def packed(arrays: Mixed, facts: Mapping[str, Any] | None = None) -> bytes:
    """Arrays, and kernels as codes and codebooks, as the content of a safetensors file."""
    plain: dict[str, np.ndarray] = {}
    for path, array in arrays.items():
        if isinstance(array, SharedWeights):
            plain[path + _CODES], plain[path + _CODEBOOK] = array.codes, array.codebook
        else:
            plain[path] = array
    plain = {path: np.ascontiguousarray(array) for path, array in plain.items()}
    return save(plain, metadata={_HEADER: json.dumps(facts or {})})


def read_packed(path: Path) -> tuple[Mixed, dict[str, Any]]:
    """What `packed` made.

    Raises:
        WeightsError: the file is gone or damaged.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[_HEADER])
            plain = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        arrays: Mixed = {
            name: array for name, array in plain.items() if not name.endswith((_CODES, _CODEBOOK))
        }
        for name in [name for name in plain if name.endswith(_CODES)]:
            kernel = name.removesuffix(_CODES)
            arrays[kernel] = SharedWeights(plain[kernel + _CODEBOOK], plain[name])
        return arrays, facts
    except (OSError, SafetensorError, ValueError, LookupError) as error:
        raise WeightsError(f"{path} is damaged or gone: {error}") from error


def read_tuning(path: Path) -> Tuning:
    """The inverse of `Tuning.content`.

    Raises:
        WeightsError: the file is gone or damaged.
    """
    arrays, facts = read_packed(path)
    return Tuning(arrays=arrays, **facts | {"recipe": recipe_from_dict(facts["recipe"])})


class TuningTrainer:
    """Does trainings of one network; keeps the compiled program of the last that may serve again.

    Args:
        candidate: whose network it is.
        dataset: prepared images.
        seed: of all random draws.
        teacher: scores (image, class) of the training images, where recipes distil.
        on_progress: called now and then.
    """

    def __init__(
        self,
        candidate: Candidate,
        dataset: Dataset,
        *,
        seed: int = 0,
        teacher: np.ndarray | None = None,
        on_progress: Callable[[], None] = lambda: None,
    ) -> None:
        self.candidate, self._dataset, self._seed = candidate, dataset, Seed(seed)
        self.architecture = build(candidate, dataset.input_shape, len(dataset.classes))
        self._teacher, self._on_progress = teacher, on_progress
        self._programs: dict[tuple[str, str, bool], Trainer] = {}

    def trained(
        self,
        tuning: Tuning,
        checkpoint: Path | None = None,
        on_epoch: Callable[[int, float], None] | None = None,
    ) -> Mixed:
        """The arrays after a training.

        Args:
            tuning: the training.
            checkpoint: file that keeps the run after each epoch, to be resumed.
            on_epoch: told of each completed epoch and its mean loss.

        Raises:
            DivergenceError: the loss became NaN or infinite.
            TrainingError: the run cannot be kept (full disk, folder gone).
        """
        options: dict[str, Any] = {
            "seed": self._seed,
            "checkpoint": checkpoint,
            "on_epoch": on_epoch,
        }
        shared = {p: a for p, a in tuning.arrays.items() if isinstance(a, SharedWeights)}
        plain = {p: a for p, a in tuning.arrays.items() if not isinstance(a, SharedWeights)}
        if tuning.kind == "shared":
            weights = nested(plain | {path: kernel.values for path, kernel in shared.items()})
            *_, found = retrain_shared(
                self.architecture,
                self._dataset,
                tuning.recipe,
                weights,
                shared,
                relative=tuning.is_relative,
                teacher=self._teacher,
                **options,
            )
            return found
        trainer = self._program(tuning)
        if tuning.kind == "sparse":
            run = retrain_sparse(trainer, nested(plain), tuning.densities, **options)
        else:
            run = retrain(trainer, nested(plain), **options)
        arrays = flat(trainer.params_of(run), trainer.statistics_of(run))
        return {path: np.asarray(array) for path, array in arrays.items()}

    def _program(self, tuning: Tuning) -> Trainer:
        """One serves all densities: the masks are among what it is given."""
        key = (tuning.kind, tuning.recipe.key, tuning.is_relative)
        if key not in self._programs:
            form = MaskedKernels() if tuning.kind == "sparse" else AllParameters()
            trainer = Trainer(
                self.architecture,
                self._dataset,
                tuning.recipe,
                Relative(form) if tuning.is_relative else form,
                teacher=self._teacher,
                on_progress=self._on_progress,
            )
            self._programs = {key: trainer}
        return self._programs[key]


OnTuningEpoch = Callable[[str, int, int, float], None]
"""Called with (stage, epochs completed, epochs in all, mean loss of the last one)."""


class Runner(Protocol):
    """Where trainings are done."""

    @property
    def at_once(self) -> int:
        """Trainings that run side by side."""

    def train(
        self, network: TuningTrainer, tunings: Sequence[Tuning], on_epoch: OnTuningEpoch
    ) -> Iterator[Mixed]:
        """The arrays after each training, in order.

        Args:
            network: what is trained, for who does it in this process.
            tunings: the trainings.
            on_epoch: told of each completed epoch.

        Raises:
            DseError: a training diverged, or cannot be done.
        """


@dataclass(frozen=True)
class InProcess:
    """Trains in this process, one after the other.

    Attributes:
        directory: where runs are kept; None keeps none.
    """

    directory: Path | None = None
    at_once = 1

    def train(
        self, network: TuningTrainer, tunings: Sequence[Tuning], on_epoch: OnTuningEpoch
    ) -> Iterator[Mixed]:
        """See `Runner.train`."""
        if self.directory:
            self.directory.mkdir(parents=True, exist_ok=True)
        for tuning in tunings:
            kept = self.directory / f"{tuning.name}.safetensors" if self.directory else None
            yield network.trained(tuning, kept, epochs_of(tuning, on_epoch))


def epochs_of(tuning: Tuning, on_epoch: OnTuningEpoch) -> Callable[[int, float], None]:
    """What is told of one training's epochs."""
    return lambda done, loss: on_epoch(tuning.stage, done, tuning.recipe.epochs, loss)
