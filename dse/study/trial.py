"""A trial: one candidate with one replicate, and every measurement of it.

In the record a trial is one of Optuna's, whose user attributes hold all that is known of it:

    dse:asked        candidate, replicate, exact costs, stage
    dse:rung:EPOCHS  measurement at a fidelity, and the seconds of search at which it came
    dse:stopped      why it was paused, where it was

Each with a checksum (`dse.study.seal`), those of a rung over the candidate and the rungs before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from dse.architecture import FAMILIES, LATENCY, OBJECTIVES, Candidate, make_candidate
from dse.errors import DseError, StudyError
from dse.space import scalar
from dse.study.fidelity import Fidelity, parse_fidelity
from dse.study.fields import Count, Name, Numbers, Seconds, from_dict
from dse.study.measurement import Measurement, unpack_bits
from dse.study.seal import is_sealed, sealed, unsealed

SAMPLED, RUNG, STOPPED = "dse:asked", "dse:rung:", "dse:stopped"
ROW, CORRECT = "dse:row", "dse:correct"
"""What a sweep of version 0.1 wrote in their place: a row of its table, and the images."""

SEARCH, FINALS, REUSED = "search", "finals", "reused"


@dataclass
class Trial:
    """One candidate with one replicate.

    Attributes:
        candidate, replicate: what is trained.
        costs: exact ones by name, and measured ones.
        stage: `search` (a sweep's too), `finals` or `reused` (imported from another study).
        trial_id: Optuna's name of it in the storage.
        rungs: measurement by fidelity, in the order in which they came.
        ended_s: seconds of search at which each came, in the same order.
        stopped: why it is paused; empty where it is not.
        is_running: the record has it as one that has not come to its end.
    """

    candidate: Candidate
    replicate: int
    costs: dict[str, Any]
    stage: str
    trial_id: int = -1
    rungs: dict[Fidelity, Measurement] = field(default_factory=dict)
    ended_s: list[float] = field(default_factory=list)
    stopped: str = ""
    is_running: bool = field(default=False, compare=False)

    @property
    def key(self) -> tuple[str, int]:
        """(candidate key, replicate)."""
        return (self.candidate.key, self.replicate)

    @property
    def epochs(self) -> int:
        """Of the highest rung that is measured; 0 before the first."""
        return max(self.rungs).epochs if self.rungs else 0

    @property
    def latest(self) -> Measurement | None:
        """What was measured last."""
        return next(reversed(self.rungs.values()), None)

    @property
    def is_failed(self) -> bool:
        """Whether its training failed."""
        return self.latest is not None and self.latest.status == "failed"

    @property
    def spent_epochs(self) -> int:
        """Epochs that its own study trained."""
        return 0 if self.stage == REUSED else self.epochs

    def add(self, fidelity: Fidelity, measurement: Measurement, ended_s: float) -> None:
        """Take in a measurement."""
        self.rungs[fidelity] = measurement
        self.ended_s.append(round(ended_s, 3))
        if measurement.latency_s is not None:
            self.costs[LATENCY] = measurement.latency_s

    def attributes(self) -> dict[str, Any]:
        """The user attributes of the whole trial; `read_trial` reads them."""
        sampled = {
            "family": self.candidate.family,
            "metaparameters": self.candidate.metaparameters,
            "replicate": self.replicate,
            "costs": dict(self.costs),
            "stage": self.stage,
        }
        found = {SAMPLED: sealed(sampled, SAMPLED)}
        before = Trial(self.candidate, self.replicate, {}, self.stage)
        for (fidelity, measurement), ended_s in zip(self.rungs.items(), self.ended_s, strict=True):
            name, value = before.rung_attribute(fidelity, measurement, ended_s)
            found[name] = value
            before.add(fidelity, measurement, ended_s)
        return found

    def rung_attribute(
        self, fidelity: Fidelity, measurement: Measurement, ended_s: float
    ) -> tuple[str, dict[str, Any]]:
        """Name and value of the attribute that holds the next measurement."""
        name = f"{RUNG}{fidelity}"
        value = {"measurement": measurement.to_dict(), "ended_s": round(ended_s, 3)}
        return name, sealed(value, *self.place_of(name))

    def place_of(self, attribute: str) -> tuple[object, ...]:
        """What the checksum of an attribute covers beside its value."""
        return (attribute, *self.key, *map(str, self.rungs))


@dataclass(frozen=True, kw_only=True)
class _Sampled:
    """`dse:asked`, as the record holds it."""

    family: Name
    metaparameters: Mapping[str, Any]
    replicate: Count
    costs: Numbers
    stage: Literal["search", "finals", "reused"]


@dataclass(frozen=True, kw_only=True)
class _Rung:
    """`dse:rung:…`, as the record holds it."""

    measurement: Measurement
    ended_s: Seconds

    def __post_init__(self) -> None:
        if self.measurement.status == "finished" and self.measurement.validation_accuracy is None:
            raise ValueError("it finished, but its measurement.validation_accuracy is null")


def read_trial(trial: Any, family: str, images: Mapping[str, int]) -> Trial | None:
    """A trial of Optuna's, or None where it is none of ours.

    Older versions of dse recorded faults of the machine as failures of the candidate: they are
    passed over, so that what they hit is trained again.

    Args:
        trial: Optuna's.
        family: of the study's space; trials of version 0.1's sweeps do not say it.
        images: in each split.

    Raises:
        StudyError: its attributes do not hold what they should; says which and why.
    """
    attributes = trial.user_attrs
    place = f"trial {trial.number}"
    try:
        if (row := attributes.get(ROW)) is not None:
            correct = attributes.get(CORRECT, {})
            return _without_machine_fault(_read_row(row, correct, family, trial._trial_id))
        if not any(name.startswith("dse:") for name in attributes):
            return None
        place = f"trial {trial.number}, {SAMPLED}"
        sampled = from_dict(_Sampled, unsealed(attributes.get(SAMPLED), SAMPLED), "it")
        found = Trial(
            make_candidate(sampled.family, sampled.metaparameters),
            sampled.replicate,
            dict(sampled.costs),
            sampled.stage,
            trial._trial_id,
            is_running=not trial.state.is_finished(),
        )
        names = (name.removeprefix(RUNG) for name in attributes if name.startswith(RUNG))
        for fidelity in sorted(map(parse_fidelity, names)):
            name = f"{RUNG}{fidelity}"
            place = f"trial {trial.number}, {name}"
            rung = from_dict(_Rung, unsealed(attributes[name], *found.place_of(name)), "it")
            if not is_sealed(attributes[name]):
                _check_correct(rung.measurement, images)
            found.add(fidelity, rung.measurement, rung.ended_s)
        place = f"trial {trial.number}, {STOPPED}"
        found.stopped = str(unsealed(attributes.get(STOPPED, ""), *found.place_of(STOPPED)))
        place = f"trial {trial.number}"
        _check_end(trial, found)
        return _without_machine_fault(found)
    except (DseError, LookupError, TypeError, ValueError, OverflowError) as error:
        text = str(error) if isinstance(error, DseError | ValueError) else repr(error)
        raise StudyError(f"{place}: {text}") from error


def _without_machine_fault(trial: Trial) -> Trial | None:
    """The trial as it was before the machine failed; None where nothing of it is left to keep."""
    latest = trial.latest
    if latest is None or not latest.is_machine_fault:
        return trial
    trial.rungs.popitem()
    trial.ended_s.pop()
    trial.stopped = f"the machine failed: {latest.reason}"
    # A search keeps the order in which it sampled; other trials are made anew.
    return None if trial.stage == FINALS and not trial.rungs else trial


def _check_correct(measurement: Measurement, images: Mapping[str, int]) -> None:
    """Compare the accuracies with the images that are correct, where no checksum covers both.

    Raises:
        ValueError: they differ.
    """
    for split in ("validation", "test"):
        text = getattr(measurement, f"{split}_correct")
        accuracy = getattr(measurement, f"{split}_accuracy")
        if text and accuracy is not None:
            found = float(unpack_bits(text, images[split]).mean())
            if abs(found - accuracy) > 1e-6:
                raise ValueError(f"{split}_accuracy is {accuracy}, but {found} are correct")


def _check_end(trial: Any, found: Trial) -> None:
    """Compare what Optuna keeps of a trial with its attributes.

    Raises:
        ValueError: they say different things.
    """
    latest, metaparameters = found.latest, found.candidate.metaparameters
    for name, value in trial.params.items():
        if scalar(metaparameters[name]) != value:
            raise ValueError(f"{name} is {value!r}, but {SAMPLED} has {metaparameters[name]!r}")
    for epochs, accuracy in trial.intermediate_values.items():
        rung = found.rungs.get(Fidelity(epochs))
        if rung is None and found.is_running:  # killed between two writes, by an older version
            continue
        if rung is None or rung.validation_accuracy != accuracy:
            raise ValueError(f"an accuracy of {accuracy} after {epochs} epochs has no {RUNG}…")
    accuracy = trial.values[0] if trial.values else None
    ends = {
        "PRUNED": bool(found.stopped),
        "FAIL": found.is_failed,
        "COMPLETE": latest is not None and latest.validation_accuracy == accuracy is not None,
    }
    if not ends.get(trial.state.name, True):
        raise ValueError(f"its state is {trial.state.name}, but its measurements say otherwise")


def _read_row(
    row: Mapping[str, Any], correct: Mapping[str, str], family: str, trial_id: int
) -> Trial:
    """A trial from the row of a table, in which a list of layers is written as one word."""
    values = {
        name: tuple(str(row[name]).split())
        if part.kind == "layers" and row[name] not in part.choices
        else row[name]
        for name, part in FAMILIES[family].metaparameters.items()
    }
    plain = {"family": family, "metaparameters": values, "replicate": row["seed"]}
    plain |= {"costs": {name: row[name] for name in OBJECTIVES}, "stage": SEARCH}
    sampled = from_dict(_Sampled, plain, "its row")
    candidate = make_candidate(family, sampled.metaparameters)
    trial = Trial(candidate, sampled.replicate, dict(sampled.costs), SEARCH, trial_id)
    correct_of = {f"{split}_correct": correct.get(split, "") for split in ("validation", "test")}
    measurement = from_dict(Measurement, {**row, **correct_of}, "its row")
    trial.add(Fidelity(max(measurement.epochs, 1)), measurement, 0.0)
    return trial
