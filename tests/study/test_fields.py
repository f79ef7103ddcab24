from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from dse.errors import StudyError, WeightsError
from dse.study.fields import (
    Count,
    Name,
    Share,
    Words,
    check_schema,
    formerly,
    from_dict,
    read_object,
)

PATH = Path("shelf.json")


@dataclass(frozen=True)
class Book:
    title: Name
    pages: Count
    read: Share | None = None


@dataclass(frozen=True, kw_only=True)
class Shelf:
    label: str
    is_full: bool = field(default=False, metadata=formerly("full"))
    books: tuple[Book, ...]
    heights: tuple[float, ...] = ()
    shape: tuple[int, ...] = (1, 1)
    favourite: Book | None = None
    notes: Words = field(default_factory=dict)
    other: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.is_full and not self.books:
            raise ValueError("full is true, but there are no books")


SHELF: dict[str, Any] = {
    "label": "A",
    "full": True,
    "books": [{"title": "Emma", "pages": 474, "read": 1}, {"title": "Kim", "pages": 368}],
    "heights": [20, 18.5],
    "shape": [2, 3],
    "favourite": {"title": "Emma", "pages": 474, "read": None, "colour": "red"},
    "notes": {"dust": True, "years": 3, "wood": "oak"},
}


def test_types_defaults_and_former_names():
    shelf = from_dict(Shelf, SHELF, PATH)
    assert shelf == Shelf(
        label="A",
        is_full=True,
        books=(Book("Emma", 474, 1.0), Book("Kim", 368)),
        heights=(20.0, 18.5),
        shape=(2, 3),
        favourite=Book("Emma", 474),
        notes=SHELF["notes"],
    )
    assert from_dict(Shelf, {"label": "", "books": []}, PATH) == Shelf(label="", books=())
    renamed = from_dict(Shelf, SHELF | {"is_full": False}, PATH)
    assert renamed.is_full is False, "the new name wins"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": 3}, "label is 3, but must be text"),
        ({"full": 1}, "full is 1, but must be true or false"),
        ({"books": [3]}, r"books is \[3\], but must be a list of objects"),
        ({"books": {}}, "books is {}, but must be a list of objects"),
        ({"heights": 3}, "heights is 3, but must be a list"),
        ({"heights": [1, "2"]}, r'heights\[1\] is "2", but must be a number'),
        ({"heights": [10**400]}, r"heights\[0\] is 1000.*…, but must be a number"),
        ({"shape": [1.5, 2]}, r"shape\[0\] is 1.5, but must be a whole number"),
        ({"favourite": 7}, "favourite is 7, but must be an object or null"),
        ({"favourite": {"title": ""}}, r"favourite.title is [^!]*favourite.pages is missing"),
        ({"books": [{"title": "X", "pages": True}]}, r"books\[0\].pages is true, but must be"),
        (
            {"books": [{"title": "X", "pages": 1, "read": 2}]},
            r"books\[0\].read is 2, .*\[0, 1\] or null",
        ),
        ({"notes": {"a": []}}, "notes is .*, but must be an object of numbers and words"),
        ({"other": []}, r"other is \[\], but must be an object"),
        ({"books": []}, "full is true, but there are no books"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(changes, message):
    with pytest.raises(StudyError, match=rf"^shelf\.json: {message}"):
        from_dict(Shelf, SHELF | changes, PATH)


def test_all_problems_at_once_in_the_error_that_is_wanted():
    with pytest.raises(WeightsError) as caught:
        from_dict(Shelf, {"books": [], "full": "yes", "shape": None}, PATH, error=WeightsError)
    assert str(caught.value).splitlines() == [
        "shelf.json: label is missing",
        'shelf.json: full is "yes", but must be true or false',
        "shelf.json: shape is null, but must be a list",
    ]


def test_schemas():
    check_schema({"schema": 2}, PATH, (1, 2))
    for value in (3, None, True, "2", [2]):
        with pytest.raises(StudyError, match=r"schema is .*, but this version of dse reads 1 and"):
            check_schema({"schema": value}, PATH, (1, 2))


def test_files_that_hold_no_object(tmp_path):
    path = tmp_path / "shelf.json"
    for text, message in (
        ("[1]", "must hold an object with books"),
        ("{", "not a JSON file in UTF-8"),
        ('{"a": NaN}', "NaN is no number of JSON"),
    ):
        path.write_text(text)
        with pytest.raises(StudyError, match=message):
            read_object(path, "books")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_object(tmp_path / "none", "books", error=WeightsError)
