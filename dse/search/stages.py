"""The stages of a study: what each of them has trained next, as a source of jobs.

A sweep has one stage, a search three: the search itself (sample, promote by rungs), the finals
(more seeds for the candidates around the reference), and the answer's test images, once. What a
stage does next follows from the record and the clock alone, so a study that was interrupted in
any way resumes as it would have continued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dse.architecture import LATENCY
from dse.execution.executor import JobList
from dse.execution.job import Ended, Job
from dse.search.analyses import (
    Analysis,
    decision_of,
    open_candidates,
    outcomes_of,
    previous_analyses,
)
from dse.search.finals import (
    Decision,
    Finalist,
    choose_finalists,
    decide,
    next_seeds,
    order_of_tests,
    selection_noise,
    undecided,
)
from dse.search.pace import Pace, search_part, usable
from dse.search.plan import Sweep
from dse.search.rungs import next_promotion, stop_reason, top_up
from dse.search.samplers import make_sampler
from dse.search.state import LEFT_OUT, SearchState
from dse.stats.comparison import Correctness
from dse.study.fidelity import Fidelity
from dse.study.measurement import Measurement
from dse.study.record import Record
from dse.study.trial import FINALS, REUSED, SEARCH, Trial
from dse.text import counted

SAMPLING_SHARE = 0.8
"""Of the search's own part, after which nothing new is sampled: promotions have the rest.

All of it where there are none, because every candidate is trained to full fidelity.
"""

LEAST_CANDIDATES = 8
"""As many as the longest that is sampled have to fit into the search's part of a budget of time.

