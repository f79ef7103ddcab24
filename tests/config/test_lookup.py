"""A name is a path, then in ./search_spaces, then shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

import dse
from dse.config import find_space, lookup, shipped_spaces
from dse.errors import ConfigError

SHIPPED = Path(dse.__file__).parent.parent / "search_spaces"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_path_then_local_folder_then_shipped():
    for name in ("bypass", "bypass.yaml"):
        assert find_space(name) == SHIPPED / "bypass.yaml"
    assert find_space("paper/bypass") == SHIPPED / "paper" / "bypass.yaml"
    local = Path("search_spaces/bypass.yaml")
    local.parent.mkdir()
    local.touch()
    assert find_space("bypass") == local
    Path("bypass").mkdir()  # a folder of that name is no space
    assert find_space("bypass") == local
    Path("bypass.yaml").touch()
    assert find_space("bypass") == find_space("./bypass.yaml") == Path("bypass.yaml")
    assert find_space(Path("bypass.yaml").absolute()) == Path("bypass.yaml").absolute()


def test_a_miss_says_where_it_looked_and_what_is_near():
    Path("search_spaces").mkdir()
    Path("search_spaces/mine.yaml").touch()
    with pytest.raises(ConfigError) as caught:
        find_space("mime.yaml")
    assert str(caught.value) == (
        "search space mime.yaml not found: looked for the file then in ./search_spaces and "
        "among the shipped ones; did you mean mine?"
    )
    with pytest.raises(ConfigError, match="there are mine, bypass, downsampling, pct_3x3"):
        find_space("zzzzzz")
    with pytest.raises(ConfigError, match="looked for the file, a folder, then in"):
        find_space("search_spaces")
    for name in ("", "\0", "a" * 5000):
        with pytest.raises(ConfigError, match="not found: looked for"):
            find_space(name)


def test_shipped_spaces_are_listed_the_top_ones_first():
    assert [name for name, _ in shipped_spaces()] == [
        "bypass",
        "downsampling",
        "pct_3x3",
        "squeeze_ratio",
        "squeezenet",
        "cifar10/pct_3x3",
        "cifar10/squeeze_ratio",
        "cifar10/squeezenet",
        "paper/bypass",
        "paper/pct_3x3",
        "paper/squeeze_ratio",
    ]
    assert all(find_space(name) == path for name, path in shipped_spaces())


def test_in_a_wheel_they_lie_inside_the_package(tmp_path, monkeypatch):
    inside = tmp_path / "dse" / "search_spaces"
    inside.mkdir(parents=True)
    (inside / "only.yaml").touch()
    monkeypatch.setattr(lookup.dse, "__file__", str(tmp_path / "dse" / "__init__.py"))
    assert shipped_spaces() == [("only", inside / "only.yaml")]
