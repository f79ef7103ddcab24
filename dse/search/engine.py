"""One run of a study: open the record, train what is not in it, write what follows.

A sweep is a search with one rung and no finals; both go through `run`. Interrupt it in any way
and call it again: what is recorded is not trained again, and with one worker and a budget of
trials or epochs the trials are those of an undisturbed run.
"""

from __future__ import annotations

import contextlib
import glob
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from dse.architecture import Candidate, build, cost
from dse.config.files import dump_yaml
from dse.data import DataDescription, Dataset
from dse.errors import ConfigError, MachineError, StudyError, StudyMismatchError
from dse.execution.executor import Executor, Session
from dse.execution.job import Ended, EpochDone, Event, GivenUp, Job, Setup
from dse.search.answer import make_answer
from dse.search.estimate import COMPILE_S, job_s, train_s
from dse.search.forecast import fold_times
from dse.search.log import RunLog, logged
from dse.search.plan import Search, Sweep
from dse.search.reference import BestReference, Reference
from dse.search.reuse import ReuseResult, import_trials
from dse.search.schedule import handing_out
from dse.search.stages import FinalsStage, SearchStage, Stage, SweepStage, TestStage
from dse.search.state import SearchState
from dse.search.status import SearchStatus, SweepStatus
from dse.search.time_left import TimeLeft
from dse.search.verdicts import enough_budget
from dse.space.whole import NAME as WHOLE
from dse.study.answer import Answer, write_answer
from dse.study.definition import described_data
from dse.study.description import read_description, write_description
from dse.study.paths import DESCRIPTION_NAME, write_file
from dse.study.record import Key, Record, open_record, peek_trials
from dse.study.storage import storage_errors
from dse.study.trial import Trial
from dse.text import counted
from dse.training import check_fits

TABLE_EVERY_S = 2.0
"""`trials.csv` is written again at most this often while a study runs, and at its end."""


@dataclass(frozen=True)
class SweepStarted:
    """The record is open: `pending` jobs are to be trained, `recorded` ones are not."""

    pending: tuple[Job, ...]
    recorded: tuple[Job, ...]
    status: SweepStatus


@dataclass(frozen=True)
class SearchStarted:
    """The record is open: so many trials were in it, and so many were imported."""

    status: SearchStatus
    recorded_count: int
    imported: ReuseResult


@dataclass(frozen=True)
class StageStarted:
    """A stage of a search begins: `search`, `finals` or `test`."""

    name: str


@dataclass(frozen=True)
class ReferenceAwaited:
    """Another search trains the reference in this folder; this one waits for it."""

    directory: Path


RunEvent = SweepStarted | SearchStarted | StageStarted | ReferenceAwaited | Event
OnEvent = Callable[[RunEvent], None]
PlanT = TypeVar("PlanT", Sweep, Search)


@dataclass(frozen=True)
class RunResult:
    """Where the results of a run lie, and what they are.

    Attributes:
        directory: of the study.
        trials_path: its `trials.csv`.
        trials: of a sweep those of its jobs, of a search all of the record.
        trained_count: jobs of this run.
        wall_s: seconds that it took.
        answer: of a search.
    """

    directory: Path
    trials_path: Path
    trials: Mapping[Key, Trial]
    trained_count: int
    wall_s: float
    answer: Answer | None = None

    @property
    def failed_count(self) -> int:
        """Trials whose training failed."""
        return sum(trial.is_failed for trial in self.trials.values())

    @property
    def finished_count(self) -> int:
        """The others."""
        return len(self.trials) - self.failed_count


@dataclass
class Clock:
    """Seconds of search: continues from the last result in the record, stands between runs."""

    spent_s: float
    started: float

    def __call__(self) -> float:
        """Seconds so far."""
        return self.spent_s + time.monotonic() - self.started


def pending_jobs(
    sweep: Sweep,
    data: Dataset | DataDescription,
    *,
    results: Path,
    retry_failed: bool = False,
    storage_url: str = "",
) -> tuple[Job, ...]:
    """What a run of a sweep would train, from the record; nothing is begun.

    Raises:
        StudyMismatchError: a study of that name holds something else.
        StudyError: the record cannot be read.
    """
    trials = peek_trials(results, sweep.definition(data), storage_url)
    return _pending(sweep, trials, retry_failed)


def count_recorded(
    search: Search, data: Dataset | DataDescription, *, results: Path, storage_url: str = ""
) -> int:
    """Trials that a run of a search would find in the record; nothing is begun.

    Raises:
        StudyMismatchError: a study of that name holds something else.
        StudyError: the record cannot be read.
    """
    return len(peek_trials(results, search.definition(data), storage_url))


