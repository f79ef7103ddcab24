"""Exact costs of many candidates at once, by the same code that builds and counts one.

The builder of a family that allows it runs on batches: numbers are arrays, words and lists are
one for each group of candidates; candidates of any other family are built one by one. Nothing
here knows what a fire module is; what a candidate costs, whether it is refused and which layers
it has come from the family's `build` and the graph alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
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
from dse.architecture.cost import layer_costs, totals
from dse.errors import ArchitectureError
from dse.space.batch import INT64_MOST, SEVERAL, Batch, DivergentBranch, FractionBatch, most_of

ROWS_AT_ONCE = 2**15
"""Candidates that run through the builder together: their arrays stay in the cache."""
FEW_ROWS = 4
"""So few are built faster one by one."""

Ints = NDArray[np.integer[Any]]


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
            parts[name] = _Part(
                tuple(part.canonical(value) for value in values), column.levels if column else None
            )
        return parts


@dataclass(frozen=True, eq=False)
class _Part:
    """One metaparameter: its values in canonical form, and each candidate's level."""

    choices: tuple[Value, ...]
    levels: Ints | None

    @cached_property
    def words(self) -> Ints | None:
        """For each choice the number of its word or list; all numbers have the same one."""
        words = [i for i, value in enumerate(self.choices) if isinstance(value, str | tuple)]
        if self.levels is None or not words:
            return None
        numbers = np.zeros(len(self.choices), dtype=np.int64)
        numbers[words] = np.arange(len(words)) + 1
        return numbers

    @cached_property
    def _terms(self) -> tuple[Batch, Batch]:
        """Numerator and denominator of each choice as it is written; 0 for words."""
        terms = [
            _decimal_terms(value)
            if isinstance(value, float)
            else (0 if isinstance(value, str | tuple) else value, 1)
            for value in self.choices
        ]
        return Batch.of(n for n, _ in terms), Batch.of(d for _, d in terms)

    def at(self, rows: Ints) -> Any:
        """The value of these rows, which agree in their word or list if they have one."""
        if self.levels is None:
            return self.choices[0]
        first = self.choices[int(self.levels[rows[0]])]
        if len(rows) == 1 or isinstance(first, str | tuple):
            return first
        numerator, denominator = self._terms
        levels = self.levels[rows]
        if isinstance(first, int):
            return numerator.take(levels)
        return FractionBatch(numerator.take(levels), denominator.take(levels))


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
        refused: bool array (candidate,), True where `build` raises an `ArchitectureError`.
        costs: by name in `OBJECTIVES`, int64 array (candidate,); 0 where refused, and
            2⁶³ - 1 where a cost is larger than that.
        hashes: uint64 array (candidate,), equal for equal layers, in any table and on every
            machine; rarely equal for others. See `first_alike`.
    """

    refused: NDArray[np.bool_]
    costs: Mapping[str, NDArray[np.int64]]
    hashes: NDArray[np.uint64]

    def take(self, rows: NDArray[Any]) -> BulkCosts:
        """Those of some candidates, by index or mask."""
        costs = {name: values[rows] for name, values in self.costs.items()}
        return BulkCosts(self.refused[rows], costs, self.hashes[rows])


def bulk_costs(table: CandidateTable) -> BulkCosts:
    """Build and count every candidate of a table, equal to `cost(build(…))` of each."""
    count = len(table)
    refused = np.zeros(count, dtype=bool)
    costs = {name: np.zeros(count, dtype=np.int64) for name in OBJECTIVES}
    hashes = np.zeros(count, dtype=np.uint64)
    for rows, built in _built(table, np.arange(count)):
        if built is None:
            refused[rows] = True
            continue
        for name, value in built.costs.items():
            costs[name][rows] = (
                np.minimum(value.array, INT64_MOST)
                if isinstance(value, Batch)
                else min(value, INT64_MOST)
            )
        hashes[rows] = _hashes(built)
    return BulkCosts(refused, costs, hashes)


def first_alike(table: CandidateTable, hashes: NDArray[np.uint64]) -> Ints:
    """For each candidate the first one that has the same layers: itself, where it is new.

    Candidates whose hashes agree are compared layer by layer.

    Args:
        table: candidates none of which is refused.
        hashes: uint64 array (candidate,), equal for candidates with equal layers.

    Returns:
        int array (candidate,), indices into the table.
    """
    first = np.arange(len(hashes))
    pending = first
    while pending.size:
        _, at, group = np.unique(hashes[pending], return_index=True, return_inverse=True)
        leaders = pending[at][group]
        is_leader = leaders == pending
        pending, leaders = pending[~is_leader], leaders[~is_leader]
        alike = np.zeros(len(pending), dtype=bool)
        for start in range(0, len(pending), ROWS_AT_ONCE):
            pairs = slice(start, start + ROWS_AT_ONCE)
            both = np.concatenate([leaders[pairs], pending[pairs]])
            rows, inverse = np.unique(both, return_inverse=True)
            one, two = np.split(_numbers(table, rows)[inverse], 2)
            alike[pairs] = (one == two).all(axis=1)
        first[pending[alike]] = leaders[alike]
        pending = pending[~alike]  # another network with the same hash: compared again
    return first


@dataclass(frozen=True, eq=False)
class _Built:
    """Layers of several candidates that went the same way through the builder.

    Attributes:
        kind: all that is no number in their layers, which these candidates share.
        numbers: the numbers that make the layers, in order; batches, or one for all.
        costs: by objective, a number or a batch.
    """

    kind: tuple[Any, ...]
    numbers: list[Any]
    costs: dict[str, Any]


def _built(
    table: CandidateTable, rows: Ints, *, with_costs: bool = True
) -> Iterator[tuple[Ints, _Built | None]]:
    """Parts of `rows`, each with its layers; None for those that `build` refuses."""
    family = FAMILIES[table.family]
    most = ROWS_AT_ONCE if family.batched else 1
    pending = [part for group in _groups(table, rows) for part in _slices(group, most)]
    while pending:
        part = pending.pop()
        if 1 < len(part) <= FEW_ROWS:
            pending += _slices(part, 1)
            continue
        values = {name: column.at(part) for name, column in table.parts.items()}
        shape, classes_count = table.input_shape, table.classes_count
        try:
            blocks = family.build(values, shape, classes_count)
            architecture = assemble(family.name, (), shape, classes_count, blocks)
            costs = totals(layer_costs(architecture, _most), _most) if with_costs else {}
        except DivergentBranch as branch:
            pending += [part[branch.mask], part[~branch.mask]]
        except ArchitectureError:
            yield part, None
        else:
            yield part, _Built(*_described(architecture), costs)


def _groups(table: CandidateTable, rows: Ints) -> list[Ints]:
    """`rows`, apart by the words and lists among their values."""
    code = np.zeros(len(rows), dtype=np.int64)
    for part in table.parts.values():
        if part.words is not None and part.levels is not None:
            code = code * (len(part.choices) + 1) + part.words[part.levels[rows]]
    order = np.argsort(code, kind="stable")
    ends = np.flatnonzero(np.diff(code[order])) + 1
    return [rows[group] for group in np.split(order, ends) if group.size]


def _slices(rows: Ints, length: int) -> list[Ints]:
    return [rows[start : start + length] for start in range(0, len(rows), length)]


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


def _hashes(built: _Built) -> NDArray[np.uint64]:
    """Hash of the kind + Σ number · multiplier, modulo 2⁶⁴; one, or one for each candidate."""
    digest = hashlib.sha256(repr(built.kind).encode()).digest()
    alone = int.from_bytes(digest[:8], "big")
    # Odd numbers, always the same.
    drawn = np.random.default_rng(0).integers(0, 2**64, len(built.numbers), dtype=np.uint64) | 1
    total: Any = np.uint64(0)
    for number, multiplier in zip(built.numbers, drawn.tolist(), strict=True):
        if isinstance(number, Batch):
            array = number.array % 2**64 if number.array.dtype == object else number.array
            total = total + array.astype(np.uint64) * np.uint64(multiplier)
        else:
            alone += number * multiplier
    # An array of one, since numpy warns where a lone number leaves 64 bits.
    result: NDArray[np.uint64] = np.atleast_1d(total) + np.array([alone % 2**64], dtype=np.uint64)
    return result


def _numbers(table: CandidateTable, rows: Ints) -> NDArray[Any]:
    """Array (row, number): the number of its kind, then those that make its graph, then 0."""
    found, kinds = [], dict[Any, int]()
    for part, built in _built(table, rows, with_costs=False):
        assert built is not None, "a refused candidate has no layers"
        found.append((part, [kinds.setdefault(built.kind, len(kinds)), *built.numbers]))
    width = max(len(numbers) for _, numbers in found)
    large = any(most_of(number) > INT64_MOST for _, numbers in found for number in numbers)
    result: NDArray[Any] = np.zeros((len(rows), width), dtype=object if large else np.int64)
    for part, numbers in found:
        at = np.searchsorted(rows, part)
        for place, number in enumerate(numbers):
            result[at, place] = number.array if isinstance(number, Batch) else number
    return result
