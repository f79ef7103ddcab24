"""Bulk costs against `cost(build(…))` of each candidate; equal layers against equal tuples."""

from __future__ import annotations

import random
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dse.architecture import FAMILIES, OBJECTIVES, Shape, build, cost, make_candidate
from dse.architecture.families.squeezenet import round_half_up
from dse.errors import ArchitectureError
from dse.space import counting as bulk_module
from dse.space.batch import INT64_MOST, Batch, DivergentBranch, FractionBatch
from dse.space.counting import BulkCosts, CandidateTable, Column, bulk_costs, first_alike
from tests.strategies import input_shapes, squeezenet_values


def table_of(
    rows: list[dict[str, Any]], shape: Shape, classes_count: int = 10, family: str = "squeezenet"
) -> CandidateTable:
    """Any candidates as a table; a metaparameter that they share is fixed."""
    fixed, columns = {}, {}
    for name in rows[0]:
        values = [tuple(v) if isinstance(v := row[name], list) else v for row in rows]
        choices = tuple(dict.fromkeys(values))
        if len(choices) == 1 and len(rows) > 1:
            fixed[name] = choices[0]
        else:
            columns[name] = Column(choices, np.array([choices.index(v) for v in values]))
    return CandidateTable(family, fixed, columns, shape, classes_count)


def mesh(shape: Shape, classes_count: int = 10, **lists: list[Any]) -> CandidateTable:
    """Every combination of some values."""
    rows = [dict(zip(lists, row, strict=True)) for row in product(*lists.values())]
    return table_of(rows, shape, classes_count)


def one_by_one(table: CandidateTable) -> tuple[BulkCosts, list[Any]]:
    """The slow and obvious version, and each candidate's layers."""
    refused, costs, layers = [], [], []
    for row in range(len(table)):
        try:
            built = build(table.candidate(row), table.input_shape, table.classes_count)
        except ArchitectureError:
            refused.append(True)
            costs.append([0] * len(OBJECTIVES))
            layers.append(None)
        else:
            refused.append(False)
            costs.append([getattr(cost(built), name) for name in OBJECTIVES])
            layers.append(built.layers)
    array = np.array(costs)
    return BulkCosts(
        np.array(refused),
        (),
        {name: array[:, i] for i, name in enumerate(OBJECTIVES)},
        np.array([]),
    ), layers


def check(table: CandidateTable) -> None:
    expected, layers = one_by_one(table)
    found = bulk_costs(table)
    assert (found.refused > 0).tolist() == expected.refused.tolist()
    for name in OBJECTIVES:
        assert found.costs[name].tolist() == expected.costs[name].tolist()
    left = np.flatnonzero(~found.refused)
    if not left.size:
        return
    alive = [layers[row] for row in left]
    first = [alive.index(one) for one in alive]
    assert first_alike(found.take(left)).tolist() == first


@st.composite
def drawn_tables(draw: st.DrawFn) -> CandidateTable:
    """Tables of unlike candidates; some of them cannot be built."""
    shape = draw(input_shapes)
    rows = draw(st.lists(squeezenet_values(shape), min_size=1, max_size=8))
    spoilt = {
        "squeeze_ratio": st.integers(1, 12).map(lambda percent: percent / 100),
        "pct_3x3": st.integers(1, 99).map(lambda percent: percent / 100),
        "pools": st.just(["conv1", "fire2", "fire3", "fire40"]),
        "stem_kernel": st.integers(1, 15),
        "base_e": st.integers(1, 5),
    }
    for row in rows:
        for name in draw(st.lists(st.sampled_from(sorted(spoilt)), max_size=2)):
            row[name] = draw(spoilt[name])
    return table_of(rows, shape, draw(st.integers(1, 30)))


@given(drawn_tables())
def test_unlike_candidates_cost_what_each_costs_alone(table):
    check(table)


