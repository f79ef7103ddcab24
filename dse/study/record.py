"""The record of a study: its trials, in an Optuna study, and what is written from them.

    results/<study>/study.db      the record (SQLite in WAL mode), unless a database server has it
                    study.yaml    what was studied: space, recipe, data, versions
                    trials.csv    one row per candidate and seed
                    weights/      a safetensors file for each finished trial
                    logs/         what the workers wrote

A sampled trial is there, running, from the moment it is sampled; each rung is added to it in one
transaction, and it ends complete, failed or (paused at a lower rung) pruned. Trials that are
trained at once, those of a sweep and of the finals, are added whole. Whatever is killed, the
record holds each result once or not at all, and what is decided next follows from it alone.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from dse.architecture import FAMILIES, OBJECTIVES, Candidate
from dse.errors import StudyError
from dse.files import locked
from dse.space import Categorical, FloatRange, IntRange, SearchSpace, scalar
from dse.study.definition import Definition, check_same
from dse.study.fidelity import Fidelity
from dse.study.fields import Count, Positive, Rule, Seconds, from_dict
from dse.study.measurement import Measurement, is_base64
from dse.study.paths import DATABASE_NAME, record_damaged
from dse.study.seal import sealed, unsealed
from dse.study.server import driving, looking_at
from dse.study.shared import SharedStudy, shown
from dse.study.storage import (
    DEFINITION,
    Where,
    check_has_record,
    check_is_alone,
    copied_storage,
    find_shared,
    find_study,
    make_study,
    open_study,
    opened_storage,
    read_definition,
    reading,
    storage_errors,
    watched,
)
from dse.study.table import write_table
from dse.study.trial import FINALS, SEARCH, STOPPED, Trial, read_trial

Tested = Annotated[
    Mapping[str, Any],
    Rule(
        "an object of objects of base64 words",
        lambda values: all(
            isinstance(v, dict) and all(isinstance(w, str) and is_base64(w) for w in v.values())
            for v in values.values()
        ),
    ),
]

Key = tuple[str, int]
"""(candidate key, replicate)."""

NOTES = {
    "tested": "dse:tested",
    "analyses": "dse:looks",
    "runs": "dse:runs",
    "left_out": "dse:left_out",
    "files": "dse:files",
}
"""What a study notes beside its trials, and under which attribute."""


class Record:
    """The record of an open study; `open_record` sees that one process holds it.

    Args:
        directory: of the study.
        where: the database of the study; the folder itself where it is in there.
        study: Optuna's study.
        storage: Optuna's storage that holds it.
        space: what is studied.
        definition: of the study.
        check: raises where the database is not the file of its name any more.

    Attributes:
        trials: all of them, by (candidate key, replicate).
        searched: those whose accuracy steers the search (the first replicate of each candidate,
            finals aside), in the order in which they were sampled.
        changes: rows of `searched`, one for each change of a trial, in their order.
        full: the highest fidelity.
        is_cut_off: whether a change could not be written.
        spent_s: seconds of search at the last result.
        spent_epochs: epochs that this study trained.
    """

    def __init__(
        self,
        directory: Path,
        where: Where,
        study: Any,
        storage: Any,
        space: SearchSpace,
        definition: Definition,
        check: Callable[[], None],
    ) -> None:
        self.directory, self.where = directory, where
        self._study, self._storage = study, storage
        self._check, self.is_cut_off = check, False
        self._distributions = _distributions_of(space)
        self._objectives, self._is_sweep = definition.objectives, definition.search is None
        self.full = Fidelity(definition.recipe["epochs"])
        self.trials: dict[Key, Trial] = {}
        self.searched: list[Trial] = []
        self.changes: list[int] = []
        self.spent_s, self.spent_epochs = 0.0, 0
        self._rows: dict[Key, int] = {}
        self._notes = {name: read_note(where, study, name) for name in NOTES}
        images = definition.data["images"]
        trials = read_trials(where, study, space.family, images)
        for trial in trials:
            self._hold(trial)
        for trial in trials:
            if trial.is_running:  # killed between a result and the end that follows from it
                self.end_if_over(trial)

    def _hold(self, trial: Trial) -> None:
        """Take in a trial, in the place of the one with the same key if there is one."""
        before = self.trials.get(trial.key)
        self.trials[trial.key] = trial
        if trial.stage != FINALS and trial.replicate == 0:
            row = self._rows.setdefault(trial.key, len(self.searched))
            self.searched[row : row + 1] = [trial]
        self._count(trial, since=before.spent_epochs if before else 0)

    def _count(self, trial: Trial, *, since: int) -> None:
        """Note that a trial has changed, and what was spent on it after `since` epochs."""
        self.spent_epochs += trial.spent_epochs - since
        self.spent_s = max([self.spent_s, *trial.ended_s])
        if (row := self._rows.get(trial.key)) is not None:
            self.changes.append(row)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Around every change of the record: what the system says of it becomes a `StudyError`."""
        self.is_cut_off = True
        with storage_errors(self.where):
            yield
            self._check()  # behind it, so that nothing measured is lost
        self.is_cut_off = False

    def begin(self, candidate: Candidate, costs: Mapping[str, Any]) -> Trial:
        """Note that a candidate was sampled and is to be trained, in one transaction.

        Raises:
            StudyError: the record cannot be written.
        """
        trial = Trial(candidate, 0, dict(costs), SEARCH)
        self._create(trial)
        return trial

    def add(self, trial: Trial, measurement: Measurement, ended_s: float) -> None:
        """Add a rung; at full fidelity, or where it failed, the trial ends with it.

        Raises:
            StudyError: the record cannot be written.
        """
        epochs = measurement.epochs
        if measurement.status == "failed":
            epochs = max(epochs, trial.epochs + 1)  # a failure is the last word on a candidate
        fidelity, since = Fidelity(epochs), trial.spent_epochs
        with self._writing():
            # First what everything is read from: a kill may come between the two.
            self._storage.set_trial_user_attr(
                trial.trial_id, *trial.rung_attribute(fidelity, measurement, ended_s)
            )
            if measurement.validation_accuracy is not None:
                self._storage.set_trial_intermediate_value(
                    trial.trial_id, epochs, measurement.validation_accuracy
                )
        trial.add(fidelity, measurement, ended_s)
        self._count(trial, since=since)
        self.end_if_over(trial)

    def is_over(self, key: Key) -> bool:
        """Whether a trial was trained to full fidelity or failed."""
        trial = self.trials[key]
        return trial.is_failed or trial.epochs >= self.full.epochs

    def add_whole(self, trial: Trial) -> None:
        """Add a trial that is over, with all its rungs, in one transaction.

        Raises:
            StudyError: the record cannot be written.
        """
        self._create(trial)
        self.end_if_over(trial)

    def stop(self, trial: Trial, reason: str) -> None:
        """Pause a trial below full fidelity; a later `resume` continues it.

        Raises:
            StudyError: the record cannot be written.
        """
        with self._writing():
            value = sealed(reason, *trial.place_of(STOPPED))
            self._storage.set_trial_user_attr(trial.trial_id, STOPPED, value)
        trial.stopped = reason
        self.end_if_over(trial)

    def resume(self, trial: Trial) -> Trial:
        """Continue a paused trial, as a new one of Optuna's that holds its rungs.

        Raises:
            StudyError: the record cannot be written.
        """
        resumed = Trial(
            trial.candidate,
            trial.replicate,
            trial.costs,
            trial.stage,
            rungs=trial.rungs,
            ended_s=trial.ended_s,
        )
        self._create(resumed)
        return resumed

    def _create(self, trial: Trial) -> None:
        from optuna.trial import TrialState, create_trial

        values = trial.candidate.metaparameters
        template = create_trial(
            state=TrialState.RUNNING,
            params={name: scalar(values[name]) for name in self._distributions},
            distributions=self._distributions,
            user_attrs=trial.attributes(),
        )
        with self._writing():
            trial.trial_id = self._storage.create_new_trial(
                self._study._study_id, template_trial=template
            )
        self._hold(trial)

    def end_if_over(self, trial: Trial) -> None:
        """End a trial that came to full fidelity, failed or is paused.

        Raises:
            StudyError: the record cannot be written.
        """
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
        with self._writing():
            self._storage.set_trial_state_values(trial.trial_id, state, values)

    def note(self, name: str) -> Any:
        """What is noted under a name of `NOTES`; None where nothing is."""
        return self._notes[name]

    def set_note(self, name: str, value: Any) -> None:
        """Note plain data under a name of `NOTES`.

        Raises:
            StudyError: the record cannot be written.
        """
        if value != self._notes[name]:
            with self._writing():
                self._study.set_user_attr(NOTES[name], sealed(value, NOTES[name]))
            self._notes[name] = value

    def write_table(self, keys: Iterable[Key] | None = None) -> Path:
        """Write `trials.csv`: one row per trial that has a result.

        Args:
            keys: which trials, in their order; all of them unless given.

        Raises:
            StudyError: the folder cannot be written.
        """
        chosen = self.trials if keys is None else keys
        trials = [self.trials[key] for key in chosen if key in self.trials]
        objectives = None if self._is_sweep else self._objectives
        return write_trials(self.directory, trials, objectives, self.full)

    def share(self, path: Path) -> None:
        """Keep a small text file with a record that others read elsewhere.

        Raises:
            StudyError: the record cannot be written.
        """
        if isinstance(self.where, SharedStudy):
            self.set_note("files", {**(self.note("files") or {}), path.name: path.read_text()})


