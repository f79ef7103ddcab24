"""Every shipped space loads, and holds candidates for images of every size."""

from __future__ import annotations

import re

import pytest

from dse.architecture import build, cost, make_candidate
from dse.config import load_space, shipped_spaces
from dse.space import Categorical, Fixed
from dse.space.enumerate import survey

SPACES = dict(shipped_spaces())
JOINT = ("squeezenet", "cifar10/squeezenet")
INPUTS = [(8, 8, 1), (32, 32, 3), (64, 64, 3), (224, 224, 3)]


@pytest.mark.parametrize("name", SPACES)
def test_it_opens_with_what_it_shows_the_command_and_the_time(name):
    lines = SPACES[name].read_text().splitlines()
    assert lines[0] == f"# search_spaces/{name}.yaml"
    comment = " ".join(line for line in lines[: lines.index("schema: 1")])
    assert re.search(rf"# dse (sweep|search) {name}\.yaml", comment)
    assert re.search(r"about ([0-9.]+) (min|s|h) on 2 CPU cores", comment)


@pytest.mark.parametrize("input_shape", INPUTS, ids=str)
@pytest.mark.parametrize("name", [name for name in SPACES if name not in JOINT])
def test_every_candidate_of_a_sweep_is_a_network_of_its_own(name, input_shape):
    space = load_space(SPACES[name])
    result = survey(space, input_shape, 10)
    assert len(result.feasible) == space.size
    assert len(space.varying) == 1
    assert space.description


def test_the_joint_space_varies_everything_and_leaves_something_within_its_limits():
    space = load_space(SPACES["squeezenet"])
    assert set(space.varying) >= {
        *("base_e", "incr_e", "freq", "pct_3x3", "squeeze_ratio", "pools", "bypass"),
    }
    result = survey(space, (8, 8, 1), 10)
    sizes = [costs.params_count for _, costs in result.feasible]
    assert len(sizes) > 1000
    assert max(sizes) <= (space.limits["params_count"].max or 0)
    assert max(sizes) > 100 * min(sizes)


def test_the_joint_space_for_cifar10_holds_a_hundredth_of_alexnet_and_less():
    space = load_space(SPACES["cifar10/squeezenet"])
    alexnet = cost(build(make_candidate("alexnet", {}), (32, 32, 3), 10)).params_count
    assert space.limits["params_count"].max == alexnet // 100
    result = survey(space, (32, 32, 3), 10)
    assert len(result.feasible) >= 10_000
    assert max(costs.params_count for _, costs in result.feasible) <= alexnet / 100
    assert all(costs.macs <= 40e6 for _, costs in result.feasible)


def test_the_paper_sweeps_have_the_papers_sizes():
    # With the published stem these are the counts of FACTS: 1,248,424 to 6,279,016.
    space = load_space(SPACES["paper/squeeze_ratio"])
    result = survey(space, (227, 227, 3), 1000)
    assert [costs.params_count for _, costs in result.feasible] == [
        1_248_424,
        1_967_080,
        3_404_392,
        4_841_704,
        6_279_016,
    ]
    # Figure 3, right, in MiB; the paper does not say how it rounds widths, so to 4%.
    right = survey(load_space(SPACES["paper/pct_3x3"]), (227, 227, 3), 1000)
    sizes = {c.metaparameters["pct_3x3"]: cost.weight_bytes for c, cost in right.feasible}
    assert [sizes[share] / 2**20 for share in (0.01, 0.5, 0.99)] == pytest.approx(
        [5.7, 13, 21], rel=0.04
    )
    assert sizes[0.5] == 4 * 3_404_392


def test_the_cifar10_sweep_holds_the_network_that_was_trained_independently():
    space = load_space(SPACES["cifar10/squeeze_ratio"])
    assert space.domains["norm"] == Fixed("batch")
    sizes = {
        candidate.metaparameters["squeeze_ratio"]: costs.params_count
        for candidate, costs in survey(space, (32, 32, 3), 10).feasible
    }
    assert sizes[0.5] == 183_850  # counted by PyTorch
    assert load_space(SPACES["cifar10/pct_3x3"]).domains["squeeze_ratio"] == Fixed(0.5)


def test_names_tell_folders_apart():
    names = [load_space(path).name for path in SPACES.values()]
    assert len(set(names)) == len(names)
    assert load_space(SPACES["paper/bypass"]).name == "paper-bypass"
    values = Categorical(("none", "simple", "complex"))
    assert load_space(SPACES["bypass"]).domains["bypass"] == values
