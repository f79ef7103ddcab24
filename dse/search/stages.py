"""The stages of a search: what each of them has trained next, as a source of jobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from dse.architecture import LATENCY
from dse.execution.job import Ended, Job
from dse.search.analyses import (
    Analysis,
    Terms,
    claimed_keys,
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
    selection_noise,
)
from dse.search.pace import Pace, search_part
from dse.search.rungs import next_promotion, stop_reason, top_up
from dse.search.samplers import make_sampler
from dse.search.state import SearchState
from dse.study.record import FINALS, REUSED, SearchTrial

if TYPE_CHECKING:
    from dse.search.search import Search

ASKING_SHARE = 0.8
"""Of the search's own part, after which no new candidate is asked for: promotions have the rest.

All of it where there are none, because every candidate is trained in full.
"""


class Stage(Protocol):
    """A source of jobs that takes note of how each ended."""

    def next_job(self, compiled: str, elsewhere: Set[str]) -> Job | None:
        """What to train next; None where there is nothing now."""

    def is_over(self) -> bool:
        """Whether to stop now, whatever is being trained."""

    def ended(self, event: Ended) -> None:
        """Put a result into the record."""


class SearchStage:
    """Asks for candidates and promotes them from rung to rung.

    Whoever is promotable is trained on before anything new is asked for. When the budget for
    asking is spent, what is on a front is trained on to the top, as far as the rest goes.
    """

    def __init__(
        self, search: Search, known: SearchState, clock: Callable[[], float], workers_count: int
    ) -> None:
        self._search, self._known, self._clock = search, known, clock
        self._record = known.record
        self._sampler = make_sampler(search.sampler, known.pool)
        self._pace = Pace(known, search.recipe)
        self._workers_count = workers_count
        self._running_epochs: dict[tuple[str, int], int] = {}
        self._spent = self._furthest = 0
        self._part = self._own_part()

    def next_job(self, compiled: str, elsewhere: Set[str]) -> Job | None:
        """A begun candidate, a promotion, a new candidate or a member of a front, in this order."""
        # Every trial is held against these: counted once, not once for each.
        self._spent, self._furthest = self._spent_epochs(), self._furthest_epochs()
        self._part = self._own_part()
        trial = self._begun() or self._promotable() or self._asked() or self._left_on_fronts()
        if trial is None:
            return None
        if trial.stopped:
            trial = self._record.go_on(trial)
        epochs = self._next_epochs(trial)
        self._known.running.add(trial.key)
        self._running_epochs[trial.key] = epochs - trial.epochs
        timed = LATENCY in self._search.objectives and not trial.rungs
        return Job(trial.candidate, trial.replicate, epochs, measure_latency=timed)

    def is_over(self) -> bool:
        """When the time of the search is up."""
        return self._search.budget.kind == "time" and self._clock() > self._part

    def ended(self, event: Ended) -> None:
        """Add the rung to its trial."""
        trial = self._record.trials[event.job.key]
        self._record.add(trial, event.measurement, self._clock())
        self._known.running.discard(trial.key)
        self._running_epochs.pop(trial.key, None)

    def close(self) -> None:
        """Note of each candidate that was not trained in full why that is so."""
        self._known.running.clear()
        standings = self._known.standings(lambda _: True)
        for row, trial in enumerate(self._record.searched):
            if trial.is_failed or trial.stopped or self._is_full(trial):
                continue
            reason = stop_reason(
                self._search.ladder, standings, row, objectives=self._search.objectives
            )
            if not trial.rungs:
                reason = "the budget ended before it was measured"
            self._record.stop(trial, reason)

    def _begun(self) -> SearchTrial | None:
        for row in np.flatnonzero(self._known.columns.epochs == 0):
            trial = self._record.searched[row]
            if trial.key in self._known.running:
                continue
            if self._fits(trial.costs, 0, self._search.ladder.epochs[0]):
                return trial
        return None

    def _promotable(self) -> SearchTrial | None:
        row = next_promotion(self._search.ladder, self._known.standings(self._is_affordable))
        return None if row is None else self._record.searched[row]

    def _left_on_fronts(self) -> SearchTrial | None:
        row = top_up(self._search.ladder, self._known.standings(self._is_affordable))
        return None if row is None else self._record.searched[row]

    def _asked(self) -> SearchTrial | None:
        asked = self._record.searched
        if not self._may_ask(sum(trial.stage == "search" for trial in asked)):
            return None
        pool = self._known.pool
        # The same question gets the same answer, whenever and however often it is asked.
        rng = np.random.default_rng([self._search.study_seed, len(asked)])
        index = self._sampler.ask(pool, self._known.history(), self._known.pool_sizes, rng)
        if index is None:
            return None
        costs = pool.costs_of(index)
        if not self._fits(costs, 0, self._search.ladder.epochs[0]):
            return None
        return self._record.ask(pool.candidate(index), costs)

    def _may_ask(self, asked_count: int) -> bool:
        budget, first = self._search.budget, self._search.ladder.epochs[0]
        if budget.kind == "trials":
            return asked_count < budget.amount
        before = self._record.spent_before(budget)
        share = ASKING_SHARE if len(self._search.ladder.epochs) > 1 else 1.0
        part = before + share * (self._part - before)
        if budget.kind == "epochs":
            return self._spent + first <= part
        return self._clock() < part

    def _is_affordable(self, trial: SearchTrial) -> bool:
        """Whether the search's own part of the budget reaches to the trial's next rung."""
        if self._is_full(trial) or trial.is_failed or not trial.rungs:
            return False
        return self._fits(trial.costs, trial.epochs, self._next_epochs(trial))

    def _fits(self, costs: Mapping[str, Any], start: int, stop: int) -> bool:
        """Whether the search's own part of the budget reaches from these epochs to those.

        While no candidate is at full fidelity, what takes the furthest one there is kept back.
        The first candidate of all fits whatever time it may take: it shows the pace.
        """
        budget = self._search.budget
        if budget.kind == "trials":
            return True
        kept_back = self._search.ladder.epochs[-1] - max(stop, self._furthest)
        epochs = stop - start
        if budget.kind == "epochs":
            return self._spent + epochs + kept_back <= self._part
        if not self._pace.is_measured:
            return True
        expected_s = self._pace.epochs_s(costs["macs"], epochs)
        if kept_back:
            expected_s += self._pace.epochs_s(costs["macs"], kept_back)
        return self._clock() + expected_s < self._part

    def _own_part(self) -> float:
        return search_part(self._search, self._known, self._pace, self._workers_count)

    def _furthest_epochs(self) -> int:
        """Of the candidate that was trained, or is being trained, the longest."""
        columns = self._known.columns
        ended = columns.epochs[~columns.is_failed].max(initial=0)
        running = (
            self._record.trials[key].epochs + epochs for key, epochs in self._running_epochs.items()
        )
        return max([int(ended), *running])

    def _spent_epochs(self) -> int:
        return self._record.spent_epochs + sum(self._running_epochs.values())

    def _is_full(self, trial: SearchTrial) -> bool:
        return trial.epochs >= self._search.ladder.epochs[-1]

    def _next_epochs(self, trial: SearchTrial) -> int:
        return next(epochs for epochs in self._search.ladder.epochs if epochs > trial.epochs)


class FinalsStage:
    """Trains the finalists with fresh seeds; what is known of them decides who gets more.

    What earlier runs settled on the same terms is kept, and is not trained again.
    """

    def __init__(self, search: Search, known: SearchState, clock: Callable[[], float]) -> None:
        self._search, self._known, self._clock = search, known, clock
        self._pace = Pace(known, search.recipe)
        self._reference = known.reference.on(known.confirmation)
        full = known.full()
        self._full_count = len(full)
        self._terms = terms_of(search, known)
        self._past = previous_analyses(
            known.record.analyses, self._terms, len(full), search.finalists
        )
        kept = self._past.kept
        self._kept = [trial for trial in full if trial.candidate.key in kept]
        chosen = [] if self._past.is_over else self._chosen(full)
        self._new = [trial for trial in chosen if trial.candidate.key not in kept]
        self._options: dict[str, Any] = {
            "margin": search.margin,
            "confidence": search.confidence,
            "seeds": search.seeds,
            "others": [finalist.correct for finalist in self._of(self._kept)],
        }

    @property
    def finalists(self) -> list[SearchTrial]:
        """Those of this run and those that are kept, the smallest first."""
        return sorted(
            [*self._kept, *self._new],
            key=lambda t: ([t.costs[name] for name in self._search.objectives], t.candidate.key),
        )

    def _chosen(self, full: list[SearchTrial]) -> list[SearchTrial]:
        known, search = self._known, self._search
        reached = known.reference_selection_accuracy()
        places = open_candidates(
            self._past,
            [trial.candidate.key for trial in full],
            [tuple(float(t.costs[name]) for name in search.objectives) for t in full],
            [known.selection_accuracy(trial, search.recipe.epochs) for trial in full],
            reached - search.margin,
        )
        able = [full[place] for place in places]
        chosen = choose_finalists(
            known.sizes(able),
            np.array([known.selection_accuracy(trial, search.recipe.epochs) for trial in able]),
            reached,
            noise=selection_noise(reached, int((~known.confirmation).sum())),
            margin=search.margin,
            most=search.finalists,
        )
        return [able[index] for index in chosen]

    def next_job(self, compiled: str, elsewhere: Set[str]) -> Job | None:
        """The replicate that is wanted most, of those that nobody trains."""
        for index, replicate in self._wanted():
            trial = self._new[index]
            key = (trial.candidate.key, replicate)
            if key not in self._known.running and self._is_affordable(trial):
                self._known.running.add(key)
                return Job(trial.candidate, replicate)
        return None

    def is_over(self) -> bool:
        """When all of the time is up."""
        budget = self._search.budget
        return budget.kind == "time" and self._clock() > budget.amount

    def ended(self, event: Ended) -> None:
        """Add the replicate."""
        costs = next(t.costs for t in self._new if t.candidate == event.job.candidate)
        self._known.running.discard(event.job.key)
        self._known.record.add_whole(event.job, costs, [event.measurement], FINALS, self._clock())

    def decision(self) -> Decision:
        """What the race came to, with what is kept, over `finalists`; noted in the record."""
        known, past = self._known, self._past
        known.running.clear()
        new = self._of(self._new)
        outcomes = outcomes_of(new, decide(new, self._reference, **self._options))
        look = Analysis(self._terms, self._full_count, self._search.finalists, outcomes)
        known.record.note_analyses(past.with_analysis(look))
        by_key = past.kept | {outcome.candidate_key: outcome for outcome in outcomes}
        return decision_of(self._of(self.finalists), by_key)

    def _wanted(self) -> list[tuple[int, int]]:
        return next_seeds(self._of(self._new), self._reference, **self._options)

    def _of(self, trials: Sequence[SearchTrial]) -> list[Finalist]:
        return [known_finalist(self._known, trial, self._search) for trial in trials]

    def _is_affordable(self, trial: SearchTrial) -> bool:
        budget, epochs = self._search.budget, self._search.recipe.epochs
        if budget.kind == "trials":
            return True
        if budget.kind == "epochs":
            running = epochs * len(self._known.running)
            return self._known.record.spent_epochs + running + epochs <= budget.amount
        return self._clock() + self._pace.epochs_s(trial.costs["macs"], epochs) < budget.amount


def terms_of(search: Search, known: SearchState) -> Terms:
    """The terms on which a search claims."""
    reference = known.reference
    return Terms(
        reference=reference.name if reference.replicates else "",
        reference_accuracy=float(np.mean(reference.on(known.confirmation))),
        reference_seeds=len(reference.replicates),
        margin=search.margin,
        confidence=search.confidence,
        seeds=search.seeds,
    )


def answer_so_far(search: Search, known: SearchState) -> SearchTrial | None:
    """The smallest candidate that earlier runs of a search claimed on its terms, or None."""
    return smallest_claim(known, terms_of(search, known))


def smallest_claim(known: SearchState, terms: Terms) -> SearchTrial | None:
    """The smallest candidate that was claimed on these terms, or None."""
    claimed = claimed_keys(known.record.analyses, terms)
    return known.smallest(trial for trial in known.full() if trial.candidate.key in claimed)


def known_finalist(known: SearchState, trial: SearchTrial, search: Search) -> Finalist:
    """A finalist with what its fresh replicates have right of the confirmation images."""
    trials = known.fresh(trial, search.seeds)
    good = known.finished(trials)
    rows = [known.right(t.rungs[search.recipe.epochs])[known.confirmation] for t in good]
    return Finalist(
        trial.candidate.key,
        tuple(float(trial.costs[name]) for name in search.objectives),
        known.selection_accuracy(trial, search.recipe.epochs),
        np.array(rows, dtype=bool).reshape(len(rows), int(known.confirmation.sum())),
        tuple(t.replicate for t in good),
        is_failed=any(t.is_failed for t in trials),
    )


class TestStage:
    """Scores the answer's fresh replicates, 1 to `seeds`, on the test images, once."""

    __test__ = False  # no test of pytest's, whatever it is called

    def __init__(self, known: SearchState, candidate_key: str, seeds: int) -> None:
        self._known, self._key = known, candidate_key
        weights = known.record.directory / "weights"
        jobs = [
            Job(trial.candidate, trial.replicate, task="test")
            for trial in known.record.trials.values()
            if trial.candidate.key == candidate_key
            and 0 < trial.replicate <= seeds
            and not trial.is_failed
            and str(trial.replicate) not in known.record.tested(candidate_key)
        ]
        # Seeds of another study may have come without their weights.
        self._waiting = [
            job
            for job in jobs
            if known.record.trials[job.key].stage != REUSED
            or (weights / job.weights_name).is_file()
        ]

    @property
    def has_jobs(self) -> bool:
        """Whether a replicate is still to be scored."""
        return bool(self._waiting)

    def next_job(self, compiled: str, elsewhere: Set[str]) -> Job | None:
        """The next replicate."""
        return self._waiting.pop(0) if self._waiting else None

    def is_over(self) -> bool:
        """Never: it is a matter of seconds."""
        return False

    def ended(self, event: Ended) -> None:
        """Note which test images are right."""
        if event.measurement.status == "finished":
            self._known.record.add_tested(
                self._key, event.job.replicate, event.measurement.test_correct
            )
