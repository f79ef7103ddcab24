"""A search space from its file, with everything that it extends."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dse.architecture import FAMILIES
from dse.config.document import MOST_BYTES, Document, Problem, read_document, shown_path
from dse.config.domains import read_domains, read_limits
from dse.config.keys import SCHEMA_VERSION, SpaceModel, misspelt, shown, validate
from dse.config.lookup import SUFFIXES, file_at, find_space
from dse.errors import ConfigError
from dse.files import read_bounded
from dse.space import Categorical, Domain, Fixed, FloatRange, Limit, SearchSpace
from dse.text import nearest

MOST_EXTENDED = 16
MOST_VALUES = 3000
"""Keys and values of a space and all that it extends."""


def load_space(path: Path) -> SearchSpace:
    """Read a search space, and what it extends.

    Args:
        path: a YAML file (`find_space` turns a name into one); or a study file that holds a
            space under `space`, such as the `study.yaml` of a study.

    Raises:
        ConfigError: every problem of the file and of those that it extends, one line
            each, as `file:line: …`.
    """
    problems: list[str] = []
    path = Path(path)
    is_of_study = _holds_space(path)
    document = read_document(path) if is_of_study else read_document(path, most_values=MOST_VALUES)
    name = space_name(path)
    if is_of_study and isinstance(document.data, dict):
        document = document.below("space")
        name = _take_name(document) or name
    resolved = _read(document, path, (), problems, MOST_VALUES)
    if problems:
        raise ConfigError(problems)
    return SearchSpace(
        name=name,
        family=str(resolved.family),
        domains=resolved.domains,
        limits=resolved.limits,
        description=resolved.description,
        source=path,
    )


def space_name(path: Path) -> str:
    """The name of a space: `squeeze_ratio`; `paper-squeeze_ratio` in `search_spaces/paper`."""
    parts = list(Path(os.path.abspath(path)).parts)
    folders = parts[:-1]
    below = folders[::-1].index("search_spaces") if "search_spaces" in folders else 0
    stem = path.name
    for suffix in SUFFIXES:
        stem = stem.removesuffix(suffix)
    return "-".join([*folders[len(folders) - below :], stem])


def space_to_dict(space: SearchSpace) -> dict[str, Any]:
    """The space as plain data, resolved: what `study.yaml` holds."""
    limits = {name: {"min": limit.min, "max": limit.max} for name, limit in space.limits.items()}
    plain: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "name": space.name,
        "family": space.family,
        "description": space.description,
        "metaparameters": {name: domain_to_dict(domain) for name, domain in space.domains.items()},
        "limits": {
            name: {end: bound for end, bound in bounds.items() if bound is not None}
            for name, bounds in limits.items()
        },
    }
    return {key: value for key, value in plain.items() if value not in ("", {})}


def space_from_dict(data: object, source: str = "study.yaml") -> SearchSpace:
    """The space that `space_to_dict` wrote.

    Args:
        data: plain data.
        source: what messages put in front.

    Raises:
        ConfigError: every problem, one line each.
    """
    document = Document(source, data)
    name = _take_name(document) or "space"
    problems: list[str] = []
    resolved = _read(document, Path(source), (), problems, MOST_VALUES)
    if problems:
        raise ConfigError(problems)
    return SearchSpace(
        name, str(resolved.family), resolved.domains, resolved.limits, resolved.description
    )


def _holds_space(path: Path) -> bool:
    """Whether it is a file of a study, which may hold thousands of classes beside its space."""
    with contextlib.suppress(OSError):
        return re.search(rb"^space:", read_bounded(path, MOST_BYTES), re.MULTILINE) is not None
    return False


def _take_name(document: Document) -> str:
    """The name of a resolved space, taken out of it; files of spaces are named by their path."""
    data = document.data
    if not isinstance(data, dict) or "name" not in data:
        return ""
    name = data["name"]
    document.data = {key: value for key, value in data.items() if key != "name"}
    if isinstance(name, str) and name:
        return name
    document.report(("name",), f"name is {shown(name)}, but must be text")
    return ""


def domain_to_dict(domain: Domain) -> Any:
    """A domain as it stands in a file: a value, or a mapping with `values` or `range`."""

    def listed(value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value

    match domain:
        case Fixed(value):
            return listed(value)
        case Categorical(choices):
            return {"values": [listed(value) for value in choices]}
    plain: dict[str, Any] = {"range": [domain.low, domain.high]}
    if domain.step is not None and (domain.step != 1 or isinstance(domain, FloatRange)):
        plain["step"] = domain.step
    return plain | {"log": True} if domain.log else plain


@dataclass
class _Resolved:
    """What one file says together with those that it extends."""

    family: str | None = None
    description: str = ""
    domains: dict[str, Domain] = field(default_factory=dict)
    limits: dict[str, Limit] = field(default_factory=dict)


def _resolve(
    path: Path, chain: tuple[Path, ...], problems: list[str], values_left: int
) -> _Resolved:
    """A file on top of what it extends; `chain` holds the files that led here."""
    try:
        document = read_document(path, most_values=values_left)
    except ConfigError as error:
        problems.extend(error.problems)
        return _Resolved()
    return _read(document, path, chain, problems, values_left)


def _read(
    document: Document, path: Path, chain: tuple[Path, ...], problems: list[str], values_left: int
) -> _Resolved:
    inherited: list[str] = []
    resolved = _Resolved()
    data = document.data
    wanted = "but must hold a mapping with schema, family and metaparameters"
    if data is None and not document.problems:
        document.problems.append(Problem(document.source, None, f"the file is empty, {wanted}"))
    elif not isinstance(data, dict):
        found = "a list" if isinstance(data, list) else shown(data)
        document.report((), f"the file holds {found}, {wanted}")
    else:
        validate(SpaceModel, document, data, ())
        if isinstance(target := data.get("extends"), str):
            values_left -= len(document.lines) + len(document.key_lines)
            resolved = _extended(document, target, (*chain, path), inherited, values_left)
        family = resolved.family = _family(document, resolved.family)
        if family is None:
            # The file is refused all the same, but with the problems of its metaparameters too:
            # read as what a misspelt family, or one under a misspelt key, most likely means.
            words = [word for word in data.values() if isinstance(word, str)]
            close = [match for word in words for match in get_close_matches(word, FAMILIES, n=1)]
            family = close[0] if close else None
        if family is not None and isinstance(parts := data.get("metaparameters"), dict):
            resolved.domains |= read_domains(document, family, parts, ("metaparameters",))
        if isinstance(limits := data.get("limits"), dict):
            resolved.limits |= read_limits(document, limits, ("limits",))
        description = data.get("description", "")
        resolved.description = description.strip() if isinstance(description, str) else ""
    problems.extend(map(str, sorted(document.problems, key=lambda problem: problem.line or 0)))
    problems[:] = dict.fromkeys([*problems, *inherited])
    return resolved


def _family(document: Document, inherited: str | None) -> str | None:
    """The family of a file; None where it cannot be known (a problem then says so)."""
    data = document.data
    family = data.get("family")
    if family is None:
        is_missing = not data.keys() & {"family", "extends"}
        if is_missing and not misspelt("family", document):
            document.report((), f"family is missing; there are {', '.join(FAMILIES)}")
        return inherited
    if not isinstance(family, str):
        return None
    if family not in FAMILIES:
        document.report(("family",), f"family {family} not found{nearest(family, FAMILIES)}")
        return None
    if inherited not in (None, family):
        text = f"family is {family}, but what it extends is of family {inherited}"
        document.report(("family",), text)
    return family


def _extended(
    document: Document, target: str, chain: tuple[Path, ...], problems: list[str], values_left: int
) -> _Resolved:
    """What the last file of `chain` extends."""
    try:
        found = file_at(chain[-1].parent / target) or find_space(target)
    except ConfigError as error:
        document.report(("extends",), f"extends: {error}")
        return _Resolved()
    seen = [os.path.realpath(file) for file in chain]
    if (real := os.path.realpath(found)) in seen:
        loop = " → ".join(shown_path(file) for file in (*chain[seen.index(real) :], found))
        document.report(("extends",), f"extends goes round in a circle: {loop}")
        return _Resolved()
    if len(chain) > MOST_EXTENDED:
        document.report(("extends",), f"extends goes through more than {MOST_EXTENDED} files")
        return _Resolved()
    return _resolve(found, chain, problems, values_left)