def write_trials(
    directory: Path, trials: Iterable[Trial], objectives: Sequence[str] | None, full: Fidelity
) -> Path:
    """Write `trials.csv`: one row for each of these trials that has a result.

    Args:
        directory: of the study.
        trials: in their order.
        objectives: of a search; None for a sweep.
        full: the highest fidelity.

    Raises:
        StudyError: the folder cannot be written.
    """
    rows = [_row(trial, objectives, full) for trial in trials if trial.rungs]
    return write_table(directory, rows)


def _row(trial: Trial, objectives: Sequence[str] | None, full: Fidelity) -> dict[str, Any]:
    latest = trial.latest
    assert latest is not None
    measured = latest.to_dict()
    for name in ("latency_s", "validation_correct", "test_correct"):
        del measured[name]
    row = {
        "candidate": trial.candidate.key,
        **{name: scalar(value) for name, value in trial.candidate.values},
        "seed": trial.replicate,
        "status": measured.pop("status"),
        "reason": measured.pop("reason"),
        **{name: trial.costs.get(name, "") for name in (*OBJECTIVES, *(objectives or ()))},
        **measured,
    }
    if objectives is None:
        return row
    if latest.status == "finished" and trial.epochs < full.epochs:
        row["status"] = "stopped"
        row["reason"] = trial.stopped or "the search had not come to an end"
    curve = (
        f"{fidelity}:{measured.validation_accuracy:.4f}"
        for fidelity, measured in trial.rungs.items()
        if measured.validation_accuracy is not None
    )
    return row | {"stage": trial.stage, "curve": " ".join(curve), "ended_s": trial.ended_s[-1]}


