"""Domains against plain lists, enumeration against products, limits against costs by hand."""

from __future__ import annotations

import math
from decimal import Decimal
from itertools import product

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dse.architecture import build, cost, make_candidate
from dse.errors import ArchitectureError, SpaceError
from dse.space import Categorical, Fixed, FloatRange, IntRange, Limit, SearchSpace, suggest
from dse.space.enumerate import survey
from tests.strategies import finite_spaces

DIGITS = (8, 8, 1)


def space_of(limits: dict[str, Limit] | None = None, **domains) -> SearchSpace:
    return SearchSpace("s", "squeezenet", domains, limits or {})


# Domains


def test_float_steps_are_exact_decimals():
    assert FloatRange(0.1, 0.5, 0.1).values() == (0.1, 0.2, 0.3, 0.4, 0.5)
    assert FloatRange(0.125, 0.875, 0.25).values() == (0.125, 0.375, 0.625, 0.875)
    assert FloatRange(0.1, 0.35, 0.1).values() == (0.1, 0.2, 0.3)


@given(low=st.integers(0, 500), count=st.integers(0, 40), step=st.integers(1, 300))
def test_float_steps_print_as_the_decimal_they_are(low, count, step):
    high = low + count * step
    values = FloatRange(low / 1000, high / 1000, step / 1000).values()
    assert values == tuple(float(Decimal(low + i * step) / 1000) for i in range(count + 1))
    assert FloatRange(low / 1000, high / 1000, step / 1000).size == count + 1


def test_whole_steps_stop_at_or_below_high():
    assert IntRange(8, 30, 8).values() == (8, 16, 24)
    assert IntRange(8, 30, 8).size == 3
    assert IntRange(3, 3).values() == (3,)


def test_contains():
    assert IntRange(8, 32, 8).contains(16)
    assert not IntRange(8, 32, 8).contains(17)
    assert not IntRange(0, 8).contains(True)
    assert FloatRange(0.1, 0.9, 0.1).contains(0.3)
    assert not FloatRange(0.1, 0.9, 0.1).contains(0.35)
    assert FloatRange(0.1, 0.9).contains(0.35)
    assert not FloatRange(0.1, 0.9).contains(0.95)
    assert Categorical(("none", ("conv1", "fire4"))).contains(("conv1", "fire4"))
    assert not Fixed(1).contains(True)


@given(finite_spaces())
def test_size_counts_the_values_and_contains_knows_each(space):
    for domain in space.domains.values():
        assert domain.size == len(domain.values()) == len(set(domain.values()))
        assert all(domain.contains(value) for value in domain.values())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IntRange(3, 2), "`low <= high` must hold, but got (low=3, high=2)"),
        (lambda: FloatRange(0.1, 0.2, -0.1), "step must be above 0, but got -0.1"),
        (lambda: FloatRange(0.0, 0.2, log=True), "a log range must start above 0, but got low=0.0"),
        (lambda: FloatRange(0.1, 0.2, 0.1, log=True), "a range has a step or is log, not both"),
        (lambda: Categorical(()), "values is empty, but must name at least one value"),
        (lambda: Categorical((1, 1)), "values names one value twice: [1, 1]"),
        (lambda: Limit(), "a limit needs min or max"),
        (lambda: Limit(5, 2), "`min <= max` must hold, but got (min=5, max=2)"),
        (lambda: FloatRange(0.1, 0.2).values(), "the range [0.1, 0.2] has no step"),
        (
            lambda: SearchSpace("s", "squeezenets", {}),
            "family 'squeezenets' not found; did you mean squeezenet?",
        ),
        (
            lambda: space_of(bas_e=Fixed(3), squeeze_ratio=FloatRange(0.0, 2.0)),
            "unknown metaparameter bas_e of squeezenet; did you mean base_e?\n"
            "squeeze_ratio is 0.0, but must be in (0, 1]; SqueezeNet v1.0 uses 0.125\n"
            "squeeze_ratio is 2.0, but must be in (0, 1]; SqueezeNet v1.0 uses 0.125",
        ),
        (
            lambda: space_of({"mac": Limit(max=3)}),
            "unknown cost mac; did you mean macs?",
        ),
        (
            lambda: space_of(bypass=IntRange(1, 2)),
            "bypass is one of none, simple, complex, which is no int range; list values",
        ),
    ],
)
def test_what_is_no_domain_or_space_says_so(make, message):
    with pytest.raises(SpaceError) as caught:
        make()
    assert str(caught.value) == message


