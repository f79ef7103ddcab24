"""Files of a study that somebody else wrote: bounded, checked, and inert where they are shown."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from dse.errors import StudyError
from dse.report.tables.listing import list_studies
from dse.report.tables.studies import open_study
from dse.study.answer import read_answer
from dse.study.compression_front import read_compression_table
from dse.study.description import read_description
from dse.study.fields import MOST_BYTES, read_object
from dse.study.reference import read_reference
from dse.study.table import read_trials, write_table

FIXTURES = Path(__file__).parents[1] / "fixtures"
SWEEP = FIXTURES / "sweep" / "tiny-digits"
REFERENCE = FIXTURES / "search/references/alexnet-digits-e049bf6c555e/reference.json"
ANSWER = FIXTURES / "search/tiny_search-digits-search/answer.json"


def changed_json(tmp_path: Path, source: Path, change) -> Path:
    document = json.loads(source.read_text())
    change(document)
    path = tmp_path / source.name
    path.write_text(json.dumps(document))
    return path


def sweep_with(folder: Path, old: str, new: str, name: str = "trials.csv") -> Path:
    shutil.copytree(SWEEP, folder, ignore=shutil.ignore_patterns("weights", "study.db"))
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))
    return folder


def test_one_training_listed_forty_times_is_not_forty_seeds(tmp_path):
    path = changed_json(
        tmp_path, REFERENCE, lambda d: d.update(replicates=d["replicates"][:1] * 40)
    )
    with pytest.raises(StudyError, match="replicates: replicate 0 is listed 40 times"):
        read_reference(path)


def test_a_mean_is_that_of_its_replicates(tmp_path):
    path = changed_json(tmp_path, REFERENCE, lambda d: d.update(test_accuracy=0.5))
    with pytest.raises(StudyError, match=r"test_accuracy is 0.5, but its replicates have 0\.87"):
        read_reference(path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d["answer"]["seeds"][0].update(weights="../../x"), "a path inside the study's"),
        (lambda d: d["answer"]["seeds"][0].update(weights="/etc/x"), "a path inside the study's"),
        (lambda d: d["answer"]["seeds"][1].update(replicate=1), "replicate 1 is listed 2 times"),
        (lambda d: d["answer"].update(difference_low=1e299), "a number in .-1000, 1000."),
        (lambda d: d["reference"].update(seeds=[0.5] * 40), "40 entries, but seeds_count is 3"),
    ],
)
def test_an_answer_that_cannot_be(tmp_path, change, problem):
    with pytest.raises(StudyError, match=problem):
        read_answer(changed_json(tmp_path, ANSWER, change))


def test_a_damaged_study_does_not_end_the_list(tmp_path):
    sweep_with(tmp_path / "sound", "finished", "finished")
    sweep_with(tmp_path / "seed", "771710a55817,", "771710a55817,")
    table = (tmp_path / "seed" / "trials.csv").read_text().splitlines()
    cells = table[1].split(",")
    cells[table[0].split(",").index("seed")] = str(10**20)
    table[1] = ",".join(cells)
    (tmp_path / "seed" / "trials.csv").write_text("\n".join(table))
    sweep_with(tmp_path / "family", "family: squeezenet", "family: [a]", "study.yaml")
    sweep_with(tmp_path / "accuracy", "finished", "fnished")
    problems = {entry.name: entry.problem for entry in list_studies(tmp_path)}
    assert problems["sound"] is None
    assert f"seed is '{10**20}', but must be a whole number of at most 64" in problems["seed"]
    assert "status is 'fnished'" in problems["accuracy"]
    assert len(problems) == 4


@pytest.mark.parametrize("text", ["9" * 400, "-1", "1e300", "inf", "nan", "0x10", "1" * 5000])
@pytest.mark.parametrize("column", ["seed", "params_count", "epochs", "train_loss", "base_e"])
def test_numbers_of_a_table_that_no_column_holds(tmp_path, column, text):
    folder = tmp_path / "study"
    sweep_with(folder, "finished", "finished")
    lines = [line.split(",") for line in (folder / "trials.csv").read_text().splitlines()]
    place = lines[0].index(column)
    for cells in lines[1:]:
        cells[place] = text
    (folder / "trials.csv").write_text("\n".join(map(",".join, lines)))
    if column == "base_e":  # no column of ours: what is no number of its size is a word
        assert read_trials(folder / "trials.csv")[column].tolist()[0] in (text, -1)
        return
    if (column, text) in (("train_loss", "-1"), ("train_loss", "nan"), ("epochs", "nan")):
        values = read_trials(folder / "trials.csv")[column].tolist()
        assert str(values[0]) in (text, "-1.0")
        return
    with pytest.raises(StudyError) as caught:
        read_trials(folder / "trials.csv")
    assert f"{column} is '{text[:20]}" in str(caught.value) or text == "-1"
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize("make", ["pipe", "device", "large", "folder"])
@pytest.mark.parametrize("read", [read_answer, read_trials, read_reference, read_description])
def test_what_could_be_read_without_end_is_refused(tmp_path, make, read):
    path = tmp_path / "x.json"
    match make:
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/zero")
        case "large":
            with path.open("wb") as file:
                file.truncate(2**40)
        case "folder":
            path.mkdir()
    with pytest.raises(Exception, match=r"x\.json.*(ordinary file|larger than|folder|directory)"):
        read(path)


def test_many_problems_are_twenty_lines(tmp_path):
    path = changed_json(tmp_path, ANSWER, lambda d: d.update(finalists=[{}] * 50_000))
    with pytest.raises(StudyError) as caught:
        read_answer(path)
    assert len(str(caught.value).splitlines()) == 21
    path.write_bytes(b"[" * (MOST_BYTES - 1))
    with pytest.raises(StudyError, match="not a JSON file"):
        read_object(path, "something")


def test_columns_of_a_search_stand_together(tmp_path):
    source = FIXTURES / "search" / "tiny_search-digits-search" / "trials.csv"
    path = tmp_path / "trials.csv"
    path.write_text(source.read_text().replace(",curve,", ",curved,", 1))
    with pytest.raises(StudyError, match=r"trials.csv:1: columns are missing: curve; found"):
        read_trials(path)


def test_names_in_a_table_are_inert(tmp_path):
    reason = '=HYPERLINK("http://x","ok")\x1b[31m\nerror: all is lost'
    write_table(tmp_path, [{"candidate": "a", "difference": -0.5, "reason": reason}])
    header, row, *rest = (tmp_path / "trials.csv").read_text().split("\n")
    assert row.startswith("a,-0.5,\"'=HYPERLINK(")
    assert row.endswith('ok"")\\x1b[31m\\nerror: all is lost"')
    assert (header, rest) == ("candidate,difference,reason", [""])
    folder = sweep_with(tmp_path / "stu\x1bdy", "name: digits", 'name: "a\\e[2Jb"', "study.yaml")
    study = open_study(folder.parent, folder.name)
    assert (study.name, study.description.data.name) == ("stu\\x1bdy", "a\\x1b[2Jb")


def test_bytes_of_a_front_that_no_figure_holds(tmp_path):
    source = FIXTURES / "front" / "batch-norm-front.json"
    path = changed_json(tmp_path, source, lambda d: d["baselines_bytes"].update(zstd=10**400))
    with pytest.raises(StudyError, match=r"baselines_bytes is .* an object of whole numbers"):
        read_compression_table(path)
