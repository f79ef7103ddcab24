"""Exact costs of many candidates at once, by the same code that builds and counts one.

A family that allows it is built on batches, place by place: numbers are arrays, and candidates
that part ways at one place (other words, another kind of block, the end) are together again at the
next. So the work grows with the places of the longest network and the kinds of blocks at each,
not with the number of structures. Candidates of any other family are built one by one. Nothing
here knows what a fire module is; what a candidate costs, whether it is refused and which layers
it has come from the family's builder and the graph alone.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.architecture import (
    FAMILIES,
    OBJECTIVES,
    Architecture,
    Candidate,
    Shape,
    Value,
    assemble,
    make_candidate,
)
from dse.architecture.cost import LayerCost, layer_costs, totals
from dse.errors import ArchitectureError
from dse.space.batch import INT64_MOST, SEVERAL, Batch, DivergentBranch, FractionBatch, most_of
from dse.space.draw import POWERS, decimal_places

ROWS_AT_ONCE = 2**16
"""Candidates that run through the builder together: their arrays stay in the cache."""
MOST_WORK = 28 * 2**20
"""Layers of candidates, each layer of one kind as many more as `CALL_WORK`: about a second."""
CALL_WORK = 3 * 2**12
LARGE_WORK = 2**6
"""So many times slower are numbers that leave 64 bits."""
FIRST_ROWS = 2**14
"""Candidates that show how much work the others are, where work is limited."""
FEWEST_ROWS = 16
"""Candidates that are counted whatever the work."""

Ints = NDArray[np.integer[Any]]
Index = Ints | slice


@dataclass(frozen=True, eq=False)
class Column:
    """One metaparameter of many candidates.

    Attributes:
        choices: the values that occur.
        levels: int array (candidate,), the index of each candidate's value in `choices`.
    """

    choices: Sequence[Value]
    levels: Ints


@dataclass(frozen=True, eq=False)
class CandidateTable:
    """Many candidates of one family, for images of one shape, before anything is built.

    Attributes:
        family: a name in `FAMILIES`.
        fixed: metaparameters that all candidates share; absent ones take the default.
        columns: the others; all of one length, with values that the family allows.
        input_shape: (height, width, channels) of one image.
        classes_count: number of classes.
    """

    family: str
    fixed: Mapping[str, Value]
    columns: Mapping[str, Column]
    input_shape: Shape
    classes_count: int

    def __len__(self) -> int:
        """Number of candidates; one where nothing varies."""
        return next((len(column.levels) for column in self.columns.values()), 1)

    def take(self, rows: Ints) -> CandidateTable:
        """Some of the candidates."""
        columns = {name: Column(c.choices, c.levels[rows]) for name, c in self.columns.items()}
        return replace(self, columns=columns)

    def candidate(self, row: int) -> Candidate:
        """The candidate of one row."""
        varying = {name: c.choices[int(c.levels[row])] for name, c in self.columns.items()}
        return make_candidate(self.family, dict(self.fixed) | varying)

    @cached_property
    def parts(self) -> dict[str, _Part]:
        """Each metaparameter in the family's order, ready for many rows."""
        known = FAMILIES[self.family].metaparameters
        parts = {}
        for name, part in known.items():
            column = self.columns.get(name)
            values = column.choices if column else [self.fixed.get(name, part.default)]
            # A drawn column has tens of thousands of floats: types are compared without a loop.
            if part.kind == "float" and set(map(type, values)) == {float}:
                choices = tuple((np.array(values) + 0.0).tolist())  # canonical: -0.0 becomes 0.0
            else:
                choices = tuple(part.canonical(value) for value in values)
            parts[name] = _Part(choices, column.levels if column else None)
        return parts


