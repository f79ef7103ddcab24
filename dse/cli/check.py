"""`dse check`: what a search space holds for some data, before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from dse.cli.options import DataText, ImageSize, JsonFlag, SettingTexts, SpaceName
from dse.cli.tables import note, print_facts, print_json, print_table
from dse.text import cell, shape_text

if TYPE_CHECKING:
    from dse.space import Domain, SearchSpace
    from dse.space.enumerate import Survey

EXAMPLES = """
\b
Examples:
  dse check squeeze_ratio
  dse check my_space.yaml --data folder:images --image-size 64
  dse check squeezenet --data cifar10 --set bypass=simple --json
  dse check squeeze_ratio --set 'base_e={values: [8, 16]}'
"""


def command(
    space_name: SpaceName,
    data_text: DataText = "digits",
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
    from dse.space.enumerate import MOST_SURVEYED, survey

    space = apply_settings(load_space(find_space(space_name)), settings or ())
    data = describe_data(parse_data(data_text, image_size=image_size))
    for warning in data.warnings:
        note(f"note: {warning}")
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
        **dict.fromkeys(("feasible_count", "refused_count", "duplicates_count")),
        **dict.fromkeys(("refused", "sizes")),
    }
    is_listable = space.size is not None and space.size <= MOST_SURVEYED
    if is_listable:
        found = survey(space, data.input_shape, len(data.classes))
        document |= {
            "feasible_count": len(found.feasible_rows),
            "refused_count": len(found.refused_rows),
            "duplicates_count": len(found.duplicate_rows),
            "refused": _grouped(found),
            "sizes": {
                name: {"min": int(costs.min()), "max": int(costs.max())}
                for name, costs in found.costs.items()
            },
        }
    if as_json:
        print_json(document)
    else:
        _print_report(space, document)
    if not is_listable:
        many = "infinitely many" if space.size is None else f"{space.size:,}"
        note(f"{many} candidates cannot be listed, so their sizes are not known here")


def _grouped(found: Survey) -> list[dict[str, Any]]:
    """Reasons that differ in their numbers alone are one; the first speaks for them."""
    groups: dict[str, dict[str, Any]] = {}
    for row in found.refused_rows:
        reason = found.everything.reason(row)
        pattern = re.sub(r"\d[\d,.]*|candidate \w+", "#", reason)
        if pattern not in groups:
            first = found.everything.table.candidate(row).metaparameters
            groups[pattern] = {"reason": reason, "candidates_count": 0, "first": first}
        groups[pattern]["candidates_count"] += 1
    return sorted(groups.values(), key=lambda group: -group["candidates_count"])


def _print_report(space: SearchSpace, document: Mapping[str, Any]) -> None:
    data, size = document["data"], document["candidates_count"]
    facts = {
        "space": f"{space.name} ({space.source})" if space.source else space.name,
        "family": space.family,
        "data": f"{data['name']}, {shape_text(data['input_shape'])}, "
        f"{data['classes_count']:,} classes",
    }
    for name, limit in space.limits.items():
        ends = (("at least", limit.min), ("at most", limit.max))
        facts[f"limit on {name}"] = ", ".join(
            f"{words} {value:,}" for words, value in ends if value is not None
        )
    counts: dict[str, object] = {"candidates": "infinitely many" if size is None else size}
    if document["sizes"] is not None:
        counts |= {
            name: document[f"{name}_count"] for name in ("feasible", "refused", "duplicates")
        }
    print_facts(facts)
    for part in ({name: _domain_text(space.domains[name]) for name in space.varying}, counts):
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


def _domain_text(domain: Domain) -> str:
    """`0.125, 0.25, 0.5`, or `16 to 128, step 16 (8 values)`."""
    from dse.space import FloatRange, IntRange

    if not isinstance(domain, IntRange | FloatRange):
        return ", ".join(map(cell, domain.values()))
    step = f", step {cell(domain.step)}" if domain.step else ""
    count = "" if domain.size is None else f" ({domain.size:,} values)"
    return f"{cell(domain.low)} to {cell(domain.high)}{step}{', log' if domain.log else ''}{count}"
