"""A bit that flipped in a record is an error that names the file, or changes nothing."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from dse.errors import StudyError
from dse.study.measurement import Measurement
from dse.study.record import read_study
from dse.study.seal import sealed, unsealed
from tests.study import test_record
from tests.study.test_old_files import FORMER

FIXTURES = Path(__file__).parents[1] / "fixtures"
COLUMNS = {
    "trial_user_attributes": "value_json",
    "study_user_attributes": "value_json",
    "trial_params": "distribution_json",
}


@pytest.fixture(scope="module")
def studies(tmp_path_factory) -> list[Path]:
    """A study of today, with a checksum for each value, and an older one without."""
    folder = tmp_path_factory.mktemp("studies")
    with test_record.opened(folder) as record:
        test_record.fill(record)
        record.set_note("tested", {"abc": {"1": "AA=="}})
    old = "tiny_search-digits-search"
    (folder / old).mkdir()
    shutil.copy(FIXTURES / "search" / old / "study.db", folder / old / "study.db")
    return [folder / "ratios", folder / old]


def rows_of(directory: Path, table: str) -> list[tuple[int, bytes]]:
    with contextlib.closing(sqlite3.connect(directory / "study.db")) as database:
        found = database.execute(f"SELECT rowid, CAST({COLUMNS[table]} AS BLOB) FROM {table}")
        return found.fetchall()


def put(directory: Path, table: str, row: int, text: bytes) -> None:
    with contextlib.closing(sqlite3.connect(directory / "study.db")) as database:
        column = COLUMNS[table]
        database.execute(
            f"UPDATE {table} SET {column} = CAST(? AS TEXT) WHERE rowid = ?", (text, row)
        )
        database.commit()


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("table", COLUMNS)
def test_a_flipped_bit_is_named_or_without_effect(studies, number, table):
    directory, rng = studies[number], random.Random(table)
    whole = read_study(directory)
    refused_count = 0
    for _ in range(12):
        row, text = rng.choice(rows_of(directory, table))
        bit = rng.randrange(8 * len(text))
        changed = bytearray(text)
        changed[bit // 8] ^= 1 << bit % 8
        put(directory, table, row, bytes(changed))
        problem, found = "", None
        try:
            found = read_study(directory)
        except StudyError as error:
            problem = str(error)
        put(directory, table, row, text)
        if problem:
            refused_count += 1
            assert problem.startswith(f"{directory / 'study.db'} is damaged: ")
            assert re.search(r"trial \d|trial_id \d|study_id 1|dse:", problem), problem
        else:
            # Without a checksum another valid number is believed; notes are read by `Record`.
            assert found == whole or number == 1
    assert read_study(directory) == whole
    assert refused_count >= (12 if (number, table) == (0, "trial_user_attributes") else 2)


def test_a_bit_of_the_file_that_flipped_is_no_other_study(studies, tmp_path):
    content, rng = (studies[0] / "study.db").read_bytes(), random.Random(7)
    whole, refused_count = read_study(studies[0]), 0
    used = [place for place, byte in enumerate(content) if byte]
    for number in range(30):
        directory = tmp_path / str(number)
        directory.mkdir()
        changed = bytearray(content)
        changed[rng.choice(used)] ^= 1 << rng.randrange(8)
        (directory / "study.db").write_bytes(changed)
        try:
            assert read_study(directory) == whole
        except StudyError:
            refused_count += 1
    assert refused_count > 3


def test_names_that_are_no_text_are_named(studies, tmp_path):
    """SQLite's own message quotes them, which Python cannot decode."""
    content = (studies[0] / "study.db").read_bytes()
    for old, new in ((b"tablestudies", b"table\xf4tudies"), (b"CREATE TABLE studies", b"?" * 20)):
        assert old in content
        content = content.replace(old, new)
    (tmp_path / "study.db").write_bytes(content)
    with pytest.raises(StudyError, match=r"study.db is damaged: 'utf-8' codec can't decode"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("table", "change", "problem"),
    [
        (
            "trial_user_attributes",
            "UPDATE {} SET key = 'dse:rung:2' WHERE key = 'dse:rung:3'",
            "rung",
        ),
        (
            "trial_user_attributes",
            "DELETE FROM {} WHERE key = 'dse:rung:1'",
            "dse:rung:3: not what",
        ),
        ("trial_user_attributes", "DELETE FROM {} WHERE key = 'dse:asked'", "dse:asked: "),
        ("trial_values", "UPDATE {} SET value = 0.5 WHERE objective = 0", "its state is COMPLETE"),
        ("trial_params", "UPDATE {} SET param_value = 0", "squeeze_ratio is 0.0625, but"),
        ("trials", "DELETE FROM {} WHERE number = 2", "their numbers have gaps"),
    ],
)
def test_what_was_changed_by_hand_is_named(studies, tmp_path, table, change, problem):
    directory = tmp_path / "ratios"
    shutil.copytree(studies[0], directory)
    with contextlib.closing(sqlite3.connect(directory / "study.db")) as database:
        database.execute(change.format(table))
        database.commit()
    with pytest.raises(StudyError, match=re.escape(problem)):
        read_study(directory)


