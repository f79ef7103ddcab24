"""Plain data from a file into frozen dataclasses: every field is checked before it is believed.

The type of a dataclass's field says what the file must hold there: text, numbers, `X | None`,
other dataclasses, tuples of any of them; `Annotated[type, Rule(…)]` narrows it. A field with a
default may be absent, and a name in its metadata (`field(metadata=formerly("old"))`) is what
older files call it. A field of the file that the dataclass does not know is left alone, so that
a later version may add some.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NoReturn,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from dse.errors import DseError, StudyError, problem_lines
from dse.files import read_bounded

T = TypeVar("T")

MOST_BYTES = 2**23
"""Of a JSON file; what it holds takes about 25 times that in memory at worst."""
MOST_PROBLEMS = 1000
"""After which a list is not looked at further."""


@dataclass(frozen=True)
class Rule:
    """What a value of the right type must be: in words, and as a test."""

    words: str
    accepts: Callable[[Any], bool]


Name = Annotated[str, Rule("text that is not empty", bool)]
Count = Annotated[int, Rule("a whole number from 0", lambda value: 0 <= value < 2**63)]
Seed = Annotated[
    int, Rule("a whole number of at most 64 bits", lambda value: -(2**63) <= value < 2**63)
]
Share = Annotated[float, Rule("a fraction in [0, 1]", lambda value: 0 <= value <= 1)]
Confidence = Annotated[float, Rule("a fraction in (0, 1)", lambda value: 0 < value < 1)]
Positive = Annotated[float, Rule("a number above 0", lambda value: 0 < value < 1e18)]
Bound = Annotated[float, Rule("a number in [-1000, 1000]", lambda value: abs(value) <= 1000)]
"""An end of an interval of accuracies, which may lie outside of [0, 1]."""
Seconds = Annotated[float, Rule("seconds from 0", lambda value: 0 <= value < 1e12)]
Side = Annotated[int, Rule("a whole number from 1 to 4,096", lambda value: 1 <= value <= 4096)]
"""Of an image that a network takes, in pixels, or its channels."""
InsidePath = Annotated[
    str,
    Rule(
        "a path inside the study's folder",
        lambda value: bool(value) and not {"/", ".."} & set(PurePosixPath(value).parts),
    ),
]
Numbers = Annotated[
    Mapping[str, Any],
    Rule("an object of numbers", lambda values: all(map(_is_number, values.values()))),
]
Words = Annotated[
    Mapping[str, Any],
    Rule(
        "an object of numbers and words",
        lambda values: all(isinstance(v, bool | str) or _is_number(v) for v in values.values()),
    ),
]


def repeated(replicates: Sequence[int]) -> str:
    """What to say where one replicate is listed twice: it is one training; else nothing."""
    twice = next((n for n, count in Counter(replicates).items() if count > 1), None)
    return "" if twice is None else f"replicate {twice} is listed {replicates.count(twice)} times"


def formerly(name: str) -> dict[str, str]:
    """Metadata of a field that older files call `name`."""
    return {"formerly": name}


def read_object(path: Path, what: str, *, error: type[DseError] = StudyError) -> dict[str, Any]:
    """The JSON object in a file.

    Args:
        path: the file.
        what: it holds, for the message: "the search's answer".
        error: what is raised.

    Raises:
        DseError: `error`: it cannot be read, or holds something else.
    """

    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no number of JSON")

    try:
        document = json.loads(read_bounded(path, MOST_BYTES).decode(), parse_constant=refuse)
    except OSError as cause:
        raise error(f"{path}: cannot be read: {cause.strerror}") from cause
    except (ValueError, RecursionError) as cause:  # no UTF-8 and no JSON are ValueErrors too
        raise error(f"{path}: not a JSON file in UTF-8: {cause}") from cause
    if not isinstance(document, dict):
        raise error(f"{path}: must hold an object with {what}")
    return document


def check_schema(
    document: Mapping[str, Any],
    path: Path,
    schemas: Sequence[int],
    *,
    error: type[DseError] = StudyError,
) -> None:
    """Refuse a document whose `schema` is none of these.

    Raises:
        DseError: `error`.
    """
    schema = document.get("schema")
    if isinstance(schema, bool) or schema not in schemas:
        read = " and ".join(map(str, schemas))
        raise error(f"{path}: schema is {schema!r}, but this version of dse reads {read}")


def from_dict(
    kind: type[T], values: object, place: object, *, error: type[DseError] = StudyError
) -> T:
    """A dataclass from what a file holds.

    A dataclass may refuse values that contradict each other by a `ValueError` of its
    `__post_init__`; it is asked only where every field holds what it should.

    Args:
        kind: the dataclass.
        values: of its fields, by name.
        place: what messages put in front: the file, or a part of it.
        error: what is raised.

    Raises:
        DseError: `error`: fields are missing or hold something else; all of them are named.
    """
    problems: list[str] = []
    made: T | None = None
    if isinstance(values, Mapping):
        made = _object(kind, values, "", problems)
    else:
        problems.append(f"{_shown(values)} stands where an object must be")
    if made is None:
        raise error("\n".join(problem_lines([f"{place}: {problem}" for problem in problems])))
    return made


def _is_number(value: object) -> bool:
    # Not math.isfinite, which overflows on a whole number that no float holds.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


_TYPES: dict[Any, Rule] = {
    str: Rule("text", lambda value: isinstance(value, str)),
    bool: Rule("true or false", lambda value: isinstance(value, bool)),
    int: Rule("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool)),
    float: Rule("a number", _is_number),
    Mapping: Rule("an object", lambda value: isinstance(value, dict)),
    tuple: Rule("a list", lambda value: isinstance(value, list | tuple)),
    Any: Rule("anything", lambda value: True),
}


def _shown(value: object) -> str:
    """The beginning of a value; of a long list or object only that is written out."""
    if isinstance(value, list | tuple):
        value = value[:60]
    elif isinstance(value, dict):
        value = dict(itertools.islice(value.items(), 60))
    try:
        found = json.dumps(value, ensure_ascii=False, default=str)
    except RecursionError:
        found = "nested too deeply"
    return found if len(found) <= 60 else found[:60] + "…"


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _object(kind: Any, values: Mapping[str, Any], place: str, problems: list[str]) -> Any:
    """The dataclass, or None where something was added to the problems."""
    before_count = len(problems)
    taken: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        former = field.metadata.get("formerly", field.name)
        name = field.name if field.name in values else former
        if name in values:
            taken[field.name] = _value(
                _hints(kind)[field.name], values[name], f"{place}{name}", problems
            )
        elif field.default is field.default_factory:  # both are missing: it has to be there
            problems.append(f"{place}{field.name} is missing")
    if len(problems) > before_count:
        return None
    try:
        return kind(**taken)
    except ValueError as error:
        problems.append(f"{place}{error}")
        return None


def _value(hint: Any, value: Any, place: str, problems: list[str]) -> Any:
    bare, rules, is_optional = _parts(hint)
    if value is None and is_optional:
        return None
    kind = Mapping if dataclasses.is_dataclass(bare) else get_origin(bare) or bare
    member = get_args(bare)[0] if kind is tuple else None
    has_objects = dataclasses.is_dataclass(member)
    is_good = _TYPES[kind].accepts(value) and all(rule.accepts(value) for rule in rules)
    if is_good and has_objects:
        is_good = all(isinstance(part, dict) for part in value)
    if not is_good:
        words = "a list of objects" if has_objects else [_TYPES[kind], *rules][-1].words
        null = " or null" if is_optional else ""
        problems.append(f"{place} is {_shown(value)}, but must be {words}{null}")
        return None
    if dataclasses.is_dataclass(bare):
        return _object(bare, value, f"{place}.", problems)
    if kind is tuple:
        parts = []
        for number, part in enumerate(value):
            if len(problems) > MOST_PROBLEMS:
                break
            parts.append(_value(member, part, f"{place}[{number}]", problems))
        return tuple(parts)
    return float(value) if kind is float else value


def _parts(hint: Any) -> tuple[Any, list[Rule], bool]:
    """Type, rules and whether null is taken too."""
    is_optional = False
    if get_origin(hint) in (Union, UnionType):
        (hint,) = (part for part in get_args(hint) if part is not NoneType)
        is_optional = True
    if get_origin(hint) is Annotated:
        return hint.__origin__, list(hint.__metadata__), is_optional
    if get_origin(hint) is Literal:
        words = get_args(hint)
        return str, [Rule(f"one of {', '.join(words)}", lambda v: v in words)], is_optional
    return hint, [], is_optional