Without this the first large network that is drawn may take all of a short budget.
"""

UNMEASURED = 2.0
"""How many times longer than estimated a candidate may take while nothing is measured."""


class Stage(Protocol):
    """A source of jobs that takes note of how each ended."""

    name: str
    most_workers: int | None
    """Workers that can ever be of use, where that is known."""

    def next_job(self, compiled: str, elsewhere: Set[str]) -> Job | None:
        """What to train next; None where there is nothing now."""

    def is_over(self) -> bool:
        """Whether to stop now, whatever is being trained."""

    def ended(self, event: Ended) -> None:
        """Put a result into the record."""


def whole_trial(
    job: Job, costs: Mapping[str, Any], stage: str, measurement: Measurement, ended_s: float
) -> Trial:
    """A trial that was trained at once."""
    trial = Trial(job.candidate, job.replicate, dict(costs), stage)
    trial.add(Fidelity(max(measurement.epochs, 1)), measurement, ended_s)
    return trial


class SweepStage(JobList):
    """Trains a list of jobs, each to full fidelity."""

    name = "sweep"

    def __init__(
        self, sweep: Sweep, jobs: Sequence[Job], record: Record, clock: Callable[[], float]
    ) -> None:
        super().__init__(jobs)
        self.most_workers: int | None = len(jobs)
        self._sweep, self._record, self._clock = sweep, record, clock

    def ended(self, event: Ended) -> None:
        """Add the trial."""
        cost = self._sweep.costs[event.job.candidate]
        costs = cost.by_name
        trial = whole_trial(event.job, costs, SEARCH, event.measurement, self._clock())
        self._record.add_whole(trial)


class SearchStage:
    """Samples candidates and promotes them from rung to rung.

    Whoever can be promoted is trained before anything new is sampled. When the budget for
    sampling is spent, what is on a front is trained to the top, as far as the rest goes.
    """

    name = "search"
    most_workers: int | None = None

    def __init__(self, state: SearchState, workers_count: int) -> None:
        self._search, self._state, self._record = state.search, state, state.record
        self._sampler = make_sampler(self._search.sampler, state.pool)
        self._pace = Pace(state)
        self._workers_count = workers_count
        self._spent = self._furthest = 0
        self._left_out_count: int | None = None
        self._part = search_part(state, self._pace, workers_count)

    def next_job(self, compiled: str, elsewhere: Set[str]) -> Job | None:
        """A begun candidate, a promotion, a new candidate or a member of a front, in this order."""
        # Every trial is compared with these: counted once, not once for each.
        self._spent = self._record.spent_epochs + self._state.running_epochs
        trials, running = self._record.trials, self._state.running.items()
        measured = self._state.columns.epochs[~self._state.columns.is_failed].max(initial=0)
        self._furthest = max([int(measured), *(trials[key].epochs + n for key, n in running)])
        self._part = search_part(self._state, self._pace, self._workers_count)
        trial = (
            self._begun()
            or self._promoted(next_promotion)
            or self._sampled()
            or self._promoted(top_up)
        )
        if trial is None:
            return None
        if trial.stopped:
            trial = self._record.resume(trial)
        fidelity = self._next_fidelity(trial)
        timed = LATENCY in self._search.objectives and not trial.rungs
        job = Job(
            trial.candidate,
            trial.replicate,
            fidelity,
            measure_latency=timed,
            folds=self._search.folds,
        )
        self._state.started(job, epochs=fidelity.epochs - trial.epochs)
        return job

    def is_over(self) -> bool:
        """When the time of the search is up; what runs goes on while nothing else could be told."""
        if self._search.budget.kind != "time" or self._state.clock() <= self._part:
            return False
        return bool(self._state.full()) or self._state.clock() > usable(self._search.budget)

    def ended(self, event: Ended) -> None:
        """Add the rung to its trial."""
        trial = self._record.trials[event.job.key]
        self._record.add(trial, event.measurement, self._state.clock())
        self._state.ended(event.job)

    def close(self) -> None:
        """Note of each candidate that was not trained to full fidelity why that is so."""
        self._state.nothing_runs()
        if self._left_out_count is not None:
            self._record.set_note(LEFT_OUT, self._left_out_count)
        standings = self._state.standings(lambda _: True)
        for row, trial in enumerate(self._record.searched):
            if trial.is_failed or trial.stopped or self._is_full(trial):
                continue
            reason = stop_reason(
                self._search.ladder, standings, row, objectives=self._search.objectives
            )
            if not trial.rungs:
                reason = "the budget ended before it was measured"
            self._record.stop(trial, reason)

    def _begun(self) -> Trial | None:
        """A candidate that was sampled, by an earlier run, and has no result yet."""
        running, first = self._state.running, self._search.ladder.epochs[0]
        for row in np.flatnonzero(self._state.columns.epochs == 0):
            trial = self._record.searched[row]
            if trial.key not in running and self._fits(trial.costs, 0, first):
                return trial
        return None

    def _promoted(self, choose: Callable[..., int | None]) -> Trial | None:
        row = choose(self._search.ladder, self._state.standings(self._is_affordable))
        return None if row is None else self._record.searched[row]

    def _sampled(self) -> Trial | None:
        searched, pool = self._record.searched, self._state.pool
        if not self._may_sample(sum(trial.stage == SEARCH for trial in searched)):
            return None
        # The same question gets the same answer, whenever and however often it is asked.
        rng = np.random.default_rng([self._search.study_seed, len(searched)])
        history = self._state.history()
        history = replace(history, is_allowed=self._allowed(history.indices))
        index = self._sampler.ask(pool, history, self._state.pool_sizes, rng)
        if index is None:
            return None
        costs = pool.costs_of(index)
        if not self._fits(costs, 0, self._search.ladder.epochs[0]):
            return None
        return self._record.begin(pool.candidate(index), costs)

    def _may_sample(self, sampled_count: int) -> bool:
        budget, rungs = self._search.budget, self._search.ladder.epochs
        if budget.kind == "trials":
            return sampled_count < budget.amount
        before = self._state.spent_before()
        share = SAMPLING_SHARE if len(rungs) > 1 else 1.0
        part = before + share * (self._part - before)
        if budget.kind == "epochs":
            return self._spent + rungs[0] <= part
        return self._state.clock() < part

    def _allowed(self, sampled: NDArray[np.intp]) -> NDArray[np.bool_] | None:
        """Of the pool, which candidates a budget of time has room for; None for any budget else.

        Those of which `LEAST_CANDIDATES` fit into the search's part, or the tenth that takes least
        where those are fewer; when all of these were sampled, whatever the rest is enough for.
        """
        if self._search.budget.kind != "time":
            return None
        first, full = self._search.ladder.epochs[0], self._search.ladder.full.epochs
        macs = self._state.pool.costs["macs"]
        doubt = 1.0 if self._pace.is_measured else UNMEASURED
        seconds = doubt * self._pace.searched_s(macs, full)
        part_s = self._part - self._state.spent_before()
        longest_s = max(part_s * self._workers_count / LEAST_CANDIDATES, np.quantile(seconds, 0.1))
        allowed: NDArray[np.bool_] = seconds <= longest_s
        self._left_out_count = len(allowed) - int(allowed.sum())
        if not len(sampled):  # the first shows the pace, whatever time it may take
            return allowed
        if allowed[sampled].sum() == allowed.sum():
            self._left_out_count, allowed = 0, np.ones_like(allowed)
        left_s = self._part - self._state.clock()
        return allowed & (doubt * self._pace.searched_s(macs, first) < left_s)

    def _is_affordable(self, trial: Trial) -> bool:
        """Whether the search's own part of the budget reaches to the trial's next rung."""
        if self._is_full(trial) or trial.is_failed or not trial.rungs:
            return False
        return self._fits(trial.costs, trial.epochs, self._next_fidelity(trial).epochs)

    def _fits(self, costs: Mapping[str, Any], start: int, stop: int) -> bool:
        """Whether the search's own part of the budget reaches from these epochs to those.

        While no candidate is at full fidelity, what takes the furthest one there is reserved.
        The first candidate of all fits whatever time it may take: it shows the pace.
        """
        budget = self._search.budget
        if budget.kind == "trials":
            return True
        reserved = self._search.ladder.full.epochs - max(stop, self._furthest)
        epochs = stop - start
        if budget.kind == "epochs":
            return self._spent + epochs + reserved <= self._part
        if not self._pace.is_measured:
            return True
        expected_s = self._pace.searched_s(costs["macs"], epochs)
        if reserved:
            expected_s += self._pace.epochs_s(costs["macs"], reserved)
        return self._state.clock() + expected_s < self._part

    def _is_full(self, trial: Trial) -> bool:
        return trial.epochs >= self._search.ladder.full.epochs

    def _next_fidelity(self, trial: Trial) -> Fidelity:
        return next(f for f in self._search.ladder.fidelities if f.epochs > trial.epochs)


class FinalsStage:
    """Trains the finalists with fresh seeds; what is known of them decides who gets more.

    A reference that the search chose is trained first, and while the last of its seeds run, the
    finalist that is tested first; of no finalist more is known before it is measured.

    What earlier runs settled on the same terms is kept, and is not trained again.
    """

    name = "finals"
    most_workers: int | None = None

    def __init__(self, state: SearchState) -> None:
        self._search, self._state = state.search, state
        self._pace = Pace(state)
        full = state.full()
        self._full_count = len(full)
        self._previous = previous_analyses(
            state.analyses, state.terms, len(full), self._search.finalists
        )
        kept = self._previous.kept
        self._kept = [trial for trial in full if trial.candidate.key in kept]
        chosen = [] if self._previous.is_over else self._chosen(full)
        self._new = [trial for trial in chosen if trial.candidate.key not in kept]
        self._options: dict[str, Any] = {
            "margin": self._search.margin,
            "confidence": self._search.confidence,
            "seeds": self._search.seeds,
            "others": [finalist.correct for finalist in self._finalists(self._kept)],
        }

    @property
    def finalists(self) -> list[Trial]:
        """Those of this run and those that are kept, the smallest first."""
        return sorted(
            [*self._kept, *self._new],
            key=lambda t: ([t.costs[name] for name in self._search.objectives], t.candidate.key),
        )

    def _chosen(self, full: list[Trial]) -> list[Trial]:
        state, search = self._state, self._search
        reached, reference = state.reference_selection_accuracy(), state.reference_trial
        if reference is not None:  # only who is smaller can be an answer
            size = search.objectives[0]
            full = [trial for trial in full if trial.costs[size] < reference.costs[size]]
        accuracies = [state.full_accuracy(trial) for trial in full]
        rows = open_candidates(
            self._previous,
            [trial.candidate.key for trial in full],
            [tuple(float(t.costs[name]) for name in search.objectives) for t in full],
            accuracies,
            reached - search.margin,
        )
        able = [full[row] for row in rows]
        chosen = choose_finalists(
            state.sizes(able),
            np.array([accuracies[row] for row in rows]),
            reached,
            noise=selection_noise(reached, state.selection_count),
            margin=search.margin,
            most=search.finalists,
            is_best=reference is not None,
        )
        return [able[index] for index in chosen]

    def next_job(self, compiled: str, elsewhere: Set[str]) -> Job | None:
        """The replicate that is wanted most, of those that nobody trains."""
        running = self._state.running
        for job, costs in self._wanted():
            if job.key not in running and self._is_affordable(costs):
                self._state.started(job, epochs=self._search.recipe.epochs)
                return job
        return None

    def _wanted(self) -> Iterator[tuple[Job, Mapping[str, Any]]]:
        """What may be trained now with its costs, most wanted first."""
        finalists, missing = self._finalists(self._new), self._state.reference_missing
        if not missing:
            wanted = next_seeds(finalists, self._reference_correct(), **self._options)
        else:
            trial = self._state.reference_trial
            assert trial is not None
            yield from ((job, trial.costs) for job in missing)
            first = [index for index in order_of_tests(finalists) if not finalists[index].is_failed]
            seeds = self._search.seeds
            wanted = [(i, number) for i in first[:1] for number in finalists[i].missing(seeds)]
        for index, number in wanted:
            yield Job(self._new[index].candidate, number), self._new[index].costs

    def _reference_correct(self) -> Correctness | float:
        return self._state.reference.on(self._state.confirmation)

    def is_over(self) -> bool:
        """When all of the time is up."""
        budget = self._search.budget
        return budget.kind == "time" and self._state.clock() > usable(budget)

    def ended(self, event: Ended) -> None:
        """Add the replicate."""
        reference = self._state.reference_trial
        trained = [*self._new, *([reference] if reference else [])]
        costs = next(t.costs for t in trained if t.candidate == event.job.candidate)
        self._state.ended(event.job)
        trial = whole_trial(event.job, costs, FINALS, event.measurement, self._state.clock())
        self._state.record.add_whole(trial)

    def decision(self) -> Decision:
        """What the race came to, with what is kept, over `finalists`; noted in the record."""
        state, previous = self._state, self._previous
        state.nothing_runs()
        new = self._finalists(self._new)
        if state.reference_missing:  # the budget ended: nothing is compared with less of it
            reference = state.reference
            reason = (
                f"not tested: the budget ended after {len(reference.replicates)} of "
                f"{counted(state.reference_seeds, 'seed')} of the reference"
            )
            decision = undecided(new, reason)
        else:
            decision = decide(new, self._reference_correct(), **self._options)
        outcomes = outcomes_of(new, decision)
        analysis = Analysis(state.terms, self._full_count, self._search.finalists, outcomes)
        state.note_analyses(previous.with_analysis(analysis))
        by_key = previous.kept | {outcome.candidate_key: outcome for outcome in outcomes}
        return decision_of(self._finalists(self.finalists), by_key)

    def _finalists(self, trials: Sequence[Trial]) -> list[Finalist]:
        return [self._state.finalist(trial) for trial in trials]

    def _is_affordable(self, costs: Mapping[str, Any]) -> bool:
        budget, epochs = self._search.budget, self._search.recipe.epochs
        if budget.kind == "trials":
            return True
        if budget.kind == "epochs":
            spent = self._state.record.spent_epochs + self._state.running_epochs
            return spent + epochs <= budget.amount
        expected_s = self._pace.epochs_s(costs["macs"], epochs)
        return self._state.clock() + expected_s < usable(budget)


class TestStage(JobList):
    """Scores fresh replicates, 1 to `seeds`, on the test images, once.

    The answer's, and those of the reference that the search has chosen.
    """

    __test__ = False  # no test of pytest's, whatever it is called
    name = "test"
    most_workers: int | None = None

    def __init__(self, state: SearchState, candidate_key: str) -> None:
        self._state = state
        weights = state.record.directory / "weights"
        seeds = {candidate_key: state.search.seeds}
        if reference := state.reference_trial:
            seeds[reference.candidate.key] = state.reference_seeds
        jobs = []
        for trial in state.record.trials.values():
            key = trial.candidate.key
            if key not in seeds or trial.is_failed:
                continue
            job = Job(trial.candidate, trial.replicate, task="test")
            # Seeds of another study may have come without their weights.
            is_there = trial.stage != REUSED or (weights / job.weights_name).is_file()
            is_fresh = 0 < trial.replicate <= seeds[key]
            if is_fresh and is_there and str(trial.replicate) not in state.tested(key):
                jobs.append(job)
        super().__init__(jobs)

    def ended(self, event: Ended) -> None:
        """Note which test images are correct."""
        if event.measurement.status == "finished":
            key, correct = event.job.candidate.key, event.measurement.test_correct
            self._state.note_tested(key, event.job.replicate, correct)