@st.composite
def drawn_meshes(draw: st.DrawFn) -> CandidateTable:
    """Products, in which many candidates go through the builder together."""
    whole = st.integers(1, 12)
    shares = st.integers(1, 100).map(lambda percent: percent / 100)
    lists: dict[str, st.SearchStrategy[Any]] = {
        "base_e": whole,
        "incr_e": st.integers(0, 6),
        "freq": st.integers(1, 4),
        "pct_3x3": shares.filter(lambda share: share < 1),
        "squeeze_ratio": shares,
        "fire_modules": st.integers(1, 5),
        "stem_filters": st.one_of(st.just("auto"), whole),
        "stem_kernel": st.one_of(st.just("auto"), st.integers(1, 9)),
        "stem_stride": st.one_of(st.just("auto"), st.integers(1, 4)),
        "pools": st.sampled_from(["auto", "late", "early", (), ("conv1", "fire3"), ("fire2",)]),
        "bypass": st.sampled_from(["none", "simple", "complex"]),
        "norm": st.sampled_from(["none", "batch"]),
        "dropout": st.sampled_from([0.0, 0.1, 0.5]),
        "final_activation": st.sampled_from(["none", "relu"]),
    }
    names = draw(st.lists(st.sampled_from(sorted(lists)), min_size=1, max_size=4, unique=True))
    drawn = {
        name: draw(st.lists(lists[name], min_size=1, max_size=4, unique=True)) for name in names
    }
    return mesh(draw(input_shapes), draw(st.integers(1, 30)), **drawn)


@given(drawn_meshes())
@settings(deadline=None)
def test_products_cost_what_each_costs_alone(table):
    check(table)


@pytest.mark.parametrize("shape", [(8, 8, 1), (64, 48, 3), (32, 32, 3), (227, 227, 3)])
def test_every_structure_at_every_size_of_images(shape):
    check(
        mesh(
            shape,
            1000,
            base_e=[6, 8, 128],
            incr_e=[0, 8],
            freq=[1, 2],
            squeeze_ratio=[0.06, 0.5],
            fire_modules=[1, 8],
            pools=["late", "early", ("conv1", "fire4", "fire8")],
            bypass=["none", "simple", "complex"],
            norm=["none", "batch"],
        )
    )


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_is_counted_in_bulk(family):
    parts = FAMILIES[family].metaparameters.values()
    lists = {}
    for part in parts:
        numbers = [part.default] if part.kind in ("int", "float") else []
        lists[part.name] = [*part.choices, *(v for v in numbers if v not in part.choices)]
    lists["dropout"] = [0.0, 0.25, 0.5]
    rows = [dict(zip(lists, row, strict=True)) for row in product(*lists.values())]
    check(table_of(rows, (64, 64, 3), family=family))


def test_a_number_is_a_number_however_it_came_about():
    # conv1 has 5 filters by its own word, or 0.75 · 7 of them; a bypass that no module can have.
    table = mesh(
        (8, 8, 1), base_e=[7, 8], incr_e=[1], freq=[1], stem_filters=["auto", 5], bypass=["none"]
    )
    kept = first_alike(bulk_costs(table))
    assert kept.tolist() == [0, 0, 2, 3]
    table = mesh((8, 8, 1), incr_e=[0, 4], freq=[1, 2], bypass=["none", "simple"])
    assert first_alike(bulk_costs(table)).tolist() == [0, 1, 0, 1, 4, 4, 6, 7]


def test_long_runs_are_cut_and_put_together_again(monkeypatch):
    table = mesh((8, 8, 1), base_e=list(range(1, 60)), incr_e=[0, 3], bypass=["none", "simple"])
    whole = bulk_costs(table)
    monkeypatch.setattr(bulk_module, "ROWS_AT_ONCE", 7)
    cut = bulk_costs(table)
    assert (cut.refused == whole.refused).all()
    assert (cut.hashes == whole.hashes).all()
    for name in OBJECTIVES:
        assert (cut.costs[name] == whole.costs[name]).all()


