"""`dse check`: what a search space holds for some data, before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.cli.options import DataText, ImageSize, JsonFlag, SettingTexts
from dse.cli.tables import note, print_facts, print_json, print_table
from dse.text import cell, shape_text

if TYPE_CHECKING:
    from dse.data import DataDescription
    from dse.space import Domain, SearchSpace, Survey

EXAMPLES = """
\b
Examples:
  dse check squeeze_ratio
  dse check my_space.yaml --data folder:images --image-size 64
  dse check squeezenet --data cifar10 --set bypass=simple --json
  dse check squeeze_ratio --set 'base_e={values: [8, 16]}'
"""


def command(
    space_name: Annotated[
        str, typer.Argument(metavar="SPACE", help="A name that `dse spaces` lists, or a YAML file.")
    ],
    data: DataText = "digits",
    image_size: ImageSize = None,
    settings: SettingTexts = None,
    as_json: JsonFlag = False,
) -> None:
    """Validate a search space and count its candidates.

    Says how many can be trained on the data, why others are refused, and how small and
    large the networks are. Duplicates have the same layers as another candidate.
    """
    from dse.config import apply_settings, find_space, load_space
    from dse.data import describe_data, parse_data
    from dse.space import MOST_SURVEYED, survey

    space = apply_settings(load_space(find_space(space_name)), settings or ())
    description = describe_data(parse_data(data, image_size=image_size))
    for warning in description.warnings:
        note(f"note: {warning}")
    listable = space.size is not None and space.size <= MOST_SURVEYED
    found = None
    if listable:
        found = survey(space, description.input_shape, len(description.classes))
    document = _document(space, description, found)
    if as_json:
        print_json(document)
    else:
        _print_report(space, document)
    if not listable:
        many = "infinitely many" if space.size is None else f"{space.size:,}"
        note(f"{many} candidates cannot be listed, so their sizes are not known here")


def _document(space: SearchSpace, data: DataDescription, found: Survey | None) -> dict[str, Any]:
    document: dict[str, Any] = {
        "space": space.name,
        "source": space.source and str(space.source),
        "description": space.description,
        "family": space.family,
        "varying": space.varying,
        "limits": {name: {"min": x.min, "max": x.max} for name, x in space.limits.items()},
        "data": {
            "name": data.name,
            "input_shape": data.input_shape,
            "classes_count": len(data.classes),
        },
        "candidates_count": space.size,
        "feasible_count": None,
        "refused_count": None,
        "duplicates_count": None,
        "refused": None,
        "sizes": None,
    }
    if found is None:
        return document
    return document | {
        "feasible_count": len(found.feasible),
        "refused_count": len(found.refused),
        "duplicates_count": len(found.duplicates),
        "refused": _grouped(found),
        "sizes": _sizes(found),
    }


def _grouped(found: Survey) -> list[dict[str, Any]]:
    """Reasons that differ in their numbers alone are one; the first speaks for them."""
    groups: dict[str, dict[str, Any]] = {}
    for candidate, reason in found.refused:
        pattern = re.sub(r"\d[\d,.]*|candidate \w+", "#", reason)
        group = groups.setdefault(
            pattern, {"reason": reason, "candidates_count": 0, "first": candidate.metaparameters}
        )
        group["candidates_count"] += 1
    return sorted(groups.values(), key=lambda group: -group["candidates_count"])


def _sizes(found: Survey) -> dict[str, dict[str, int]]:
    """Least and most of each cost over the feasible candidates."""
    from dse.architecture import OBJECTIVES

    values = {name: [getattr(cost, name) for _, cost in found.feasible] for name in OBJECTIVES}
    return {name: {"min": min(costs), "max": max(costs)} for name, costs in values.items()}


def _print_report(space: SearchSpace, document: Mapping[str, Any]) -> None:
    data = document["data"]
    facts = {
        "space": f"{space.name} ({space.source})" if space.source else space.name,
        "family": space.family,
        "data": f"{data['name']}, {shape_text(data['input_shape'])}, "
        f"{data['classes_count']:,} classes",
    }
    limits = {f"limit on {name}": _limit_text(x) for name, x in document["limits"].items()}
    size = document["candidates_count"]
    counts: dict[str, object] = {"candidates": "infinitely many" if size is None else size}
    if document["feasible_count"] is not None:
        counts["feasible"] = document["feasible_count"]
        counts["refused"] = document["refused_count"]
        counts["duplicates"] = document["duplicates_count"]
    varying = {name: _domain_text(space.domains[name]) for name in space.varying}
    print_facts(facts | limits)
    for part in (varying, counts):
        if part:
            typer.echo()
            print_facts(part)
    if document["sizes"] is not None:
        typer.echo()
        print_table(
            ("size", "smallest", "largest"),
            [(name, x["min"], x["max"]) for name, x in document["sizes"].items()],
            right=("smallest", "largest"),
        )
    if document["refused"]:
        typer.echo()
        print_table(
            ("refused", "reason of the first such candidate"),
            [(group["candidates_count"], group["reason"]) for group in document["refused"]],
            right=("refused",),
        )


def _limit_text(limit: Mapping[str, int | None]) -> str:
    words = {"min": "at least", "max": "at most"}
    return ", ".join(f"{words[end]} {value:,}" for end, value in limit.items() if value is not None)


def _domain_text(domain: Domain) -> str:
    """`0.125, 0.25, 0.5`, or `16 to 128, step 16 (8 values)`."""
    from dse.space import FloatRange, IntRange

    if not isinstance(domain, IntRange | FloatRange):
        return ", ".join(map(cell, domain.values()))
    step = f", step {cell(domain.step)}" if domain.step else ""
    count = "" if domain.size is None else f" ({domain.size:,} values)"
    return f"{cell(domain.low)} to {cell(domain.high)}{step}{', log' if domain.log else ''}{count}"
