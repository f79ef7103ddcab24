"""What a search knows at a moment, as the arrays that samplers, rungs and finals work on."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from dse.architecture import LATENCY, OBJECTIVES
from dse.data import Dataset
from dse.data.folds import FOLDS
from dse.errors import StudyError
from dse.execution.job import Job
from dse.search.analyses import Analysis, Outcome, Terms, analysis_from_dict, claimed_keys
from dse.search.budget import Budget
from dse.search.columns import Columns, Floats, sizes_of
from dse.search.confirmation import Mask, confirmation_split
from dse.search.finals import Finalist, Verdict, selection_noise
from dse.search.plan import Search
from dse.search.reference import BEST, BestReference, Reference, Replicate
from dse.search.rungs import Standings
from dse.search.samplers import History
from dse.study.fidelity import Fidelity
from dse.study.measurement import Measurement, unpack_bits
from dse.study.paths import record_damaged
from dse.study.record import Record
from dse.study.trial import Trial
from dse.text import counted, percent

LEFT_OUT = "left_out"
"""The note in the record of how many candidates take too long for the budget to be sampled."""


class SearchState:
    """The record of a search, seen through its pool, its rungs and the two validation splits.

    Args:
        search: what is searched for.
        record: of the search.
        dataset: its images.
        reference: what an answer is compared with: known, or the best that is found.
        clock: seconds of search.

    Attributes:
        confirmation: bool array (image,), the validation images that confirm an answer; the
            others select the candidates, or folds of the training images do.
        selection_count: images that select the candidates.
        pool_sizes: float array (candidate, objective) of the whole pool.
    """

    def __init__(
        self,
        search: Search,
        record: Record,
        dataset: Dataset,
        reference: Reference | BestReference,
        clock: Callable[[], float],
    ) -> None:
        self.search, self.record, self.dataset = search, record, dataset
        self._reference, self.clock = reference, clock
        self.pool, self.ladder, self.objectives = search.pool, search.ladder, search.objectives
        validation_count = len(dataset.validation)
        self.confirmation: Mask = confirmation_split(validation_count)
        self.selection_count = int((~self.confirmation).sum())
        if search.folds:
            self.confirmation = np.ones(validation_count, dtype=np.bool_)
            held = range(search.folds)  # images at places 0, 5, … are in the first of five folds
            self.selection_count = sum(len(dataset.train.labels[n::FOLDS]) for n in held)
        # Latency is measured, so of the pool it is not known: MACs stand for it there.
        columns = [self.pool.costs["macs" if n == LATENCY else n] for n in self.objectives]
        self.pool_sizes: Floats = np.column_stack(columns).astype(float)
        self._running: dict[tuple[str, int], int] = {}
        self._indices: dict[str, int] = {}
        self._sampled: list[int] = []
        self._selection: dict[tuple[str, int, Fidelity], float] = {}
        self.columns = Columns(record, self.ladder, self.objectives, self.selection_accuracy)

    @property
    def reference(self) -> Reference:
        """What an answer is compared with; the best has what is measured of it so far."""
        if isinstance(self._reference, Reference):
            return self._reference
        trial = self.reference_trial
        if trial is None:
            return Reference(BEST)
        fresh = self.finished(self._replicates(trial, self._reference.seeds))
        test_count, key = len(self.dataset.test), trial.candidate.key
        tested = {int(n): unpack_bits(bits, test_count) for n, bits in self.tested(key).items()}
        full = self.ladder.full
        return Reference(
            BEST,
            candidate=trial.candidate,
            costs={name: trial.costs[name] for name in OBJECTIVES},
            recipe=self.search.recipe,
            replicates=tuple(
                Replicate(
                    t.replicate,
                    t.epochs,
                    t.rungs[full].train_s,
                    self.correct(t.rungs[full]),
                    tested.get(t.replicate),
                )
                for t in fresh
            ),
            chosen=f"the most accurate of {counted(len(self.full()), 'candidate')} trained to "
            f"full fidelity, by the selection images ({percent(self.full_accuracy(trial))})",
        )

    @property
    def reference_trial(self) -> Trial | None:
        """The most accurate trial, which is the reference; None where that is known beforehand.

        Of equally accurate ones the smallest; none whose fresh training failed.
        """
        if isinstance(self._reference, Reference):
            return None
        seeds = self._reference.seeds
        able = [t for t in self.full() if not any(f.is_failed for f in self._replicates(t, seeds))]
        accuracies = [self.full_accuracy(trial) for trial in able]
        highest = max(accuracies, default=0.0)
        return self.smallest(t for t, a in zip(able, accuracies, strict=True) if a == highest)

    @property
    def reference_missing(self) -> list[Job]:
        """Trainings of the reference that the record does not hold; the finals do them first."""
        trial = self.reference_trial
        if trial is None or isinstance(self._reference, Reference):
            return []
        numbers = range(1, self._reference.seeds + 1)
        keys = [(trial.candidate.key, number) for number in numbers]
        return [Job(trial.candidate, key[1]) for key in keys if key not in self.record.trials]

    @property
    def reference_seeds(self) -> int:
        """Trainings of the reference that are part of the search; 0 where it is known."""
        return 0 if isinstance(self._reference, Reference) else self._reference.seeds

    @property
    def selection_words(self) -> str:
        """The images that the accuracies of the search are of."""
        if self.search.folds:
            return (
                f"cross-validated on {self.selection_count:,} training images "
                f"({self.search.folds} of {FOLDS} folds)"
            )
        return f"on the {self.selection_count:,} images of the selection split"

    @property
    def running(self) -> dict[tuple[str, int], int]:
        """By key, the epochs that the trials which are being trained now will have spent."""
        return dict(self._running)

    @property
    def running_epochs(self) -> int:
        """Epochs that are being trained now, for which the record has no result yet."""
        return sum(self._running.values())

    def started(self, job: Job, *, epochs: int = 0) -> None:
        """Note that a job is handed out, which trains so many epochs."""
        self._running[job.key] = epochs

    def ended(self, job: Job) -> None:
        """Note that a job has ended."""
        self._running.pop(job.key, None)

    def nothing_runs(self) -> None:
        """Note that whatever was being trained was given up."""
        self._running.clear()

    def correct(self, measurement: Measurement) -> Mask:
        """Which validation images are correct, bool (image,)."""
        return unpack_bits(measurement.validation_correct, len(self.dataset.validation))

    def selection_accuracy(self, trial: Trial, fidelity: Fidelity) -> float:
        """On the images that select candidates; NaN where training failed."""
        measured = trial.rungs[fidelity]
        if measured.status == "failed":
            return float("nan")
        key = (*trial.key, fidelity)
        if key not in self._selection:
            if self.search.folds:  # scored on what the folds held out
                self._selection[key] = measured.validation_accuracy or 0.0
            else:
                self._selection[key] = float(self.correct(measured)[~self.confirmation].mean())
        return self._selection[key]

    def full_accuracy(self, trial: Trial) -> float:
        """The selection accuracy of a trial at full fidelity."""
        return self.selection_accuracy(trial, self.ladder.full)

    def reference_selection_accuracy(self) -> float:
        """The reference's, on the same images; NaN while there is none."""
        if isinstance(self._reference, Reference):
            return float(np.mean(self._reference.on(~self.confirmation)))
        trial = self.reference_trial
        return float("nan") if trial is None else self.full_accuracy(trial)

    def sizes(self, trials: Sequence[Trial]) -> Floats:
        """Float array (trial, objective); NaN where a latency is not measured yet."""
        rows = [sizes_of(trial, self.objectives) for trial in trials]
        return np.array(rows).reshape(len(rows), len(self.objectives))

    def finished(self, trials: Sequence[Trial]) -> list[Trial]:
        """Those of these trials that finished at full fidelity."""
        return [t for t in trials if self.ladder.full in t.rungs and not t.is_failed]

    def full(self) -> list[Trial]:
        """Trials of the search that finished at full fidelity."""
        return self.finished(self.record.searched)

    def fresh(self, trial: Trial) -> list[Trial]:
        """Trials of a candidate's replicates 1 to `search.seeds`, which confirm it; in order."""
        return self._replicates(trial, self.search.seeds)

    def _replicates(self, trial: Trial, seeds: int) -> list[Trial]:
        keys = [(trial.candidate.key, number) for number in range(1, seeds + 1)]
        return [self.record.trials[key] for key in keys if key in self.record.trials]

    def finalist(self, trial: Trial) -> Finalist:
        """A finalist, with what its fresh replicates have correct of the confirmation split."""
        trials = self.fresh(trial)
        good = self.finished(trials)
        rows = [self.correct(t.rungs[self.ladder.full])[self.confirmation] for t in good]
        return Finalist(
            trial.candidate.key,
            tuple(float(trial.costs[name]) for name in self.objectives),
            self.full_accuracy(trial),
            np.array(rows, dtype=bool).reshape(len(rows), int(self.confirmation.sum())),
            tuple(t.replicate for t in good),
            is_failed=any(t.is_failed for t in trials),
        )

    def standings(self, is_affordable: Callable[[Trial], bool]) -> Standings:
        """Where each trial of the search stands, in their order.

        Args:
            is_affordable: whether there is the budget to train one to its next rung.
        """
        columns, full = self.columns, self.ladder.full.epochs
        is_open = (columns.epochs > 0) & (columns.epochs < full) & ~columns.is_failed
        for row in np.flatnonzero(is_open):
            trial = self.record.searched[row]
            is_open[row] = trial.key not in self._running and is_affordable(trial)
        return Standings(columns.sizes, columns.accuracies, is_open)

    def history(self) -> History:
        """What a sampler is told."""
        trials, columns = self.record.searched, self.columns
        measured = ~np.isnan(columns.accuracies) & ~columns.is_failed[:, None]
        rungs = np.where(measured, np.arange(measured.shape[1]), -1).max(axis=1)
        accuracies = np.where(rungs >= 0, columns.accuracies[np.arange(len(trials)), rungs], np.nan)
        self._sampled += [self.index(trial) for trial in trials[len(self._sampled) :]]
        return History(
            np.array(self._sampled, dtype=np.intp), accuracies, rungs, aim=self.aim(accuracies)
        )

    def aim(self, accuracies: Floats) -> tuple[float, float] | None:
        """What an answer needs at least, and with what a claim is about as likely as not.

        The latter is no more than what the most accurate candidate has.
        """
        least = self.reference_selection_accuracy() - self.search.margin
        if not 0 < least < 1 or np.isnan(accuracies).all():
            return None
        noise = selection_noise(least, int(self.confirmation.sum()))
        shown = least + statistics.NormalDist().inv_cdf(self.search.confidence) * noise
        return least, max(least, min(shown, float(np.nanmax(accuracies))))

    def index(self, trial: Trial) -> int:
        """Of its candidate in the pool.

        Raises:
            StudyError: it is not there.
        """
        key = trial.candidate.key
        if key not in self._indices:
            found = self.pool.find(trial.candidate)
            if found is None:  # another version of dse drew or counted otherwise
                raise StudyError(
                    f"{self.record.directory} holds candidate {key}, which is not among the "
                    "feasible candidates of its space any more: another version of dse made "
                    "this study; resume it with that one, or choose another --study name"
                )
            self._indices[key] = found
        return self._indices[key]

    def best(self) -> Trial | None:
        """The smallest trial at full fidelity that is level with the reference, unconfirmed."""
        reached = self.reference_selection_accuracy() - self.search.margin
        return self.smallest(t for t in self.full() if self.full_accuracy(t) >= reached)

    def smallest(self, trials: Iterable[Trial]) -> Trial | None:
        """The smallest of these trials, by the most important objective first; None of none."""
        return min(trials, key=lambda t: [t.costs[n] for n in self.objectives], default=None)

    @property
    def terms(self) -> Terms:
        """The terms on which this search claims."""
        reference, trial = self.reference, self.reference_trial
        if trial is not None:  # known by its key, before its fresh trainings are
            return Terms(
                reference=f"{reference.name} ({trial.candidate.key})",
                reference_accuracy=self.full_accuracy(trial),
                reference_seeds=self.reference_seeds,
                margin=self.search.margin,
                confidence=self.search.confidence,
                seeds=self.search.seeds,
            )
        return Terms(
            reference=reference.name if reference.replicates else "",
            reference_accuracy=float(np.mean(reference.on(self.confirmation))),
            reference_seeds=len(reference.replicates),
            margin=self.search.margin,
            confidence=self.search.confidence,
            seeds=self.search.seeds,
        )

    @property
    def analyses(self) -> list[Analysis]:
        """Of the confirmation split, by all runs of this study."""
        try:
            analyses = list(map(analysis_from_dict, self.record.note("analyses") or []))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise record_damaged(self.record.where, f"analyses: {error!r}") from error
        return [replace(a, outcomes=tuple(map(self._as_known, a.outcomes))) for a in analyses]

    def _as_known(self, outcome: Outcome) -> Outcome:
        """Not left out any more, where what failed was the machine (see `read_trial`)."""
        trials = self.record.trials.values()
        if outcome.verdict is not Verdict.BROKEN or any(
            t.is_failed and t.candidate.key == outcome.candidate_key for t in trials
        ):
            return outcome
        return replace(outcome, verdict=Verdict.UNTESTED)

    def note_analyses(self, analyses: Sequence[Analysis]) -> None:
        """Keep these in place of those that are kept.

        Raises:
            StudyError: the record cannot be written.
        """
        self.record.set_note("analyses", [analysis.to_dict() for analysis in analyses])

    def smallest_claim(self, terms: Terms | None = None) -> Trial | None:
        """The smallest candidate that was claimed on these terms (this search's), or None."""
        claimed = claimed_keys(self.analyses, terms or self.terms)
        return self.smallest(trial for trial in self.full() if trial.candidate.key in claimed)

    def tested(self, key: str) -> dict[str, str]:
        """Which test images a candidate has correct, by replicate, as `pack_bits` writes it."""
        held: dict[str, dict[str, str]] = self.record.note("tested") or {}
        return held.get(key, {})

    @property
    def tested_count(self) -> int:
        """Candidates that were ever scored on the test images."""
        return len(self.record.note("tested") or {})

    def note_tested(self, key: str, replicate: int, correct: str) -> None:
        """Note which test images one replicate of a candidate has correct.

        Raises:
            StudyError: the record cannot be written.
        """
        held = dict(self.record.note("tested") or {})
        self.record.set_note("tested", held | {key: {**self.tested(key), str(replicate): correct}})

    def spent_before(self) -> float:
        """Seconds or epochs that ended runs with a smaller budget of this kind had spent."""
        budget = self.search.budget
        runs = self.record.note("runs") or []
        spent = (
            run["spent"]
            for run in runs
            if run["kind"] == budget.kind and run["amount"] < budget.amount
        )
        return max(spent, default=0.0)

    def note_run(self, budget: Budget) -> None:
        """Note that search and finals have ended with this budget; once for each.

        Raises:
            StudyError: the record cannot be written.
        """
        runs = list(self.record.note("runs") or [])
        if all((run["kind"], run["amount"]) != (budget.kind, budget.amount) for run in runs):
            record = self.record
            spent = record.spent_s if budget.kind == "time" else float(record.spent_epochs)
            run = {"kind": budget.kind, "amount": budget.amount, "spent": spent}
            self.record.set_note("runs", [*runs, run])
