"""Every candidate of a finite space, or a draw from a larger one, counted before any training.

All of them run through the builder at once (`counting`): that says which can be built, what
they cost and which are the same network. A `Survey` lists all of a space one by one, for a
sweep; a `Pool` holds what may be trained as arrays, for a search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.architecture import (
    FAMILIES,
    OBJECTIVES,
    Candidate,
    Cost,
    Shape,
    Value,
    build,
    cost,
    make_candidate,
)
from dse.errors import ArchitectureError, SpaceError
from dse.space.batch import INT64_MOST
from dse.space.counting import (
    FIRST_ROWS,
    MOST_WORK,
    ROWS_AT_ONCE,
    BulkCosts,
    CandidateTable,
    Column,
    bulk_costs,
    first_alike,
)
from dse.space.domains import Categorical, Fixed, FloatRange, IntRange
from dse.space.draw import choices_of, draw, is_ordered, units_of
from dse.space.space import SearchSpace, limits_problem
from dse.text import shape_text

MOST_SURVEYED = 100_000
"""Candidates that `survey` lists at most."""
MOST_LISTED = 4_000_000
"""Candidates before limits up to which a space is whole in its pool."""
ENOUGH_DRAWN = 20_000
"""Feasible distinct candidates at which drawing from a larger space ends."""
DRAWS_AT_ONCE = 2**16
MOST_DRAWN = 16 * DRAWS_AT_ONCE
"""Draws after which it ends, however few were feasible."""
HOPELESS_DRAWN = DRAWS_AT_ONCE
"""Draws after which it ends where none was feasible."""
DRAWN_WORK = MOST_WORK // 2
"""Work after which drawing ends."""
DRAW_WORK = 2**4
"""Work to draw one number from a range without steps."""
SURVEY_WORK = MOST_WORK // 3
"""Work after which a sample stands for a space, where a sample is enough."""
SLOWER = 128
"""So many times fewer are drawn where numbers leave 64 bits, and each takes so much longer."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Enumeration:
    """Candidates of a space for images of one shape, all of them built and counted.

    Attributes:
        space: where they come from.
        values: for each varying metaparameter an array (candidate,), as `draw` has it.
        table: the same candidates, as the builder takes them.
        found: what it made of them.
    """

    space: SearchSpace
    values: Mapping[str, NDArray[Any]]
    table: CandidateTable
    found: BulkCosts

    def __len__(self) -> int:
        """Number of candidates."""
        return len(self.found.hashes)

    @property
    def is_feasible(self) -> NDArray[np.bool_]:
        """Bool array (candidate,): True for those that can be built and lie within the limits."""
        feasible = self.found.refused == 0
        for name, limit in self.space.limits.items():
            if limit.min is not None:
                feasible &= self.found.costs[name] >= limit.min
            if limit.max is not None:
                feasible &= self.found.costs[name] <= limit.max
        return feasible

    def take(self, rows: NDArray[Any]) -> Enumeration:
        """Some of them, by index."""
        values = {name: column[rows] for name, column in self.values.items()}
        return Enumeration(self.space, values, self.table.take(rows), self.found.take(rows))

    def feasible(self) -> Enumeration:
        """Those that can be built and lie within the limits."""
        return self.take(np.flatnonzero(self.is_feasible))

    def distinct(self) -> Enumeration:
        """The first of each network; none may be refused by the builder."""
        first = first_alike(self.found)
        return self.take(np.flatnonzero(first == np.arange(len(first))))

    def joined(self, other: Enumeration) -> Enumeration:
        """These and others of the same space, which follow; none may be refused."""
        pairs = [(self.values[name], other.values[name]) for name in self.values]
        values = dict(zip(self.values, map(np.concatenate, pairs), strict=True))
        one, two = self.found, other.found
        found = BulkCosts(
            np.concatenate([one.refused, two.refused]),
            one.reasons,
            {name: np.concatenate([one.costs[name], two.costs[name]]) for name in OBJECTIVES},
            np.concatenate([one.hashes, two.hashes]),
        )
        table = _table(self.space, self.table.input_shape, self.table.classes_count, values)
        return Enumeration(self.space, values, table, found)

    def reason(self, row: int) -> str:
        """Why a candidate is refused; empty where it is not."""
        costs = {name: int(values[row]) for name, values in self.found.costs.items()}
        if self.found.refused[row] or INT64_MOST in costs.values():
            shape, classes_count = self.table.input_shape, self.table.classes_count
            try:
                costs = cost(build(self.table.candidate(row), shape, classes_count)).by_name
            except ArchitectureError as error:
                return str(error)
        return limits_problem(self.space.limits, costs) or ""

    def smallest(self) -> dict[str, int]:
        """The least of each limited cost over all that can be built; empty where none can."""
        is_built = self.found.refused == 0
        names = self.space.limits if is_built.any() else ()
        return {name: int(self.found.costs[name][is_built].min()) for name in names}


