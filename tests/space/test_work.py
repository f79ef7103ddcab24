"""Spaces of very many candidates, or of very long networks: counted in part, told as such."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.architecture import OBJECTIVES, build, cost
from dse.errors import ArchitectureError
from dse.space import Categorical, Fixed, FloatRange, IntRange, Limit, SearchSpace, limits_problem
from dse.space import domains as domains_module
from dse.space import enumerate as pool_module
from dse.space.counting import MOST_WORK, CandidateTable, Column, _Part, bulk_costs
from dse.space.draw import _shortened
from dse.space.enumerate import make_pool, survey

DIGITS = (8, 8, 1)
BYPASS = Categorical(("none", "simple", "complex"))


def long_networks(most_modules: int = 64, **domains) -> SearchSpace:
    """Networks of any length beside eight more metaparameters: 184,320 candidates."""
    domains = {
        "fire_modules": IntRange(1, most_modules),
        "base_e": Categorical((8, 16, 32, 64)),
        "incr_e": Categorical((0, 8, 16, 32, 64)),
        "freq": Categorical((1, 2)),
        "pct_3x3": Categorical((0.25, 0.5)),
        "squeeze_ratio": Categorical((0.03, 0.25, 0.5)),
        "bypass": BYPASS,
        "pools": Categorical(("late", "early")),
        "norm": Categorical(("none", "batch")),
    } | domains
    return SearchSpace("long", "squeezenet", domains, {"params_count": Limit(max=60_000)})


def table_of(space: SearchSpace) -> CandidateTable:
    sizes = [space.domains[name].size for name in space.varying]
    levels = np.unravel_index(np.arange(space.size), sizes)
    columns = {
        name: Column(space.domains[name].values(), of_each)
        for name, of_each in zip(space.varying, levels, strict=True)
    }
    return CandidateTable("squeezenet", space.fixed, columns, DIGITS, 10)


def one_by_one(space: SearchSpace):
    """The slow and obvious version: which candidates are left, and which say what."""
    left, reasons = [], []
    for candidate in space.candidates():
        try:
            architecture = build(candidate, DIGITS, 10)
        except ArchitectureError as error:
            reasons.append(str(error))
            continue
        if problem := limits_problem(space.limits, cost(architecture).by_name):
            reasons.append(problem)
        else:
            left.append((candidate, architecture.layers))
    return left, reasons


def test_networks_of_every_length_are_those_found_one_by_one():
    few = {"base_e": Categorical((8, 64)), "incr_e": Fixed(8), "pct_3x3": Fixed(0.5)}
    space = long_networks(6, squeeze_ratio=Categorical((0.03, 0.5)), **few)
    left, reasons = one_by_one(space)
    pool = make_pool(space, DIGITS, 10)
    assert pool.is_whole
    first = dict(reversed([(layers, candidate) for candidate, layers in left]))
    assert {pool.candidate(i) for i in range(len(pool))} == set(first.values())
    found = survey(space, DIGITS, 10, is_sampled=True)
    assert found.is_whole
    assert len(found.feasible_rows) == len(pool)
    counts = {found.everything.reason(row).split(" ")[0]: count for row, count in found.refusals}
    assert counts == {
        "fire2:": sum(reason.startswith("fire2: ") for reason in reasons),
        "params_count": sum(reason.startswith("params_count ") for reason in reasons),
    }


def test_less_work_counts_the_first_candidates():
    table = table_of(long_networks(12))
    whole = bulk_costs(table)
    for most_work in (1, whole.work / 20, whole.work / 2):
        some = bulk_costs(table, most_work)
        count = len(some.hashes)
        assert 16 <= count < len(table)
        assert (some.hashes == whole.hashes[:count]).all()
        for name in OBJECTIVES:
            assert (some.costs[name] == whole.costs[name][:count]).all()
        refused = [some.reasons[number] for number in some.refused]
        assert refused == [whole.reasons[number] for number in whole.refused[:count]]
    assert some.work < 1.5 * most_work
    assert count > 4096
    assert len(bulk_costs(table, 3 * whole.work).hashes) == len(table)


@pytest.mark.parametrize(
    "space",
    [
        long_networks(),
        long_networks(freq=IntRange(1, 10**9), fire_modules=Fixed(64)),
        replace(
            long_networks(
                base_e=IntRange(1, 10**9, log=True), pct_3x3=FloatRange(1e-6, 0.9, log=True)
            ),
            limits={"params_count": Limit(max=10**12)},
        ),
        long_networks(pools=Categorical(tuple((f"fire{n}",) for n in range(2, 60)))),
    ],
    ids=["length", "freq", "log", "lists"],
)
def test_a_sample_stands_for_what_takes_too_long(space, monkeypatch):
    for name in ("MOST_WORK", "DRAWN_WORK", "SURVEY_WORK"):
        monkeypatch.setattr(pool_module, name, MOST_WORK // 3)
    pool = make_pool(space, DIGITS, 10)
    assert not pool.is_whole
    assert len(pool) > 10
    again = make_pool(space, DIGITS, 10)
    assert np.array_equal(pool.levels, again.levels)
    layers = set()
    for index in range(0, len(pool), 1 + len(pool) // 20):
        candidate = pool.candidate(index)
        architecture = build(candidate, DIGITS, 10)
        assert cost(architecture).by_name == pool.costs_of(index)
        assert limits_problem(space.limits, pool.costs_of(index)) is None
        assert pool.find(candidate) == index
        layers.add(architecture.layers)
    assert len(layers) == len(range(0, len(pool), 1 + len(pool) // 20))
    found = survey(space, DIGITS, 10, is_sampled=True)
    assert not found.is_whole
    assert len(found.everything) < 100_000


def test_a_sample_has_the_shares_of_the_whole(monkeypatch):
    space = long_networks(12)
    exact = survey(space, DIGITS, 10, is_sampled=True)
    assert exact.is_whole
    monkeypatch.setattr(pool_module, "ROWS_AT_ONCE", 2**14)  # from which on the order is drawn
    monkeypatch.setattr(pool_module, "SURVEY_WORK", MOST_WORK // 10)
    found = survey(space, DIGITS, 10, is_sampled=True)
    count, share = len(found.everything), exact.everything.is_feasible.mean()
    assert 2000 < count < len(exact.everything)
    # Four standard errors.
    error = 4 * np.sqrt(share * (1 - share) / count)
    assert found.everything.is_feasible.mean() == pytest.approx(share, abs=error)


def test_a_share_without_steps_gives_every_network_that_it_can():
    limit = 500_000
    domains = {"squeeze_ratio": FloatRange(0.001, 0.5)}
    space = SearchSpace("s", "squeezenet", domains, {"params_count": Limit(max=limit)})
    pool = make_pool(space, DIGITS, 10)
    # A squeeze of k filters begins at (k - 1/2) / e; between two such shares nothing changes.
    widths = (128, 256, 384, 512)
    ends = {Fraction(2 * k - 1, 2 * e) for e, k in product(widths, range(1, 257))}
    starts = sorted(end for end in ends if Fraction(1, 256) <= end <= Fraction(1, 2))
    sizes = [params_of([int(share * e + Fraction(1, 2)) for e in widths]) for share in starts]
    assert sorted(pool.costs["params_count"]) == [size for size in sizes if size <= limit]


def test_a_pool_that_ends_with_the_work_stays_as_it_was():
    """However it is counted: searches on disk resume among the candidates that they began with."""
    domains = {
        "base_e": Categorical((8, 16, 24, 32)),
        "incr_e": Categorical((4, 8, 16, 32)),
        "freq": Categorical((2, 4)),
        "squeeze_ratio": FloatRange(0.001, 0.5),
        "pools": Categorical(("late", "early")),
        "bypass": BYPASS,
    }
    space = SearchSpace("s", "squeezenet", domains, {"params_count": Limit(max=500_000)})
    pool = make_pool(space, DIGITS, 10)
    assert len(pool) == 9_270
    assert pool.costs["params_count"].sum() == 367_067_662
    assert pool.costs["peak_activation_bytes"].sum() == 247_646_464
    assert pool.candidate(9_269).metaparameters["squeeze_ratio"] == 0.466149
    for row in range(0, len(pool), 900):
        alone = cost(build(pool.candidate(row), DIGITS, 10)).by_name
        assert pool.costs_of(row) == alone


def test_a_range_of_many_steps_is_written_out_once(monkeypatch):
    written = []
    exact = domains_module._exact
    monkeypatch.setattr(domains_module, "_exact", lambda n: written.append(n) or exact(n))
    space = long_networks(pct_3x3=FloatRange(0.000001, 0.9, 0.000001))
    pool = make_pool(space, DIGITS, 10)
    assert pool.space_count == 900_000 * 184_320 // 2
    assert all(pool.find(pool.candidate(index)) == index for index in range(0, len(pool), 100))
    assert len(written) < 10_000, "its ends and step are read once for each value that is drawn"


@given(st.lists(st.floats(1e-12, 1e9), min_size=1, max_size=30))
def test_numbers_are_shortened_as_python_prints_them(numbers):
    assert _shortened(np.array(numbers)).tolist() == [float(f"{n:.6g}") for n in numbers]


@given(st.lists(st.floats(1e-5, 1.0).map(lambda n: float(f"{n:.6g}")), min_size=1, max_size=30))
def test_shares_are_those_that_are_written(shares):
    numerators, denominators = _Part(tuple(shares), None)._terms
    found = zip(numerators.array.tolist(), denominators.array.tolist(), strict=True)
    assert [Fraction(*pair) for pair in found] == [Fraction(repr(share)) for share in shares]


def params_of(squeezes: list[int]) -> int:
    """Of SqueezeNet v1.0's widths on digits, by the formula; two modules of each squeeze."""
    total, width = 9 * 96 + 96, 96
    for squeeze, expand in zip(squeezes, (128, 256, 384, 512), strict=True):
        for _ in range(2):
            half = expand // 2
            total += (width + 1) * squeeze + (squeeze + 1) * half + (9 * squeeze + 1) * half
            width = expand
    return total + 10 * (512 + 1)
