from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import pytest

from dse.config import dump_yaml
from tests.report.searches import SEARCH_HEADER, answer, not_found, small_search


def write_search(name: str, document=None, *, changed_s: float = 0, **info) -> Path:
    folder = Path("results") / name
    folder.mkdir(parents=True)
    with (folder / "trials.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([SEARCH_HEADER, *small_search()])
    data = {"name": "digits", "input_shape": [8, 8, 1], "classes": list("0123456789")}
    dump_yaml({"study": name, "kind": "search", "data": data} | info, folder / "study.yaml")
    if document is not None:
        (folder / "answer.json").write_text(json.dumps(document))
    if changed_s:
        touch(folder, changed_s)
    return folder


def touch(folder: Path, seconds: float) -> None:
    for path in folder.iterdir():
        os.utime(path, (seconds, seconds))


@pytest.mark.usefixtures("toy_keys")
def test_list_for_people_the_last_changed_first(run):
    touch(Path("results/toy"), 1_000_000_000)
    write_search("found", answer(), changed_s=3e9, space_size=2160, feasible_count=1999)
    write_search("lost", not_found(), changed_s=2e9)
    (Path("results") / "paper").mkdir()  # no study: none of a study's files
    (Path("results") / "paper" / "bypass.csv").write_text("a,b\n")
    result = run("studies")
    assert (result.exit_code, result.stderr) == (0, "")
    header, *lines = result.stdout.splitlines()
    assert header.split() == [
        *("study", "kind", "data", "candidates", "feasible", "finished", "stopped", "failed"),
        *("best", "changed"),
    ]
    assert [line.split() for line in lines[:2]] == [
        [
            *("found", "search", "digits", "2,160", "1,999", "4", "2", "0"),
            *("1,000", "parameters,", "128×", "fewer", *lines[0].split()[-2:]),
        ],
        [
            *("lost", "search", "digits", "–", "–", "4", "2", "0"),
            *("none", "qualified;", "nearest", "1,000", "parameters,", "128×", "fewer"),
            *lines[1].split()[-2:],
        ],
    ]
    # The sweep: 0.5 finished one seed with 95%; a part of a space has no size.
    assert lines[2].split()[:9] == ["toy", "sweep", "digits", "–", "–", "5", "0", "3", "95.00%,"]


def test_document(run):
    write_search("found", answer(), changed_s=3e9, space_size=2160)
    (entry,) = json.loads(run("studies", "--json").stdout)
    assert entry == {
        "name": "found",
        "changed": "2065-01-24T05:20:00+00:00",
        "kind": "search",
        "data": "digits",
        "space_size": 2160,
        "feasible_count": None,
        "finished_count": 4,
        "reused_count": 1,
        "stopped_count": 2,
        "failed_count": 0,
        "best": {
            "candidate": "a",
            "params_count": 1000,
            "validation_accuracy": 0.722,
            "times_fewer": 128.5,
            "qualifies": True,
        },
        "problem": None,
    }


def test_a_broken_study_is_one_line_and_not_the_end(run):
    write_search("good", answer(), changed_s=3e9)
    write_search("answer", answer(margin=7, confidence=7))
    (write_search("cut") / "trials.csv").write_text("candidate,seed\n")
    (write_search("words") / "study.yaml").write_text("a: [\n")
    (write_search("begun") / "trials.csv").unlink()
    result = run("studies")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["study", "good"]
    problems = dict(line.split(": ", 1) for line in result.stderr.splitlines())
    assert set(problems) == {"answer", "cut", "words", "begun"}
    assert "answer.json: margin is 7" in problems["answer"]
    assert "trials.csv:1: columns are missing" in problems["cut"]
    assert "study.yaml:" in problems["words"]
    assert problems["begun"] == "no trials.csv yet: nothing has ended"
    listed = {entry["name"]: entry for entry in json.loads(run("studies", "--json").stdout)}
    assert listed["begun"]["problem"] == problems["begun"]


def test_the_space_of_a_sweep_is_counted_from_its_description(run, toy_keys):
    plain = {"schema": 1, "family": "squeezenet", "metaparameters": {"freq": {"values": [1, 2, 3]}}}
    dump_yaml({"space": {"name": "x", **plain}}, Path("results/toy/study.yaml"))
    (entry,) = json.loads(run("studies", "--json").stdout)
    assert (entry["space_size"], entry["data"], entry["kind"]) == (3, None, "sweep")
    assert entry["best"]["candidate"] == toy_keys[0.5]


def test_no_studies(run):
    result = run("studies")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr.startswith("no studies in results; `dse sweep`")
    assert json.loads(run("studies", "--json").stdout) == []


def test_plot_of_a_search_draws_all_of_it(run):
    write_search("found", answer())
    result = run("plot", "found")
    assert result.exit_code == 0
    stems = ("found", "found-hypervolume")  # four candidates are too few for parallel coordinates
    assert result.stdout.splitlines() == [
        f"plots/{stem}{suffix}" for stem in stems for suffix in (".png", ".svg")
    ]
    assert result.stderr.startswith("found-importance is not drawn: it needs 20 candidates")
    assert run("plot", "found", "--out", "x.svg").stdout == "x.svg\n"
    assert "1,000 parameters" not in run("front", "found").stdout
    assert run("front", "found").stderr == (
        "2 of 5 candidates on the front (6 trials, 2 stopped early)\n"
        "* the answer of the search: a, 1,000 parameters, test accuracy 71.50%\n"
    )


def test_plot_of_a_search_beside_another_or_beside_the_paper_is_one_image(run):
    shutil.copytree(write_search("found", answer()), "results/other")
    both, published = run("plot", "found", "other"), run("plot", "found", "--published")
    assert both.stdout.splitlines() == ["plots/found+other.png", "plots/found+other.svg"]
    assert published.stdout.splitlines()[0] == "plots/found-published.png"


def test_plot_with_a_broken_answer_says_so(run):
    write_search("found", answer(found="yes"))
    result = run("plot", "found")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        'error: results/found/answer.json: found is "yes", but must be true or false\n'
    )
