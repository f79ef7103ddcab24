"""What a sampler is given, and what it has to answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dse.space import SearchSpace

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]


class PoolLike(Protocol):
    """What samplers read of a pool: all feasible, distinct candidates of a space, as arrays."""

    @property
    def space(self) -> SearchSpace:
        """The space that the candidates are of."""

    @property
    def varying(self) -> tuple[str, ...]:
        """Names of the metaparameters that vary."""

    @property
    def levels(self) -> NDArray[np.integer]:
        """Int array (candidate, varying): which value of its domain each has."""

    @property
    def units(self) -> Floats:
        """Float array (candidate, varying): where in its domain that value lies, in [0, 1]."""

    @property
    def is_categorical(self) -> NDArray[np.bool_]:
        """Bool array (varying,): whether the domain is a list of values."""

    @property
    def costs(self) -> Mapping[str, NDArray[np.integer]]:
        """Int arrays (candidate,): each exact cost, by name."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class History:
    """Every candidate that was ever asked, in the order of asking.

    Attributes:
        indices: int array (asked,), into the pool.
        accuracies: float array (asked,), a fraction, at the highest rung that was reached;
            NaN where training failed or nothing is measured yet.
        rungs: int array (asked,), that rung, 0 the lowest; -1 where nothing is measured.
        is_allowed: bool array (candidate,) of the pool, which may be asked now; None for all.
        aim: accuracies (fractions) that an answer has to have at least, and with which it can
            be shown that it has; None where nothing is known of them.
    """

    indices: Ints
    accuracies: Floats
    rungs: Ints
    is_allowed: NDArray[np.bool_] | None = None
    aim: tuple[float, float] | None = None

    @property
    def is_measured(self) -> NDArray[np.bool_]:
        """Bool array (asked,): whether there is an accuracy to learn from."""
        return np.isfinite(self.accuracies)


class Sampler(Protocol):
    """A strategy: a pure function of what is known, so that a resumed study continues the same."""

    @property
    def name(self) -> str:
        """Its key in `SAMPLERS`."""

    def ask(
        self, pool: PoolLike, history: History, sizes: Floats, rng: np.random.Generator
    ) -> int | None:
        """The candidate to measure next.

        Args:
            pool: the candidates to choose from.
            history: those that were asked before.
            sizes: float array (candidate, objective), above 0, smaller is better: the exact
                costs that count, of the whole pool.
            rng: all randomness there is.

        Returns:
            Index of a candidate of the pool that `history` allows and does not hold; None when
            all such were asked.
        """


def unseen(pool: PoolLike, history: History) -> Ints:
    """Rising indices of the candidates that may be asked and never were."""
    allowed = history.is_allowed
    is_open = np.ones(len(pool), dtype=np.bool_) if allowed is None else allowed.copy()
    is_open[history.indices] = False
    return np.flatnonzero(is_open)
