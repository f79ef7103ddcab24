"""The pool against the survey, drawn pools against their limits, units and levels by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given

from dse.architecture import OBJECTIVES, build, cost, make_candidate
from dse.errors import SpaceError
from dse.space import Categorical, Fixed, FloatRange, IntRange, Limit, SearchSpace, limits_problem
from dse.space import enumerate as pool_module
from dse.space.draw import draw, units_of
from dse.space.enumerate import Pool, make_pool, survey
from tests.strategies import finite_spaces

DIGITS = (8, 8, 1)
CIFAR = (32, 32, 3)


def space_of(limits: dict[str, Limit] | None = None, **domains) -> SearchSpace:
    return SearchSpace("s", "squeezenet", domains, limits or {})


def million(limits: dict[str, Limit] | None = None) -> SearchSpace:
    """1,008,000 candidates."""
    return space_of(
        limits,
        base_e=IntRange(8, 172, 4),
        incr_e=IntRange(0, 96, 4),
        freq=Categorical((1, 2, 3, 4)),
        pct_3x3=FloatRange(0.05, 0.5, 0.05),
        squeeze_ratio=FloatRange(0.125, 1.0, 0.125),
        bypass=Categorical(("none", "simple", "complex")),
        norm=Fixed("batch"),
    )


def outcome(find, space):
    """What `find` finds, or the text of its `SpaceError`."""
    try:
        return find(space, DIGITS, 10)
    except SpaceError as error:
        return str(error)


# Whole spaces


@given(finite_spaces())
def test_a_whole_pool_holds_what_the_survey_finds(space):
    assume(space.size is not None and space.size <= 60)
    expected, pool = (outcome(find, space) for find in (survey, make_pool))
    if isinstance(expected, str):
        assert pool == expected
        return
    assert [pool.candidate(i) for i in range(len(pool))] == [c for c, _ in expected.feasible]
    for name in OBJECTIVES:
        assert pool.costs[name].tolist() == [getattr(c, name) for _, c in expected.feasible]
    assert pool.is_whole
    assert pool.space_count == space.size
    for index, (candidate, _) in enumerate(expected.feasible):
        assert pool.find(candidate) == index
    for candidate, _ in (*expected.refused, *expected.duplicates):
        assert pool.find(candidate) is None


def test_in_a_million_candidates_one_percent_is_feasible_and_only_that_is_held():
    limits = {"params_count": Limit(max=16_000)}
    pool = make_pool(million(limits), CIFAR, 10)
    assert pool.space_count == 1_008_000
    assert 0.005 < len(pool) / pool.space_count < 0.02
    assert pool.costs["params_count"].max() <= 16_000
    layers = set()
    for index in np.random.default_rng(0).choice(len(pool), 200, replace=False):
        architecture = build(pool.candidate(index), CIFAR, 10)
        costs = cost(architecture)
        assert limits_problem(limits, costs.by_name) is None
        assert all(getattr(costs, name) == pool.costs[name][index] for name in OBJECTIVES)
        layers.add(architecture.layers)
        assert pool.find(pool.candidate(index)) == index
    assert len(layers) == 200


def test_what_lies_outside_is_not_found():
    space = space_of(base_e=IntRange(8, 24, 8), incr_e=Fixed(8), pools=Categorical(("late", ())))
    pool = make_pool(space, DIGITS, 10)
    inside = {"base_e": 16, "incr_e": 8, "pools": ()}
    assert pool.find(make_candidate("squeezenet", inside)) == 3
    for change in ({"base_e": 12}, {"incr_e": 9}, {"pools": "early"}, {"dropout": 0.5}):
        assert pool.find(make_candidate("squeezenet", inside | change)) is None
    assert pool.find(make_candidate("alexnet", {})) is None


def test_a_space_of_one_candidate():
    pool = make_pool(space_of(base_e=Fixed(8)), DIGITS, 10)
    assert pool.levels.shape == pool.units.shape == (1, 0)
    assert pool.candidate(0) == make_candidate("squeezenet", {"base_e": 8})
    assert pool.find(pool.candidate(0)) == 0


def test_another_family():
    space = SearchSpace(
        "a",
        "alexnet",
        {"variant": Categorical(("small", "auto", "tiny")), "dropout": Categorical((0.0, 0.5))},
    )
    pool = make_pool(space, CIFAR, 10)  # auto is the small one there
    variants = [pool.candidate(i).metaparameters["variant"] for i in range(len(pool))]
    assert variants == ["small", "small", "tiny", "tiny"]
    assert pool.costs["params_count"].tolist()[0] == 23_272_266


def test_levels_and_units_by_hand():
    space = space_of(
        base_e=IntRange(8, 30, 8),  # 8, 16, 24
        stem_filters=Categorical((16, 4, 8)),
        bypass=Categorical(("complex", "none")),
    )
    pool = make_pool(space, DIGITS, 10)
    assert pool.varying == ("base_e", "stem_filters", "bypass")
    assert len(pool) == 18
    assert pool.levels[0].tolist() == [0, 0, 0]
    assert pool.levels[7].tolist() == [1, 0, 1]
    assert pool.levels[17].tolist() == [2, 2, 1]
    assert pool.units[0].tolist() == [0.0, 1.0, 0.0]
    assert pool.units[7].tolist() == [0.5, 1.0, 1.0]
    assert pool.units[17].tolist() == [1.0, 0.5, 1.0]
    assert pool.is_categorical.tolist() == [False, False, True]
    values = pool.candidate(7).metaparameters
    assert (values["base_e"], values["stem_filters"], values["bypass"]) == (16, 16, "none")


def test_units_of_ranges_by_hand():
    assert units_of(IntRange(8, 128, log=True), np.array([0, 24, 120])).tolist() == pytest.approx(
        [0.0, 0.5, 1.0]
    )
    assert units_of(FloatRange(0.1, 0.35, 0.1), np.array([0, 1, 2])).tolist() == [0.0, 0.5, 1.0]
    assert units_of(FloatRange(0.2, 0.6), np.array([0.2, 0.3, 0.6])).tolist() == pytest.approx(
        [0.0, 0.25, 1.0]
    )
    assert units_of(
        FloatRange(0.01, 1.0, log=True), np.array([0.01, 0.1, 1.0])
    ).tolist() == pytest.approx([0.0, 0.5, 1.0])
    words = Categorical(("late", ("conv1", "fire4"), "early"))
    assert units_of(words, np.array([0, 1, 2])).tolist() == [0.0, 0.5, 1.0]


# Drawn ones


def infinite(limits: dict[str, Limit] | None = None) -> SearchSpace:
    return space_of(
        limits,
        base_e=IntRange(8, 512, log=True),
        incr_e=IntRange(0, 64),
        squeeze_ratio=FloatRange(0.01, 1.0, log=True),
        pct_3x3=FloatRange(0.1, 0.9),
        dropout=FloatRange(0.0, 0.5, 0.1),
        bypass=Categorical(("none", "simple", "complex")),
    )


@pytest.fixture
def small_draws(monkeypatch):
    monkeypatch.setattr(pool_module, "DRAWS_AT_ONCE", 500)
    monkeypatch.setattr(pool_module, "MOST_DRAWN", 5000)
    monkeypatch.setattr(pool_module, "HOPELESS_DRAWN", 2000)
    monkeypatch.setattr(pool_module, "SLOWER", 1)
    monkeypatch.setattr(pool_module, "ENOUGH_DRAWN", 300)


def same(one: Pool, two: Pool) -> bool:
    return (
        one.choices == two.choices
        and np.array_equal(one.levels, two.levels)
        and all(np.array_equal(one.costs[name], two.costs[name]) for name in OBJECTIVES)
    )


@pytest.mark.usefixtures("small_draws")
def test_an_infinite_space_is_drawn_from_within_its_limits_and_domains():
    limits = {"params_count": Limit(max=150_000)}
    space = infinite(limits)
    pool = make_pool(space, CIFAR, 10)
    assert not pool.is_whole
    assert pool.space_count is None
    assert 300 <= len(pool) <= 800
    layers = set()
    for index in range(len(pool)):
        candidate = pool.candidate(index)
        for name, domain in space.domains.items():
            assert domain.contains(candidate.metaparameters[name])
        architecture = build(candidate, CIFAR, 10)
        costs = cost(architecture)
        assert all(getattr(costs, name) == pool.costs[name][index] for name in OBJECTIVES)
        assert costs.params_count <= 150_000
        layers.add(architecture.layers)
        assert pool.find(candidate) == index
    assert len(layers) == len(pool)
    assert pool.units.min() >= 0
    assert pool.units.max() <= 1
    short = [pool.candidate(i).metaparameters["pct_3x3"] for i in range(len(pool))]
    assert all(float(f"{share:.6g}") == share for share in short)


@pytest.mark.usefixtures("small_draws")
def test_the_draw_is_that_of_its_seed():
    assert same(make_pool(infinite(), CIFAR, 10), make_pool(infinite(), CIFAR, 10, seed=0))
    assert not same(make_pool(infinite(), CIFAR, 10), make_pool(infinite(), CIFAR, 10, seed=1))


@pytest.mark.usefixtures("small_draws")
def test_a_space_too_large_to_list_is_drawn_from():
    space = space_of(base_e=IntRange(8, 10**9, log=True), incr_e=IntRange(0, 10**9))
    pool = make_pool(space, DIGITS, 10)
    assert not pool.is_whole
    assert pool.space_count == (10**9 - 7) * (10**9 + 1)
    one = pool.candidate(5)
    assert one.metaparameters["base_e"] == 8 + pool.levels[5, 0]
    assert pool.find(one) == 5
    small = replace(space, limits={"params_count": Limit(max=1000)})
    with pytest.raises(
        SpaceError,
        match=r"s: none of the 2,000 candidates that were drawn from it "
        r"is left for images of 8x8x1; the first: params_count is [\d,]+, but must "
        r"be at most 1,000; the smallest possible: params_count [\d,]+$",
    ):
        make_pool(small, DIGITS, 10)


@pytest.mark.usefixtures("small_draws")
def test_a_space_with_few_networks_gives_each_once_however_often_they_are_drawn(monkeypatch):
    monkeypatch.setattr(pool_module, "MOST_LISTED", 10)
    space = space_of(base_e=IntRange(8, 20), bypass=Categorical(("none", "simple", "complex")))
    drawn = make_pool(space, DIGITS, 10)
    monkeypatch.undo()
    listed = make_pool(space, DIGITS, 10)
    assert listed.is_whole
    assert not drawn.is_whole
    layers = [
        {build(pool.candidate(i), DIGITS, 10).layers for i in range(len(pool))}
        for pool in (drawn, listed)
    ]
    assert len(drawn) == len(listed)
    assert layers[0] == layers[1]


@pytest.mark.parametrize(
    ("domain", "middle"),
    [
        (FloatRange(0.01, 1.0, log=True), 0.1),  # the median lies half-way, by the logarithm
        (FloatRange(0.2, 0.8), 0.5),
        (IntRange(10, 1000, log=True), 100 - 10),
        (IntRange(0, 1000), 500),
        (FloatRange(0.0, 1.0, 0.001), 500),
    ],
)
def test_draws_are_even_over_the_domain(domain, middle):
    values = draw(domain, 20_000, np.random.default_rng(3))
    # Four standard errors of a share of one half.
    assert np.mean(values < middle) == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 20_000) + 0.005)
    assert values.min() >= (domain.low if domain.size is None else 0)
    assert values.max() <= (domain.high if domain.size is None else domain.size - 1)


def test_log_draws_of_whole_numbers_reach_both_ends():
    values = draw(IntRange(1, 4, log=True), 4000, np.random.default_rng(0))
    counts = np.bincount(values, minlength=4) / 4000
    # P(k) = log((k + 1/2) / (k - 1/2)) / log(4.5 / 0.5)
    expected = [math.log((k + 0.5) / (k - 0.5)) / math.log(9) for k in (1, 2, 3, 4)]
    assert counts.tolist() == pytest.approx(expected, abs=0.035)


def test_drawing_ends_where_every_network_came_again(monkeypatch):
    # pct_3x3 splits each module's 8 filters: few networks, infinitely many shares.
    space = space_of(base_e=Fixed(8), incr_e=Fixed(0), pct_3x3=FloatRange(0.1, 0.9))
    drawn = []
    monkeypatch.setattr(pool_module, "draw", lambda *args: drawn.append(1) or draw(*args))
    pool = make_pool(space, DIGITS, 10)
    found = {round(8 * pool.candidate(n).metaparameters["pct_3x3"]) for n in range(len(pool))}
    assert (found, len(pool)) == ({1, 2, 3, 4, 5, 6, 7}, 7)
    assert len(drawn) == 2, "the second batch brought nothing new"