# The space


@given(finite_spaces())
def test_candidates_are_the_product_in_the_order_of_the_file(space):
    lists = [domain.values() for domain in space.domains.values()]
    assume(math.prod(map(len, lists)) <= 2000)
    expected = [
        make_candidate("squeezenet", dict(zip(space.domains, row, strict=True)))
        for row in product(*lists)
    ]
    assert list(space.candidates()) == expected
    assert space.size == len(expected)
    assert space.varying == tuple(
        name for name, values in zip(space.domains, lists, strict=True) if len(values) > 1
    )


def test_the_last_metaparameter_varies_fastest():
    space = space_of(freq=Categorical((4, 2)), base_e=IntRange(8, 16, 8))
    rows = [(c.metaparameters["freq"], c.metaparameters["base_e"]) for c in space.candidates()]
    assert rows == [(4, 8), (4, 16), (2, 8), (2, 16)]


def test_an_infinite_space_says_which_range_has_no_step():
    space = space_of(squeeze_ratio=FloatRange(0.1, 1.0), base_e=IntRange(8, 16))
    assert space.size is None
    assert space.varying == ("squeeze_ratio", "base_e")
    with pytest.raises(SpaceError) as caught:
        survey(space, DIGITS, 10)
    assert str(caught.value) == (
        "s is an infinite space: squeeze_ratio has a range without a step; give it a step "
        "or list values, or let `dse search` draw from it"
    )
    both = space_of(squeeze_ratio=FloatRange(0.1, 1.0), dropout=FloatRange(0.0, 0.5))
    with pytest.raises(SpaceError, match="squeeze_ratio, dropout have a range without a step"):
        both.candidates()


def test_the_key_is_what_the_space_holds_and_nothing_else():
    limits = {"macs": Limit(max=5), "params_count": Limit(min=3)}
    space = SearchSpace("a", "squeezenet", {"base_e": Fixed(8)}, limits, "one")
    swapped = {"params_count": Limit(min=3), "macs": Limit(max=5)}
    # One value is one value, however written; a default is a default, written or not.
    domains = {"freq": Fixed(2), "base_e": IntRange(8, 8)}
    assert SearchSpace("b", "squeezenet", domains, swapped, "two").key == space.key
    assert SearchSpace("a", "squeezenet", {"base_e": Fixed(9)}, limits).key != space.key
    assert SearchSpace("a", "squeezenet", {"base_e": Fixed(8)}).key != space.key
    ratio = SearchSpace("a", "squeezenet", {"squeeze_ratio": Fixed(1)})
    assert ratio.key == SearchSpace("a", "squeezenet", {"squeeze_ratio": Fixed(1.0)}).key


def test_the_key_is_the_same_on_every_machine():
    # Pinned: studies on disk are recognised by it. It changes with the family's defaults.
    assert SearchSpace("a", "alexnet", {"dropout": Categorical((0.0, 0.5))}).key == "d1a5008853dc"


# The survey


def test_the_survey_costs_what_can_be_built_and_says_why_the_rest_cannot():
    space = space_of(base_e=Fixed(8), incr_e=Fixed(8), pct_3x3=Categorical((0.01, 0.5)))
    result = survey(space, DIGITS, 10)
    good = make_candidate("squeezenet", {"base_e": 8, "incr_e": 8, "pct_3x3": 0.5})
    bad = make_candidate("squeezenet", {"base_e": 8, "incr_e": 8, "pct_3x3": 0.01})
    assert result.feasible == ((good, cost(build(good, DIGITS, 10))),)
    assert result.refused == (
        (
            bad,
            "fire2: pct_3x3 0.01 of 8 expand filters rounds to an empty expand3x3; "
            "a larger base_e or a share nearer the middle would help",
        ),
    )


@given(finite_spaces())
def test_limits_split_the_space_by_the_exact_costs(space):
    assume(space.size is not None and space.size <= 12)
    feasible, refused, layers = [], [], set()
    for candidate in space.candidates():
        try:
            architecture = build(candidate, DIGITS, 10)
        except ArchitectureError:
            refused.append(candidate)
            continue
        costs = cost(architecture)
        values = [(getattr(costs, name), limit) for name, limit in space.limits.items()]
        inside = all(
            (limit.min is None or limit.min <= value) and (limit.max is None or value <= limit.max)
            for value, limit in values
        )
        if not inside:
            refused.append(candidate)
        elif architecture.layers not in layers:
            feasible.append((candidate, costs))
            layers.add(architecture.layers)
    if not feasible:
        with pytest.raises(SpaceError, match="none of its"):
            survey(space, DIGITS, 10)
        return
    result = survey(space, DIGITS, 10)
    assert list(result.feasible) == feasible
    assert sorted(c.key for c, _ in result.refused) == sorted(c.key for c in refused)
    assert len(result.feasible) + len(result.refused) + len(result.duplicates) == space.size


