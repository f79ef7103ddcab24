"""Plain data from YAML, with the line of every value; nothing is built from tags.

The reader takes the YAML 1.2 core schema (`no` is text, `1e-3` and `5_000_000` are
numbers) and refuses what makes a file hard to believe: duplicate keys, anchors, merge
keys, tags, a second document, deep nesting.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from dse.errors import ConfigError
from dse.files import read_bounded
from dse.text import inert

MOST_BYTES = 1_000_000
MOST_VALUES = 50_000
"""Keys and values of a file; a thousand take about a tenth of a second."""
DEEPEST = 20
LARGEST_INT = 2**63 - 1
LONGEST_TEXT = 1000

Place = tuple[str | int, ...]
"""Where a value stands in the data: keys and indices from the top."""

_WORDS: dict[str, object] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **{sign + word: math.inf for sign in ("", "+") for word in (".inf", ".Inf", ".INF")},
    **{f"-{word}": -math.inf for word in (".inf", ".Inf", ".INF")},
}
_INT = re.compile(r"[-+]?[0-9][0-9_]*")
_BASED_INT = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?")


class _RefusedError(Exception):
    """Carries the line and what is wrong; nothing more is read."""


class _TooManyError(_RefusedError):
    """So is this; what was found before is told too."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        source: file as shown to the user, or the setting (`--set base_e=0`).
        line: counted from 1; None where it has no line.
        text: what, what was found, how to fix it.
    """

    source: str
    line: int | None
    text: str

    def __str__(self) -> str:
        place = self.source if self.line is None else f"{self.source}:{self.line}"
        text = inert(self.text, keep_lines=True)
        text = text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…"
        return f"{place}: {text}"


@dataclass
class Document:
    """Plain data and where it stands; validators add to `problems`.

    Attributes:
        source: file as shown to the user, or the setting.
        data: dicts, lists, text, numbers, booleans and None.
        lines: line of each value, by place.
        key_lines: line of each key, by the place of its value.
        problems: everything found so far.
    """

    source: str
    data: Any = None
    lines: dict[Place, int] = field(default_factory=dict)
    key_lines: dict[Place, int] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    _refused: set[Place] = field(default_factory=set)

    def report(self, place: Place, text: str, *, at_key: bool = False) -> None:
        """Add a problem with the value (or key) at `place`, unless it was refused already."""
        if any(place[:length] in self._refused for length in range(len(place) + 1)):
            return
        lines = self.key_lines if at_key else self.lines
        while place and place not in lines:
            place = place[:-1]
        self.problems.append(Problem(self.source, lines.get(place, self.lines.get(place)), text))

    def below(self, key: str) -> Document:
        """What stands under a key at the top, as a document of its own."""

        def moved(lines: dict[Place, int]) -> dict[Place, int]:
            return {place[1:]: line for place, line in lines.items() if place[:1] == (key,)}

        return Document(
            self.source, self.data[key], moved(self.lines), moved(self.key_lines), self.problems
        )

    def refuse(self, place: Place, line: int, text: str) -> None:
        """Add a problem after which nothing more is said about the value at `place`."""
        self.problems.append(Problem(self.source, line, text))
        self._refused.add(place)


def shown_path(path: Path) -> str:
    """The path as messages show it: relative where it lies below the working directory."""
    absolute = Path(os.path.abspath(path))
    here = Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


def read_document(path: Path, *, most_values: int = MOST_VALUES) -> Document:
    """Read a YAML file; what the reader objects to is in the document's `problems`.

    Args:
        path: the file.
        most_values: keys and values that it may hold.

    Raises:
        ConfigError: the file cannot be read at all, or breaks YAML's grammar.
    """
    source = shown_path(path)
    if path.is_dir():
        raise ConfigError(f"{source}: this is a folder, not a YAML file")
    try:
        content = read_bounded(path, MOST_BYTES)
    except FileNotFoundError as error:
        raise ConfigError(f"{source}: file not found") from error
    except OSError as error:
        raise ConfigError(f"{source}: cannot be read: {error.strerror}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise ConfigError(
            f"{source}:{line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8"
        ) from error
    return parse_document(text, source, most_values=most_values)


def parse_document(
    text: str, source: str, *, with_lines: bool = True, most_values: int = MOST_VALUES
) -> Document:
    """Read YAML from text.

    Args:
        text: one YAML document, or nothing (data is then None).
        source: what messages put in front.
        with_lines: whether messages name the line.
        most_values: keys and values that it may hold.

    Raises:
        ConfigError: the text breaks YAML's grammar or is nested too deeply.
    """
    document = Document(source)
    try:
        events = _limited(YAML(typ="safe", pure=True).parse(text), most_values)
        _read_stream(events, document)
    except _RefusedError as error:
        line, what = error.args
        refused = Problem(source, line if with_lines else None, what)
        others = document.problems if isinstance(error, _TooManyError) else ()
        raise ConfigError([str(refused), *map(str, others)]) from error
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark and with_lines else None
        raise ConfigError(str(Problem(source, line, _grammar(error, text)))) from error
    except (YAMLError, ValueError) as error:
        position = getattr(error, "position", None)
        line = text.count("\n", 0, position) + 1 if with_lines and position is not None else None
        what = f"not YAML: {str(error).splitlines()[0]}"
        raise ConfigError(str(Problem(source, line, what))) from error
    if not with_lines:
        document.lines.clear()
        document.key_lines.clear()
        document.problems = [Problem(source, None, p.text) for p in document.problems]
    return document


def _limited(events: Iterable[Any], most_values: int) -> Iterator[Any]:
    """The events of at most so many keys and values."""
    for count, event in enumerate(events):
        if count > most_values:
            text = f"more than {most_values:,} keys and values up to here; nothing needs as many"
            raise _TooManyError(event.start_mark.line + 1, text)
        yield event


def _grammar(error: MarkedYAMLError, text: str) -> str:
    problem = str(error.problem).strip()
    if r"'\t'" in problem:
        return "a tab stands where YAML wants spaces; indent with spaces"
    lines = text.splitlines()
    mark = error.problem_mark
    found = lines[mark.line].strip() if mark and mark.line < len(lines) else ""
    opened = error.context_mark
    started = ""
    if opened and mark and opened.line != mark.line:
        started = f" (in what starts on line {opened.line + 1})"
    return f"not YAML: {problem}{started}" + (f"; the line reads {found[:60]!r}" if found else "")


def _read_stream(events: Iterator[Any], document: Document) -> None:
    documents_count = 0
    for event in events:
        if isinstance(event, DocumentStartEvent):
            documents_count += 1
            if documents_count == 2:
                line = event.start_mark.line + 1
                text = "a second document (---) starts here, but one file holds one"
                document.problems.append(Problem(document.source, line, text))
        elif isinstance(event, AliasEvent | ScalarEvent | SequenceStartEvent | MappingStartEvent):
            target = document if documents_count == 1 else Document(document.source)
            target.data = _value(event, events, (), target)


def _value(event: Any, events: Iterator[Any], place: Place, document: Document) -> Any:
    """The value that `event` starts; takes the events that belong to it."""
    line = event.start_mark.line + 1
    if isinstance(event, ScalarEvent) and event.style is None and not event.value:
        line = document.key_lines.get(place, line)  # nothing stands behind the key
    document.lines[place] = line
    if len(place) > DEEPEST:
        raise _RefusedError(line, f"nested more than {DEEPEST} levels deep")
    if isinstance(event, AliasEvent):
        text = f"the alias *{event.anchor} is not supported; write the value out"
        document.refuse(place, line, text)
        return None
    if event.anchor is not None:
        text = f"the anchor &{event.anchor} is not supported; write the value where it is needed"
        document.problems.append(Problem(document.source, line, text))
    if event.tag is not None:
        tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
        document.refuse(place, line, f"the tag {tag} is not supported; only plain values are")
    if isinstance(event, ScalarEvent):
        is_text = event.style is not None or not event.implicit[0]
        value = event.value if is_text else plain_scalar(event.value)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > LARGEST_INT:
            document.refuse(place, line, "the number is too large: it needs more than 64 bits")
            return None
        return value
    if isinstance(event, SequenceStartEvent):
        items: list[Any] = []
        while not isinstance(item := next(events), SequenceEndEvent):
            items.append(_value(item, events, (*place, len(items)), document))
        return items
    return _mapping(events, place, document)


def _mapping(events: Iterator[Any], place: Place, document: Document) -> dict[str, Any]:
    mapping: dict[str, Any] = {}
    while not isinstance(key_event := next(events), MappingEndEvent):
        line = key_event.start_mark.line + 1
        aside = Document(document.source)  # for what has no place of its own
        key = _value(key_event, events, (*place, "?"), aside)
        is_plain = isinstance(key_event, ScalarEvent) and key_event.style is None
        problems = [problem.text for problem in aside.problems]
        if problems:
            pass
        elif is_plain and key == "<<":
            problems = ["the merge key << is not supported; use extends"]
        elif not isinstance(key, str):
            problems = [
                f"the key {key_event.value} is not text" if is_plain else "a key must be one word"
            ]
        elif key in mapping:
            first = document.key_lines[(*place, key)]
            problems = [f"{key} is there twice: on line {first} and on line {line}; keep one"]
        if problems:
            document.problems += [Problem(document.source, line, text) for text in problems]
            _value(next(events), events, (*place, "?"), Document(document.source))
            continue
        document.key_lines[(*place, key)] = line
        mapping[key] = None
        mapping[key] = _value(next(events), events, (*place, key), document)
    return mapping


def plain_scalar(text: str) -> object:
    """What unquoted text stands for in YAML 1.2: null, a boolean, a number, or the text.

    >>> [plain_scalar(text) for text in ("no", "1e-3", "5_000_000", "0x1F", "~", "1.2.3")]
    ['no', 0.001, 5000000, 31, None, '1.2.3']
    """
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        digits = text.replace("_", "")
        return int(digits) if len(digits) < 30 else LARGEST_INT + 1
    if _BASED_INT.fullmatch(text):
        return int(text[:30], 0)
    if _FLOAT.fullmatch(text):
        return float(text.replace("_", ""))
    return text