def under_former_name(plan: PlanT, dataset: Dataset, results: Path) -> PlanT:
    """The plan under the name of the study that it was before the folder was renamed, if any.

    Args:
        plan: named after its space and its images.
        dataset: the images.
        results: folder of all studies.

    Raises:
        StudyError: such a study cannot be read.
    """
    if (results / plan.name).exists():
        return plan
    suffix = "-search" if isinstance(plan, Search) else ""
    pattern = f"{glob.escape(plan.space.name)}-*{suffix}/{DESCRIPTION_NAME}"
    for path in sorted(results.glob(pattern)):
        try:
            data = read_description(path).data
        except (StudyError, ConfigError):  # of another study; not this command's to complain of
            continue
        former = f"{plan.space.name}-{data.name}{suffix}"
        if (data.fingerprint, former) == (dataset.fingerprint, path.parent.name):
            renamed = replace(plan, name=former)
            with contextlib.suppress(StudyMismatchError):
                peek_trials(results, renamed.definition(dataset))
                return renamed
    return plan


def run(
    plan: Sweep | Search,
    dataset: Dataset,
    executor: Executor,
    *,
    results: Path,
    reference: Reference | BestReference | None = None,
    reuse: Sequence[Path] = (),
    retry_failed: bool = False,
    storage_url: str = "",
    command: str = "",
    on_event: OnEvent = lambda event: None,
    started: float | None = None,
) -> RunResult:
    """Train whatever of a study is not in its record yet, and decide what follows.

    Args:
        plan: what to train, or to find.
        dataset: prepared images.
        executor: where jobs run.
        results: folder of all studies; this one goes to `results/<name>`.
        reference: what the answer of a search is compared with; needed by a search alone.
        reuse: folders of studies whose finished trials a search imports.
        retry_failed: train recorded failures of a sweep again.
        storage_url: database server that has the record (see `dse.study.shared.parse_url`); empty
            for a file in the study's folder.
        command: kept in `study.yaml`.
        on_event: told of everything that happens, from this process.
        started: `time.monotonic()` when the user began to wait: what was done since (images, a
            reference) is in a budget of time; None is now.

    Raises:
        TrainingError: the recipe does not fit the images.
        StudyMismatchError: a study of that name, or one to reuse, holds something else.
        StudyError: the record is in use, or cannot be read or written; every training of a
            search failed, or its budget reaches to no training at full fidelity.
        MachineError: memory, disk or a worker failed; what was recorded is kept, nothing is
            recorded of what could not be done, and the same call tries it again.
    """
    started = time.monotonic() if started is None else started
    check_fits(
        plan.recipe,
        dataset.name,
        input_shape=dataset.input_shape,
        train_count=len(dataset.train.labels),
    )
    with contextlib.ExitStack() as held:
        definition = plan.definition(dataset)
        record = held.enter_context(open_record(results, definition, plan.space, storage_url))
        teacher = plan.teacher if isinstance(plan, Sweep) else None
        setup = Setup(
            dataset.fingerprint,
            plan.recipe,
            plan.study_seed,
            scores_test=isinstance(plan, Sweep),
            init=plan.given.digest if plan.given else "",
            teacher=teacher.digest if teacher else "",
        )
        varying = plan.space.varying if isinstance(plan, Sweep) else plan.pool.varying
        log = held.enter_context(logged(record, varying, plan.recipe.epochs))
        clock = Clock(record.spent_s, started)
        study = _Study(record, dataset, setup, executor, clock, on_event, log)
        if plan.given:
            study.given[setup.init_key] = _keep(record.directory, "init", plan.given.path)
        if teacher:
            study.given[setup.teacher_key] = _keep(record.directory, "teacher", teacher.path)
        if isinstance(plan, Sweep):
            return study.sweep(plan, retry_failed=retry_failed, command=command)
        if reference is None:
            raise StudyError(f"{plan.name}: a search needs a reference")
        return study.search(plan, reference, reuse, command=command)