@contextlib.contextmanager
def open_record(
    results: Path, definition: Definition, space: SearchSpace, storage_url: str = ""
) -> Iterator[Record]:
    """Open the study of this name under `results`, or make it; hold it until the end.

    Args:
        results: folder of all studies.
        definition: what the study is to hold.
        space: the same space, resolved.
        storage_url: database server that has the record, as `parse_url` gives it; empty for a
            file in the study's folder.

    Raises:
        StudyMismatchError: a study of that name holds something else; nothing is changed.
        StudyError: another process holds it, or it cannot be read or written.
    """
    directory = results / definition.name
    shared = SharedStudy(storage_url, definition.name) if storage_url else None
    with contextlib.ExitStack() as held:
        if shared:
            with reading(shared):
                storage = held.enter_context(driving(shared))
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            busy = StudyError(
                f"{directory} is in use by another dse process; wait for it, or choose another "
                "--study name"
            )
            held.enter_context(locked(directory / ".lock", busy))
            if shared:
                check_is_alone(directory, shared)
                check: Callable[[], None] = lambda: None  # noqa: E731  its connection is its lock
            else:
                check_has_record(directory)
                storage, check = held.enter_context(_opened_file(directory / DATABASE_NAME))
        where = shared or directory
        with reading(where):
            study = open_study(where, storage, definition)
            record = Record(directory, where, study, storage, space, definition, check)
        try:
            yield record
        except StudyError as error:
            if not shared or not record.is_cut_off:
                raise
            raise StudyError(
                f"{error}; all that was recorded is saved in {_save(record, definition, space)} "
                f"too: should {shown(storage_url)} be lost, rename that to {DATABASE_NAME} and "
                "leave --storage out"
            ) from error


@contextlib.contextmanager
def _opened_file(path: Path) -> Iterator[tuple[Any, Callable[[], None]]]:
    """Optuna's storage in a file that is there for as long as the check raises nothing."""
    if path.is_symlink():
        raise StudyError(
            f"{path} is a symbolic link, which is not written through; put the file itself there, "
            "or choose another --study name"
        )
    with opened_storage(path) as storage, watched(path, storage) as check:
        yield storage, check


def _save(record: Record, definition: Definition, space: SearchSpace) -> Path:
    """Write what a record holds, whose database is out of reach, into a file of its folder."""
    names = (record.directory / f"study-saved-{number}.db" for number in itertools.count(1))
    path = next(path for path in names if not path.exists())
    with opened_storage(path) as storage:
        study = make_study(storage, definition)
        copy = Record(
            record.directory, record.directory, study, storage, space, definition, lambda: None
        )
        for name in NOTES:
            copy.set_note(name, record.note(name))
        for trial in record.trials.values():
            resumed = copy.resume(trial)
            if trial.stopped:
                copy.stop(resumed, trial.stopped)
            copy.end_if_over(resumed)
    return path


