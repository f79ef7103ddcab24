from __future__ import annotations

import json
from pathlib import Path

from dse.config import shipped_spaces

SPACE = "schema: 1\nfamily: squeezenet\ndescription: |\n  mine\n  and more\nmetaparameters:\n"


def local(name: str, text: str) -> None:
    path = Path("search_spaces") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_shipped_spaces_are_listed_from_an_empty_folder(run):
    result = run("spaces", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    listed = {space["name"]: space for space in json.loads(result.stdout)}
    assert list(listed) == [name for name, _ in shipped_spaces()]
    assert listed["squeeze_ratio"] == {
        "name": "squeeze_ratio",
        "family": "squeezenet",
        "varying": ["squeeze_ratio"],
        "candidates_count": 5,
        "description": listed["squeeze_ratio"]["description"],
        "source": str(dict(shipped_spaces())["squeeze_ratio"]),
    }


def test_local_spaces_come_first_and_replace_shipped_ones(run):
    local("squeeze_ratio.yaml", SPACE + "  freq: {values: [1, 2]}\n  base_e: {range: [8, 10]}\n")
    local("deep/mine.yml", SPACE + "  squeeze_ratio: {range: [0.1, 0.5]}\n")
    listed = json.loads(run("spaces", "--json").stdout)
    assert listed[0] == {
        "name": "squeeze_ratio",
        "family": "squeezenet",
        "varying": ["freq", "base_e"],
        "candidates_count": 6,
        "description": "mine",
        "source": "search_spaces/squeeze_ratio.yaml",
    }
    assert (listed[1]["name"], listed[1]["candidates_count"]) == ("deep/mine", None)
    assert [space["name"] for space in listed].count("squeeze_ratio") == 1


def test_list_for_people_has_two_lines_a_space(run):
    local("a.yaml", SPACE + "  freq: {values: [1, 2]}\n  base_e: {range: [8, 10]}\n")
    local("b.yaml", SPACE + "  squeeze_ratio: {range: [0.1, 0.5]}\n")
    local("c.yaml", SPACE + "  freq: 2\n")
    lines = run("spaces").stdout.splitlines()
    assert lines[0].split() == ["name", "candidates", "description"]
    assert [line.split() for line in lines[1:7]] == [
        ["a", "6", "mine"],
        ["squeezenet:", "freq,", "base_e"],
        ["b", "infinite", "mine"],
        ["squeezenet:", "squeeze_ratio"],
        ["c", "1", "mine"],
        ["squeezenet:", "nothing", "varies"],
    ]


def test_broken_file_is_reported_after_the_others(run):
    local("broken.yaml", "schema: 1\nfamily: squeezenett\n")
    result = run("spaces", "--json")
    assert result.exit_code == 1
    assert [space["name"] for space in json.loads(result.stdout)] == [
        name for name, _ in shipped_spaces()
    ]
    assert result.stderr == (
        "error: search_spaces/broken.yaml:2: family squeezenett not found; "
        "did you mean squeezenet?\n"
    )
