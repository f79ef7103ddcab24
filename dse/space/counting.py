"""Exact costs of many candidates at once, by the same code that builds and counts one.

The builder of the family runs on batches: numbers are arrays, words and lists are one for
each group of candidates. Nothing here knows what a fire module is; what a candidate costs,
whether it is refused and which layers it has come from `build` and the layers alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.architecture.architecture import Architecture, Value
from dse.architecture.candidate import FAMILIES, Candidate, make_candidate
from dse.architecture.cost import layer_cost
from dse.architecture.objectives import OBJECTIVES
from dse.architecture.primitives import Layer, Shape
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
        numbers = [
            0 if isinstance(v, str | tuple) else Fraction(repr(v)) if isinstance(v, float) else v
            for v in self.choices
        ]
        return (
            Batch.of(number.numerator for number in numbers),
            Batch.of(number.denominator for number in numbers),
        )

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
            costs[name][rows] = _saturated(value)
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
        alike = _same_layers(table, leaders, pending)
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
    build = FAMILIES[table.family].build
    pending = [part for group in _groups(table, rows) for part in _slices(group, ROWS_AT_ONCE)]
    while pending:
        part = pending.pop()
        if 1 < len(part) <= FEW_ROWS:
            pending += _slices(part, 1)
            continue
        values = {name: column.at(part) for name, column in table.parts.items()}
        try:
            architecture = build(values, table.input_shape, table.classes_count)
            totals = _totals(architecture) if with_costs else {}
        except DivergentBranch as parted:
            pending += [part[parted.mask], part[~parted.mask]]
        except ArchitectureError:
            yield part, None
        else:
            yield part, _Built(*_described(architecture.layers), totals)


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


def _totals(architecture: Architecture) -> dict[str, Any]:
    """As in `cost`: sums over the layers, and the most activations."""
    layers = [layer_cost(layer) for layer in architecture.layers]
    peak: Any = 0
    for layer in layers:
        peak = _maximum(peak, layer.activation_bytes)
    return {
        "params_count": sum(layer.params_count for layer in layers),
        "macs": sum(layer.macs for layer in layers),
        "weight_bytes": sum(layer.weight_bytes for layer in layers),
        "peak_activation_bytes": peak,
    }


def _maximum(left: Any, right: Any) -> Any:
    if isinstance(left, Batch):
        return left.maximum(right)
    return right.maximum(left) if isinstance(right, Batch) else max(left, right)


def _saturated(value: Any) -> Any:
    if not isinstance(value, Batch):
        return min(value, INT64_MOST)
    if value.array.dtype != object:
        return value.array
    return np.minimum(value.array, INT64_MOST).astype(np.int64)


def _described(layers: Sequence[Layer]) -> tuple[tuple[Any, ...], list[Any]]:
    """All that tells these layers from others: words and classes, and numbers.

    A layer's input shape follows from the layers in front of it and is left out.
    """
    kind: list[Any] = []
    numbers: list[Any] = []
    for layer in layers:
        kind.append(type(layer).__name__)
        for name in (field.name for field in fields(layer) if field.name != "input_shape"):
            value = getattr(layer, name)
            if isinstance(value, str):
                assert SEVERAL not in value, f"{name} of a {type(layer).__name__} holds a number"
                kind.append(value)
            elif isinstance(value, float | FractionBatch):
                exact = Fraction(repr(value)) if isinstance(value, float) else value
                numbers += [exact.numerator, exact.denominator]
            else:
                numbers.append(value)
    return tuple(kind), numbers


def _hashes(built: _Built) -> NDArray[np.uint64]:
    """Hash of the kind + Σ number · multiplier, modulo 2⁶⁴; one, or one for each candidate."""
    alone = _hash(built.kind)
    total: Any = np.uint64(0)
    for number, multiplier in zip(built.numbers, _multipliers(len(built.numbers)), strict=True):
        if isinstance(number, Batch):
            total = total + _wrapped(number.array) * np.uint64(multiplier)
        else:
            alone += number * multiplier
    # An array of one, since numpy warns where a lone number leaves 64 bits.
    result: NDArray[np.uint64] = np.atleast_1d(total) + np.array([alone % 2**64], dtype=np.uint64)
    return result


@lru_cache
def _hash(kind: tuple[Any, ...]) -> int:
    """64 bits, the same on every machine."""
    return int.from_bytes(hashlib.sha256(repr(kind).encode()).digest()[:8], "big")


def _wrapped(array: NDArray[Any]) -> NDArray[np.uint64]:
    if array.dtype == object:
        array = np.array([number % 2**64 for number in array.tolist()], dtype=np.uint64)
    return array.astype(np.uint64)


@lru_cache
def _multipliers(count: int) -> tuple[int, ...]:
    """`count` odd numbers below 2⁶⁴, always the same."""
    drawn = np.random.default_rng(0).integers(0, 2**64, size=count, dtype=np.uint64)
    return tuple(int(number) | 1 for number in drawn)


def _same_layers(table: CandidateTable, left: Ints, right: Ints) -> NDArray[np.bool_]:
    """Whether the candidates of two lists of rows have the same layers, pair by pair."""
    same = np.zeros(len(left), dtype=bool)
    for start in range(0, len(left), ROWS_AT_ONCE):
        pairs = slice(start, start + ROWS_AT_ONCE)
        kinds: dict[Any, int] = {}
        one, two = (_numbers(table, rows[pairs], kinds) for rows in (left, right))
        width = max(one.shape[1], two.shape[1])
        one, two = (np.pad(rows, ((0, 0), (0, width - rows.shape[1]))) for rows in (one, two))
        same[pairs] = (one == two).all(axis=1)
    return same


def _numbers(table: CandidateTable, rows: Ints, kinds: dict[Any, int]) -> NDArray[Any]:
    """Array (row, number): the number of its kind, then those that make its layers, then 0."""
    distinct, inverse = np.unique(rows, return_inverse=True)
    found = []
    for part, built in _built(table, distinct, with_costs=False):
        assert built is not None, "a refused candidate has no layers"
        found.append((part, kinds.setdefault(built.kind, len(kinds) + 1), built.numbers))
    width = 1 + max(len(numbers) for _, _, numbers in found)
    large = any(most_of(number) > INT64_MOST for _, _, numbers in found for number in numbers)
    result: NDArray[Any] = np.zeros((len(distinct), width), dtype=object if large else np.int64)
    for part, kind, numbers in found:
        at = np.searchsorted(distinct, part)
        result[at, 0] = kind
        for place, number in enumerate(numbers, start=1):
            result[at, place] = number.array if isinstance(number, Batch) else number
    return result[inverse]
