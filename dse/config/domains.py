"""One metaparameter or one limit of a file to a domain or a `Limit`."""

from __future__ import annotations

from typing import Any

from dse.architecture import FAMILIES, OBJECTIVES, Metaparameter, Value
from dse.config.document import Document, Place
from dse.config.keys import LimitModel, VaryingModel, shown, validate
from dse.errors import SpaceError
from dse.space import Categorical, Domain, Fixed, FloatRange, IntRange, Limit, range_problems
from dse.text import nearest


def read_domains(
    document: Document, family: str, data: dict[str, Any], place: Place
) -> dict[str, Domain]:
    """The domains of a mapping of metaparameters; problems go into the document."""
    known = FAMILIES[family].metaparameters
    domains = {}
    for name, value in data.items():
        at = (*place, name)
        if name not in known:
            text = f"unknown metaparameter {name} of {family}{nearest(name, known)}"
            document.report(at, text, at_key=True)
        elif (domain := read_domain(document, known[name], value, at)) is not None:
            domains[name] = domain
    return domains


def read_domain(
    document: Document, part: Metaparameter, data: object, place: Place
) -> Domain | None:
    """One metaparameter: a value, `values: […]` or `range: […]`; None where it is wrong."""
    if not isinstance(data, dict):
        value = read_value(document, part, data, place)
        return None if value is None else Fixed(value)
    model = validate(VaryingModel, document, data, place)
    if model is None:
        return None
    given = [key for key in ("values", "range") if key in model.model_fields_set]
    if len(given) != 1:
        found = "both" if given else "neither"
        text = f"{part.name} needs one of values: [...] and range: [low, high], but has {found}"
        document.report(place, text, at_key=True)
        return None
    if model.values is not None:
        return _read_values(document, part, model, place)
    return _read_range(document, part, model, place)


def read_value(document: Document, part: Metaparameter, data: object, place: Place) -> Value | None:
    """One value, in its canonical form; None where it is wrong."""
    problem: str | None
    if isinstance(data, list) and part.kind != "layers":
        problem = f"{part.problem(tuple(data))}; to vary it write {{values: {shown(data)}}}"
    elif data is None or isinstance(data, bool | dict):
        problem = f"{part.name} is {shown(data)}, but must be {part.allowed}"
    else:
        problem = part.problem(data)
    if problem:
        document.report(place, problem)
        return None
    return part.canonical(data)  # type: ignore[arg-type]


def _read_values(
    document: Document, part: Metaparameter, model: VaryingModel, place: Place
) -> Domain | None:
    at = (*place, "values")
    fine = True
    for key in ("step", "log"):
        if key in model.model_fields_set:
            document.report((*place, key), f"{part.name}: {key} belongs to a range, not to values")
            fine = False
    if not model.values:
        document.report(at, f"{part.name}: values is empty, but must name at least one value")
        return None
    seen: dict[Value, int] = {}
    for index, data in enumerate(model.values):
        value = read_value(document, part, data, (*at, index))
        if value is None:
            fine = False
        elif value in seen:
            document.report((*at, index), f"{part.name}: the value {shown(data)} is there twice")
            fine = False
        else:
            seen[value] = index
    return Categorical(tuple(seen)) if fine else None


def _read_range(
    document: Document, part: Metaparameter, model: VaryingModel, place: Place
) -> Domain | None:
    assert model.range is not None
    (low, high), step, log = model.range, model.step, model.log
    at = (*place, "range")
    if part.kind not in ("int", "float"):
        document.report(at, f"{part.name} has no range; it is {part.allowed}: use values: [...]")
        return None
    ends = [problem for end in (low, high) if (problem := part.problem(end)) is not None]
    problems = [(at, text) for text in dict.fromkeys(ends)]
    if part.kind == "int" and isinstance(step, float):
        text = f"{part.name}: step is {step}, but the steps between whole numbers are whole numbers"
        problems.append(((*place, "step"), text))
    for key, text in range_problems(low, high, step=step, log=log):
        problems.append(((*place, key), f"{part.name}: {text}"))
    for where, text in problems:
        document.report(where, text)
    if problems:
        return None
    if part.kind == "int":
        return IntRange(int(low), int(high), 1 if step is None else int(step), log)
    return FloatRange(float(low), float(high), None if step is None else float(step), log)


def read_limits(document: Document, data: dict[str, Any], place: Place) -> dict[str, Limit]:
    """The limits of a mapping; problems go into the document."""
    limits = {}
    for name, value in data.items():
        at = (*place, name)
        if name not in OBJECTIVES:
            text = f"unknown cost {name}{nearest(name, list(OBJECTIVES))}"
            document.report(at, text, at_key=True)
            continue
        if value is not None and not isinstance(value, dict):
            text = f"{name} is {shown(value)}, but must be a mapping such as {{max: 500_000}}"
            document.report(at, text)
            continue
        model = validate(LimitModel, document, value or {}, at)
        if model is None:
            continue
        try:
            limits[name] = Limit(model.min, model.max)
        except SpaceError as error:
            document.report(at, f"{name}: {error}", at_key=True)
    return limits