@dataclass
class _Study:
    """An open study, its images, and where its jobs run."""

    record: Record
    dataset: Dataset
    setup: Setup
    executor: Executor
    clock: Clock
    on_event: OnEvent
    log: RunLog
    status: SweepStatus | SearchStatus | None = None
    given: dict[str, Path] = field(default_factory=dict)  # artifact keys of weights, and where
    trained_count: int = 0
    given_up: list[GivenUp] = field(default_factory=list)

    def sweep(self, plan: Sweep, *, retry_failed: bool, command: str) -> RunResult:
        record = self.record
        pending = _pending(plan, record.trials, retry_failed)
        waiting = set(pending)
        recorded = tuple(job for job in plan.jobs if job not in waiting)
        seeds = max([plan.seeds, *(1 + replicate for _, replicate in record.trials)])
        # With nothing to train, the command and the machine that made the results stay named.
        if pending or not (record.directory / "study.yaml").exists():
            count = len(plan.survey.feasible) * seeds
            facts = {"seeds": seeds, "trials_count": count}
            self._describe(plan, facts, command)
        train_count, workers_count = len(self.dataset.train), self.executor.workers_count
        self.status = SweepStatus(
            pending,
            len(recorded),
            epochs=plan.recipe.epochs,
            time_left=TimeLeft(
                lambda job: train_s(plan.costs[job.candidate].macs, plan.recipe, train_count),
                compile_s=COMPILE_S,
                workers_count=workers_count,
            ),
        )
        self.on_event(SweepStarted(pending, recorded, self.status))
        candidates = [candidate.key for candidate, _ in plan.survey.feasible]
        keys = [(candidate, replicate) for candidate in candidates for replicate in range(seeds)]
        jobs = _in_order(plan, pending, train_count, workers_count)
        stages = iter([SweepStage(plan, jobs, record, self.clock)] if pending else [])
        trials_path = self._serve(stages, keys)
        if self.given_up:
            raise self._machine_error()
        trials = {job.key: record.trials[job.key] for job in plan.jobs}
        return self._result(trials_path, trials)

    def search(
        self,
        plan: Search,
        reference: Reference | BestReference,
        reuse: Sequence[Path],
        *,
        command: str,
    ) -> RunResult:
        record, definition = self.record, plan.definition(self.dataset)
        if reuse and plan.folds:
            raise StudyError(
                f"--reuse {reuse[0]}: its trials were scored on the validation images, which here "
                "confirm the answer alone, as candidates are cross-validated: give --folds 0"
            )
        recorded_count = len(record.trials)
        imported = import_trials(reuse, record, plan.pool, definition)
        facts = {
            "reference": reference.name,
            "budget": str(plan.budget),
            "space_size": plan.pool.space_count,
            "feasible_count": len(plan.pool) if plan.pool.is_whole else None,
        }
        self._describe(plan, facts, command)
        state = SearchState(plan, record, self.dataset, reference, self.clock)
        if not state.full():
            plan.check_budget()
        self.status = SearchStatus(state)
        self.on_event(SearchStarted(self.status, recorded_count, imported))
        answers: list[Answer] = []
        trials_path = self._serve(self._search_stages(state, answers.append), None)
        record.share(write_answer(record.directory, answers[0]))
        return self._result(trials_path, record.trials, answers[0])

    def _describe(self, plan: Sweep | Search, facts: Mapping[str, Any], command: str) -> None:
        told = plan.definition(self.dataset).to_dict() | {"data": described_data(self.dataset)}
        path = write_description(self.record.directory, {**told, **facts}, command=command)
        self.record.share(path)
        if plan.space.name == WHOLE:  # made here; a file may be changed, and searched again
            plain = {name: value for name, value in told["space"].items() if name != "name"}
            dump_yaml(plain, self.record.directory / f"{WHOLE}.yaml")

    def _search_stages(
        self, state: SearchState, on_answer: Callable[[Answer], None]
    ) -> Iterator[Stage]:
        """Each stage when the one before it was served; the answer at the end."""
        search = SearchStage(state, self.executor.workers_count)
        yield search
        search.close()
        if not state.full():
            _nothing_at_full_fidelity(state, self.executor.workers_count)
        finals = FinalsStage(state)
        yield finals
        decision = finals.decision()
        state.note_run(state.search.budget)
        if decision.answer is not None:
            test = TestStage(state, finals.finalists[decision.answer].candidate.key)
            if test.has_jobs:
                yield test
        count = self.executor.workers_count
        on_answer(make_answer(state, finals.finalists, decision, workers_count=count))

    def _serve(self, stages: Iterator[Stage], keys: Sequence[Key] | None) -> Path:
        """Serve stage after stage; write the table of these trials meanwhile and at the end."""
        record, setup, folder = self.record, self.setup, self.record.directory
        artifacts = {
            setup.data_key: self.dataset.directory,
            f"weights/{setup.key}": folder / "weights",
            f"checkpoints/{setup.key}": folder / "checkpoints",
            **self.given,
        }
        with storage_errors(folder):
            for name in ("weights", "checkpoints"):
                (folder / name).mkdir(exist_ok=True)
        try:
            with self.executor.session(setup, artifacts, folder / "logs") as session:
                for stage in stages:
                    if stage.name != "sweep":
                        self.log.say("stage", text=stage.name)
                        self.on_event(StageStarted(stage.name))
                    self._serve_stage(session, stage, keys)
        finally:
            trials_path = record.write_table(keys)
        return trials_path

    def _serve_stage(self, session: Session, stage: Stage, keys: Sequence[Key] | None) -> None:
        """Each event is passed on when what it says is in the record."""
        written = time.monotonic()
        for event in session.serve(
            stage, most_workers=stage.most_workers, forecast_s=self._forecast_s
        ):
            if isinstance(event, GivenUp):
                self.given_up.append(event)
                if stage.name != "sweep":  # what a search does next would follow from the fault
                    raise self._machine_error()
            if isinstance(event, Ended):
                stage.ended(event)
                self.trained_count += 1
                if self.record.is_over(event.job.key):
                    session.store.drop(event.job.artifact("checkpoints", self.setup))
                if time.monotonic() - written > TABLE_EVERY_S:
                    self.record.write_table(keys)
                    written = time.monotonic()
            self.log.job(event, self._status_text(event))
            self.on_event(event)

    def _status_text(self, event: Event) -> str:
        """How far the whole is; of a search not after every epoch, which changes too little."""
        if isinstance(self.status, SweepStatus):
            self.status.follow(event)
        elif isinstance(event, EpochDone):
            return ""
        return self.status.text() if self.status else ""

    def _forecast_s(self, job: Job) -> float:
        data = self.dataset
        macs = cost(build(job.candidate, data.input_shape, len(data.classes))).macs
        scored_count = len(data.validation) + len(data.test)
        train_count = round(fold_times(job.folds) * len(data.train))
        return job_s(macs, self.setup.recipe, train_count=train_count, scored_count=scored_count)

    def _machine_error(self) -> MachineError:
        first = self.given_up[0]
        count = counted(len({event.job.candidate for event in self.given_up}), "candidate")
        return MachineError(
            f"{count} of {self.record.directory} could not be trained, which is the machine's "
            f"fault and not recorded as theirs; {first.job.candidate.key}: {first.reason}; what "
            "was recorded is kept, and the same command tries again"
        )

    def _result(
        self, trials_path: Path, trials: Mapping[Key, Trial], answer: Answer | None = None
    ) -> RunResult:
        wall_s = time.monotonic() - self.clock.started
        return RunResult(
            self.record.directory, trials_path, trials, self.trained_count, wall_s, answer
        )