@dataclass(frozen=True, eq=False)
class _Part:
    """One metaparameter: its values in canonical form, and each candidate's level."""

    choices: tuple[Value, ...]
    levels: Ints | None

    @cached_property
    def words(self) -> Ints | None:
        """For each choice the number of its word or list; all numbers have the same one."""
        if self.levels is None or not {str, tuple} & set(map(type, self.choices)):
            return None
        words = [i for i, value in enumerate(self.choices) if isinstance(value, str | tuple)]
        numbers = np.zeros(len(self.choices), dtype=np.int64)
        numbers[words] = np.arange(len(words)) + 1
        return numbers.astype(np.min_scalar_type(len(words)))

    @cached_property
    def _terms(self) -> tuple[Batch, Batch]:
        """Numerator and denominator of each choice as it is written; 0 for words."""
        if set(map(type, self.choices)) == {float}:
            numbers = np.array(self.choices)
            places = decimal_places(numbers)
            numerators = np.rint(numbers * POWERS[places])
            # As in `draw`; a decimal of so few digits that gives the float is how it is written.
            if (numerators / POWERS[places] == numbers).all() and numerators.max() < 1e15:
                above, below = numerators.astype(np.int64), POWERS[places].astype(np.int64)
                shared = np.gcd(above, below)
                pair = above // shared, below // shared
                return Batch(pair[0], int(pair[0].max())), Batch(pair[1], int(pair[1].max()))
        terms = [
            _decimal_terms(value)
            if isinstance(value, float)
            else (0 if isinstance(value, str | tuple) else value, 1)
            for value in self.choices
        ]
        return Batch.of(n for n, _ in terms), Batch.of(d for _, d in terms)

    def of(self, rows: Ints) -> _PartOfRows:
        """The same of some rows, side by side."""
        if self.levels is None:
            return _PartOfRows(self.choices, None, None, lambda: self._terms)
        levels = self.levels[rows]
        words = None if self.words is None else self.words[levels]
        return _PartOfRows(
            self.choices, levels, words, lambda: tuple(x.take(levels) for x in self._terms)
        )


@dataclass(frozen=True, eq=False)
class _PartOfRows:
    """One metaparameter of some rows.

    Attributes:
        choices: its values.
        levels: of each row, or None where all have the first value.
        words: of each row the number of its word or list, 0 for a number; None without any.
        make_terms: numerators and denominators of all rows.
    """

    choices: tuple[Value, ...]
    levels: Ints | None
    words: Ints | None
    make_terms: Callable[[], tuple[Batch, ...]]

    @cached_property
    def _terms(self) -> tuple[Batch, ...]:
        return self.make_terms()

    def at(self, rows: Index) -> Any:
        """The value of some of the rows.

        Raises:
            DivergentBranch: they do not agree in their word or list, if some have one.
        """
        if self.levels is None:
            return self.choices[0]
        at, length = (
            (rows.start, rows.stop - rows.start)
            if isinstance(rows, slice)
            else (rows[0], len(rows))
        )
        first = self.choices[int(self.levels[at])]
        if length == 1:
            return first
        if self.words is not None:
            words = self.words[rows]
            if not (same := words == words[0]).all():
                raise DivergentBranch(same)
            if words[0]:
                return first
        numerator, denominator = self._terms
        if isinstance(first, int):
            return numerator.take(rows)
        return FractionBatch(numerator.take(rows), denominator.take(rows))


def _decimal_terms(value: float) -> tuple[int, int]:
    """Numerator and denominator of a float as it is written, in lowest terms.

    Those of `Fraction(repr(value))`, ten times as fast: of a range without steps there are many.
    """
    digits, _, exponent = repr(value).partition("e")
    whole, _, places = digits.partition(".")
    numerator, power = int(whole + places), len(places) - int(exponent or 0)
    if power <= 0:
        return numerator * 10**-power, 1
    shared = math.gcd(numerator, 10**power)
    return numerator // shared, 10**power // shared


