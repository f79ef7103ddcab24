"""Plain data and spaces come back from YAML as they were; a failed write loses nothing."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.config import (
    dump_yaml,
    load_space,
    load_yaml_dict,
    shipped_spaces,
    space_from_dict,
    space_to_dict,
    yaml_text,
)
from dse.config.document import parse_document, plain_scalar
from dse.errors import ConfigError
from dse.space import Fixed, FloatRange, IntRange, SearchSpace
from tests.strategies import finite_spaces

TEXT = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.text(alphabet="0123456789_+-.eExXoinfNayYtrul~:#<=*&!'\" \n", max_size=12),
)
NUMBERS = st.integers(-(2**63) + 1, 2**63 - 1) | st.floats(allow_nan=False)
PLAIN = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def same(left: object, right: object) -> bool:
    """Equal in type as well, all the way down."""
    if isinstance(left, dict) and isinstance(right, dict):
        return list(left) == list(right) and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return type(left) is type(right) and left == right


@given(st.dictionaries(TEXT, PLAIN, max_size=5))
def test_plain_data_comes_back_as_it_was(data):
    document = parse_document(yaml_text(data), "text")
    assert document.problems == []
    assert same(document.data, data)


@given(finite_spaces())
def test_a_space_comes_back_as_it_was(space):
    plain = parse_document(yaml_text(space_to_dict(space)), "text").data
    back = space_from_dict(plain)
    assert back == space
    assert list(back.domains) == list(space.domains)
    assert back.key == space.key


@pytest.mark.parametrize("name", [name for name, _ in shipped_spaces()])
def test_a_resolved_shipped_space_comes_back(name):
    space = load_space(dict(shipped_spaces())[name])
    assert space_from_dict(space_to_dict(space)) == space


def test_a_space_as_plain_data():
    domains = {"base_e": IntRange(8, 16, 8), "dropout": FloatRange(0.1, 0.4, log=True)}
    space = SearchSpace("s", "squeezenet", {**domains, "pools": Fixed(("conv1",))})
    assert yaml_text(space_to_dict(space)) == (
        "schema: 1\nname: s\nfamily: squeezenet\nmetaparameters:\n"
        "  base_e:\n    range: [8, 16]\n    step: 8\n"
        "  dropout:\n    range: [0.1, 0.4]\n    log: true\n"
        "  pools: [conv1]\n"
    )


def test_a_damaged_record_says_what_is_wrong():
    with pytest.raises(ConfigError) as caught:
        space_from_dict({"schema": 1, "name": 3, "family": "squeezenet", "metaparameters": []})
    assert caught.value.problems == (
        "study.yaml: name is 3, but must be text",
        "study.yaml: metaparameters is [], but must be a mapping (lines of key: value)",
    )
    with pytest.raises(ConfigError, match=r"results/a/study\.yaml: the file is empty"):
        space_from_dict(None, source="results/a/study.yaml")


def test_numbers_of_yaml_1_2():
    texts = "1 -1 +1 017 0o17 0x1f 5_000 1e3 1. .5 -.5e-3 .inf -.INF true False null ~"
    values = [1, -1, 1, 17, 15, 31, 5000, 1e3, 1.0, 0.5, -0.0005, math.inf, -math.inf]
    assert [plain_scalar(text) for text in texts.split()] == [*values, True, False, None, None]
    assert math.isnan(plain_scalar(".nan"))  # type: ignore[arg-type]
    words = [
        "no",
        "yes",
        "on",
        "off",
        "1:30",
        "2020-01-01",
        "1e",
        "0b1",
        ".",
        "-",
        "-0x1",
        "nan",
        "inf",
        "_1",
        "1.2.3",
        "TrUe",
    ]
    assert [plain_scalar(word) for word in [*words, "TrUe"]] == [*words, "TrUe"]


def test_a_written_file_reads_back_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "study.yaml"
    dump_yaml({"a": 1}, path)
    dump_yaml({"a": [0.1, (1, 2)], "b": {"text": "no"}}, path)
    assert load_yaml_dict(path) == {"a": [0.1, [1, 2]], "b": {"text": "no"}}
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "study.yaml"
    dump_yaml({"a": 1}, path)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(ConfigError) as caught:
        dump_yaml({"a": 2}, path)
    assert str(caught.value) == f"{path}: cannot be written: No space left on device"
    assert load_yaml_dict(path) == {"a": 1}
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_folder_is_named(tmp_path):
    path = tmp_path / "absent" / "study.yaml"
    with pytest.raises(ConfigError) as caught:
        dump_yaml({}, path)
    assert str(caught.value) == f"{path}: cannot be written: No such file or directory"


def test_reading_a_bad_file_names_the_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("a: 1\na: 2\nb: !x 3\n")
    with pytest.raises(ConfigError) as caught:
        load_yaml_dict(Path("s.yaml"))
    assert caught.value.problems == (
        "s.yaml:2: a is there twice: on line 1 and on line 2; keep one",
        "s.yaml:3: the tag !x is not supported; only plain values are",
    )


def test_windows_files_are_read(tmp_path):
    path = tmp_path / "s.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\r\nb: [x,\r\n  y]\r\n")
    assert load_yaml_dict(path) == {"a": 1, "b": ["x", "y"]}
