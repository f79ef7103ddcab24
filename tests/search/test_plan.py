"""What a search plans where the user leaves it open: rungs and sampler."""

from __future__ import annotations

from pathlib import Path

import pytest

from dse.data import DataDescription, parse_data
from dse.search import SearchOptions, plan_search
from tests.search.searching import SPACE

DATA = DataDescription(
    "cifar10",
    (32, 32, 3),
    ("cat", "dog"),
    45_000,
    (),
    {"train": (22_500,) * 2, "validation": (2_500,) * 2},
)


def planned(results: Path | None = None, **options: object):
    asked = SearchOptions(reference="0.9", study="s", **options)
    return plan_search(SPACE, parse_data("cifar10"), DATA, asked, results=results).search


def test_candidates_may_be_stopped_at_a_third_of_the_epochs():
    search = planned(epochs=27)
    assert (search.ladder.epochs, search.sampler) == ((9, 27), "level")
    assert planned(epochs=27, first_rung=2).ladder.epochs == (3, 9, 27)
    assert planned(epochs=27, first_rung=27).ladder.epochs == (27,)


@pytest.mark.parametrize(
    ("recorded", "rungs"),
    [
        ("[1, 3, 9, 27]", (1, 3, 9, 27)),
        ("[1, 3, 9]", (9, 27)),
        ("[9, 1, 27]", (9, 27)),
        ("[0, 27]", (9, 27)),
        ("[a, 27]", (9, 27)),
        ("27", (9, 27)),
    ],
)
def test_a_search_that_was_begun_keeps_its_rungs(tmp_path, recorded, rungs):
    (tmp_path / "s").mkdir()
    text = f"study: s\nsearch: {{rungs: {recorded}, sampler: tpe, objectives: [params_count]}}\n"
    Path(tmp_path, "s", "study.yaml").write_text(text, encoding="utf-8")
    assert planned(tmp_path, epochs=27).ladder.epochs == rungs
    assert planned(tmp_path, epochs=27, first_rung=3).ladder.epochs == (3, 9, 27)
