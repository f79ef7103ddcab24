"""A trial: one candidate with one replicate, and every measurement of it.

In the record a trial is one of Optuna's, whose user attributes hold all that is known of it:

    dse:asked        candidate, replicate, exact costs, stage
    dse:rung:EPOCHS  measurement at a fidelity, and the seconds of search at which it came
    dse:stopped      why it was paused, where it was
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dse.architecture import FAMILIES, LATENCY, OBJECTIVES, Candidate, make_candidate
from dse.errors import ConfigError, StudyError
from dse.study.fidelity import Fidelity, parse_fidelity
from dse.study.measurement import Measurement

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
    """

    candidate: Candidate
    replicate: int
    costs: dict[str, Any]
    stage: str
    trial_id: int = -1
    rungs: dict[Fidelity, Measurement] = field(default_factory=dict)
    ended_s: list[float] = field(default_factory=list)
    stopped: str = ""

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
        rungs = zip(self.rungs.items(), self.ended_s, strict=True)
        return {SAMPLED: sampled} | dict(rung_attribute(f, m, s) for (f, m), s in rungs)


def rung_attribute(
    fidelity: Fidelity, measurement: Measurement, ended_s: float
) -> tuple[str, dict[str, Any]]:
    """Name and value of the attribute that holds one measurement."""
    return f"{RUNG}{fidelity}", {"measurement": measurement.to_dict(), "ended_s": round(ended_s, 3)}


def read_trial(trial: Any, family: str) -> Trial | None:
    """A trial of Optuna's, or None where it is none of ours.

    Args:
        trial: Optuna's.
        family: of the study's space; trials of version 0.1's sweeps do not say it.

    Raises:
        StudyError: its attributes do not hold what they should.
    """
    attributes = trial.user_attrs
    try:
        if (row := attributes.get(ROW)) is not None:
            return _read_row(row, attributes.get(CORRECT, {}), family, trial._trial_id)
        if (sampled := attributes.get(SAMPLED)) is None:
            return None
        found = Trial(
            make_candidate(sampled["family"], sampled["metaparameters"]),
            sampled["replicate"],
            dict(sampled["costs"]),
            sampled["stage"],
            trial._trial_id,
            stopped=attributes.get(STOPPED, ""),
        )
        names = (name.removeprefix(RUNG) for name in attributes if name.startswith(RUNG))
        for fidelity in sorted(map(parse_fidelity, names)):
            held = attributes[f"{RUNG}{fidelity}"]
            found.add(fidelity, Measurement(**held["measurement"]), held["ended_s"])
        return found
    except (ConfigError, KeyError, TypeError, ValueError) as error:
        raise StudyError(f"a trial cannot be read: {type(error).__name__}: {error}") from error


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
    costs = {name: row[name] for name in OBJECTIVES}
    trial = Trial(make_candidate(family, values), row["seed"], costs, SEARCH, trial_id)
    measured = {name: row[name] for name in Measurement.__dataclass_fields__ if name in row}
    measurement = Measurement(
        **measured,
        validation_correct=correct.get("validation", ""),
        test_correct=correct.get("test", ""),
    )
    trial.add(Fidelity(max(measurement.epochs, 1)), measurement, 0.0)
    return trial
