"""The pool: every candidate of a space that may be trained, known before any training.

Limits are applied here and networks with the same layers are found once, so whatever is
picked from a pool is feasible and new. Small spaces are whole in it; of infinite and very
large ones it holds a seeded draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.architecture import (
    FAMILIES,
    OBJECTIVES,
    Candidate,
    Shape,
    Value,
    build,
    cost,
    make_candidate,
)
from dse.errors import ArchitectureError
from dse.space.counting import BulkCosts, CandidateTable, Column, bulk_costs, first_alike
from dse.space.draw import choices_of, draw, is_ordered, units_of
from dse.space.space import SearchSpace
from dse.space.survey import limits_problem, nothing_left

MOST_LISTED = 4_000_000
"""Candidates before limits up to which a space is whole in its pool."""
ENOUGH_DRAWN = 20_000
"""Feasible distinct candidates at which drawing from a larger space ends."""
DRAWS_AT_ONCE = 2**16
MOST_DRAWN = 64 * DRAWS_AT_ONCE
"""Draws after which it ends, however few were feasible."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pool:
    """Feasible candidates of a space for images of one shape, no two with the same layers.

    Whole spaces are in the order of `space.candidates()`, drawn ones in the order of drawing.

    Attributes:
        space: where they come from.
        input_shape: (height, width, channels) of one image.
        classes_count: number of classes.
        choices: for each varying metaparameter the values that `levels` counts: those of
            its domain, or, for a range without steps, those that were drawn, rising.
        levels: int64 array (candidate, varying), the index of each value in its choices.
        units: float64 array (candidate, varying), each value's place in its domain in
            [0, 1]: by the logarithm in a log range, by rank in a list of numbers, by
            place in a list of words.
        costs: each exact cost in `OBJECTIVES`, int64 array (candidate,).
        space_count: candidates of the space before limits; None where it is infinite.
        is_whole: whether every feasible candidate of the space is here.
    """

    space: SearchSpace
    input_shape: Shape
    classes_count: int
    choices: tuple[Sequence[Value], ...]
    levels: Ints
    units: NDArray[np.float64]
    costs: Mapping[str, NDArray[np.int64]]
    space_count: int | None
    is_whole: bool

    def __len__(self) -> int:
        """Number of candidates; at least one."""
        return len(self.levels)

    @property
    def varying(self) -> tuple[str, ...]:
        """The metaparameters with more than one value, in the file's order."""
        return self.space.varying

    @property
    def is_categorical(self) -> NDArray[np.bool_]:
        """Bool array (varying,): True where values have no order (words, lists of layers)."""
        domains = self.space.domains
        return np.array([not is_ordered(domains[name]) for name in self.varying], dtype=bool)

    def candidate(self, index: int) -> Candidate:
        """The candidate at `index`, which must be in 0 … len - 1."""
        row = zip(self.varying, self.choices, self.levels[index].tolist(), strict=True)
        varying = {name: choices[level] for name, choices, level in row}
        return make_candidate(self.space.family, _fixed(self.space) | varying)

    def costs_of(self, index: int) -> dict[str, int]:
        """The exact costs of the candidate at `index`, by name."""
        return {name: int(values[index]) for name, values in self.costs.items()}

    def find(self, candidate: Candidate) -> int | None:
        """The index of a candidate, or None where it is not in the pool.

        Where another candidate with the same layers comes first, that one is in the pool.
        """
        values = candidate.metaparameters
        rows: Any = slice(None)
        # The metaparameter with most values first: it leaves the fewest rows to look at.
        for place in sorted(range(len(self.varying)), key=lambda i: -len(self.choices[i])):
            name = self.varying[place]
            level = self._level(place, values[name]) if name in values else None
            if level is None:
                return None
            of_each = self.levels[rows, place]
            same = np.flatnonzero(of_each == level)
            rows = same if isinstance(rows, slice) else rows[same]
        rows = np.arange(len(self))[rows]
        index = int(rows[0]) if rows.size else None
        return index if index is not None and self.candidate(index) == candidate else None

    def _level(self, place: int, value: Value) -> int | None:
        choices = self.choices[place]
        if not isinstance(choices, range):
            return self._level_by_value[place].get(value)
        return choices.index(value) if value in choices else None  # type: ignore[arg-type]

    @cached_property
    def _level_by_value(self) -> tuple[dict[Value, int], ...]:
        """For each varying metaparameter that is no range of whole numbers; canonical values."""
        known = FAMILIES[self.space.family].metaparameters
        return tuple(
            {}
            if isinstance(choices, range)
            else {known[name].canonical(value): level for level, value in enumerate(choices)}
            for name, choices in zip(self.varying, self.choices, strict=True)
        )


