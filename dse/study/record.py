"""The record of a search: one Optuna trial for each candidate and seed, with every rung.

A trial of the search is there, running, from the moment it is asked for; each rung is added
to it in one transaction, and it ends complete, failed or (stopped at a lower rung) pruned.
Whatever is killed, what is decided next follows from the record alone. Trials of the finals
are added whole, as those of a sweep are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dse.architecture import LATENCY, OBJECTIVES, Candidate, make_candidate
from dse.execution.job import Job
from dse.search.analyses import Analysis, analysis_from_dict
from dse.search.budget import Budget
from dse.space import SearchSpace, scalar
from dse.study.measurement import Measurement
from dse.study.storage import distributions_of, row_of, storage_errors, write_rows

ASKED = "dse:asked"
RUNG = "dse:rung:"
STOPPED = "dse:stopped"
TESTED = "dse:tested"
ANALYSES = "dse:looks"
RUNS = "dse:runs"

"""The one cost that is measured and not counted."""

SEARCH, FINALS, REUSED = "search", "finals", "reused"


@dataclass
class SearchTrial:
    """One candidate with one replicate.

    Attributes:
        candidate, replicate: what is trained.
        costs: exact ones by name, and measured ones.
        stage: `search`, `finals` or `reused` (brought in from another study).
        rungs: measurement by epochs, in the order in which they came.
        ended_s: seconds of search at which each came, in the same order.
        stopped: why it goes no further, for now; empty where that is not said.
        trial_id: Optuna's name of it in the storage.
    """

    candidate: Candidate
    replicate: int
    costs: dict[str, Any]
    stage: str
    trial_id: int
    rungs: dict[int, Measurement] = field(default_factory=dict)
    ended_s: list[float] = field(default_factory=list)
    stopped: str = ""

    @property
    def key(self) -> tuple[str, int]:
        """(candidate key, replicate)."""
        return (self.candidate.key, self.replicate)

    @property
    def epochs(self) -> int:
        """Of the highest rung that is measured; 0 before the first."""
        return max(self.rungs, default=0)

    @property
    def latest(self) -> Measurement | None:
        """What was measured last."""
        return next(reversed(self.rungs.values()), None)

    @property
    def is_failed(self) -> bool:
        """Whether its training failed."""
        return self.latest is not None and self.latest.status == "failed"


class SearchRecord:
    """The record of an open search; `open_record` sees that one process holds it.

    Args:
        directory: of the study.
        study: Optuna's study.
        storage: Optuna's storage that holds it.
        space: what is searched.
        objectives: costs that are to be small.
        full_epochs: of the highest rung.

    Attributes:
        trials: all of them, by (candidate key, replicate).
        searched: those that belong to the search itself, in the order in which they were asked
            for.
        changes: rows of `searched`, one for each change of a trial, in their order.
    """

    def __init__(
        self,
        directory: Path,
        study: Any,
        storage: Any,
        *,
        space: SearchSpace,
        objectives: Sequence[str],
        full_epochs: int,
    ) -> None:
        self.directory, self._study, self._storage = directory, study, storage
        self._distributions = distributions_of(space)
        self._objectives, self.full_epochs = tuple(objectives), full_epochs
        self.trials: dict[tuple[str, int], SearchTrial] = {}
        self.searched: list[SearchTrial] = []
        self.changes: list[int] = []
        self._rows: dict[tuple[str, int], int] = {}
        self._spent_s, self._spent_epochs = 0.0, 0
        self._analyses = [analysis_from_dict(plain) for plain in study.user_attrs.get(ANALYSES, [])]
        self._runs: list[dict[str, Any]] = list(study.user_attrs.get(RUNS, []))
        running = []
        for trial in study.get_trials(deepcopy=False):
            if (read := read_trial(trial)) is not None:
                self._hold(read)
                running += [] if trial.state.is_finished() else [read]
        for read in running:  # killed between a result and the end that follows from it
            self._end_if_over(read)

    @property
    def spent_s(self) -> float:
        """Seconds of search at the last result."""
        return self._spent_s

    @property
    def spent_epochs(self) -> int:
        """Epochs that this study trained."""
        return self._spent_epochs

    def _hold(self, trial: SearchTrial) -> None:
        """Take in a trial, in the place of the one with the same key if there is one."""
        before = self.trials.get(trial.key)
        self.trials[trial.key] = trial
        if trial.stage != FINALS and trial.replicate == 0:
            row = self._rows.setdefault(trial.key, len(self.searched))
            self.searched[row : row + 1] = [trial]
        self._count(trial, since=_epochs_trained(before) if before else 0)

    def _count(self, trial: SearchTrial, *, since: int) -> None:
        """Note that a trial has changed, and what was spent on it after `since` epochs."""
        self._spent_epochs += _epochs_trained(trial) - since
        self._spent_s = max([self._spent_s, *trial.ended_s])
        if (row := self._rows.get(trial.key)) is not None:
            self.changes.append(row)

    def ask(self, candidate: Candidate, costs: Mapping[str, Any]) -> SearchTrial:
        """Note that this candidate is to be trained, in one transaction.

        Raises:
            StudyError: the record cannot be written.
        """
        return self._begin(candidate, 0, costs, SEARCH)

    def add(self, trial: SearchTrial, measurement: Measurement, ended_s: float) -> None:
        """Add a rung; at full fidelity, or where it failed, the trial ends with it.

        Raises:
            StudyError: the record cannot be written.
        """
        epochs = measurement.epochs
        if measurement.status == "failed":
            epochs = max(epochs, trial.epochs + 1)  # a failure is the last word on a candidate
        with storage_errors(self.directory):
            if measurement.validation_accuracy is not None:
                self._storage.set_trial_intermediate_value(
                    trial.trial_id, epochs, measurement.validation_accuracy
                )
            plain = {"measurement": measurement.to_dict(), "ended_s": round(ended_s, 3)}
            self._storage.set_trial_user_attr(trial.trial_id, f"{RUNG}{epochs}", plain)
        since = _epochs_trained(trial)
        trial.rungs[epochs] = measurement
        trial.costs |= _measured_costs(measurement)
        trial.ended_s.append(round(ended_s, 3))
        self._count(trial, since=since)
        self._end_if_over(trial)

    def is_over(self, key: tuple[str, int]) -> bool:
        """Whether a trial was trained in full or failed."""
        trial = self.trials[key]
        return trial.is_failed or trial.epochs >= self.full_epochs

    def add_whole(
        self,
        job: Job,
        costs: Mapping[str, Any],
        rungs: Sequence[Measurement],
        stage: str,
        ended_s: float,
    ) -> None:
        """Add a trial that is over, of the finals or of another study, in one transaction.

        Raises:
            StudyError: the record cannot be written.
        """
        attributes = {
            f"{RUNG}{measured.epochs}": {
                "measurement": measured.to_dict(),
                "ended_s": round(ended_s, 3),
            }
            for measured in rungs
        }
        trial = self._begin(job.candidate, job.replicate, costs, stage, attributes)
        self._end_if_over(trial)

    def stop(self, trial: SearchTrial, reason: str) -> None:
        """End a trial below full fidelity; a later `go_on` takes it up again.

        Raises:
            StudyError: the record cannot be written.
        """
        with storage_errors(self.directory):
            self._storage.set_trial_user_attr(trial.trial_id, STOPPED, reason)
        trial.stopped = reason
        self._end_if_over(trial)

    def go_on(self, trial: SearchTrial) -> SearchTrial:
        """Take up a stopped trial, as a new one of Optuna's that holds its rungs.

        Raises:
            StudyError: the record cannot be written.
        """
        attributes = {
            f"{RUNG}{epochs}": {"measurement": measured.to_dict(), "ended_s": ended_s}
            for (epochs, measured), ended_s in zip(trial.rungs.items(), trial.ended_s, strict=True)
        }
        return self._begin(trial.candidate, trial.replicate, trial.costs, trial.stage, attributes)

    def _begin(
        self,
        candidate: Candidate,
        replicate: int,
        costs: Mapping[str, Any],
        stage: str,
        attributes: Mapping[str, Any] | None = None,
    ) -> SearchTrial:
        from optuna.trial import TrialState, create_trial

        asked = {
            "family": candidate.family,
            "metaparameters": candidate.metaparameters,
            "replicate": replicate,
            "costs": dict(costs),
            "stage": stage,
        }
        values = candidate.metaparameters
        template = create_trial(
            state=TrialState.RUNNING,
            params={name: scalar(values[name]) for name in self._distributions},
            distributions=self._distributions,
            user_attrs={ASKED: asked, **(attributes or {})},
        )
        with storage_errors(self.directory):
            trial_id = self._storage.create_new_trial(
                self._study._study_id, template_trial=template
            )
            trial = read_trial(self._storage.get_trial(trial_id))
        assert trial is not None
        self._hold(trial)
        return trial

    def _end_if_over(self, trial: SearchTrial) -> None:
        from optuna.trial import TrialState

        latest = trial.latest
        values: list[float] | None = None
        if trial.stopped:
            state = TrialState.PRUNED
        elif latest is None or not self.is_over(trial.key):
            return
        elif latest.status == "failed":
            state = TrialState.FAIL
        else:
            assert latest.validation_accuracy is not None
            state = TrialState.COMPLETE
            values = [latest.validation_accuracy, *(trial.costs[n] for n in self._objectives)]
        with storage_errors(self.directory):
            self._storage.set_trial_state_values(trial.trial_id, state, values)

    def tested(self, key: str) -> Mapping[str, Any]:
        """What is noted of the test of a candidate: right images by replicate."""
        held: dict[str, Any] = self._study.user_attrs.get(TESTED, {})
        found: Mapping[str, Any] = held.get(key, {})
        return found

    @property
    def tested_count(self) -> int:
        """Candidates that were ever scored on the test images."""
        return len(self._study.user_attrs.get(TESTED, {}))

    def add_tested(self, key: str, replicate: int, correct: str) -> None:
        """Note which test images one replicate of a candidate has right.

        Raises:
            StudyError: the record cannot be written.
        """
        held = dict(self._study.user_attrs.get(TESTED, {}))
        held[key] = {**held.get(key, {}), str(replicate): correct}
        with storage_errors(self.directory):
            self._study.set_user_attr(TESTED, held)

    @property
    def analyses(self) -> Sequence[Analysis]:
        """At the confirmation images; those on one set of terms in their order."""
        return self._analyses

    def note_analyses(self, looks: Sequence[Analysis]) -> None:
        """Keep these in place of those that are kept.

        Raises:
            StudyError: the record cannot be written.
        """
        if list(looks) != self._analyses:
            with storage_errors(self.directory):
                self._study.set_user_attr(ANALYSES, [look.to_dict() for look in looks])
            self._analyses = list(looks)

    def spent_before(self, budget: Budget) -> float:
        """Seconds or epochs that ended runs with a smaller budget of that kind had spent."""
        spent = (
            run["spent"]
            for run in self._runs
            if run["kind"] == budget.kind and run["amount"] < budget.amount
        )
        return max(spent, default=0.0)

    def note_run(self, budget: Budget) -> None:
        """Note that search and finals have ended with this budget; once for each.

        Raises:
            StudyError: the record cannot be written.
        """
        if any((run["kind"], run["amount"]) == (budget.kind, budget.amount) for run in self._runs):
            return
        spent = self.spent_s if budget.kind == "time" else float(self.spent_epochs)
        self._runs.append({"kind": budget.kind, "amount": budget.amount, "spent": spent})
        with storage_errors(self.directory):
            self._study.set_user_attr(RUNS, self._runs)

    def write_table(self) -> Path:
        """Write `trials.csv`: a row for each trial that has a result.

        Raises:
            StudyError: the folder cannot be written.
        """
        rows = [self._row(trial) for trial in self.trials.values() if trial.rungs]
        return write_rows(self.directory, rows)

    def _row(self, trial: SearchTrial) -> dict[str, Any]:
        latest = trial.latest
        assert latest is not None
        costs = {name: trial.costs.get(name, "") for name in (*OBJECTIVES, *self._objectives)}
        row = row_of(Job(trial.candidate, trial.replicate), costs, latest)
        if latest.status == "finished" and trial.epochs < self.full_epochs:
            row["status"] = "stopped"
            row["reason"] = trial.stopped or "the search had not come to an end"
        return row | {
            "stage": trial.stage,
            "curve": " ".join(_curve(trial)),
            "ended_s": trial.ended_s[-1],
        }


def _curve(trial: SearchTrial) -> Iterator[str]:
    for epochs, measured in trial.rungs.items():
        if measured.validation_accuracy is not None:
            yield f"{epochs}:{measured.validation_accuracy:.4f}"


def _epochs_trained(trial: SearchTrial) -> int:
    """Epochs of it that its own study spent."""
    return 0 if trial.stage == REUSED else trial.epochs


def read_trial(trial: Any) -> SearchTrial | None:
    """A trial of Optuna's, or None where it is none of a search."""
    attributes = trial.user_attrs
    if (asked := attributes.get(ASKED)) is None:
        return None
    names = sorted((n for n in attributes if n.startswith(RUNG)), key=_epochs)
    rungs = {_epochs(name): Measurement(**attributes[name]["measurement"]) for name in names}
    costs = dict(asked["costs"])
    for measurement in rungs.values():
        costs |= _measured_costs(measurement)
    return SearchTrial(
        make_candidate(asked["family"], asked["metaparameters"]),
        asked["replicate"],
        costs,
        asked["stage"],
        trial._trial_id,
        rungs,
        [attributes[name]["ended_s"] for name in names],
        attributes.get(STOPPED, ""),
    )


def _measured_costs(measurement: Measurement) -> dict[str, float]:
    return {} if measurement.latency_s is None else {LATENCY: measurement.latency_s}


def _epochs(name: str) -> int:
    return int(name.removeprefix(RUNG))