def peek_trials(results: Path, definition: Definition, storage_url: str = "") -> dict[Key, Trial]:
    """The trials that a study of this name holds, read before anything is begun.

    The definition may come from a description of images that are not decoded yet.

    Raises:
        StudyMismatchError: a study of that name holds something else.
        StudyError: it cannot be read, or there are results without their record.
    """
    directory = results / definition.name
    where: Where = directory
    if storage_url:
        check_is_alone(directory, where := SharedStudy(storage_url, definition.name))
    else:
        check_has_record(directory)
        if not (directory / DATABASE_NAME).exists():
            return {}
    held, trials = read_study(where)
    if held is not None:
        check_same(where, definition.to_dict(), held)
    return {trial.key: trial for trial in trials}


def read_study(where: Where) -> tuple[dict[str, Any] | None, list[Trial]]:
    """Definition (None where it was never begun) and trials of a study; nothing is changed.

    Raises:
        StudyError: it cannot be read.
    """
    with reading(where), contextlib.ExitStack() as stack:
        if isinstance(where, SharedStudy):
            storage = stack.enter_context(looking_at(where.url))
            study = find_shared(where, storage) if storage else None
        else:
            storage = stack.enter_context(copied_storage(where / DATABASE_NAME))
            study = find_study(where, storage)
        return read_held(where, study)


def read_held(where: Where, study: Any) -> tuple[dict[str, Any] | None, list[Trial]]:
    """As `read_study`, of Optuna's study; None is none."""
    held = study.user_attrs.get(DEFINITION) if study else None
    if held is None:
        return None, []
    definition = read_definition(where, held)
    images = definition["data"].get("images", definition["data"].get("pictures"))
    return definition, read_trials(where, study, definition["space"]["family"], images)


def read_trials(where: Where, study: Any, family: str, images: Mapping[str, int]) -> list[Trial]:
    """The trials of Optuna's study, in their order; those that are none of ours left out.

    Args:
        where: folder or database of the study.
        study: Optuna's.
        family: of the space.
        images: in each split.

    Raises:
        StudyError: one does not hold what it should; names it.
    """
    trials = study.get_trials(deepcopy=False)
    if [trial.number for trial in trials] != list(range(len(trials))):
        raise record_damaged(where, "trials are missing: their numbers have gaps")
    try:
        found = [read_trial(trial, family, images) for trial in trials]
    except StudyError as error:
        raise record_damaged(where, error) from error
    return [trial for trial in found if trial is not None]


def read_note(where: Where, study: Any, name: str) -> Any:
    """What is noted under a name of `NOTES`; None where nothing is."""
    attribute = NOTES[name]
    held = study.user_attrs.get(attribute)
    try:
        value = unsealed(held, attribute)
        if value is not None:
            from_dict(_Notes, {name: value}, attribute)
    except (ValueError, StudyError) as error:
        raise record_damaged(where, f"{attribute}: {error}") from error
    return value


@dataclass(frozen=True, kw_only=True)
class _Run:
    """A run that ended: the kind and amount of its budget, and what was spent."""

    kind: Literal["time", "epochs", "trials"]
    amount: Positive
    spent: Seconds


@dataclass(frozen=True, kw_only=True)
class _Notes:
    """What the notes hold; the finals read their analyses themselves."""

    tested: Tested = field(default_factory=dict)
    analyses: tuple[Mapping[str, Any], ...] = ()
    runs: tuple[_Run, ...] = ()
    left_out: Count = 0
    files: Annotated[
        Mapping[str, Any],
        Rule("an object of texts", lambda files: all(isinstance(t, str) for t in files.values())),
    ] = field(default_factory=dict)


def _distributions_of(space: SearchSpace) -> dict[str, Any]:
    """Optuna's distributions of what varies; a list of layers is written as one word."""
    from optuna.distributions import (
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    distributions: dict[str, Any] = {}
    for name in space.varying:
        domain = space.domains[name]
        if isinstance(domain, Categorical):
            canonical = FAMILIES[space.family].metaparameters[name].canonical
            words = dict.fromkeys(scalar(canonical(value)) for value in domain.values())
            distributions[name] = CategoricalDistribution(list(words))
        elif isinstance(domain, IntRange):
            distributions[name] = IntDistribution(  # Optuna wants the range to end on a step
                domain.low, domain.last, step=domain.step, log=domain.log
            )
        elif isinstance(domain, FloatRange):
            last: Any = domain.high if domain.step is None else domain.values()[-1]
            distributions[name] = FloatDistribution(
                domain.low, last, step=domain.step, log=domain.log
            )
    return distributions
