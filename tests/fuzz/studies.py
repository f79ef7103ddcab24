"""Every file of a study: its record, its tables, what describes it and what it found."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from random import Random

from dse.config import load_yaml_dict
from dse.report.tables.studies import open_study, studied_candidate
from dse.report.tables.summary import front_table
from dse.study.answer import read_answer
from dse.study.compression_front import read_compression_table
from dse.study.description import find_description
from dse.study.record import read_study
from dse.study.reference import read_reference
from dse.study.table import is_search, parse_curve
from tests.fuzz.harness import Kind
from tests.fuzz.mutate import flip_bit, mutate_bytes, mutate_csv, mutate_json, mutate_text

_FIXTURES = Path(__file__).parents[1] / "fixtures"
_SWEEP = _FIXTURES / "sweep" / "tiny-digits"
_SEARCH = _FIXTURES / "search" / "tiny_search-digits-search"
(_REFERENCE,) = (_FIXTURES / "search" / "references").iterdir()


def _read_table(path: Path) -> object:
    study = open_study(path.parents[1], path.parent.name)
    front = front_table(study.trials)
    if is_search(study.trials):
        [parse_curve(text) for text in study.trials["curve"]]
    for key in front.get("candidate", ())[:2]:
        studied_candidate(study, key)
    return front


def _mutate_yaml(rng: Random, content: bytes) -> bytes:
    """The JSON that YAML is, too, or its text."""
    return (mutate_json if rng.random() < 0.7 else mutate_text)(rng, content)


def _mutate_rows(rng: Random, content: bytes) -> bytes:
    """The JSON of some rows of a record, or bytes of the database."""
    if rng.random() < 0.2:
        return mutate_bytes(rng, content)
    with closing(sqlite3.connect(":memory:")) as database:
        database.deserialize(_without_wal(content))
        table = rng.choice(("trial_user_attributes",) * 5 + ("study_user_attributes",) * 2)
        if rng.random() < 0.1:
            table = rng.choice(("trial_params", "trial_values", "trials", "studies"))
        rows = database.execute(f"SELECT rowid, * FROM {table}").fetchall()
        names = [part[1] for part in database.execute(f"PRAGMA table_info({table})")]
        for row in rng.sample(rows, min(len(rows), rng.choice((1, 1, 2, 5)))):
            column = rng.choice(names) if "value_json" not in names else "value_json"
            old = row[1 + names.index(column)]
            new = mutate_json(rng, old.encode()) if column == "value_json" else rng.choice((7, "x"))
            if isinstance(new, bytes):
                new = new.decode("utf-8", "replace")
            action = f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid = ?"
            if rng.random() < 0.15:
                action, new = f"DELETE FROM {table} WHERE ?1 = ?1 AND rowid = ?2", 0
            with suppress(sqlite3.Error):  # an identifier that is no number
                database.execute(action, (new, row[0]))
        database.commit()
        return bytes(database.serialize())


def _without_wal(content: bytes) -> bytes:
    """A database in memory has no write-ahead log: bytes 18 and 19 say so."""
    return content[:18] + b"\x01\x01" + content[20:]


def _read_record(path: Path) -> object:
    for beside in path.parent.glob("study.db-*"):
        beside.unlink()
    return read_study(path.parent)


def _in_folder(source: Path, name: str, read):
    """A reader of one file among the sound ones of a study."""

    def read_in_folder(path: Path) -> object:
        folder = path.parent / "results" / source.name
        if not folder.exists():
            keep = shutil.ignore_patterns("weights")
            shutil.copytree(source, folder, ignore=keep)
        (folder / name).write_bytes(path.read_bytes())
        return read(folder / name)

    return read_in_folder


def _yaml_as_json(path: Path) -> bytes:
    return json.dumps(load_yaml_dict(path)).encode()


def _read_description(path: Path) -> object:
    find_description(path.parent)
    return _read_table(path)


KINDS = (
    Kind(
        "answer.json",
        ((_SEARCH / "answer.json").read_bytes(),),
        mutate_json,
        read_answer,
        long_count=8_000,
    ),
    Kind(
        "study.yaml",
        (_yaml_as_json(_SWEEP / "study.yaml"), _yaml_as_json(_SEARCH / "study.yaml")),
        _mutate_yaml,
        _in_folder(_SWEEP, "study.yaml", _read_description),
        count=50,
        long_count=2_000,
    ),
    Kind(
        "trials.csv",
        ((_SWEEP / "trials.csv").read_bytes(),),
        mutate_csv,
        _in_folder(_SWEEP, "trials.csv", _read_table),
        count=50,
        long_count=3_000,
    ),
    Kind(
        "search-trials.csv",
        ((_SEARCH / "trials.csv").read_bytes(),),
        mutate_csv,
        _in_folder(_SEARCH, "trials.csv", _read_table),
        count=50,
        long_count=2_500,
    ),
    Kind(
        "reference.json",
        ((_REFERENCE / "reference.json").read_bytes(),),
        mutate_json,
        read_reference,
        long_count=8_000,
    ),
    Kind(
        "x-front.json",
        ((_FIXTURES / "front" / "batch-norm-front.json").read_bytes(),),
        mutate_json,
        read_compression_table,
        long_count=6_000,
    ),
    Kind(
        "study.db",
        ((_SWEEP / "study.db").read_bytes(), (_SEARCH / "study.db").read_bytes()),
        _mutate_rows,
        _read_record,
        count=40,
        long_count=1_500,
    ),
    Kind(
        "flipped-study.db",
        ((_SWEEP / "study.db").read_bytes(),),
        flip_bit,
        _in_folder(_SWEEP, "study.db", _read_record),
        count=20,
        long_count=1_000,
    ),
)