@dataclass(frozen=True, eq=False)
class BulkCosts:
    """What `bulk_costs` found.

    Attributes:
        refused: int array (candidate,), 0 where it can be built; else which of `reasons`.
        reasons: what `build` says of those that it refuses, from 1, with # for each number.
        costs: by name in `OBJECTIVES`, int64 array (candidate,); 0 where refused, and
            2⁶³ - 1 where a cost is larger than that.
        hashes: uint64 array (candidate,), equal for equal layers, in any table and on every
            machine; for others equal with a chance of 2⁻⁶⁴.
        work: that was done, in the unit of `MOST_WORK`.
        calls: of it, what any `ROWS_AT_ONCE` candidates or fewer take, for the last of them.
    """

    refused: NDArray[np.int64]
    reasons: Sequence[str]
    costs: Mapping[str, NDArray[np.int64]]
    hashes: NDArray[np.uint64]
    work: float = 0.0
    calls: float = 0.0

    def take(self, rows: NDArray[Any] | slice) -> BulkCosts:
        """Those of some candidates, by index or mask."""
        costs = {name: values[rows] for name, values in self.costs.items()}
        return BulkCosts(self.refused[rows], self.reasons, costs, self.hashes[rows])


def bulk_costs(table: CandidateTable, most_work: float = math.inf) -> BulkCosts:
    """Build and count candidates of a table, equal to `cost(build(…))` of each.

    Args:
        table: of candidates.
        most_work: when to end, in the unit of `MOST_WORK`; the same on every machine.

    Returns:
        The first of the table: all of them, where `most_work` allows it.
    """
    count, start, work_done = len(table), 0, 0.0
    affordable_count = FIRST_ROWS if most_work < math.inf else count
    refused = np.zeros(count, dtype=np.int64)
    reasons: dict[str, int] = {"": 0}
    costs = {name: np.zeros(count, dtype=np.int64) for name in OBJECTIVES}
    hashes = np.zeros(count, dtype=np.uint64)
    while start < count and affordable_count > 0:
        slice_count = min(ROWS_AT_ONCE, count - start, affordable_count)
        work = _Work(most_work - work_done, slice_count)
        rows = np.arange(start, start + slice_count)
        _count(table, rows[_order(table, rows)], work, costs | {"": hashes}, refused, reasons)
        start, work_done = start + work.rows_count, work_done + work.done
        if work.rows_count < slice_count:
            break
        if most_work < math.inf:
            left = most_work - work_done - work.calls
            affordable_count = int(left / (work.done - work.calls) * slice_count)
    for values in (*costs.values(), hashes):
        values[refused > 0] = 0
    found_all = BulkCosts(refused, tuple(reasons), costs, hashes).take(slice(start))
    return replace(found_all, work=work_done, calls=work.calls)


def _count(
    table: CandidateTable,
    rows: Ints,
    work: _Work,
    counted: Mapping[str, NDArray[Any]],
    refused: Ints,
    reasons: dict[str, int],
) -> None:
    """Write into `counted` (hashes under "") and `refused` what becomes of some rows."""
    # Of these rows, side by side: a part of them is most often a slice, which needs no copy.
    so_far = {name: np.zeros(len(rows), values.dtype) for name, values in counted.items()}
    mosts = dict.fromkeys(OBJECTIVES, 0)
    for place, at, built in _walk(table, rows, work):
        if built is None:
            for name, values in so_far.items():
                counted[name][rows] = values
            rows, so_far = rows[at], {name: values[at] for name, values in so_far.items()}
            continue
        if isinstance(built, str):
            reason = re.sub(rf"{SEVERAL}|\d[\d,.]*", "#", built)
            refused[rows[at]] = reasons.setdefault(reason, len(reasons))
            continue
        given: list[Any] = [Batch(so_far[name][at], mosts[name]) for name in OBJECTIVES]
        before = LayerCost("", "", table.input_shape, *given)
        found: dict[str, Any] = totals((before, *layer_costs(built, _most)), _most)
        for name, value in found.items():
            array = value.array
            so_far[name][at] = np.minimum(array, INT64_MOST) if array.dtype == object else array
            mosts[name] = min(max(mosts[name], value.most), INT64_MOST)
        so_far[""][at] += _hashes(place, *_described(built))
        is_large = found["macs"].most > INT64_MOST
        work.call(len(given[0].array) * (LARGE_WORK if is_large else 1))
    for name, values in so_far.items():
        counted[name][rows] = values


