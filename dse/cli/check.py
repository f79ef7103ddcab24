"""`dse check`: what a search space holds for some data, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from dse.cli.options import DataText, ImageSize, JsonFlag, SettingTexts, SpaceName
from dse.cli.tables import note, print_facts, print_json, print_table
from dse.text import cell, percent, shape_text

if TYPE_CHECKING:
    from dse.space import Domain, SearchSpace

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
    large the networks are. Duplicates have the same layers as another candidate. Where
    candidates are too many to count at once, a sample stands for them.
    """
    from dse.config import apply_settings, find_space, load_space
    from dse.data import describe_data, parse_data
    from dse.space.enumerate import survey

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
    }
    found = survey(space, data.input_shape, len(data.classes), is_sampled=True)
    everything = found.everything
    if found.is_whole:
        document |= {
            "feasible_count": len(found.feasible_rows),
            "refused_count": len(found.refused_rows),
            "duplicates_count": len(found.duplicate_rows),
        }
    else:
        share = float(everything.is_feasible.mean())
        document |= {"sampled_count": len(everything), "feasible_share": share}
    document |= {
        "refused": [
            {
                "reason": everything.reason(row),
                "candidates_count": count,
                "first": everything.table.candidate(row).metaparameters,
            }
            for row, count in found.refusals
        ],
        "sizes": {
            name: {"min": int(costs.min()), "max": int(costs.max())}
            for name, costs in found.costs.items()
            if costs.size
        }
        or None,
    }
    if as_json:
        print_json(document)
    else:
        _print_report(space, document)
    if not found.is_whole:
        many = "infinitely many" if space.size is None else f"{space.size:,}"
        note(
            f"{many} candidates are too many to count here: {len(everything):,} drawn at random "
            "stand for them, and the smallest and largest may lie beyond theirs"
        )


def _print_report(space: SearchSpace, document: Mapping[str, Any]) -> None:
    data, size = document["data"], document["candidates_count"]
    sample = " (sample)" if "sampled_count" in document else ""
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
    if not sample:
        names = "feasible", "refused", "duplicates"
        counts |= {name: document[f"{name}_count"] for name in names}
    else:
        counts |= {"sampled": document["sampled_count"]}
        counts |= {"feasible": f"about {percent(document['feasible_share'])}"}
    print_facts(facts)
    for part in ({name: _domain_text(space.domains[name]) for name in space.varying}, counts):
        if part:
            typer.echo()
            print_facts(part)
    if document["sizes"] is not None:
        typer.echo()
        print_table(
            (f"size{sample}", "smallest", "largest"),
            [(name, x["min"], x["max"]) for name, x in document["sizes"].items()],
            right=("smallest", "largest"),
        )
    if document["refused"]:
        typer.echo()
        print_table(
            (f"refused{sample}", "reason of the first such candidate"),
            [(group["candidates_count"], group["reason"]) for group in document["refused"]],
            right=(f"refused{sample}",),
        )


def _domain_text(domain: Domain) -> str:
    """`0.125, 0.25, 0.5`, or `16 to 128, step 16 (8 values)`."""
    from dse.space import FloatRange, IntRange

    if not isinstance(domain, IntRange | FloatRange):
        return ", ".join(map(cell, domain.values()))
    step = f", step {cell(domain.step)}" if domain.step else ""
    count = "" if domain.size is None else f" ({domain.size:,} values)"
    return f"{cell(domain.low)} to {cell(domain.high)}{step}{', log' if domain.log else ''}{count}"
