from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest

from dse.architecture import FAMILIES, build, cost, make_candidate
from dse.config import dump_yaml
from dse.errors import StudyError
from dse.report.tables.studies import open_study, recorded_value, studied_candidate, study_names
from tests.report.rows import HEADER, described

VALUES = {"base_e": 16, "squeeze_ratio": 0.5, "pools": ("conv1",), "stem_filters": 12}
CANDIDATE = make_candidate("squeezenet", VALUES)
INFO = {
    "space": {"family": "squeezenet"},
    "data": {"input_shape": [8, 8, 1], "classes": ["a", "b", "c"]},
}


def write_study(directory, *, values=CANDIDATE.metaparameters, info=INFO):
    costs = cost(build(CANDIDATE, (8, 8, 1), 3))
    cells = {
        "candidate": CANDIDATE.key,
        **{n: " ".join(v) if isinstance(v, tuple) else v for n, v in values.items()},
        **dict.fromkeys(HEADER[HEADER.index("seed") :], 0),
        **{"status": "finished", "reason": "", "params_count": costs.params_count},
    }
    directory.mkdir(parents=True)
    lines = (",".join(map(str, row)) for row in (cells, cells.values()))
    (directory / "trials.csv").write_text("\n".join(lines) + "\n")
    if info is not None:
        dump_yaml(info, directory / "study.yaml")


def test_candidate_comes_back_from_its_row_with_every_value(tmp_path):
    write_study(tmp_path / "a")
    study = open_study(tmp_path, "a")
    found = studied_candidate(study, CANDIDATE.key)
    assert found.candidate == CANDIDATE
    assert (found.input_shape, found.classes_count) == ((8, 8, 1), 3)
    assert (study.name, study.description) == ("a", described(INFO))


def test_description_may_be_absent_until_it_is_needed(tmp_path):
    write_study(tmp_path / "a", info=None)
    study = open_study(tmp_path, "a")
    assert len(study.trials) == 1
    with pytest.raises(StudyError) as caught:
        studied_candidate(study, CANDIDATE.key)
    assert str(caught.value) == (
        "study a: study.yaml must name space.family, data.input_shape [height, width, channels] "
        "and data.classes"
    )


def test_row_that_was_changed_is_not_believed(tmp_path):
    write_study(tmp_path / "a", values=CANDIDATE.metaparameters | {"freq": 3})
    other = make_candidate("squeezenet", VALUES | {"freq": 3})
    with pytest.raises(StudyError, match=f"candidate {CANDIDATE.key} give {other.key}; trials.csv"):
        studied_candidate(open_study(tmp_path, "a"), CANDIDATE.key)


def test_row_that_the_family_refuses_says_why(tmp_path):
    write_study(tmp_path / "a", values=CANDIDATE.metaparameters | {"freq": 0})
    with pytest.raises(StudyError, match=f"study a, candidate {CANDIDATE.key}: freq is 0, but"):
        studied_candidate(open_study(tmp_path, "a"), CANDIDATE.key)


def test_unknown_candidate_lists_those_that_there_are(tmp_path):
    write_study(tmp_path / "a")
    with pytest.raises(StudyError) as caught:
        studied_candidate(open_study(tmp_path, "a"), "zz")
    assert str(caught.value) == f"study a has no candidate 'zz'; there is {CANDIDATE.key}"


def test_a_candidate_may_be_named_by_how_it_begins(tmp_path):
    write_study(tmp_path / "a")
    study = open_study(tmp_path, "a")
    assert studied_candidate(study, CANDIDATE.key[:4]) == studied_candidate(study, CANDIDATE.key)


def test_a_beginning_of_several_candidates_names_them(tmp_path):
    write_study(tmp_path / "a")
    study = open_study(tmp_path, "a")
    other = study.trials.assign(candidate=CANDIDATE.key[:4] + "zz")
    both = replace(study, trials=pd.concat([study.trials, other]))
    with pytest.raises(StudyError) as caught:
        studied_candidate(both, CANDIDATE.key[:4])
    assert str(caught.value) == (
        f"study a: {CANDIDATE.key[:4]!r} begins 2 candidates: {CANDIDATE.key}, "
        f"{CANDIDATE.key[:4]}zz; write more of it"
    )


def test_unknown_study_lists_the_nearest_first(tmp_path):
    for name in ("bypass", "pct_3x3", "squeeze_ratio"):
        write_study(tmp_path / name)
    (tmp_path / "empty").mkdir()
    assert study_names(tmp_path) == ["bypass", "pct_3x3", "squeeze_ratio"]
    with pytest.raises(StudyError) as caught:
        open_study(tmp_path, "squeeze_ratios")
    assert str(caught.value).startswith(
        f"study 'squeeze_ratios' not found in {tmp_path}; there are squeeze_ratio, "
    )


def test_study_without_a_trial_yet(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "study.db").touch()
    with pytest.raises(StudyError, match=r"study a in .* has no trials.csv yet: no candidate"):
        open_study(tmp_path, "a")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("base_e", 8),
        ("stem_filters", "auto"),
        ("pct_3x3", 0.5),
        ("pools", "late"),
        ("pools", ("conv1",)),
        ("pools", ("conv1", "fire4")),
        ("pools", ()),
        ("bypass", "none"),
    ],
)
def test_recorded_value_is_what_was_written(name, value):
    text = " ".join(value) if isinstance(value, tuple) else str(value)
    assert recorded_value(text, FAMILIES["squeezenet"].metaparameters[name]) == value
