"""Files and words that would keep the reader busy: answered at once, in twenty lines."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dse.config import load_space
from dse.errors import ConfigError, DseError, SpaceError
from dse.search.budget import parse_budget
from dse.space import FloatRange, IntRange, SearchSpace
from dse.space.enumerate import make_pool, survey
from dse.study.record import _distributions_of

HEAD = "schema: 1\nfamily: squeezenet\n"
MOST_S = 5.0
"""About twenty times what each takes on an idle core."""


@pytest.fixture(autouse=True)
def _at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    began_s = time.process_time()
    yield
    assert time.process_time() - began_s < MOST_S


def problems_of(text: str) -> tuple[str, ...]:
    Path("s.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_space(Path("s.yaml"))
    lines = tuple(str(caught.value).splitlines())
    assert len(lines) <= 21
    assert len(str(caught.value)) < 25_000
    return lines


def test_a_megabyte_of_duplicate_keys():
    text = HEAD + "metaparameters:\n" + "  base_e: 1\n" * 80_000
    first, second, *_, last = problems_of(text)
    assert first == "s.yaml:1500: more than 3,000 keys and values up to here; nothing needs as many"
    assert second == "s.yaml:5: base_e is there twice: on line 4 and on line 5; keep one"
    assert last == "… and 1,476 more"


@pytest.mark.parametrize(
    "text",
    [
        "k%d: 1\n",
        "limits: {macs%d: {max: 1}}\n",
        "description%d: &a x\n",
        "- %d\n",
    ],
)
def test_thousands_of_problems_are_twenty_lines(text):
    assert problems_of(HEAD + "".join(text % index for index in range(1000)))


def test_problems_of_a_chain_are_told_once():
    Path("f0.yaml").write_text(HEAD + "".join(f"k{index}: 1\n" for index in range(60)))
    for number in range(1, 15):
        keys = "".join(f"k{number}_{index}: 1\n" for index in range(60))
        Path(f"f{number}.yaml").write_text(f"schema: 1\nextends: f{number - 1}\n{keys}")
    problems = problems_of("schema: 1\nextends: f14\n")
    assert problems[-1] == f"… and {15 * 60 - 20:,} more"
    assert len(set(problems)) == 21


def test_values_of_a_chain_are_counted_together():
    for number in range(3):
        values = ", ".join(map(str, range(1, 1400)))
        family = "family: squeezenet" if not number else f"extends: f{number - 1}"
        Path(f"f{number}.yaml").write_text(
            f"schema: 1\n{family}\nmetaparameters: {{base_e: {{values: [{values}]}}}}\n"
        )
    assert len(load_space(Path("f1.yaml")).domains["base_e"].values()) == 1399
    (problem,) = problems_of("schema: 1\nextends: f2\n")
    assert "keys and values up to here" in problem


@pytest.mark.parametrize("step", ["1.0e-9", "1.0e-300"])
def test_a_range_of_too_many_steps(step):
    (problem,) = problems_of(
        HEAD + f"metaparameters:\n  pct_3x3: {{range: [1.0e-9, 0.9], step: {step}}}\n"
    )
    assert "must be larger: at most 1,000,000 values are listed" in problem
    with pytest.raises(SpaceError, match="at most 1,000,000 values"):
        FloatRange(0.0, 1.0, float(step))


def test_a_range_of_a_billion_whole_numbers_is_never_written_out():
    space = SearchSpace("s", "squeezenet", {"base_e": IntRange(3, 10**9, 2)})
    assert _distributions_of(space)["base_e"].high == 999_999_999
    with pytest.raises(SpaceError, match="499,999,999 candidates, but at most 100,000"):
        survey(space, (8, 8, 1), 10)
    assert len(make_pool(space, (8, 8, 1), 10)) > 1000


def test_widths_that_leave_64_bits_are_drawn_less_often():
    widths = IntRange(1, 10**18, log=True)
    space = SearchSpace("s", "squeezenet", {"base_e": widths, "pct_3x3": FloatRange(0.1, 0.9)})
    assert len(make_pool(space, (8, 8, 1), 10)) > 1000


@pytest.mark.parametrize("text", ["9" * 60_000, "9" * 60_000 + "h", "." * 60_000, " " * 60_000])
def test_a_budget_of_many_digits(text):
    with pytest.raises(DseError, match="the budget is") as caught:
        parse_budget(text)
    assert len(str(caught.value)) < 300


def test_a_name_that_acts_on_the_terminal_is_written_out():
    (problem, *_) = problems_of(HEAD + '"\\e[2Jmacs": 1\n')
    assert problem.startswith("s.yaml:3: unknown key \\x1b[2Jmacs")
