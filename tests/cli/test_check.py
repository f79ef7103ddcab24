from __future__ import annotations

import json
from pathlib import Path

from dse.architecture import OBJECTIVES, build, cost, make_candidate

SPACE = """\
schema: 1
family: squeezenet
description: toy
metaparameters:
  base_e: {values: [2, 8, 16]}
  squeeze_ratio: {values: [0.125, 0.5]}
"""


def checked(run, *args) -> dict:
    result = run("check", *args, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def cost_of(**values):
    return cost(build(make_candidate("squeezenet", values), (8, 8, 1), 10))


def toy_costs() -> list:
    """The five of the six candidates that can be built; base_e 2 with 0.125 cannot."""
    pairs = [(2, 0.5), (8, 0.125), (8, 0.5), (16, 0.125), (16, 0.5)]
    return [cost_of(base_e=base, incr_e=8, squeeze_ratio=ratio) for base, ratio in pairs]


def test_document_counts_candidates_and_says_why_some_are_refused(run):
    Path("toy.yaml").write_text(SPACE + "  incr_e: 8\n")
    document = checked(run, "toy.yaml")
    sizes = {name: [getattr(c, name) for c in toy_costs()] for name in OBJECTIVES}
    reason = document["refused"][0].pop("reason")
    assert reason.startswith("fire2: squeeze_ratio 0.125 of 2 expand filters rounds to an empty")
    assert document["refused"][0].pop("first")["base_e"] == 2
    assert document == {
        "space": "toy",
        "source": "toy.yaml",
        "description": "toy",
        "family": "squeezenet",
        "varying": ["base_e", "squeeze_ratio"],
        "limits": {},
        "data": {"name": "digits", "input_shape": [8, 8, 1], "classes_count": 10},
        "candidates_count": 6,
        "feasible_count": 5,
        "refused_count": 1,
        "duplicates_count": 0,
        "refused": [{"candidates_count": 1}],
        "sizes": {name: {"min": min(v), "max": max(v)} for name, v in sizes.items()},
    }


def test_reasons_that_differ_in_numbers_alone_are_counted_together(run):
    counts = sorted(costs.params_count for costs in toy_costs())
    most = counts[1]
    limits = f"  incr_e: 8\nlimits:\n  params_count: {{max: {most}}}\n"
    Path("toy.yaml").write_text(SPACE + limits)
    document = checked(run, "toy.yaml")
    assert document["limits"] == {"params_count": {"min": None, "max": most}}
    assert (document["feasible_count"], document["refused_count"]) == (2, 4)
    assert [group["candidates_count"] for group in document["refused"]] == [3, 1]
    first = next(c.params_count for c in toy_costs() if c.params_count > most)
    assert document["refused"][0]["reason"] == (
        f"params_count is {first:,}, but must be at most {most:,}"
    )
    assert document["sizes"]["params_count"] == {"min": counts[0], "max": most}


def test_candidates_with_the_same_layers_are_duplicates(run):
    document = checked(run, "squeeze_ratio", "--set", "pools={values: [auto, late]}")
    assert (document["candidates_count"], document["duplicates_count"]) == (10, 5)
    assert document["feasible_count"] == 5


def test_settings_and_data_count(run, tmp_path):
    from PIL import Image

    for name in ("cat", "dog", "emu"):
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(10):
            image = Image.new("RGB", (40, 40), (number, 0, 0))
            image.save(tmp_path / "images" / name / f"{number}.png")
    document = checked(
        run,
        *("squeeze_ratio", "--data", "folder:images", "--image-size", 32),
        *("--set", "squeeze_ratio=0.5", "--set", "base_e={range: [8, 16], step: 4}"),
    )
    assert document["data"] == {
        "name": "images",
        "input_shape": [32, 32, 3],
        "classes_count": 3,
    }
    assert (document["varying"], document["candidates_count"]) == (["base_e"], 3)


def test_a_sample_stands_for_what_cannot_be_counted_and_says_so(run):
    args = ("check", "squeeze_ratio", "--set", "squeeze_ratio={range: [0.1, 0.5]}")
    result = run(*args, "--json")
    document = json.loads(result.stdout)
    assert document["candidates_count"] is document["feasible_count"] is None
    assert (document["sampled_count"], document["feasible_share"]) == (20_000, 1.0)
    # A tenth of the expand filters are squeezed, or half of them.
    for end, share in (("min", 0.1), ("max", 0.5)):
        ends = cost_of(base_e=8, incr_e=8, norm="batch", squeeze_ratio=share)
        assert document["sizes"]["params_count"][end] == ends.params_count
    assert result.stderr == (
        "infinitely many candidates are too many to count here: 20,000 drawn at random stand for "
        "them, and the smallest and largest may lie beyond theirs\n"
    )
    lines = run(*args).stdout.splitlines()
    assert "candidates  infinitely many" in lines
    assert "feasible    about 100.00%" in lines
    assert any(line.startswith("size (sample) ") for line in lines)


def test_many_steps_are_counted_one_by_one(run):
    domain = "{range: [0.1, 0.5], step: 0.000001}"
    document = checked(run, "squeeze_ratio", "--set", f"squeeze_ratio={domain}")
    names = ("feasible_count", "refused_count", "duplicates_count")
    assert document["candidates_count"] == sum(document[name] for name in names) == 400_001
    assert document["feasible_count"] < 100  # as whole filters are squeezed
    assert "sampled_count" not in document


def test_report_for_people(run):
    Path("toy.yaml").write_text(SPACE + "  incr_e: 8\nlimits:\n  macs: {min: 1, max: 9_000_000}\n")
    counts = [costs.params_count for costs in toy_costs()]
    lines = run("check", "toy.yaml").stdout.splitlines()
    assert lines[:13] == [
        "space          toy (toy.yaml)",
        "family         squeezenet",
        "data           digits, 8x8x1, 10 classes",
        "limit on macs  at least 1, at most 9,000,000",
        "",
        "base_e         2, 8, 16",
        "squeeze_ratio  0.125, 0.5",
        "",
        "candidates  6",
        "feasible    5",
        "refused     1",
        "duplicates  0",
        "",
    ]
    table = {line.split()[0]: line.split()[1:] for line in lines[13:] if line}
    assert table["size"] == ["smallest", "largest"]
    assert table["params_count"] == [f"{min(counts):,}", f"{max(counts):,}"]
    assert table["1"][:3] == ["fire2:", "squeeze_ratio", "0.125"]


def test_nothing_left_is_an_error_with_the_reason(run):
    result = run("check", "squeeze_ratio", "--set", "base_e=1", "--set", "squeeze_ratio=0.125")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "none of its 1 candidates is left for images of 8x8x1" in result.stderr
    assert "rounds to an empty squeeze" in result.stderr


def test_unknown_space_and_unknown_data_name_the_nearest(run):
    space, data = run("check", "squeez_ratio"), run("check", "squeeze_ratio", "--data", "digit")
    assert (space.exit_code, data.exit_code) == (1, 1)
    assert "did you mean squeeze_ratio" in space.stderr
    assert "did you mean digits?" in data.stderr