def _counted(
    space: SearchSpace,
    input_shape: Shape,
    classes_count: int,
    values: Mapping[str, NDArray[Any]],
    most_work: float = math.inf,
) -> Enumeration:
    """Candidates of these values; only the first of them, where all are too much work."""
    table = _table(space, input_shape, classes_count, values)
    found = bulk_costs(table, most_work)
    if (count := len(found.hashes)) < len(table):
        values = {name: of_each[:count] for name, of_each in values.items()}
        table = table.take(np.arange(count))
    return Enumeration(space, values, table, found)


def _table(
    space: SearchSpace, input_shape: Shape, classes_count: int, values: Mapping[str, NDArray[Any]]
) -> CandidateTable:
    columns = {}
    for name, of_each in values.items():
        domain = space.domains[name]
        if domain.size is None:  # most drawn numbers occur once: to find the others takes longer
            columns[name] = Column(of_each.tolist(), np.arange(len(of_each)))
        elif domain.size > len(of_each):  # only what occurs
            occurring, levels = np.unique(of_each, return_inverse=True)
            values_of = choices_of(domain)
            columns[name] = Column([values_of[index] for index in occurring.tolist()], levels)
        else:
            columns[name] = Column(choices_of(domain), of_each)
    return CandidateTable(space.family, space.fixed, columns, input_shape, classes_count)


def _listed(
    space: SearchSpace, input_shape: Shape, classes_count: int, most_work: float = math.inf
) -> Enumeration:
    """Candidates of a finite space, in the order of `space.candidates()`.

    All of them; an even sample, always the same, where all are more work than `most_work`.
    """
    assert space.size is not None
    sizes = tuple(len(choices_of(space.domains[name])) for name in space.varying)

    def counted(order: Ints, most_work: float) -> Enumeration:
        indices = np.unravel_index(order, sizes) if sizes else ()
        values = {
            name: levels.astype(np.int32)  # half the memory, and MOST_LISTED fits
            for name, levels in zip(space.varying, indices, strict=True)
        }
        return _counted(space, input_shape, classes_count, values, most_work)

    everything = np.arange(space.size)
    if most_work < math.inf and space.size > ROWS_AT_ONCE:
        drawn = np.random.default_rng(0).permutation(space.size)[: int(most_work)]
        listed = counted(drawn[:FIRST_ROWS], most_work)
        work, calls = listed.found.work, listed.found.calls
        whole_work = (calls / ROWS_AT_ONCE + (work - calls) / len(listed)) * space.size
        if whole_work > most_work:
            # What is drawn lies scattered, and takes longer.
            if work + calls < most_work / 2:
                listed = counted(drawn, most_work / 2)
            return listed.take(np.argsort(drawn[: len(listed)]))
        most_work = math.inf
    return counted(everything, most_work)


def _sampled(space: SearchSpace, input_shape: Shape, classes_count: int) -> Enumeration:
    """Candidates of any space: all, or as many as `SURVEY_WORK` allows."""
    if space.size is not None and space.size <= MOST_LISTED:
        return _listed(space, input_shape, classes_count, SURVEY_WORK)
    rng, count = np.random.default_rng(0), ENOUGH_DRAWN
    values = {name: draw(space.domains[name], count, rng) for name in space.varying}
    return _counted(space, input_shape, classes_count, values, SURVEY_WORK)


