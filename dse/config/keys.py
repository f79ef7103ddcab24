"""The shape of a space file, as pydantic models, and their errors in our words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from dse.config.document import LARGEST_INT, Document, Place, plain_scalar
from dse.text import nearest

SCHEMA_VERSION = 1

LONGEST_SHOWN = 200
"""Characters of a value that a message repeats."""


def shown(value: object) -> str:
    """A value as the user wrote it, about; of a long one the beginning."""
    text = _written(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _written(value: object) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"a mapping with {', '.join(value) or 'no keys'}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_written, value))}]"
    bare = isinstance(value, str) and _BARE.fullmatch(value) and plain_scalar(value) == value
    return str(value) if bare else repr(value)


_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value)


def _must_be(
    expected: str, test: Callable[[Any], bool], convert: Callable[[Any], Any] = lambda value: value
) -> PlainValidator:
    def check(value: object) -> Any:
        if test(value):
            return convert(value)
        is_number = isinstance(value, str) and isinstance(plain_scalar(value), int | float)
        hint = "; write it without quotes" if is_number else ""
        raise PydanticCustomError("expected", "{expected}", {"expected": expected, "hint": hint})

    return PlainValidator(check)


Number = Annotated[int | float, _must_be("a number", _is_number)]
Count = Annotated[
    int,
    _must_be(
        "a whole number of at least 0",
        lambda value: _is_number(value) and value == int(value) and 0 <= value <= LARGEST_INT,
        int,
    ),
]
Version = Annotated[
    int,
    _must_be(
        f"{SCHEMA_VERSION}: this version of dse reads no other",
        lambda value: not isinstance(value, bool) and value == SCHEMA_VERSION,
    ),
]
Ends = Annotated[
    tuple[int | float, int | float],
    _must_be(
        "two numbers: [low, high]",
        lambda value: isinstance(value, list) and len(value) == 2 and all(map(_is_number, value)),
        tuple,
    ),
]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SpaceModel(_Model):
    """The top of a space file."""

    schema_: Version = Field(alias="schema")
    family: str | None = None
    extends: str | None = None
    description: str = ""
    metaparameters: dict[str, Any] = {}
    limits: dict[str, Any] = {}


class VaryingModel(_Model):
    """A metaparameter that varies."""

    values: list[Any] | None = None
    range: Ends | None = None
    step: Number | None = None
    log: bool = False


class LimitModel(_Model):
    """Bounds of one exact cost."""

    min: Count | None = None
    max: Count | None = None


_EXPECTED = {
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping (lines of key: value)",
    "model_type": "a mapping (lines of key: value)",
}

M = TypeVar("M", bound=BaseModel)


def validate(model: type[M], document: Document, data: object, place: Place) -> M | None:
    """The data as a model, or None where every problem went into the document.

    Args:
        model: the expected shape.
        document: takes the problems.
        data: a part of the document's data.
        place: where that part stands.
    """
    names = [field.alias or name for name, field in model.model_fields.items()]
    if isinstance(data, dict):  # `step:` says nothing, so it has to go or be filled
        empty = [name for name in names if name in data and data[name] is None]
        for name in empty:
            document.report((*place, name), f"{name} is empty; give it a value or leave it out")
        data = {name: value for name, value in data.items() if name not in empty}
    try:
        return model.model_validate(data)
    except ValidationError as errors:
        found = errors.errors(include_url=False)
    for error in found:
        at: Place = (*place, *error["loc"])
        # Below these keys a name says enough: `base_e`, not `metaparameters.base_e`.
        shown_place = at[1:] if at[0] in ("metaparameters", "limits") and len(at) > 1 else at
        name = ".".join(map(str, shown_place)) or "it"
        match error["type"]:
            case "extra_forbidden":
                key = str(error["loc"][-1])
                document.report(at, f"unknown key {key}{nearest(key, names)}", at_key=True)
            case "missing":
                if not misspelt(name, document):
                    document.report(place, f"{name} is missing; write {name}: {SCHEMA_VERSION}")
            case kind:
                context = error.get("ctx", {})
                expected = context.get("expected") or _EXPECTED[kind]
                value = f"{shown(error['input'])}, but must be {expected}{context.get('hint', '')}"
                document.report(at, f"{name} is {value}")
    return None


def misspelt(name: str, document: Document) -> bool:
    """Whether an unknown key at the top stands for `name`, so that it is not missing as well."""
    known = {field.alias or key for key, field in SpaceModel.model_fields.items()}
    return any(
        get_close_matches(key, known, n=1, cutoff=0.5) == [name]
        for key in document.data
        if key not in known
    )
