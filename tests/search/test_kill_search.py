"""Real searches on digits that are killed at random moments, and continued.

Their record is in SQLite, or in a PostgreSQL server that the tests start.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dse.study.events import EventReader
from tests import postgres
from tests.search.processes import (
    finish,
    kill_a_worker_after,
    kill_driver_after,
    kill_driver_when,
    rows,
)

SPACE = Path(__file__).parents[1] / "fixtures" / "spaces" / "tiny_search.yaml"
SEARCH = [
    *("search", str(SPACE), "--set", "fire_modules={values: [1, 2]}", "--study", "s"),
    *("--reference", "0.5", "--margin", "10%", "--epochs", "8", "--first-rung", "2"),
    *("--budget", "6trials", "--finalists", "2"),
    # A recipe by which some candidates are clearly worse at the first rung.
    *("--recipe", "optimizer=adamw", "--recipe", "learning_rate=0.01"),
    *("--recipe", "keeps_norms=false", "--recipe", "label_smoothing=0"),
    *("--recipe", "schedule=cosine", "--recipe", "warmup_share=0.3", "--recipe", "clip_norm=1"),
    *("--recipe", "rest_rate=0.2", "--recipe", "whitens=false"),
    *("--recipe", "passes_through=false", "--recipe", "weight_decay=0.01"),
]
ONE, TWO = [*SEARCH, "--workers", "1"], [*SEARCH, "--workers", "2"]


def table(folder: Path) -> list[dict[str, str]]:
    return rows(folder / "s" / "trials.csv")


def answer(folder: Path) -> dict[str, object]:
    """What was found, without times."""
    document = json.loads((folder / "s" / "answer.json").read_text())
    del document["cost"]["wall_s"]
    return document


def by_key(found: list[dict[str, str]]) -> dict[tuple[str, str], dict[str, str]]:
    keyed = {(row["candidate"], row["seed"]): row for row in found}
    assert len(keyed) == len(found), "a candidate and seed stands there twice"
    return keyed


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    finish(ONE, folder)
    found = table(folder)
    assert {row["stage"] for row in found} == {"search", "finals"}
    assert {row["status"] for row in found} == {"finished", "stopped"}
    assert answer(folder)["found"]
    return folder


def check_alike(folder: Path, undisturbed: Path) -> None:
    """Whatever was trained in both is the same: accuracies, curve and epochs."""
    known = by_key(table(undisturbed))
    for key, row in by_key(table(folder)).items():
        other = known.get(key)
        if other is None:
            continue
        shared = dict(p.split(":") for p in row["curve"].split())
        for epochs, accuracy in (part.split(":") for part in other["curve"].split()):
            assert shared.get(epochs, accuracy) == accuracy
    assert len([r for r in table(folder) if r["stage"] == "search"]) == 6


@pytest.mark.long
def test_a_search_killed_once_ends_with_the_same_trials(undisturbed, tmp_path):
    weights = tmp_path / "s" / "weights"
    kill_driver_when(ONE, tmp_path, lambda: len(list(weights.glob("*.safetensors"))) >= 2)
    finish(ONE, tmp_path)
    assert table(tmp_path) == table(undisturbed)
    events = EventReader(tmp_path / "s").read()
    assert [(e.kind, e.text) for e in events if e.kind in ("run", "over")] == [
        ("run", ""),
        ("run", ""),
        ("over", "finished"),
    ]
    measured = {(e.candidate, e.accuracy) for e in events if e.kind == "ended" and not e.replicate}
    searched = [row for row in table(tmp_path) if row["stage"] == "search"]
    assert {row["candidate"] for row in searched} == {candidate for candidate, _ in measured}
    assert answer(tmp_path) == answer(undisturbed)


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def storage(request) -> Iterator[Callable[[], list[str]]]:
    """Gives the options of a record of its own."""
    if request.param == "SQLite":
        yield lambda: []
        return
    pytest.importorskip("psycopg", reason="the driver is missing: pip install 'dse[postgresql]'")
    if postgres.programs() is None:
        pytest.skip("no PostgreSQL server: apt install postgresql, or pip install pgserver")
    with postgres.running() as server:
        yield lambda: ["--storage", server.new_database()]


@pytest.mark.slow
def test_drivers_of_searches_killed_ten_times_at_random_moments(undisturbed, storage, tmp_path):
    rng, kills, number = random.Random(0), 0, 0
    while kills < 10:
        arguments, folder = [*ONE, *storage()], tmp_path / str(number)
        is_next = True
        while is_next and kill_driver_after(arguments, folder, rng.uniform(1, 30)):
            kills += 1
            is_next = rng.random() < 0.6
        finish(arguments, folder)
        assert table(folder) == table(undisturbed)
        assert answer(folder) == answer(undisturbed)
        number += 1
    print(f"{kills} kills in {number} searches")


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_workers_of_a_search_killed_at_random_moments(undisturbed, tmp_path, number):
    kill_a_worker_after(TWO, tmp_path, random.Random(number).uniform(3, 25))
    check_alike(tmp_path, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(10))
def test_drivers_of_two_workers_killed_at_random_moments(undisturbed, tmp_path, number):
    rng = random.Random(100 + number)
    while kill_driver_after(TWO, tmp_path, rng.uniform(1, 20)) and rng.random() < 0.5:
        pass
    finish(TWO, tmp_path)
    check_alike(tmp_path, undisturbed)