def test_a_limit_gives_the_number_and_the_bound():
    v1 = {"params_count": Limit(max=1_000_000)}  # v1.0 has 1,248,424 parameters
    domains = {
        "squeeze_ratio": Categorical((0.125, 0.75)),
        "stem_filters": Fixed(96),
        "stem_kernel": Fixed(7),
        "stem_stride": Fixed(2),
        "pools": Fixed(("conv1", "fire4", "fire8")),
    }
    with pytest.raises(SpaceError) as caught:
        survey(SearchSpace("paper", "squeezenet", domains, v1), (227, 227, 3), 1000)
    assert str(caught.value) == (
        "paper: none of its 2 candidates is left for images of 227x227x3; the first: "
        "params_count is 1,248,424, but must be at most 1,000,000; "
        "the smallest possible: params_count 1,248,424"
    )
    least = {"params_count": Limit(min=1_248_425)}
    result = survey(SearchSpace("paper", "squeezenet", domains, least), (227, 227, 3), 1000)
    assert [c.params_count for _, c in result.feasible] == [4_841_704]
    assert [reason for _, reason in result.refused] == [
        "params_count is 1,248,424, but must be at least 1,248,425"
    ]


def test_the_same_layers_are_one_network():
    # With no increment it does not matter how often it is added.
    space = space_of(base_e=Fixed(8), incr_e=Fixed(0), freq=Categorical((2, 4)))
    first, second = space.candidates()
    result = survey(space, DIGITS, 10)
    assert [candidate for candidate, _ in result.feasible] == [first]
    assert result.duplicates == ((second, first),)


def test_a_duplicate_of_a_refused_candidate_is_refused():
    domains = {
        "base_e": Categorical((16, 8)),
        "incr_e": Fixed(0),
        "freq": Categorical((2, 4)),
    }
    everything = survey(space_of(**domains), DIGITS, 10)
    large, small = (costs.params_count for _, costs in everything.feasible)
    result = survey(space_of({"params_count": Limit(max=small)}, **domains), DIGITS, 10)
    assert [costs.params_count for _, costs in result.feasible] == [small]
    assert [reason for _, reason in result.refused] == [
        f"params_count is {large:,}, but must be at most {small:,}"
    ] * 2
    assert len(result.duplicates) == 1


def test_a_space_that_is_too_large_to_list_says_how_large():
    space = space_of(base_e=IntRange(1, 1000), incr_e=IntRange(1, 1000))
    with pytest.raises(SpaceError) as caught:
        survey(space, DIGITS, 10)
    assert str(caught.value) == (
        "s has 1,000,000 candidates, but at most 100,000 can be listed; fix some metaparameters "
        "or take larger steps, or let `dse search` choose from it"
    )


class TestSuggest:
    SPACE = SearchSpace(
        "mixed",
        "squeezenet",
        {
            "base_e": Fixed(8),
            "incr_e": IntRange(4, 12, step=4),
            "pct_3x3": FloatRange(0.1, 0.7, step=0.1),
            "squeeze_ratio": FloatRange(0.1, 1.0, log=True),
            "pools": Categorical(("late", ("conv1", "fire4"))),
        },
    )

    def draws(self):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        return [suggest(self.SPACE, study.ask()) for _ in range(60)]

    def test_every_draw_lies_in_the_space_on_exact_steps(self):
        for candidate in self.draws():
            values = candidate.metaparameters
            assert values["base_e"] == 8
            assert values["incr_e"] in (4, 8, 12)
            assert values["pct_3x3"] in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
            assert 0.1 <= values["squeeze_ratio"] <= 1.0
            assert values["pools"] in ("late", ("conv1", "fire4"))

    def test_every_value_is_drawn_sooner_or_later(self):
        drawn = [candidate.metaparameters for candidate in self.draws()]
        assert {values["pct_3x3"] for values in drawn} == {0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7}
        assert {values["pools"] for values in drawn} == {"late", ("conv1", "fire4")}
