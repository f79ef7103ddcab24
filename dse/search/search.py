"""The search: which candidate of a space is at the reference's accuracy with the least size.

Three stages, each a source of jobs: the search itself (ask, promote by rungs), the finals
(more seeds for the candidates around the reference), and one look at the test images for
the answer. What a stage does next follows from the record and the clock alone, so a search
that was interrupted in any way goes on as it would have.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from dse.config import space_to_dict
from dse.data import DataDescription, Dataset
from dse.errors import StudyError
from dse.execution.job import Ended, Event, Setup
from dse.execution.local import Executor
from dse.search.answer import answer_document, write_answer
from dse.search.budget import Budget
from dse.search.finals import LEAST_SEEDS, MOST_FINALISTS
from dse.search.pace import SEARCH_SHARE
from dse.search.reference import Reference
from dse.search.reuse import import_trials
from dse.search.rungs import Ladder
from dse.search.stages import FinalsStage, SearchStage, Stage, TestStage
from dse.search.state import SearchState
from dse.search.sweep import TABLE_EVERY_S, data_facts, drop_checkpoint, make_directories
from dse.space.pool import Pool
from dse.study.record import SearchRecord, read_trial
from dse.study.storage import Definition, open_record, peek, write_description
from dse.training import Recipe, check_fits


@dataclass(frozen=True)
class Search:
    """What is to be found, and how.

    Attributes:
        name: of the study.
        pool: the candidates.
        recipe: of every candidate; its epochs are the full fidelity.
        ladder: the rungs up to it.
        budget: what search and finals may spend.
        sampler: a name of `SAMPLERS`.
        objectives: costs that are to be small; the first one is what "smallest" means.
        study_seed: with the replicate, the source of all noise.
        margin: how far below the reference (a fraction) still counts as its level.
        confidence: of the claim.
        finalists: candidates in the finals at most.
        seeds: fresh replicates of each of them.
    """

    name: str
    pool: Pool
    recipe: Recipe
    ladder: Ladder
    budget: Budget
    sampler: str = "tpe"
    objectives: tuple[str, ...] = ("params_count",)
    study_seed: int = 0
    margin: float = 0.0
    confidence: float = 0.95
    finalists: int = MOST_FINALISTS
    seeds: int = LEAST_SEEDS

    def definition(self, data: Dataset | DataDescription) -> Definition:
        """What makes this study this study; budget and claim may change from run to run."""
        return Definition(
            self.name,
            space_to_dict(self.pool.space),
            self.recipe.to_dict(),
            data_facts(data),
            self.study_seed,
            search={
                "rungs": list(self.ladder.epochs),
                "sampler": self.sampler,
                "objectives": list(self.objectives),
            },
            objectives=self.objectives,
        )


@dataclass(frozen=True)
class Opened:
    """The record is open: so many trials were in it, and so many were brought in."""

    known: SearchState
    recorded_count: int
    reused_count: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class StageBegun:
    """A stage begins: `search`, `finals` or `test`."""

    name: str
    known: SearchState


SearchEvent = Opened | StageBegun | Event
OnEvent = Callable[[SearchEvent], None]


@dataclass(frozen=True)
class SearchResult:
    """Where a search's results lie, and what was decided."""

    directory: Path
    trials_path: Path
    answer_path: Path
    document: Mapping[str, Any]


def count_recorded(search: Search, data: Dataset | DataDescription, *, results: Path) -> int:
    """Trials that a run would find in the record; nothing is begun.

    Raises:
        StudyMismatchError: a study of that name holds something else.
        StudyError: the record cannot be read.
    """
    with peek(results, search.definition(data)) as study:
        trials = [] if study is None else study.get_trials(deepcopy=False)
        read = [found for trial in trials if (found := read_trial(trial)) is not None]
        return len({found.key for found in read})


def check_budget(search: Search) -> None:
    """Refuse epochs that reach to no full training, before anything is begun.

    Raises:
        StudyError: the search's part is less than a candidate in full takes.
    """
    full, budget = search.recipe.epochs, search.budget
    if budget.kind == "epochs" and SEARCH_SHARE * budget.amount < full:
        raise StudyError(
            f"the budget of {budget} is too small: a candidate in full takes {full} epochs, and "
            f"the search has {SEARCH_SHARE:.0%} of the budget (the finals have the rest): give "
            f"--budget {math.ceil(full / SEARCH_SHARE)}epochs or more, or take fewer --epochs"
        )


