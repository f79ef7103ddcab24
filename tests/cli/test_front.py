from __future__ import annotations

import json
from pathlib import Path

import pytest

from dse.architecture import OBJECTIVES, build, cost, make_candidate
from tests.cli.test_studies import write_search
from tests.report.searches import answer, not_found


def cost_of(ratio: float):
    values = {"base_e": 8, "incr_e": 8, "squeeze_ratio": ratio, "pools": ["conv1", "fire2"]}
    return cost(build(make_candidate("squeezenet", values), (8, 8, 1), 10))


def test_document_holds_the_front_smallest_first(run, toy_keys):
    result = run("front", "toy", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    rows = document.pop("front")
    assert document == {
        "study": "toy",
        "size": "params_count",
        "candidates_count": 4,
        "trials_count": 8,
        "missing_count": 0,
        "stopped_count": 0,
        "failed_count": 3,
    }
    # 0.125 has a mean of 0.85; 0.25, larger with 0.83, is dominated; 0.5 has 0.95; 1.0 failed.
    assert [row["candidate"] for row in rows] == [toy_keys[0.125], toy_keys[0.5]]
    first = rows[0]
    assert {name: first[name] for name in OBJECTIVES} == {
        name: getattr(cost_of(0.125), name) for name in OBJECTIVES
    }
    assert first["squeeze_ratio"] == 0.125
    assert first["validation_accuracy_mean"] == pytest.approx(0.85)
    assert (first["validation_accuracy_min"], first["validation_accuracy_max"]) == (0.8, 0.9)
    assert [row["seeds_count"] for row in rows] == [2, 1]


@pytest.mark.usefixtures("toy_keys")
def test_table_for_people(run):
    result = run("front", "toy", "--x", "macs")
    rows = [line.split() for line in result.stdout.splitlines()]
    assert rows[0] == ["validation", "lowest", "highest", "test"]
    assert rows[1][:3] == ["squeeze_ratio", "MACs", "accuracy"]
    assert rows[2][:7] == [
        *("0.125", f"{cost_of(0.125).macs:,}"),
        *("85.00%", "80.00%", "90.00%", "85.00%", "2"),
    ]
    assert result.stderr == "2 of 4 candidates on the front (8 trials, 3 failed)\n"


@pytest.mark.usefixtures("toy_keys")
def test_a_sweep_that_is_not_done_says_what_is_missing(run):
    description = Path("results/toy/study.yaml")
    text = description.read_text() if description.exists() else ""
    description.write_text(f"{text}trials_count: 10\n")
    assert json.loads(run("front", "toy", "--json").stdout)["missing_count"] == 2
    assert run("front", "toy").stderr == (
        "2 of 4 candidates on the front (8 trials, 3 failed, 2 still to be trained: "
        "`dse sweep` resumes)\n"
    )


@pytest.mark.usefixtures("toy_keys")
def test_study_may_be_named_by_its_folder(run, tmp_path):
    by_path = run("front", "results/toy/", "--results", "elsewhere", "--json")
    assert json.loads(by_path.stdout)["study"] == "toy"


@pytest.mark.usefixtures("toy_keys")
def test_unknown_study_lists_those_that_there_are(run):
    result = run("front", "toi")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: study 'toi' not found in results; there is toy\n",
    )


@pytest.mark.usefixtures("toy_keys")
def test_unknown_axis_is_a_usage_error(run):
    result = run("front", "toy", "--x", "flops")
    assert result.exit_code == 2
    assert "'flops' is not one of 'params_count', 'macs', 'weight_bytes'" in result.stderr


def test_axes_are_the_objectives():
    from typing import get_args

    from dse.cli.options import SizeName

    assert get_args(SizeName) == OBJECTIVES


def test_the_answer_of_a_search_is_marked_with_its_test_accuracy(run):
    found = answer()["answer"]
    write_search("found", answer())
    result = run("front", "found")
    (row,) = [line for line in result.stdout.splitlines() if line.endswith(" *")]
    assert row.split()[-2] == found["candidate"]
    assert f"{found['test_accuracy']:.2%}" in row.split()
    assert (
        f"* the answer of the search: {found['candidate']}, {found['params_count']:,} parameters, "
        f"test accuracy {found['test_accuracy']:.2%}"
    ) in result.stderr
    document = json.loads(run("front", "found", "--json").stdout)
    assert document["answer"] == found["candidate"]
    tested = [row["candidate"] for row in document["front"] if row["test_accuracy_mean"]]
    assert tested == [found["candidate"]]


def test_a_search_without_an_answer_marks_none(run):
    write_search("lost", not_found())
    result = run("front", "lost")
    assert "*" not in result.output
    assert json.loads(run("front", "lost", "--json").stdout)["answer"] is None


def test_an_answer_that_cannot_be_read_costs_no_table(run):
    folder = write_search("found", answer())
    (folder / "answer.json").write_text("{")
    result = run("front", "found")
    assert result.exit_code == 0
    assert "a" in result.stdout.split()
    assert "note: results/found/answer.json: not a JSON file" in result.stderr
