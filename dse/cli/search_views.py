"""What `dse search` prints before and after training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.cli.tables import note, print_facts, print_json, print_table
from dse.text import counted, percent, points, shape_text, values_text

if TYPE_CHECKING:
    from dse.data import DataDescription
    from dse.search.reference import ReferencePlan
    from dse.search.search import Search, SearchResult


def show_search_plan(
    search: Search,
    plan: ReferencePlan | None,
    description: DataDescription,
    workers_count: int,
    recorded_count: int,
    as_json: bool,
) -> None:
    """Print space, rungs, recipes, what is recorded and expected time; nothing is trained."""
    from dse.search.estimate import COMPILE_S, train_s
    from dse.text import duration

    pool, count = search.pool, description.train_count
    macs = sorted(int(value) for value in pool.costs["macs"])
    full_s = train_s(macs[len(macs) // 2], search.recipe, count) + COMPILE_S
    sizes = {name: pool.costs[name] for name in search.objectives if name in pool.costs}
    facts: dict[str, Any] = {
        "study": search.name,
        "data": description.name,
        "train_count": count,
        "space_size": pool.space_count,
        "feasible_count": len(pool),
        "is_whole": pool.is_whole,
        "sizes": {n: {"min": int(v.min()), "max": int(v.max())} for n, v in sizes.items()},
        "rungs": list(search.ladder.epochs),
        "recipe": search.recipe.to_dict(),
        "reference": None
        if plan is None
        else {"name": plan.name, "seeds": plan.seeds, "recipe": plan.recipe.to_dict()},
        "budget": str(search.budget),
        "sampler": search.sampler,
        "workers": workers_count,
        "recorded_count": recorded_count,
        "estimated_full_training_s": full_s,
    }
    if as_json:
        print_json(facts)
        return
    shown = {
        "study": search.name,
        "data": f"{description.name}, {count:,} training images of "
        f"{shape_text(description.input_shape)}, {len(description.classes)} classes",
        "space": f"{len(pool):,} feasible candidates"
        + (f" of {pool.space_count:,}" if pool.space_count else " (drawn)"),
        **{name: f"{int(v.min()):,} to {int(v.max()):,}" for name, v in sizes.items()},
        "rungs": ", ".join(map(str, search.ladder.epochs)) + " epochs",
        "recipe": _in_words(asdict(search.recipe)),
    }
    if plan is None:
        shown["reference"] = "a number"
    else:
        shown["reference"] = f"{plan.name}, {counted(plan.seeds, 'seed')}"
        shown["its recipe"] = _in_words(asdict(plan.recipe))
    shown["claim"] = (
        f"not below it by more than {percent(search.margin)}, at {search.confidence:.4g} confidence"
    )
    workers = counted(workers_count, "worker")
    shown["budget"] = f"{search.budget}, sampler {search.sampler}, {workers}"
    if recorded_count:
        trials = counted(recorded_count, "trial")
        shown["record"] = f"{trials} of this study in the record; the search goes on from there"
    shown["time"] = f"about {duration(full_s)} for one median candidate in full (a rough guess)"
    print_facts(shown)


def _in_words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def show_answer(search: Search, result: SearchResult, plots: Path, as_json: bool) -> None:
    """Draw the images and print the answer, whatever it says.

    Raises:
        StudyError: a image cannot be written.
    """
    from dse.architecture import OBJECTIVES
    from dse.report.search_plots import plot_search
    from dse.report.studies import open_study
    from dse.study.answer import read_answer

    study = open_study(result.directory.parent, result.directory.name)
    answer = read_answer(result.answer_path)
    size = next((name for name in search.objectives if name in OBJECTIVES), "params_count")
    drawn = plot_search(study, answer, plots, size=size)
    document = result.document
    if as_json:
        print_json({**document, "plots": [str(path) for path in drawn.paths]})
    else:
        _print_finalists(search, document)
        print_facts(_facts(search, document))
    for line in drawn.notes:
        note(line)
    for path in (result.trials_path, result.answer_path, *drawn.paths):
        note(f"written: {path}")


def _print_finalists(search: Search, document: Mapping[str, Any]) -> None:
    finalists = document["finalists"]
    if not finalists:
        return
    percent_sure = f"{search.confidence:.0%}"
    titles = [
        "finalist",
        "parameters",
        "seeds",
        "difference\n(points)",
        f"{percent_sure} sure\nnot under",
    ]
    print_table(
        [*titles, "verdict"],
        [
            [
                row["candidate"],
                row["params_count"],
                row["seeds_count"],
                points(row["difference"]),
                points(row["difference_low"]),
                row["verdict"].partition(":")[0],
            ]
            for row in finalists
        ],
        right=titles[1:],
    )


def _facts(search: Search, document: Mapping[str, Any]) -> dict[str, object]:
    from dse.text import duration

    reference, cost = document["reference"], document["cost"]
    facts: dict[str, object] = {"reference": _reference_text(reference)}
    found = document["answer"] or document["nearest"]
    if document["found"]:
        facts["answer"] = _found_text(search, found, reference)
        facts["claim"] = (
            f"not below {reference['name']} by more than {percent(document['margin'])} at "
            f"{document['confidence']:.0%} confidence: difference "
            f"{points(found['difference'])} points, surely not under "
            f"{points(found['difference_low'])} ({_p_text(found['p_value'])}, "
            f"{document['confirmation_images']:,} confirmation images, "
            f"{counted(found['seeds_count'], 'seed')})"
        )
        facts["test"] = _test_text(found, reference)
    else:
        facts["answer"] = (
            f"none: no candidate is shown to be at the level of {reference['name']} at "
            f"{document['confidence']:.0%} confidence"
        )
        if found:
            facts["nearest"] = _found_text(search, found, reference)
    if found:
        facts["network"] = values_text(found["metaparameters"], search.pool.varying)
        facts["validation"] = _with_ends(found, "validation") + ", mean of its seeds"
        if weights := [seed["weights"] for seed in found["seeds"] if seed["weights"]]:
            facts["weights"] = weights[0]
        if found.get("compressed_bytes"):
            facts["compressed"] = (
                f"{found['compressed_bytes']:,} bytes with 64 values a layer; dse compress goes on "
                "from there"
            )
    if document["other_claims"]:
        facts["claimed"] = "; ".join(map(_other_claim_text, document["other_claims"]))
    if document["analyses_count"] > 1:
        looks = (
            f"{document['analyses_count']} series of tests on the same confirmation images, by all "
            "runs of this study; the stated confidence is that of one"
        )
        if document["tested_count"] > 1:
            looks += f"; {document['tested_count']} networks scored on the test images"
        facts["looks"] = looks
    facts["cost"] = (
        f"{counted(cost['trials'], 'trial')} ({cost['finished']} in full, {cost['stopped']} "
        f"stopped early, {cost['failed']} failed), {counted(cost['epochs'], 'epoch')}, "
        f"{duration(cost['wall_s'])}"
    )
    return facts


def _other_claim_text(claim: Mapping[str, Any]) -> str:
    against = f", {claim['reference']}" if claim["reference"] else ""
    return (
        f"on other terms ({claim['margin']:.2%} margin, {claim['confidence']:.4g} confidence, "
        f"{counted(claim['seeds'], 'seed')}{against} at {percent(claim['reference_accuracy'])}): "
        f"{claim['candidate']}, {claim['params_count']:,} parameters"
    )


def _p_text(p_value: float) -> str:
    return "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.4f}"


def _reference_text(reference: Mapping[str, Any]) -> str:
    accuracy = percent(reference["validation_accuracy"])
    if reference["params_count"] is None:
        return f"an accuracy of {accuracy}"
    return (
        f"{reference['name']}, {reference['params_count']:,} parameters, {accuracy} right in "
        f"validation, {percent(reference['test_accuracy'])} in test, mean of "
        f"{counted(reference['seeds_count'], 'seed')}"
    )


def _found_text(search: Search, found: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    text = f"{found['candidate']}, {found['params_count']:,} parameters"
    if found["times_fewer"]:
        times = math.floor(10 * found["times_fewer"]) / 10  # never rounded up, as in the plot
        text += f", {times:,.1f} times fewer than {reference['name']}"
    return text


def _with_ends(found: Mapping[str, Any], split: str) -> str:
    text = f"{percent(found[f'{split}_accuracy'])}"
    low, high = found[f"{split}_low"], found[f"{split}_high"]
    if low is not None and high is not None:
        text += f" (95% interval {100 * low:.2f} to {100 * high:.2f})"
    return text


def _test_text(found: Mapping[str, Any], reference: Mapping[str, Any]) -> str:
    if found["test_accuracy"] is None:
        return "not scored: its weights are gone"
    text = _with_ends(found, "test")
    if "test_difference" in found:
        text += (
            f"; {reference['name']} {percent(reference['test_accuracy'])}: difference "
            f"{points(found['test_difference'])} points, surely not under "
            f"{points(found['test_difference_low'])}"
        )
    return text