def _drawn(
    space: SearchSpace, input_shape: Shape, classes_count: int, rng: np.random.Generator
) -> Enumeration:
    """Enough feasible candidates, each a network of its own, in the order of drawing.

    Raises:
        SpaceError: none that was drawn is feasible.
    """
    kept: Enumeration | None = None
    first: Enumeration | None = None
    smallest: dict[str, int] = {}
    fewer = SLOWER if _leaves_64_bits(space) else 1
    at_once, drawn_count = min(DRAWS_AT_ONCE, 2**16 // fewer), 0
    left_work: float = DRAWN_WORK
    while drawn_count < (HOPELESS_DRAWN if kept is None else MOST_DRAWN) // fewer and left_work > 0:
        values = {name: draw(space.domains[name], at_once, rng) for name in space.varying}
        drawn = _counted(space, input_shape, classes_count, values, left_work)
        drawn_count += len(drawn)
        left_work -= drawn.found.work + DRAW_WORK * len(space.infinite) * at_once
        left_work = left_work if len(drawn) == at_once else 0
        if kept is None:  # so far nothing is left: this is for the error
            first = first or drawn
            for name, least in drawn.smallest().items():
                smallest[name] = min(least, smallest.get(name, least))
        left = drawn.feasible()
        if not len(left):
            continue
        before_count = 0 if kept is None else len(kept)
        kept = (left if kept is None else kept.joined(left)).distinct()
        is_all = len(kept) == before_count and len(left) >= 5 * len(kept)  # each came again
        if len(kept) >= ENOUGH_DRAWN or is_all:
            break
    if kept is None:
        assert first is not None
        whose = f"the {drawn_count:,} candidates that were drawn from it"
        raise _nothing_left(first, whose, smallest)
    return kept


def _leaves_64_bits(space: SearchSpace) -> bool:
    """Whether widths are so large, or shares so finely written, that products leave 64 bits."""
    for domain in space.domains.values():
        ends = domain.values() if isinstance(domain, Fixed | Categorical) else ()
        if isinstance(domain, IntRange | FloatRange):
            ends = (domain.low, domain.high)
        for value in ends:
            if isinstance(value, int) and abs(value) > 2**20:
                return True
            if isinstance(value, float) and (0 < value < 1e-5 or len(repr(value)) > 12):
                return True
    return False


def _nothing_left(tried: Enumeration, whose: str, smallest: Mapping[str, int]) -> SpaceError:
    """The error that says why no candidate is left.

    Args:
        tried: some that are all refused.
        whose: which candidates were tried: `its 12 candidates`.
        smallest: the least value of each limited cost; empty where none could be built.
    """
    shape = shape_text(tried.table.input_shape)
    text = (
        f"{tried.space.name}: none of {whose} is left for images of {shape}; "
        f"the first: {tried.reason(0)}"
    )
    if smallest:
        costs = ", ".join(f"{name} {least:,}" for name, least in smallest.items())
        text += f"; the smallest possible: {costs}"
    return SpaceError(text)


@dataclass(frozen=True, eq=False)
class Survey:
    """Every candidate of a finite space, for images of one shape.

    Attributes:
        everything: all of them, in the order of `space.candidates()`.
        feasible_rows: those to train, int array of indices.
        refused_rows: those that cannot be built or break a limit.
        duplicate_rows: those with the layers of an earlier feasible one; training them would
            measure one network twice.
        first: int array (candidate,), the first candidate with the layers of each.
    """

    everything: Enumeration
    feasible_rows: Ints
    refused_rows: Ints
    duplicate_rows: Ints
    first: Ints

    @property
    def is_whole(self) -> bool:
        """Whether these are all candidates of the space, and not a sample."""
        return len(self.everything) == self.everything.space.size

    @property
    def refusals(self) -> list[tuple[int, int]]:
        """For each kind of reason the first row that is refused for it, and how many are.

        Reasons that differ in their numbers alone are of one kind; the most frequent are first.
        """
        found = self.everything.found
        code = found.refused.copy()
        for name, limit in self.everything.space.limits.items():
            below = False if limit.min is None else found.costs[name] < limit.min
            above = False if limit.max is None else found.costs[name] > limit.max
            code = 3 * code + np.where(found.refused, 0, below + 2 * above)
        _, first, counts = np.unique(code[self.refused_rows], return_index=True, return_counts=True)
        kinds = sorted(zip((-counts).tolist(), first.tolist(), strict=True))
        return [(int(self.refused_rows[at]), -count) for count, at in kinds]

    @property
    def costs(self) -> dict[str, Ints]:
        """Each exact cost in `OBJECTIVES` of those to train, int64 array (candidate,)."""
        costs = self.everything.found.costs
        return {name: values[self.feasible_rows] for name, values in costs.items()}

    @cached_property
    def feasible(self) -> tuple[tuple[Candidate, Cost], ...]:
        """Those to train, each with its exact cost and the cost of its layers."""
        table = self.everything.table
        shape, classes_count = table.input_shape, table.classes_count
        candidates = [table.candidate(row) for row in self.feasible_rows]
        return tuple((one, cost(build(one, shape, classes_count))) for one in candidates)

    @cached_property
    def refused(self) -> tuple[tuple[Candidate, str], ...]:
        """Those that are refused, each with the reason."""
        everything = self.everything
        return tuple(
            (everything.table.candidate(row), everything.reason(row)) for row in self.refused_rows
        )

    @cached_property
    def duplicates(self) -> tuple[tuple[Candidate, Candidate], ...]:
        """Those that are there twice, each with the first of its network."""
        candidate = self.everything.table.candidate
        return tuple((candidate(row), candidate(self.first[row])) for row in self.duplicate_rows)


def survey(
    space: SearchSpace, input_shape: Shape, classes_count: int, *, is_sampled: bool = False
) -> Survey:
    """Count and sort every candidate, without training any.

    Args:
        space: a finite space.
        input_shape: (height, width, channels) of one image.
        classes_count: number of classes.
        is_sampled: whether a sample, always the same, may stand for a space that is infinite, or
            whose candidates take too long to count; of a sample none need be left.

    Raises:
        SpaceError: the space is infinite or too large to list, or nothing is left of it.
    """
    if is_sampled:
        everything = _sampled(space, input_shape, classes_count)
    else:
        space.require_finite()
        if (space.size or 0) > MOST_SURVEYED:
            raise SpaceError(
                f"{space.name} has {space.size:,} candidates, but at most {MOST_SURVEYED:,} can "
                "be listed; fix some metaparameters or take larger steps, or let `dse search` "
                "choose from it"
            )
        everything = _listed(space, input_shape, classes_count)
    if not everything.is_feasible.any() and len(everything) == space.size:
        raise _nothing_left(everything, f"its {space.size:,} candidates", everything.smallest())
    rows, built = np.arange(len(everything)), np.flatnonzero(everything.found.refused == 0)
    first = rows.copy()
    first[built] = built[first_alike(everything.found.take(built))]
    is_new, is_feasible = first == rows, everything.is_feasible
    # The same layers break the same limits; who repeats a refused network comes after the others.
    refused = np.concatenate([rows[is_new & ~is_feasible], rows[~is_new & ~is_feasible]])
    return Survey(
        everything,
        feasible_rows=rows[is_new & is_feasible],
        refused_rows=refused,
        duplicate_rows=rows[~is_new & is_feasible],
        first=first,
    )


@dataclass(frozen=True, eq=False)
class Pool:
    """Feasible candidates of a space for images of one shape, no two with the same layers.

    Whatever is picked from a pool is feasible and new. Whole spaces are in the order of
    `space.candidates()`, drawn ones in the order of drawing.

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
    costs: Mapping[str, Ints]
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
        return make_candidate(self.space.family, self.space.fixed | varying)

    def take(self, rows: Ints) -> Pool:
        """Some of its candidates, by index."""
        return replace(
            self,
            levels=self.levels[rows],
            units=self.units[rows],
            costs={name: values[rows] for name, values in self.costs.items()},
        )

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
            value: Any = values.get(self.varying[place])
            choices = self.choices[place]
            if not isinstance(choices, range):
                level = self._levels_by_value[place].get(value)
            else:
                level = choices.index(value) if value in choices else None
            if level is None:
                return None
            same = np.flatnonzero(self.levels[rows, place] == level)
            rows = same if isinstance(rows, slice) else rows[same]
        rows = np.arange(len(self))[rows]
        index = int(rows[0]) if rows.size else None
        return index if index is not None and self.candidate(index) == candidate else None

    @cached_property
    def _levels_by_value(self) -> tuple[dict[Value, int], ...]:
        """For each varying metaparameter that is not a range of whole numbers; canonical values."""
        known = FAMILIES[self.space.family].metaparameters
        return tuple(
            {}
            if isinstance(choices, range)
            else {known[name].canonical(value): level for level, value in enumerate(choices)}
            for name, choices in zip(self.varying, self.choices, strict=True)
        )


def make_pool(space: SearchSpace, input_shape: Shape, classes_count: int, *, seed: int = 0) -> Pool:
    """Count every candidate of a space and keep those that may be trained.

    A space of at most `MOST_LISTED` candidates is listed whole, where that takes about a
    second; otherwise an even sample stands for it. From larger ones candidates are drawn at
    random, evenly over each domain (over the logarithm in log ranges), until `ENOUGH_DRAWN`
    are left, `MOST_DRAWN` were drawn, or a second is over. Seconds are counted in work, not by a
    clock: the pool is the same on every machine.

    Args:
        space: any space.
        input_shape: (height, width, channels) of one image.
        classes_count: number of classes.
        seed: of the draw; the same pool for the same seed. Spaces listed whole need none.

    Raises:
        SpaceError: nothing is left, with the smallest possible value of each limited cost.
    """
    if space.size is not None and space.size <= MOST_LISTED:
        listed = _listed(space, input_shape, classes_count, MOST_WORK)
        is_whole = len(listed) == space.size
        if not listed.is_feasible.any():
            some = "" if is_whole else f"{len(listed):,} of "
            whose = f"{some}its {space.size:,} candidates"
            raise _nothing_left(listed, whose, listed.smallest())
        found = listed.feasible().distinct()
    else:
        is_whole = False
        found = _drawn(space, input_shape, classes_count, np.random.default_rng(seed))
    shape = (len(found), len(space.varying))
    levels, units = np.empty(shape, dtype=np.int64), np.empty(shape)
    choices: list[Sequence[Value]] = []
    for place, (name, values) in enumerate(found.values.items()):
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
        input_shape=input_shape,
        classes_count=classes_count,
        choices=tuple(choices),
        levels=levels,
        units=units,
        costs=found.found.costs,
        space_count=space.size,
        is_whole=is_whole,
    )