def test_a_note_that_was_changed_is_refused_when_the_study_is_opened(studies, tmp_path):
    shutil.copytree(studies[0], tmp_path / "ratios")
    (row, text), *_ = [
        r for r in rows_of(tmp_path / "ratios", "study_user_attributes") if b"AA==" in r[1]
    ]
    put(tmp_path / "ratios", "study_user_attributes", row, text.replace(b"AA==", b"gA=="))
    with (
        pytest.raises(StudyError, match="dse:tested: not what was written"),
        test_record.opened(tmp_path),
    ):
        pass


def test_a_checksum_covers_value_and_place():
    held = sealed({"accuracy": 0.5, "layers": ("a", "b")}, "dse:rung:3", "abc", 0)
    assert unsealed(held, "dse:rung:3", "abc", 0) == {"accuracy": 0.5, "layers": ("a", "b")}
    assert unsealed({"accuracy": 0.5}, "dse:rung:3") == {"accuracy": 0.5}, "an older version's"
    for changed, place in (
        (held, ("dse:rung:3", "abc", 1)),
        (held | {"value": {"accuracy": 0.25}}, ("dse:rung:3", "abc", 0)),
        (held | {"check": "0" * 16}, ("dse:rung:3", "abc", 0)),
    ):
        with pytest.raises(ValueError, match="checksum differs"):
            unsealed(changed, *place)


@pytest.mark.parametrize(
    ("table", "old", "new", "problem"),
    [
        ("study_user_attributes", b'"spent": 92.0', b'"spent": "x"', 'runs[0].spent is "x", but'),
        ("study_user_attributes", b'"//+8', b'"//.8', "tested is "),
        (
            "trial_user_attributes",
            b'"validation_accuracy": 0.',
            b'"validation_accuracy": 0.0',
            "corr",
        ),
        ("trial_user_attributes", b'"epochs": 3', b'"epochs": 3.5', "epochs is 3.5, but must be"),
        ("trial_user_attributes", b'"replicate": 0', b'"replicate": -1', "replicate is -1, but"),
    ],
)
def test_values_of_an_older_study_are_checked_against_each_other(
    studies, tmp_path, table, old, new, problem
):
    """They have no checksum; `open_record` reads the notes too."""
    import dse

    folder = tmp_path / "results" / studies[1].name
    folder.mkdir(parents=True)
    shutil.copy(studies[1] / "study.db", folder / "study.db")
    row, text = next((row, text) for row, text in rows_of(folder, table) if old in text)
    put(folder, table, row, text.replace(old, new, 1))
    space = FIXTURES / "spaces" / "tiny_search.yaml"
    options = {"margin": 0.1, "epochs": 8, "first_rung": 2, "budget": "8trials", "finalists": 2}
    options |= {"reference": 0.5, "results": tmp_path / "results", "workers": 1}
    options |= {"recipe": FORMER, "sampler": "tpe"}
    with pytest.raises(StudyError, match=re.escape(problem)):
        _ = read_study(folder) if "trial" in table else dse.search(space, **options)


@pytest.mark.parametrize("write", ["set_trial_user_attr", "set_trial_intermediate_value"])
def test_a_kill_between_two_writes_of_a_rung_leaves_a_sound_record(tmp_path, monkeypatch, write):
    with test_record.opened(tmp_path) as record:
        test_record.fill(record)
        candidate = next(iter(record.trials.values())).candidate
        trial = record.begin(candidate, {"params_count": 1})
        before = len(trial.rungs)
        assert before == 0
        storage = type(record._storage)
        monkeypatch.setattr(
            storage, write, lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            record.add(trial, Measurement("finished", validation_accuracy=0.5, epochs=1), 1.0)
        monkeypatch.undo()
    with test_record.opened(tmp_path) as record:
        rungs_count = len(record.trials[trial.key].rungs)
    assert rungs_count == (1 if write == "set_trial_intermediate_value" else 0)