def test_widths_beyond_64_bits_are_exact_and_saturate():
    # 10^18 expand filters: half of them are rounded in whole numbers, and the costs are too
    # large for any array of 64 bits.
    rows = [{"base_e": 10**18 + i, "incr_e": 0, "pct_3x3": 0.3 + i / 10**16} for i in range(6)]
    found = bulk_costs(table_of(rows, (8, 8, 1)))
    assert all((found.costs[name] == INT64_MOST).all() for name in OBJECTIVES)
    assert len(set(found.hashes.tolist())) == 6


# The batch


@given(st.lists(st.tuples(st.floats(1e-12, 1.0), st.integers(0, 10**12)), min_size=1, max_size=8))
def test_rounding_a_batch_is_rounding_each(pairs):
    from fractions import Fraction

    exact = [Fraction(repr(share)) for share, _ in pairs]
    shares = FractionBatch(
        Batch.of(f.numerator for f in exact), Batch.of(f.denominator for f in exact)
    )
    rounded = round_half_up(shares, Batch.of(of for _, of in pairs))
    assert rounded.array.tolist() == [round_half_up(share, of) for share, of in pairs]


@given(
    st.lists(st.integers(-(2**70), 2**70), min_size=3, max_size=3),
    st.lists(st.integers(-(2**70), 2**70), min_size=3, max_size=3),
)
def test_a_batch_counts_as_python_does(left, right):
    one, two = Batch.of(left), Batch.of(right)
    pairs = list(zip(left, right, strict=True))
    assert (one + two).array.tolist() == [a + b for a, b in pairs]
    assert (one - two).array.tolist() == [a - b for a, b in pairs]
    assert (one * two).array.tolist() == [a * b for a, b in pairs]
    assert (one > two).array.tolist() == [a > b for a, b in pairs]
    assert (one == two).array.tolist() == [a == b for a, b in pairs]
    assert one.maximum(two).array.tolist() == [max(a, b) for a, b in pairs]
    assert (7 - one).array.tolist() == [7 - a for a in left]
    assert (one // 3 + -one % 5).array.tolist() == [a // 3 + -a % 5 for a in left]
    if all(right):
        assert (one // two).array.tolist() == [a // b for a, b in pairs]
        assert (11 // two).array.tolist() == [11 // b for b in right]


def test_candidates_that_part_ways_are_named():
    numbers = Batch.of([1, 5, 2, 5])
    with pytest.raises(DivergentBranch) as caught:
        bool(numbers < 3)
    assert caught.value.mask.tolist() == [True, False, True, False]
    with pytest.raises(DivergentBranch) as caught:
        range(numbers)
    assert caught.value.mask.tolist() == [True, False, False, False]
    assert numbers < 6
    assert not numbers > 5
    assert numbers != "auto"
    assert list(range(Batch.of([2, 2]))) == [0, 1]
    assert f"{Batch.of([2, 2])} {numbers}" == "2 <several numbers>"


def test_a_float_is_counted_as_it_is_written():
    rng = random.Random(0)
    floats = [rng.random() * 10 ** rng.randrange(-30, 30) for _ in range(500)]
    for value in (*floats, 0.0, -0.125, 0.1, 1e22, 1e-5, 5e-324, 1.5e300, 100.0):
        exact = Fraction(repr(value))
        assert bulk_module._decimal_terms(value) == (exact.numerator, exact.denominator)


def test_costs_of_a_single_candidate_that_leave_64_bits_are_the_largest():
    widths = {"base_e": 128, "incr_e": 128 * 10**9}
    assert cost(build(make_candidate("squeezenet", widths), (32, 32, 3), 10)).macs > INT64_MOST
    table = CandidateTable(
        "squeezenet", widths, {"freq": Column((2,), np.array([0]))}, (32, 32, 3), 10
    )
    assert bulk_costs(table).costs["macs"].tolist() == [INT64_MOST]