def run_search(
    search: Search,
    reference: Reference,
    dataset: Dataset,
    *,
    results: Path,
    workers_count: int,
    reuse: Sequence[Path] = (),
    compile_cache: Path | None = None,
    command: str = "",
    on_event: OnEvent = lambda event: None,
) -> SearchResult:
    """Search, hold the finals and report, as far as the budget goes.

    Interrupt it in any way and call it again: what is recorded is not trained again, and with
    one worker and a budget of trials or epochs the trials are those of an undisturbed search.

    Args:
        search: what to find.
        reference: what an answer is held against.
        dataset: prepared images.
        results: folder of all studies; this one goes to `results/<name>`.
        workers_count: worker processes.
        reuse: folders of studies whose finished trials are brought in.
        compile_cache: folder for compiled programs.
        command: kept in `study.yaml`.
        on_event: told of everything that happens, from this process.

    Raises:
        TrainingError: the recipe does not fit the images.
        StudyMismatchError: a study of that name, or one to reuse, holds something else.
        StudyError: the record is in use, or cannot be read or written; every training failed;
            the budget reaches to no full training.
    """
    check_fits(
        search.recipe,
        dataset.name,
        input_shape=dataset.input_shape,
        train_count=len(dataset.train.labels),
    )
    definition = search.definition(dataset)

    def make(directory: Path, study: Any, storage: Any) -> SearchRecord:
        return SearchRecord(
            directory,
            study,
            storage,
            space=search.pool.space,
            objectives=search.objectives,
            full_epochs=search.recipe.epochs,
        )

    with open_record(results, definition, make) as record:
        recorded_count = len(record.trials)
        brought = import_trials(reuse, record, search.pool, definition)
        plain = definition.to_dict() | {
            "reference": reference.name,
            "budget": str(search.budget),
            "space_size": search.pool.space_count,
            "feasible_count": len(search.pool) if search.pool.is_whole else None,
        }
        write_description(record.directory, plain, command=command)
        known = SearchState(
            search.pool, search.ladder, search.objectives, record, dataset, reference
        )
        if not known.full():
            check_budget(search)
        on_event(Opened(known, recorded_count, brought.count, brought.left_out))
        setup = Setup(
            dataset.directory.resolve(),
            search.recipe,
            search.study_seed,
            (record.directory / "weights").resolve(),
            compile_cache.resolve() if compile_cache else None,
            (record.directory / "checkpoints").resolve(),
            scores_test=False,
        )
        make_directories(setup, record.directory)
        run = _Run(search, known, setup, on_event)
        try:
            with Executor(setup, workers_count, record.directory / "logs") as executor:
                document = run.stages(executor)
        finally:
            trials_path = record.write_table()
        return SearchResult(
            record.directory,
            trials_path,
            write_answer(record.directory, document),
            document,
        )


@dataclass
class Clock:
    """Seconds of search: goes on from the last result in the record, stands still between runs."""

    spent_s: float
    _started: float = field(default_factory=time.monotonic)

    def __call__(self) -> float:
        """Seconds so far."""
        return self.spent_s + time.monotonic() - self._started


class _Run:
    """One run of the command over an open record."""

    def __init__(self, search: Search, known: SearchState, setup: Setup, on_event: OnEvent) -> None:
        self.search, self.known, self.setup, self.on_event = search, known, setup, on_event
        self.clock = Clock(known.record.spent_s)
        known.clock = self.clock

    def stages(self, executor: Executor) -> dict[str, Any]:
        """All of them; the answer as plain data."""
        search, known = self.search, self.known
        first = SearchStage(search, known, self.clock, executor.workers_count)
        self._serve(executor, "search", first)
        first.close()
        if not known.full():
            self._nothing_in_full()
        finals = FinalsStage(search, known, self.clock)
        self._serve(executor, "finals", finals)
        decision = finals.decision()
        known.record.note_run(search.budget)
        if decision.answer is not None:
            key = finals.finalists[decision.answer].candidate.key
            test = TestStage(known, key, search.seeds)
            if test.has_jobs:
                self._serve(executor, "test", test)
        return answer_document(search, known, finals.finalists, decision)

    def _serve(self, executor: Executor, name: str, stage: Stage) -> None:
        self.on_event(StageBegun(name, self.known))
        written = time.monotonic()
        for event in executor.serve(stage):
            if isinstance(event, Ended):
                stage.ended(event)
                if self.known.record.is_over(event.job.key):
                    drop_checkpoint(self.setup, event.job)
                if time.monotonic() - written > TABLE_EVERY_S:
                    self.known.record.write_table()
                    written = time.monotonic()
            self.on_event(event)

    def _nothing_in_full(self) -> NoReturn:
        record = self.known.record
        failed = [t for t in record.searched if t.is_failed]
        if failed and len(failed) == len(record.searched):
            latest = failed[-1].latest
            assert latest is not None
            raise StudyError(
                f"all {len(failed)} candidates failed; the last: {latest.reason}; the reasons "
                f"are in {record.directory / 'trials.csv'}"
            )
        full = self.search.recipe.epochs
        raise StudyError(
            f"the budget of {self.search.budget} is too small: no candidate was trained in full "
            f"({full} epochs), {len(record.searched)} begun; what was trained is kept: the "
            "same command with a larger --budget goes on, or take fewer --epochs in a new --study"
        )
