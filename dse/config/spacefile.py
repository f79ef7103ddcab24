"""A search space from its file, with everything that it extends."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from dse.architecture import FAMILIES
from dse.config.document import Document, Problem, read_document, shown_path
from dse.config.domains import read_domains, read_limits
from dse.config.lookup import SUFFIXES, file_at, find_space
from dse.config.models import SCHEMA_VERSION, SpaceModel, misspelt, shown, validate
from dse.errors import ConfigError
from dse.space import Categorical, Domain, Fixed, FloatRange, IntRange, Limit, SearchSpace
from dse.text import nearest

MOST_EXTENDED = 16


def load_space(path: Path) -> SearchSpace:
    """Read a search space, and what it extends.

    Args:
        path: a YAML file (`find_space` turns a name into one).

    Raises:
        ConfigError: every problem of the file and of those that it extends, one line
            each, as `file:line: …`.
    """
    problems: list[str] = []
    resolved = _resolve(Path(path), (), problems)
    if problems:
        raise ConfigError(problems)
    return SearchSpace(
        name=space_name(Path(path)),
        family=str(resolved.family),
        domains=resolved.domains,
        limits=resolved.limits,
        description=resolved.description,
        source=Path(path),
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
    plain: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "name": space.name,
        "family": space.family,
        "description": space.description,
        "metaparameters": {name: domain_to_plain(domain) for name, domain in space.domains.items()},
        "limits": {name: _limit_to_plain(limit) for name, limit in space.limits.items()},
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
    name = "space"
    if isinstance(data, dict) and "name" in data:
        name = data["name"]
        document.data = {key: value for key, value in data.items() if key != "name"}
        if not isinstance(name, str) or not name:
            document.report(("name",), f"name is {shown(name)}, but must be text")
    problems: list[str] = []
    resolved = _read(document, Path(source), (), problems)
    if problems:
        raise ConfigError(problems)
    return SearchSpace(
        name, str(resolved.family), resolved.domains, resolved.limits, resolved.description
    )


def domain_to_plain(domain: Domain) -> Any:
    """A domain as it stands in a file."""
    match domain:
        case Fixed(value):
            return _value_to_plain(value)
        case Categorical(choices):
            return {"values": [_value_to_plain(value) for value in choices]}
        case IntRange(low, high, step, log):
            step_or_none = None if step == 1 else step
        case FloatRange(low, high, step_or_none, log):
            pass
    plain: dict[str, Any] = {"range": [low, high]}
    if step_or_none is not None:
        plain["step"] = step_or_none
    return plain | {"log": True} if log else plain


def _value_to_plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _limit_to_plain(limit: Limit) -> dict[str, int]:
    bounds = {"min": limit.min, "max": limit.max}
    return {name: bound for name, bound in bounds.items() if bound is not None}


@dataclass
class _Resolved:
    """What one file says together with those that it extends."""

    family: str | None = None
    description: str = ""
    domains: dict[str, Domain] = field(default_factory=dict)
    limits: dict[str, Limit] = field(default_factory=dict)


def _resolve(path: Path, chain: tuple[Path, ...], problems: list[str]) -> _Resolved:
    try:
        document = read_document(path)
    except ConfigError as error:
        problems.extend(error.problems)
        return _Resolved()
    return _read(document, path, chain, problems)


def _read(
    document: Document, path: Path, chain: tuple[Path, ...], problems: list[str]
) -> _Resolved:
    """One document on top of what it extends; `chain` holds the files that led here."""
    inherited: list[str] = []
    resolved = _Resolved()
    data = document.data
    if data is None and not document.problems:
        document.problems.append(Problem(document.source, None, _EMPTY))
    elif not isinstance(data, dict):
        found = "a list" if isinstance(data, list) else shown(data)
        document.report((), f"the file holds {found}, but must hold a mapping with {_KEYS}")
    else:
        validate(SpaceModel, document, data, ())
        if isinstance(target := data.get("extends"), str):
            resolved = _extended(document, path, target, chain, inherited)
        resolved = _overridden(document, data, resolved, has_base="extends" in data)
    problems.extend(_sorted_lines(document.problems))
    problems.extend(line for line in inherited if line not in problems)
    return resolved


_KEYS = "schema, family and metaparameters"
_EMPTY = f"the file is empty, but must hold a mapping with {_KEYS}"


def _overridden(
    document: Document, data: dict[str, Any], base: _Resolved, *, has_base: bool
) -> _Resolved:
    family = _family(document, data, base, has_base=has_base)
    metaparameters, limits = data.get("metaparameters"), data.get("limits")
    domains = dict(base.domains)
    read_as = family or _likely_family(data)
    if read_as is not None and isinstance(metaparameters, dict):
        domains |= read_domains(document, read_as, metaparameters, ("metaparameters",))
    both = dict(base.limits)
    if isinstance(limits, dict):
        both |= read_limits(document, limits, ("limits",))
    description = data.get("description", "")
    text = description.strip() if isinstance(description, str) else ""
    return _Resolved(family, text, domains, both)


def _family(
    document: Document, data: dict[str, Any], base: _Resolved, *, has_base: bool
) -> str | None:
    """The family of a file; None where it cannot be known (a problem then says so)."""
    family = data.get("family")
    if family is None:
        if not has_base and "family" not in data and not misspelt("family", document):
            document.report((), f"family is missing; there are {', '.join(FAMILIES)}")
        return base.family
    if not isinstance(family, str):
        return None
    if family not in FAMILIES:
        text = f"family {family} not found{nearest(family, FAMILIES)}"
        document.report(("family",), text)
        return None
    if base.family not in (None, family):
        text = f"family is {family}, but what it extends is of family {base.family}"
        document.report(("family",), text)
    return family


def _likely_family(data: dict[str, Any]) -> str | None:
    """What a misspelt family, or one under a misspelt key, most likely means.

    The file is refused all the same, but with the problems of its metaparameters too.
    """
    for word in data.values():
        if isinstance(word, str) and (close := get_close_matches(word, FAMILIES, n=1)):
            return close[0]
    return None


def _extended(
    document: Document, path: Path, target: str, chain: tuple[Path, ...], problems: list[str]
) -> _Resolved:
    try:
        found = file_at(path.parent / target) or find_space(target)
    except ConfigError as error:
        document.report(("extends",), f"extends: {error}")
        return _Resolved()
    files = (*chain, path)
    seen = [os.path.realpath(file) for file in files]
    if os.path.realpath(found) in seen:
        loop = [shown_path(file) for file in (*files[seen.index(os.path.realpath(found)) :], found)]
        document.report(("extends",), f"extends goes round in a circle: {' → '.join(loop)}")
        return _Resolved()
    if len(files) > MOST_EXTENDED:
        document.report(("extends",), f"extends goes through more than {MOST_EXTENDED} files")
        return _Resolved()
    return _resolve(found, files, problems)


def _sorted_lines(problems: list[Problem]) -> list[str]:
    return [str(problem) for problem in sorted(problems, key=lambda p: p.line or 0)]
