"""What every sampler has to do, whatever it thinks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dse.errors import SamplerError
from dse.search.samplers import (
    DEFAULT_SAMPLER,
    SAMPLERS,
    History,
    default_sampler,
    make_sampler,
)
from dse.space import Categorical, FloatRange, IntRange
from tests.search.samplers.surface import TablePool, grid

SMALL = grid(
    {
        "base_e": IntRange(8, 32, 8),
        "squeeze_ratio": Categorical((0.5, 0.125, 1.0)),
        "bypass": Categorical(("none", "simple", "complex")),
    }
)
TINY = grid(
    {
        "base_e": IntRange(8, 16, 8),
        "squeeze_ratio": Categorical((0.5, 0.125, 1.0)),
        "bypass": Categorical(("none", "simple", "complex")),
    }
)
ONE_NUMBER = grid({"pct_3x3": FloatRange(0.1, 0.9, 0.05)})
ONE_WORD = grid({"bypass": Categorical(("none", "simple", "complex"))})
SINGLE = grid({"base_e": IntRange(8, 8), "freq": Categorical((2,))})
NAMES = sorted(SAMPLERS)


def history(pool: TablePool, indices: list[int], *, failing: str = "none") -> History:
    asked = np.array(indices, dtype=np.intp)
    accuracies = 0.5 + 0.4 * np.sin(asked * 1.7)
    rungs = asked % 3
    is_failed = {"none": asked < 0, "some": asked % 2 == 0, "all": asked >= 0}[failing]
    return History(asked, np.where(is_failed, np.nan, accuracies), np.where(is_failed, -1, rungs))


def sizes(pool: TablePool, objectives: int) -> np.ndarray:
    return np.random.default_rng(7).uniform(100, 1e6, (len(pool), objectives))


def ask_all(name: str, pool: TablePool, *, objectives: int, failing: str) -> list[int]:
    sampler, asked = make_sampler(name, pool), []
    for ask in range(len(pool)):
        known = history(pool, asked, failing=failing)
        index = sampler.ask(pool, known, sizes(pool, objectives), np.random.default_rng(ask))
        assert type(index) is int
        asked.append(index)
    known = history(pool, asked, failing=failing)
    last = sampler.ask(pool, known, sizes(pool, objectives), np.random.default_rng(0))
    assert last is None
    return asked


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("pool", "objectives", "failing"),
    [
        (TINY, 1, "none"),
        (TINY, 1, "some"),
        (TINY, 1, "all"),
        (TINY, 2, "some"),
        (TINY, 4, "none"),
        (ONE_NUMBER, 1, "none"),
        (ONE_NUMBER, 3, "some"),
        (SINGLE, 1, "none"),
        (SINGLE, 2, "all"),
    ],
)
def test_a_pool_is_asked_once_each_and_then_none(name, pool, objectives, failing):
    asked = ask_all(name, pool, objectives=objectives, failing=failing)
    assert sorted(asked) == list(range(len(pool)))


@pytest.mark.parametrize("name", NAMES)
def test_only_what_is_allowed_is_asked(name):
    sampler, allowed, asked = make_sampler(name, TINY), np.arange(len(TINY)) % 3 == 0, []
    for ask in range(len(TINY)):
        known = replace(history(TINY, asked), is_allowed=allowed)
        index = sampler.ask(TINY, known, sizes(TINY, 1), np.random.default_rng(ask))
        if index is None:
            break
        asked.append(index)
    assert sorted(asked) == np.flatnonzero(allowed).tolist()
    assert allowed.sum() == len(asked), "the mask itself stays as it is"


@pytest.mark.parametrize("name", sorted({*NAMES} - {"gp", "level"}))
def test_a_space_of_words_alone_is_asked_once_each(name):
    assert sorted(ask_all(name, ONE_WORD, objectives=1, failing="none")) == [0, 1, 2]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("asked_count", [0, 4, 20])
def test_the_same_history_and_random_numbers_give_the_same_answer(name, asked_count):
    known = history(SMALL, list(range(0, 2 * asked_count, 2))[:18], failing="some")
    table = sizes(SMALL, 2)
    first = make_sampler(name, SMALL).ask(SMALL, known, table, np.random.default_rng(5))
    again = make_sampler(name, SMALL).ask(SMALL, known, table, np.random.default_rng(5))
    assert first == again


@pytest.mark.parametrize("name", NAMES)
def test_sizes_that_are_all_alike_and_accuracies_that_are_all_alike_are_no_trouble(name):
    asked = np.arange(12)
    known = History(asked, np.full(12, 0.5), np.zeros(12, dtype=np.intp))
    alike = np.full((len(SMALL), 1), 1000.0)
    index = make_sampler(name, SMALL).ask(SMALL, known, alike, np.random.default_rng(0))
    assert index in range(12, len(SMALL))


def test_the_first_asks_of_gp_are_the_smallest_and_one_of_another_size():
    pool = grid({"base_e": IntRange(1, 2000), "freq": IntRange(1, 2)})
    table = np.exp(np.linspace(np.log(100), np.log(1e6), len(pool)))[:, None]
    asked: list[int] = []
    for ask in range(2):
        known = history(pool, asked)
        asked.append(make_sampler("gp", pool).ask(pool, known, table, np.random.default_rng(ask)))
    assert asked[0] == 0
    in_log_size = np.log(table[asked[1], 0] / 100) / np.log(1e4)
    assert abs(in_log_size - (5**0.5 - 1) / 2) < 0.05  # the golden ratio, within a band


def test_gp_asks_elsewhere_while_a_candidate_is_in_training():
    """Its neighbours in a fine grid would be asked next if nothing were believed of it."""
    pool = grid({"base_e": IntRange(1, 400), "freq": IntRange(1, 1)})
    table = np.exp(np.linspace(np.log(100), np.log(1e6), len(pool)))[:, None]
    rows = np.array([0, 130, 399])
    accuracies, rungs = np.array([0.2, 0.5, 0.9]), np.zeros(3, dtype=np.intp)
    sampler = make_sampler("gp", pool)
    first = sampler.ask(pool, History(rows, accuracies, rungs), table, np.random.default_rng(1))
    waiting = History(np.append(rows, first), np.append(accuracies, np.nan), np.append(rungs, -1))
    second = sampler.ask(pool, waiting, table, np.random.default_rng(1))
    assert abs(second - first) > 40


@pytest.mark.parametrize("name", ["nsga2", "tpe"])
def test_the_first_ask_is_the_smallest_and_the_next_ones_cover_the_range_of_log_size(name):
    pool = grid({"base_e": IntRange(1, 2000), "freq": IntRange(1, 2)})
    table = np.exp(np.linspace(np.log(100), np.log(1e6), len(pool)))[:, None]
    asked: list[int] = []
    for ask in range(10):
        known = history(pool, asked)
        index = make_sampler(name, pool).ask(pool, known, table, np.random.default_rng(ask))
        assert index is not None
        asked.append(index)
    assert asked[0] == 0
    in_log_size = np.sort(np.log(table[asked, 0] / 100) / np.log(1e4))
    assert np.diff(in_log_size, prepend=0, append=1).max() < 0.3


def test_random_is_uniform_over_the_unseen():
    known = history(ONE_NUMBER, [0, 1, 2, 3, 4])
    sampler, rng = make_sampler("random", ONE_NUMBER), np.random.default_rng(3)
    draws = [sampler.ask(ONE_NUMBER, known, sizes(ONE_NUMBER, 1), rng) for _ in range(6000)]
    counts = np.bincount(draws, minlength=17)[5:]
    assert abs(counts - 500).max() < 5 * np.sqrt(500)  # five standard deviations


def test_the_default_is_one_of_them():
    assert DEFAULT_SAMPLER in SAMPLERS
    assert [sampler.name for sampler in SAMPLERS.values()] == list(SAMPLERS)


def test_trainings_in_full_are_asked_by_level_where_it_fits():
    assert default_sampler(SMALL) == "level"
    assert default_sampler(ONE_WORD) == "tpe"


def test_an_unknown_name_says_the_nearest():
    with pytest.raises(SamplerError, match="there is no sampler 'nsga'; did you mean nsga2"):
        make_sampler("nsga", SMALL)


def test_gp_refuses_a_space_of_words_and_says_what_fits():
    with pytest.raises(
        SamplerError,
        match=r"gp needs .* order .* but simulated varies only bypass, .*take tpe, nsga2 or random",
    ):
        make_sampler("gp", ONE_WORD)
    assert make_sampler("gp", SINGLE).name == "gp"


def test_level_without_an_aim_asks_for_the_most_hypervolume():
    """So does every second ask with one; the other keeps to the smallest that is enough."""
    size = np.geomspace(100, 1e6, len(SMALL))[:, None]
    scaled = (np.log(size[:, 0]) - np.log(100)) / np.log(1e4)
    asked = np.arange(0, len(SMALL), 4)
    accuracies = 0.5 + 0.4 * scaled[asked]  # enough from a scaled size of 0.5 on
    rungs = np.zeros(len(asked), dtype=np.intp)
    assert len(asked) % 2, "one of the others"
    known = History(asked, accuracies, rungs)
    rng = np.random.default_rng
    by_volume = make_sampler("level", SMALL).ask(SMALL, known, size, rng(1))
    aimed = replace(known, aim=(0.7, 0.7))
    assert make_sampler("level", SMALL).ask(SMALL, aimed, size, rng(1)) == by_volume
    fewer = replace(aimed, indices=asked[:-1], accuracies=accuracies[:-1], rungs=rungs[:-1])
    by_level = make_sampler("level", SMALL).ask(SMALL, fewer, size, rng(1))
    assert abs(scaled[by_level] - 0.5) < 0.1