def make_pool(space: SearchSpace, input_shape: Shape, classes_count: int, *, seed: int = 0) -> Pool:
    """Count every candidate of a space and keep those that may be trained.

    A space of at most `MOST_LISTED` candidates is listed whole. From others candidates are
    drawn at random, evenly over each domain (over the logarithm in log ranges), until
    `ENOUGH_DRAWN` are left or `MOST_DRAWN` were drawn.

    Args:
        space: any space.
        input_shape: (height, width, channels) of one image.
        classes_count: number of classes.
        seed: of the draw; the same pool for the same seed. Spaces listed whole need none.

    Raises:
        SpaceError: nothing is left, with the smallest possible value of each limited cost.
    """
    if space.size is not None and space.size <= MOST_LISTED:
        return _listed(space, input_shape, classes_count)
    return _drawn(space, input_shape, classes_count, np.random.default_rng(seed))


@dataclass(frozen=True)
class _Lot:
    """Candidates and their costs: for each varying metaparameter the values as `draw` has them."""

    table: CandidateTable
    values: dict[str, NDArray[Any]]
    found: BulkCosts

    def take(self, rows: NDArray[Any]) -> _Lot:
        """Some of them, by index."""
        values = {name: column[rows] for name, column in self.values.items()}
        return _Lot(self.table.take(rows), values, self.found.take(rows))

    def distinct(self) -> _Lot:
        """The first of each network."""
        first = first_alike(self.table, self.found.hashes)
        return self.take(np.flatnonzero(first == np.arange(len(first))))

    def feasible(self, space: SearchSpace) -> _Lot:
        """Those that can be built and lie within the limits."""
        within = ~self.found.refused
        for name, limit in space.limits.items():
            if limit.min is not None:
                within &= self.found.costs[name] >= limit.min
            if limit.max is not None:
                within &= self.found.costs[name] <= limit.max
        return self.take(np.flatnonzero(within))


def _listed(space: SearchSpace, input_shape: Shape, classes_count: int) -> Pool:
    assert space.size is not None
    sizes = tuple(len(choices_of(space.domains[name])) for name in space.varying)
    indices = np.unravel_index(np.arange(space.size), sizes) if sizes else ()
    values = {
        name: levels.astype(np.int32)  # half the memory, and MOST_LISTED fits
        for name, levels in zip(space.varying, indices, strict=True)
    }
    everything = _lot(_table(space, input_shape, classes_count, values), values)
    lot = everything.feasible(space)
    if not lot.found.hashes.size:
        whose, smallest = f"its {space.size:,} candidates", _smallest(space, everything, {})
        first = _reason(space, everything.table)
        raise nothing_left(space, input_shape, whose, first=first, smallest=smallest)
    return _pool(space, lot.distinct(), is_whole=True)


