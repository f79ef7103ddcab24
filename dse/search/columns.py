"""The searched trials of a record as arrays, kept up as the record changes.

A search of thousands of trials looks at all of them before each job. Read from the trials
anew, that took longer than everything else between two trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dse.search.rungs import Ladder
from dse.study.fidelity import Fidelity
from dse.study.record import Record
from dse.study.trial import Trial

Array = np.ndarray[Any, np.dtype[Any]]
Floats = np.ndarray[Any, np.dtype[np.float64]]

_FIRST_ROWS = 64


def sizes_of(trial: Trial, objectives: Sequence[str]) -> list[float]:
    """Its costs; NaN where a latency is not measured yet."""
    return [float(trial.costs.get(name, np.nan)) for name in objectives]


class Columns:
    """Arrays with a row for each trial of `record.searched`, in its order.

    Args:
        record: of the search; notes in `changes` which rows change.
        ladder: the rungs.
        objectives: costs that are to be small.
        accuracy: of a trial at one of its rungs; NaN where that training failed.
    """

    def __init__(
        self,
        record: Record,
        ladder: Ladder,
        objectives: Sequence[str],
        accuracy: Callable[[Trial, Fidelity], float],
    ) -> None:
        self._record, self._ladder, self._objectives = record, ladder, objectives
        self._accuracy = accuracy
        self._changes_count = 0
        self._sizes = np.empty((_FIRST_ROWS, len(objectives)))
        self._accuracies = np.empty((_FIRST_ROWS, len(ladder.epochs)))
        self._epochs = np.empty(_FIRST_ROWS, dtype=np.intp)
        self._is_failed = np.empty(_FIRST_ROWS, dtype=np.bool_)

    @property
    def sizes(self) -> Array:
        """Float (trial, objective); NaN where a latency is not measured yet."""
        return self._rows("_sizes")

    @property
    def accuracies(self) -> Array:
        """Float (trial, rung); NaN where it is not measured, or failed."""
        return self._rows("_accuracies")

    @property
    def epochs(self) -> Array:
        """Int (trial,): of the highest rung that is measured; 0 before the first."""
        return self._rows("_epochs")

    @property
    def is_failed(self) -> Array:
        """Bool (trial,): whether the training failed."""
        return self._rows("_is_failed")

    def _rows(self, name: str) -> Array:
        """What is held of the trials that there are, after what changed was read."""
        changes = self._record.changes
        for row in sorted(set(changes[self._changes_count :])):
            trial = self._record.searched[row]
            if row >= len(self._epochs):
                for grown in ("_sizes", "_accuracies", "_epochs", "_is_failed"):
                    held = getattr(self, grown)
                    setattr(self, grown, np.concatenate([held, np.empty_like(held)]))
            self._sizes[row] = sizes_of(trial, self._objectives)
            self._accuracies[row] = [
                self._accuracy(trial, fidelity) if fidelity in trial.rungs else np.nan
                for fidelity in self._ladder.fidelities
            ]
            self._epochs[row], self._is_failed[row] = trial.epochs, trial.is_failed
        self._changes_count = len(changes)
        rows: Array = getattr(self, name)[: len(self._record.searched)]
        rows.flags.writeable = False
        return rows