def _order(table: CandidateTable, rows: Ints) -> Ints:
    """`rows` by the words and lists among their values, and below these by numbers of few values.

    So candidates that the builder treats alike mostly lie side by side, as slices.
    """
    by_words: list[Ints] = []
    by_count: list[tuple[int, Ints]] = []
    for part in table.parts.values():
        if part.levels is not None and part.words is not None:
            by_words.insert(0, part.words[part.levels[rows]])  # the last tell most, as a rule
        elif part.levels is not None:
            by_count.append((len(part.choices), part.levels[rows]))
    keys = [*by_words, *(levels for _, levels in sorted(by_count, key=lambda pair: pair[0]))]
    code, most = np.zeros(len(rows), dtype=np.int64), 1
    for key in keys:
        most *= int(key.max()) + 1
        if most >= 2**16:
            break
        code = code * (int(key.max()) + 1) + key
    return np.argsort(code.astype(np.uint16), kind="stable")  # ten times as fast as 64 bits


def first_alike(found: BulkCosts) -> Ints:
    """For each candidate the first one that has the same layers: the same hash and costs.

    Args:
        found: of candidates none of which is refused.

    Returns:
        int array (candidate,): itself, where a candidate is new.
    """
    first = np.arange(len(found.hashes))
    pending = first
    while pending.size:
        _, at, group = np.unique(found.hashes[pending], return_index=True, return_inverse=True)
        leaders = pending[at][group]
        pairs = [values[pending] == values[leaders] for values in found.costs.values()]
        alike = np.logical_and.reduce(pairs)
        first[pending[alike]] = leaders[alike]
        pending = pending[~alike]  # another network with the same hash
    return first


