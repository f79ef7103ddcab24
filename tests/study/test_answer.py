from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dse.errors import StudyError
from dse.study.answer import find_answer, read_answer, write_answer
from tests.report.searches import answer, not_found


@pytest.fixture
def write(tmp_path):
    def write_document(document) -> object:
        path = tmp_path / "answer.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return path

    return write_document


def test_every_field_comes_back(write):
    found = read_answer(write(answer()))
    assert (found.study, found.found, found.margin, found.confidence) == ("small", True, 0.0, 0.95)
    assert (found.reference.name, found.reference.params_count) == ("alexnet", 128_500)
    assert (found.reference.low, found.reference.high) == (0.702, 0.718)
    assert found.answer is not None
    assert (found.answer.params_count, found.answer.times_fewer) == (1000, 128.5)
    assert found.answer.metaparameters["squeeze_ratio"] == 0.125
    assert [part.verdict for part in found.finalists] == ["qualifies"]
    assert (found.cost.wall_s, found.cost.stopped) == (50.0, 2)
    assert found.nearest is None


def test_what_is_written_comes_back(write, tmp_path):
    found = read_answer(write(answer()))
    more = replace(found, confirmation_images=180, analyses_count=2, study="another")
    assert read_answer(write_answer(tmp_path, more)) == more
    written = json.loads((tmp_path / "answer.json").read_text())
    assert written == json.loads(json.dumps(more.to_dict()))
    assert list(written)[:3] == ["schema", "study", "found"]


def test_an_answer_of_schema_1(write):
    old = answer(judging_pictures=2500, looks_count=3)
    old["finalists"][0]["steering_accuracy"] = 0.75
    found = read_answer(write(old))
    assert (found.confirmation_images, found.analyses_count) == (2500, 3)
    assert found.finalists[0].selection_accuracy == 0.75
    with pytest.raises(StudyError, match="json: judging_pictures is -1, but must be a whole"):
        read_answer(write(old | {"judging_pictures": -1}))


def test_the_published_answer_is_read():
    path = Path("results/squeezenet-cifar10-jpeg-search/answer.json")
    found = read_answer(path)
    assert found.confirmation_images == 2500
    assert found.answer is not None
    assert [seed.replicate for seed in found.answer.seeds] == [1, 2, 3]
    assert (found.cost.trials, found.cost.finals, found.analyses_count) == (9, 3, 0)


def test_a_number_as_reference_and_nothing_found(write):
    document = not_found() | {"finalists": [], "a later field": 1}
    document["reference"] |= {"name": "0.803", "params_count": None, "low": None, "high": None}
    document["nearest"]["times_fewer"] = None
    found = read_answer(write(document))
    assert found.answer is None
    assert found.nearest is not None
    assert (found.nearest.difference, found.nearest.times_fewer) == (-0.01, None)


def test_no_answer_yet(tmp_path):
    assert find_answer(tmp_path) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"margin": -0.1}, r"margin is -0.1, but must be a fraction in \[0, 1\]"),
        ({"confidence": 1}, r"confidence is 1, but must be a fraction in \(0, 1\)"),
        ({"found": 1}, "found is 1, but must be true or false"),
        ({"found": False}, "found is false, but answer is not null"),
        ({"answer": None}, "found is true, but answer is null"),
        ({"study": None}, "study is null, but must be text"),
        ({"reference": None}, "reference is null, but must be an object"),
        ({"reference__name": ""}, 'reference.name is "", but must be text that is not empty'),
        ({"reference__params_count": 1.5}, "reference.params_count is 1.5, but must be a whole"),
        ({"reference__validation_accuracy": 71}, "reference.validation_accuracy is 71, but must"),
        ({"reference__seeds_count": True}, "reference.seeds_count is true, but must be a whole"),
        ({"answer__params_count": 2**63}, f"answer.params_count is {2**63}, but must be a whole"),
        ({"answer__times_fewer": 0}, "answer.times_fewer is 0, but must be a number above 0 or"),
        ({"answer__difference": 10**400}, "answer.difference is 1000.*…, but must be a number"),
        ({"answer__metaparameters": {"a": []}}, "answer.metaparameters is .*an object of numbers"),
        ({"finalists": {}}, "finalists is {}, but must be a list of objects"),
        ({"finalists": [{}]}, r"finalists\[0\].candidate is missing"),
        ({"cost__wall_s": "1"}, 'cost.wall_s is "1", but must be seconds from 0'),
        ({"schema": 3}, "schema is 3, but this version of dse reads 1 and 2"),
    ],
)
def test_a_wrong_field_is_named_with_its_file(write, changes, message):
    with pytest.raises(StudyError, match=rf"answer\.json: {message}"):
        read_answer(write(answer(**changes)))


def test_all_problems_at_once_and_no_consequences_of_them(write):
    document = answer(margin=2, cost=[])
    del document["reference"]["low"]
    with pytest.raises(StudyError) as caught:
        read_answer(write(document))
    lines = [line.partition("answer.json: ")[2] for line in str(caught.value).splitlines()]
    assert lines == [
        "reference.low is missing",
        "margin is 2, but must be a fraction in [0, 1]",
        "cost is [], but must be an object",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not a JSON file in UTF-8"),
        ("[1]", "must hold an object with the search's answer"),
        ('{"schema": NaN}', "NaN is no number of JSON"),
        ("[" * 100_000, "not a JSON file"),
        ("{}", "schema is None, but this version of dse reads 1 and 2"),
    ],
)
def test_a_file_that_is_no_answer(write, text, message):
    with pytest.raises(StudyError, match=message):
        read_answer(write(text))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(StudyError, match="cannot be read"):
        read_answer(tmp_path)
