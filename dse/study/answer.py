"""Reading `answer.json`: what a search found, every field checked before it is believed.

A field that this version does not know is left alone, so that a later one may add some.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from dse.errors import StudyError

ANSWER_NAME = "answer.json"
SCHEMA = 1


@dataclass(frozen=True)
class Reference:
    """What the search had to reach; accuracies are fractions.

    Attributes:
        name: a preset, or the number that was given.
        params_count: None for a number.
        validation_accuracy: mean over its seeds.
        seeds_count: 0 for a number.
        low: lower end of the mean's 95% interval; None where one seed tells nothing of it.
        high: upper end.
        test_accuracy: None where it was not measured.
    """

    name: str
    params_count: int | None
    validation_accuracy: float
    seeds_count: int
    low: float | None
    high: float | None
    test_accuracy: float | None


@dataclass(frozen=True)
class Found:
    """A candidate that was held against the reference; accuracies are fractions.

    Attributes:
        candidate: its key.
        metaparameters: by name.
        params_count: and the other sizes: exact, of the candidate.
        times_fewer: the reference's parameters divided by its own; None for a number.
        difference: its accuracy less the reference's on the images that judge; None where
            no fresh seed of it was trained.
        difference_low: lower bound of it at the stated confidence; None where one seed tells
            nothing of it.
        validation_accuracy: mean over its seeds, with the ends of the 95% interval, which are
            None where one seed tells nothing of them.
        test_accuracy: measured once, with the ends of its interval; None where it was not.
    """

    candidate: str
    metaparameters: Mapping[str, int | float | str | bool]
    params_count: int
    macs: int
    weight_bytes: int
    peak_activation_bytes: int
    times_fewer: float | None
    difference: float | None
    difference_low: float | None
    validation_accuracy: float
    validation_low: float | None
    validation_high: float | None
    test_accuracy: float | None
    test_low: float | None
    test_high: float | None
    seeds_count: int


@dataclass(frozen=True)
class Finalist:
    """A candidate of the finals, with what was said of it at their end; None as in `Found`."""

    candidate: str
    params_count: int
    difference: float | None
    difference_low: float | None
    seeds_count: int
    verdict: str


@dataclass(frozen=True)
class SearchCost:
    """What a search took: seconds of its own time, epochs trained, and trials by their end."""

    wall_s: float
    epochs: int
    trained_epochs_stopped: int
    trials: int
    finished: int
    stopped: int
    failed: int


@dataclass(frozen=True)
class Answer:
    """The end of a search.

    Attributes:
        study: its name.
        found: whether a candidate qualified; if none did, `answer` is None and `nearest`,
            if there were finalists, is the one that came nearest.
        margin: how far below the reference an answer may be (fraction).
        confidence: of the claim, in (0, 1).
    """

    study: str
    found: bool
    reference: Reference
    margin: float
    confidence: float
    answer: Found | None
    nearest: Found | None
    finalists: tuple[Finalist, ...]
    cost: SearchCost


def read_answer(path: Path) -> Answer:
    """What a search found, from its `answer.json`.

    Raises:
        StudyError: the file cannot be read, or fields do not hold what they should; all of
            them are named with the file.
    """
    document = _load(path)
    if document.get("schema") != SCHEMA:
        raise StudyError(
            f"{path}: schema is {document.get('schema')!r}, but this version of dse reads {SCHEMA}"
        )
    problems: list[str] = []
    top = _Fields(document, "", problems)
    answer = Answer(
        study=top.take("study", _TEXT),
        found=top.take("found", _FLAG),
        reference=_reference(top.inner("reference")),
        margin=top.take("margin", _SHARE),
        confidence=top.take("confidence", _CONFIDENCE),
        answer=_found(top, "answer"),
        nearest=_found(top, "nearest"),
        finalists=tuple(_finalist(fields) for fields in top.many("finalists")),
        cost=_cost(top.inner("cost")),
    )
    if not problems and answer.found != (answer.answer is not None):
        problems.append(
            f"found is {str(answer.found).lower()}, but answer is "
            f"{'not ' if answer.answer else ''}null"
        )
    if problems:
        raise StudyError("\n".join(f"{path}: {problem}" for problem in problems))
    return answer


def find_answer(directory: Path) -> Answer | None:
    """The answer in a study's folder; None where the search has not ended with one.

    Raises:
        StudyError: there is one, but it does not hold what it should.
    """
    path = directory / ANSWER_NAME
    return read_answer(path) if path.is_file() else None


def _load(path: Path) -> dict[str, Any]:
    def refuse(word: str) -> NoReturn:
        raise ValueError(f"{word} is no number of JSON")

    try:
        document = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    except OSError as error:
        raise StudyError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # no UTF-8 and no JSON are ValueErrors too
        raise StudyError(f"{path}: not a JSON file in UTF-8: {error}") from error
    if not isinstance(document, dict):
        raise StudyError(f"{path}: must hold an object with the search's answer")
    return document


@dataclass(frozen=True)
class _Rule:
    """What a field must hold."""

    words: str
    accepts: Callable[[Any], bool]


def _is_number(value: object) -> bool:
    # Not math.isfinite, which overflows on a whole number that no float holds.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_value(value: object) -> bool:
    return isinstance(value, bool | str) or _is_number(value)


def _or_null(rule: _Rule) -> _Rule:
    return _Rule(f"{rule.words} or null", lambda value: value is None or rule.accepts(value))


_TEXT = _Rule("text", lambda value: isinstance(value, str))
_NAME = _Rule("text that is not empty", lambda value: isinstance(value, str) and bool(value))
_FLAG = _Rule("true or false", lambda value: isinstance(value, bool))
_COUNT = _Rule("a whole number from 0", _is_count)
_SHARE = _Rule("a fraction in [0, 1]", _is_share)
_CONFIDENCE = _Rule("a fraction in (0, 1)", lambda value: _is_number(value) and 0 < value < 1)
_NUMBER = _Rule("a number", _is_number)
_POSITIVE = _Rule("a number above 0", lambda value: _is_number(value) and value > 0)
_SECONDS = _Rule("seconds from 0", lambda value: _is_number(value) and value >= 0)
_VALUES = _Rule(
    "an object of numbers and words",
    lambda value: isinstance(value, dict) and all(map(_is_value, value.values())),
)
_MISSING = object()


@dataclass(frozen=True)
class _Fields:
    """The fields of one object; `take` collects problems and goes on."""

    values: Mapping[str, Any]
    place: str
    problems: list[str]

    def take(self, name: str, rule: _Rule) -> Any:
        value = self.values.get(name, _MISSING)
        if value is _MISSING:
            self.problems.append(f"{self.place}{name} is missing")
        elif not rule.accepts(value):
            found = json.dumps(value, ensure_ascii=False)
            shown = found if len(found) <= 60 else found[:60] + "…"
            self.problems.append(f"{self.place}{name} is {shown}, but must be {rule.words}")
        return value

    def inner(self, name: str) -> _Fields:
        rule = _Rule("an object", lambda value: isinstance(value, dict))
        return self._within(self.take(name, rule), f"{self.place}{name}.")

    def many(self, name: str) -> list[_Fields]:
        rule = _Rule("a list of objects", _is_list_of_objects)
        values = self.take(name, rule)
        if not _is_list_of_objects(values):
            return []
        return [
            self._within(value, f"{self.place}{name}[{index}].")
            for index, value in enumerate(values)
        ]

    def _within(self, value: Any, place: str) -> _Fields:
        """Its fields; where it is no object that was said already, and nothing more is."""
        is_object = isinstance(value, dict)
        return _Fields(value if is_object else {}, place, self.problems if is_object else [])


def _is_list_of_objects(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(part, dict) for part in value)


def _reference(fields: _Fields) -> Reference:
    return Reference(
        name=fields.take("name", _NAME),
        params_count=fields.take("params_count", _or_null(_COUNT)),
        validation_accuracy=fields.take("validation_accuracy", _SHARE),
        seeds_count=fields.take("seeds_count", _COUNT),
        low=fields.take("low", _or_null(_NUMBER)),
        high=fields.take("high", _or_null(_NUMBER)),
        test_accuracy=fields.take("test_accuracy", _or_null(_SHARE)),
    )


def _found(top: _Fields, name: str) -> Found | None:
    if name in top.values and top.values[name] is None:
        return None
    fields = top.inner(name)
    return Found(
        candidate=fields.take("candidate", _NAME),
        metaparameters=fields.take("metaparameters", _VALUES),
        params_count=fields.take("params_count", _COUNT),
        macs=fields.take("macs", _COUNT),
        weight_bytes=fields.take("weight_bytes", _COUNT),
        peak_activation_bytes=fields.take("peak_activation_bytes", _COUNT),
        times_fewer=fields.take("times_fewer", _or_null(_POSITIVE)),
        difference=fields.take("difference", _or_null(_NUMBER)),
        difference_low=fields.take("difference_low", _or_null(_NUMBER)),
        validation_accuracy=fields.take("validation_accuracy", _SHARE),
        validation_low=fields.take("validation_low", _or_null(_NUMBER)),
        validation_high=fields.take("validation_high", _or_null(_NUMBER)),
        test_accuracy=fields.take("test_accuracy", _or_null(_SHARE)),
        test_low=fields.take("test_low", _or_null(_NUMBER)),
        test_high=fields.take("test_high", _or_null(_NUMBER)),
        seeds_count=fields.take("seeds_count", _COUNT),
    )


def _finalist(fields: _Fields) -> Finalist:
    return Finalist(
        candidate=fields.take("candidate", _NAME),
        params_count=fields.take("params_count", _COUNT),
        difference=fields.take("difference", _or_null(_NUMBER)),
        difference_low=fields.take("difference_low", _or_null(_NUMBER)),
        seeds_count=fields.take("seeds_count", _COUNT),
        verdict=fields.take("verdict", _TEXT),
    )


def _cost(fields: _Fields) -> SearchCost:
    return SearchCost(
        wall_s=fields.take("wall_s", _SECONDS),
        epochs=fields.take("epochs", _COUNT),
        trained_epochs_stopped=fields.take("trained_epochs_stopped", _COUNT),
        trials=fields.take("trials", _COUNT),
        finished=fields.take("finished", _COUNT),
        stopped=fields.take("stopped", _COUNT),
        failed=fields.take("failed", _COUNT),
    )