@dataclass
class _Work:
    """What may be done for some rows and what was done, and how many of them are still counted."""

    most: float
    rows_count: int
    done: float = 0.0
    calls: float = 0.0  # of it, what was done however many rows there are

    def __post_init__(self) -> None:
        self._grace = self.most / 4

    def call(self, rows_work: float, share: float = 1.0) -> None:
        """Add a share of what a layer of some rows takes."""
        self.calls += share * CALL_WORK
        self.done += share * (CALL_WORK + rows_work)

    @property
    def is_helped(self) -> bool:
        """Whether fewer rows are less work: not where few kinds of long networks make it."""
        rows = self.done - self.calls
        return rows > self.calls / 4 or rows < self.calls / CALL_WORK * 32

    def shed(self) -> bool:
        """Count the first half alone where too much was done; in all at most half as much again."""
        before_count = self.rows_count
        while self.done >= self.most and self.rows_count > FEWEST_ROWS and self.is_helped:
            self.rows_count = max(self.rows_count // 2, FEWEST_ROWS)
            self.most += self._grace
            self._grace /= 2
        return self.rows_count < before_count


class _Values(Mapping[str, Any]):
    """The metaparameters of some rows, each made when it is asked for."""

    def __init__(self, parts: Mapping[str, _PartOfRows], rows: Index) -> None:
        self._parts, self._rows, self._made = parts, rows, dict[str, Any]()

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._parts[name].at(self._rows)
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


def _walk(
    table: CandidateTable, rows: Ints, work: _Work
) -> Iterator[tuple[int, Index, Architecture | str | None]]:
    """For each place the blocks there: of which of `rows` (by index), as a graph of their own.

    A text says why a graph cannot be built; those rows walk no further. None says that only these
    rows are left, and what follows counts from 0 among them.
    """
    family, classes_count = FAMILIES[table.family], table.classes_count
    parts = {name: part.of(rows) for name, part in table.parts.items()}
    shape: list[Any] = list(table.input_shape)  # of what reaches the place
    first = rows.min()
    alive: Ints = np.arange(len(rows))
    for place in count():
        if work.shed():
            alive = alive[rows[alive] < first + work.rows_count]
            if not alive.size:
                return
        left: list[tuple[Ints, Shape]] = []
        pending = [alive] if family.blocks_at else np.split(alive, len(alive))
        while pending:
            at = pending.pop()
            index = slice(at[0], at[-1] + 1) if at[-1] - at[0] == len(at) - 1 else at
            work.call(len(at), 1 / 8)
            given: Any = tuple(x.take(index) if isinstance(x, Batch) else x for x in shape)
            values = _Values(parts, index)
            try:
                if family.blocks_at:
                    blocks = family.blocks_at(values, place, table.input_shape, classes_count)
                else:
                    all_blocks = family.build(dict(values), table.input_shape, classes_count)
                    blocks = None if place else tuple(all_blocks)
                if blocks is None:
                    continue
                built = assemble(family.name, (), given, classes_count, blocks)
            except DivergentBranch as branch:
                pending += [at[branch.mask], at[~branch.mask]]
            except ArchitectureError as error:
                yield place, index, str(error)
            else:
                left.append((at, built.output_shape))
                if built.layers:
                    yield place, index, built
        if not left:
            return
        alive = left[0][0]
        if len(left) > 1:
            is_alive = np.zeros(len(rows), dtype=bool)
            for at, _ in left:
                is_alive[at] = True
            alive = np.flatnonzero(is_alive)
        shape = [_merged([(at, given[i]) for at, given in left], len(rows)) for i in range(3)]
        if len(alive) < len(rows):  # the others close ranks: slices again
            yield place, alive, None
            shape = [x.take(alive) if isinstance(x, Batch) else x for x in shape]
            rows = rows[alive]
            alive = np.arange(len(alive))
            parts = {name: part.of(rows) for name, part in table.parts.items()}


def _merged(parts: list[tuple[Ints, Any]], length: int) -> Any:
    """One number or batch from those of several parts, which lie at some indices."""
    first = parts[0][1]
    if len(parts) == 1 and len(parts[0][0]) == length:
        return first
    if all(isinstance(number, int) and number == first for _, number in parts):
        return first
    most = max(most_of(number) for _, number in parts)
    merged = np.zeros(length, dtype=object if most > INT64_MOST else np.int64)
    for at, number in parts:
        merged[at] = number.array if isinstance(number, Batch) else number
    return Batch(merged, most)


def _most(numbers: list[Any]) -> Any:
    """The largest of several numbers or batches, candidate by candidate."""
    found = numbers[0]
    for number in numbers[1:]:
        if isinstance(found, Batch) or isinstance(number, Batch):
            if number is not found:
                found = found.maximum(number) if isinstance(found, Batch) else number.maximum(found)
        else:
            found = max(found, number)
    return found


def _described(architecture: Architecture) -> tuple[tuple[Any, ...], list[Any]]:
    """All that tells a graph from others for the same images: words and classes, and numbers."""
    kind: list[Any] = []
    numbers: list[Any] = []
    for node in architecture.graph:
        kind += [type(node.primitive).__name__, node.inputs]
        for name, value in vars(node.primitive).items():
            if isinstance(value, str):
                assert SEVERAL not in value, f"{name} of {node.primitive} holds a number"
                kind.append(value)
            elif isinstance(value, float | FractionBatch):
                exact = Fraction(repr(value)) if isinstance(value, float) else value
                numbers += [exact.numerator, exact.denominator]
            else:
                numbers.append(value)
    return tuple(kind), numbers


def _hashes(place: int, kind: tuple[Any, ...], numbers: list[Any]) -> NDArray[np.uint64]:
    """Hash of the kind + Σ number · multiplier, modulo 2⁶⁴: array (candidate,), or of one."""
    alone = int.from_bytes(hashlib.sha256(repr(kind).encode()).digest()[:8], "big")
    total: Any = np.zeros(1, dtype=np.uint64)
    for number, multiplier in zip(numbers, _multipliers(place, len(numbers)), strict=True):
        if isinstance(number, Batch):
            array = number.array % 2**64 if number.array.dtype == object else number.array
            total = total + array.astype(np.uint64, copy=False) * np.uint64(multiplier)
        else:
            alone += number * multiplier
    result: NDArray[np.uint64] = total + np.uint64(alone % 2**64)
    return result


@lru_cache(maxsize=1024)
def _multipliers(place: int, length: int) -> list[int]:
    """Odd numbers, always the same."""
    drawn = np.random.default_rng(place).integers(0, 2**64, length, dtype=np.uint64) | 1
    return [int(number) for number in drawn]
