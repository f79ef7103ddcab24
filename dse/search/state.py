"""What a search knows at a moment, as the arrays that samplers, rungs and finals work on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from dse.architecture import LATENCY
from dse.data import Dataset
from dse.errors import StudyError
from dse.search.columns import Columns, sizes_of
from dse.search.halves import confirmation_half
from dse.search.reference import Reference
from dse.search.rungs import Ladder, Standings
from dse.search.samplers import History
from dse.space.pool import Pool
from dse.study.measurement import Measurement, unpack_bits
from dse.study.record import SearchRecord, SearchTrial

Floats = np.ndarray[Any, np.dtype[np.float64]]
Bools = np.ndarray[Any, np.dtype[np.bool_]]


class SearchState:
    """The record of a search, seen through its pool, its rungs and its two halves of images.

    Args:
        pool: the candidates.
        ladder: the rungs.
        objectives: costs that are to be small.
        record: of the search.
        dataset: its images.
        reference: what an answer is held against.
    """

    def __init__(
        self,
        pool: Pool,
        ladder: Ladder,
        objectives: Sequence[str],
        record: SearchRecord,
        dataset: Dataset,
        reference: Reference,
    ) -> None:
        self.pool, self.ladder, self.objectives = pool, ladder, tuple(objectives)
        self.record, self.dataset, self.reference = record, dataset, reference
        self.confirmation = confirmation_half(len(dataset.validation))
        # Latency is measured, so of the pool it is not known: MACs stand for it there.
        columns = [pool.costs["macs" if n == LATENCY else n] for n in objectives]
        self.pool_sizes: Floats = np.column_stack(columns).astype(float)
        self.running: set[tuple[str, int]] = set()
        self.clock: Callable[[], float] = lambda: record.spent_s
        self._indices: dict[str, int] = {}
        self._places: list[int] = []
        self._selection: dict[tuple[str, int, int], float] = {}
        self.columns = Columns(record, ladder, self.objectives, self.selection_accuracy)

    def right(self, measurement: Measurement) -> Bools:
        """Which validation images are right, bool (image,)."""
        return unpack_bits(measurement.validation_correct, len(self.dataset.validation))

    def selection_accuracy(self, trial: SearchTrial, epochs: int) -> float:
        """On the half of the validation images that steers; NaN where training failed."""
        measured = trial.rungs[epochs]
        if measured.status == "failed":
            return float("nan")
        key = (*trial.key, epochs)
        if key not in self._selection:
            self._selection[key] = float(self.right(measured)[~self.confirmation].mean())
        return self._selection[key]

    def reference_selection_accuracy(self) -> float:
        """The reference's, on the same images."""
        return float(np.mean(self.reference.on(~self.confirmation)))

    def sizes(self, trials: Sequence[SearchTrial]) -> Floats:
        """Float array (trial, objective); NaN where a latency is not measured yet."""
        rows = [sizes_of(trial, self.objectives) for trial in trials]
        return np.array(rows).reshape(len(rows), len(self.objectives))

    def finished(self, trials: Sequence[SearchTrial]) -> list[SearchTrial]:
        """Those of these trials that finished at full fidelity."""
        full = self.ladder.epochs[-1]
        return [trial for trial in trials if full in trial.rungs and not trial.is_failed]

    def full(self) -> list[SearchTrial]:
        """Trials of the search that finished at full fidelity."""
        return self.finished(self.record.searched)

    def fresh(self, trial: SearchTrial, seeds: int) -> list[SearchTrial]:
        """Trials of a candidate's replicates 1 to `seeds`, which judge it; in order."""
        keys = [(trial.candidate.key, replicate) for replicate in range(1, seeds + 1)]
        return [self.record.trials[key] for key in keys if key in self.record.trials]

    def standings(self, can_go_on: Callable[[SearchTrial], bool]) -> Standings:
        """Where each trial of the search stands, in their order.

        Args:
            can_go_on: whether there is the budget to train one to its next rung.
        """
        columns, full = self.columns, self.ladder.epochs[-1]
        is_open = (columns.epochs > 0) & (columns.epochs < full) & ~columns.is_failed
        for row in np.flatnonzero(is_open):
            trial = self.record.searched[row]
            is_open[row] = trial.key not in self.running and can_go_on(trial)
        return Standings(columns.sizes, columns.accuracies, is_open)

    def history(self) -> History:
        """What a sampler is told."""
        trials, columns = self.record.searched, self.columns
        measured = ~np.isnan(columns.accuracies) & ~columns.is_failed[:, None]
        rungs = np.where(measured, np.arange(measured.shape[1]), -1).max(axis=1)
        accuracies = np.where(rungs >= 0, columns.accuracies[np.arange(len(trials)), rungs], np.nan)
        self._places += [self.index(trial) for trial in trials[len(self._places) :]]
        return History(np.array(self._places, dtype=np.intp), accuracies, rungs)

    def index(self, trial: SearchTrial) -> int:
        """Of its candidate in the pool."""
        key = trial.candidate.key
        if key not in self._indices:
            found = self.pool.find(trial.candidate)
            if found is None:  # another version of dse drew or counted otherwise
                raise StudyError(
                    f"{self.record.directory} holds candidate {key}, which is not among the "
                    "feasible candidates of its space any more: another version of dse made "
                    "this study; go on with that one, or choose another --study name"
                )
            self._indices[key] = found
        return self._indices[key]

    def best(self, margin: float) -> SearchTrial | None:
        """The smallest trial at full fidelity that is not below the reference, unconfirmed.

        Args:
            margin: how much worse (a fraction) still counts as not below.
        """
        full, reached = self.ladder.epochs[-1], self.reference_selection_accuracy() - margin
        able = [t for t in self.full() if self.selection_accuracy(t, full) >= reached]
        return self.smallest(able)

    def smallest(self, trials: Iterable[SearchTrial]) -> SearchTrial | None:
        """The smallest of these trials, by the most important objective first; None of none."""
        return min(trials, key=lambda t: [t.costs[n] for n in self.objectives], default=None)