def _keep(folder: Path, name: str, given: Path) -> Path:
    """A copy of weights that a study was given: it resumes wherever they go."""
    path = folder / f"{name}{given.suffix.lower()}"
    return path if path.exists() else write_file(path, given.read_bytes())


def _pending(sweep: Sweep, trials: Mapping[Key, Trial], retry_failed: bool) -> tuple[Job, ...]:
    return tuple(
        job
        for job in sweep.jobs
        if (trial := trials.get(job.key)) is None
        or not trial.rungs  # an older version of dse recorded a fault of the machine
        or (retry_failed and trial.is_failed)
    )


def _in_order(sweep: Sweep, jobs: Sequence[Job], train_count: int, workers_count: int) -> list[Job]:
    """Jobs as workers are to take them: by candidate, so that no worker waits long at the end."""
    by_candidate: dict[Candidate, list[Job]] = {}
    for job in jobs:
        by_candidate.setdefault(job.candidate, []).append(job)
    groups = list(by_candidate.values())
    lengths = [
        COMPILE_S
        + len(group) * train_s(sweep.costs[group[0].candidate].macs, sweep.recipe, train_count)
        for group in groups
    ]
    return [job for place in handing_out(lengths, workers_count) for job in groups[place]]


def _nothing_at_full_fidelity(state: SearchState, workers_count: int) -> NoReturn:
    record, search = state.record, state.search
    failed = [t for t in record.searched if t.is_failed]
    if failed and len(failed) == len(record.searched):
        latest = failed[-1].latest
        assert latest is not None
        raise StudyError(
            f"all {len(failed)} candidates failed; the last: {latest.reason}; the reasons "
            f"are in {record.directory / 'trials.csv'}"
        )
    full = search.recipe.epochs
    larger = "a larger --budget"
    if record.searched:
        fresh = search.seeds + state.reference_seeds
        enough = enough_budget(state, record.searched[-1], 2, fresh, workers_count)
        larger = f"--budget {str(enough).replace(' ', '')}"
    raise StudyError(
        f"the budget of {search.budget} is too small: no candidate was trained to full fidelity "
        f"({full} epochs), {len(record.searched)} begun; what was trained is kept: the same "
        f"command with {larger} resumes, or take fewer --epochs in a new --study"
    )