def _drawn(
    space: SearchSpace, input_shape: Shape, classes_count: int, rng: np.random.Generator
) -> Pool:
    kept: _Lot | None = None
    smallest: dict[str, int] = {}
    first = ""
    for _ in range(MOST_DRAWN // DRAWS_AT_ONCE):
        values = {name: draw(space.domains[name], DRAWS_AT_ONCE, rng) for name in space.varying}
        drawn = _lot(_table(space, input_shape, classes_count, values), values)
        if kept is None:
            smallest = _smallest(space, drawn, smallest)
            first = first or _reason(space, drawn.table)
        drawn = drawn.feasible(space)
        if not drawn.found.hashes.size:
            continue
        kept = (drawn if kept is None else _joined(space, kept, drawn)).distinct()
        if kept.found.hashes.size >= ENOUGH_DRAWN:
            break
    if kept is None:
        count = MOST_DRAWN
        whose = f"the {count:,} candidates that were drawn from it"
        raise nothing_left(space, input_shape, whose, first=first, smallest=smallest)
    return _pool(space, kept, is_whole=False)


def _lot(table: CandidateTable, values: dict[str, NDArray[Any]]) -> _Lot:
    return _Lot(table, values, bulk_costs(table))


def _joined(space: SearchSpace, one: _Lot, two: _Lot) -> _Lot:
    values = {name: np.concatenate([one.values[name], two.values[name]]) for name in one.values}
    costs = {
        name: np.concatenate([one.found.costs[name], two.found.costs[name]]) for name in OBJECTIVES
    }
    found = BulkCosts(
        np.concatenate([one.found.refused, two.found.refused]),
        costs,
        np.concatenate([one.found.hashes, two.found.hashes]),
    )
    table = _table(space, one.table.input_shape, one.table.classes_count, values)
    return _Lot(table, values, found)


def _table(
    space: SearchSpace, input_shape: Shape, classes_count: int, values: dict[str, NDArray[Any]]
) -> CandidateTable:
    columns = {}
    for name, of_each in values.items():
        domain = space.domains[name]
        if domain.size is None or domain.size > len(of_each):  # only what occurs
            occurring, levels = np.unique(of_each, return_inverse=True)
            numbers = occurring.tolist()
            choices = numbers if domain.size is None else [choices_of(domain)[i] for i in numbers]
            columns[name] = Column(choices, levels)
        else:
            columns[name] = Column(choices_of(domain), of_each)
    return CandidateTable(space.family, _fixed(space), columns, input_shape, classes_count)


def _pool(space: SearchSpace, lot: _Lot, *, is_whole: bool) -> Pool:
    shape = (len(lot.found.hashes), len(space.varying))
    levels, units = np.empty(shape, dtype=np.int64), np.empty(shape)
    choices: list[Sequence[Value]] = []
    for place, (name, values) in enumerate(lot.values.items()):
        domain = space.domains[name]
        units[:, place] = units_of(domain, values)
        if domain.size is None:
            occurring, levels[:, place] = np.unique(values, return_inverse=True)
            choices.append(tuple(occurring.tolist()))
        else:
            levels[:, place] = values
            choices.append(choices_of(domain))
    return Pool(
        space=space,
        input_shape=lot.table.input_shape,
        classes_count=lot.table.classes_count,
        choices=tuple(choices),
        levels=levels,
        units=units,
        costs=lot.found.costs,
        space_count=space.size,
        is_whole=is_whole,
    )


def _fixed(space: SearchSpace) -> dict[str, Value]:
    return {name: domain.values()[0] for name, domain in space.domains.items() if domain.size == 1}


def _reason(space: SearchSpace, table: CandidateTable) -> str:
    """Why the first candidate is refused; empty where it is not."""
    try:
        architecture = build(table.candidate(0), table.input_shape, table.classes_count)
    except ArchitectureError as error:
        return str(error)
    return limits_problem(space.limits, cost(architecture)) or ""


def _smallest(space: SearchSpace, lot: _Lot, so_far: Mapping[str, int]) -> dict[str, int]:
    """The least of each limited cost over all that can be built."""
    can_be_built = ~lot.found.refused
    if not can_be_built.any():
        return dict(so_far)
    least = {name: int(lot.found.costs[name][can_be_built].min()) for name in space.limits}
    return {name: min(value, so_far.get(name, value)) for name, value in least.items()}
