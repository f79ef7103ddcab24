"""What `dse search` prints before and after training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.cli.recall import validation_scores
from dse.cli.running import classes_text
from dse.cli.tables import note, print_facts, print_json, print_table
from dse.text import cell, counted, duration, interval_text, percent, points, shape_text

if TYPE_CHECKING:
    from dse.data import DataDescription, Dataset
    from dse.search import RunResult, Search, SearchPlan
    from dse.study.answer import Answer, Found, OtherClaim, ReferenceSummary


def show_search_plan(
    plan: SearchPlan,
    description: DataDescription,
    workers_count: int,
    recorded_count: int,
    as_json: bool,
) -> None:
    """Print space, rungs, recipes, what is recorded and expected time; nothing is trained."""
    from dse.search import BestReference, ReferencePlan

    search = plan.search
    reference = plan.reference if isinstance(plan.reference, ReferencePlan) else None
    pool, count = search.pool, description.train_count
    stages = plan.forecast.stages(search.budget)
    sizes = {name: pool.costs[name] for name in search.objectives if name in pool.costs}
    facts: dict[str, Any] = {
        "study": search.name,
        "data": description.name,
        "train_count": count,
        "classes": description.classes,
        "class_counts": description.class_counts,
        "space_size": pool.space_count,
        "feasible_count": len(pool),
        "is_whole": pool.is_whole,
        "sizes": {n: {"min": int(v.min()), "max": int(v.max())} for n, v in sizes.items()},
        "rungs": list(search.ladder.epochs),
        "recipe": search.recipe.to_dict(),
        "reference": None
        if reference is None
        else {
            "name": reference.name,
            "seeds": reference.seeds,
            "recipe": reference.recipe.to_dict(),
        },
        "budget": str(search.budget),
        "sampler": search.sampler,
        "workers": workers_count,
        "recorded_count": recorded_count,
        "estimated_full_training_s": plan.forecast.full_s,
        "stages": {stage.name: stage.seconds for stage in stages},
    }
    if as_json:
        print_json(facts)
        return
    shown = {
        "study": search.name,
        "data": f"{description.name}, {count:,} training images of "
        f"{shape_text(description.input_shape)}, {len(description.classes)} classes",
        "classes": classes_text(description),
        "space": f"{len(pool):,} feasible candidates"
        + (f" of {pool.space_count:,}" if pool.space_count else " (drawn)"),
        **{name: f"{int(v.min()):,} to {int(v.max()):,}" for name, v in sizes.items()},
        "rungs": ", ".join(map(str, search.ladder.epochs)) + " epochs",
        "recipe": _in_words(asdict(search.recipe)),
    }
    if isinstance(plan.reference, BestReference):
        seeds = counted(plan.reference.seeds, "fresh seed")
        shown["reference"] = f"the most accurate network that the search finds, {seeds} of it"
    elif reference is None:
        shown["reference"] = "a number"
    else:
        shown["reference"] = f"{reference.name}, {counted(reference.seeds, 'seed')}"
        shown["its recipe"] = _in_words(asdict(reference.recipe))
    shown["claim"] = (
        f"non-inferior to it with a margin of {percent(search.margin)}, at "
        f"{search.confidence:.4g} confidence"
    )
    workers = counted(workers_count, "worker")
    shown["budget"] = f"{search.budget}, sampler {search.sampler}, {workers}"
    if recorded_count:
        trials = counted(recorded_count, "trial")
        shown["record"] = f"{trials} of this study in the record; the search resumes"
    shown["plan"] = (
        "; ".join(f"{s.name} {duration(s.seconds)} ({s.what})" for s in stages)
        + f"; {duration(sum(s.seconds for s in stages))} in all (a rough forecast)"
    )
    print_facts(shown)


def _in_words(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


def show_answer(
    search: Search, result: RunResult, dataset: Dataset, plots: Path, as_json: bool
) -> None:
    """Draw the figures and print the answer, whatever it says; how much of each class is found.

    Raises:
        StudyError: a figure cannot be written.
    """
    from dse.architecture import OBJECTIVES
    from dse.report.figures.search import plot_search
    from dse.report.tables.studies import open_study
    from dse.study.paths import ANSWER_NAME

    answer = result.answer
    assert answer is not None
    study = open_study(result.directory.parent, result.directory.name)
    size = next((name for name in search.objectives if name in OBJECTIVES), "params_count")
    drawn = plot_search(study, answer, plots, size=size)
    found = answer.answer or answer.nearest
    scores = found and validation_scores(result.trials.values(), found.candidate, dataset)
    if as_json:
        per_class = {
            "largest_class_share": scores.largest[1] if scores else None,
            "recall": scores.recall if scores else None,
        }
        paths = [str(path) for path in drawn.paths]
        print_json({**answer.to_dict(), "plots": paths, **per_class})
    else:
        _print_finalists(answer)
        print_facts(_facts(answer, search.pool.varying))
        if found and scores:
            note(f"validation accuracy {percent(found.validation_accuracy)}: {scores}")
    for line in drawn.notes:
        note(line)
    for path in (result.trials_path, result.directory / ANSWER_NAME, *drawn.paths):
        note(f"written: {path}")


def _print_finalists(answer: Answer) -> None:
    if not answer.finalists:
        return
    titles = [
        "finalist",
        "parameters",
        "seeds",
        "difference\n(points)",
        f"{answer.confidence:.0%} lower\nbound",
    ]
    print_table(
        [*titles, "verdict"],
        [
            [
                finalist.candidate,
                finalist.params_count,
                finalist.seeds_count,
                points(finalist.difference),
                points(finalist.difference_low),
                finalist.verdict.partition(":")[0],
            ]
            for finalist in answer.finalists
        ],
        right=titles[1:],
    )


def _facts(answer: Answer, varying: Sequence[str]) -> dict[str, object]:
    reference, cost = answer.reference, answer.cost
    facts: dict[str, object] = {"reference": _reference_text(reference)}
    found = answer.answer or answer.nearest
    if answer.answer:
        facts["answer"] = _found_text(answer.answer, reference)
        facts["claim"] = _claim_text(answer, answer.answer)
        facts["test"] = _test_text(answer.answer, reference)
    else:
        facts["answer"] = (
            f"none: no candidate is shown to be non-inferior to {reference.name} at "
            f"{answer.confidence:.0%} confidence"
        )
        if found:
            facts["nearest"] = _found_text(found, reference)
        facts["missing"] = answer.missing
    if found:
        facts["network"] = ", ".join(f"{n} {cell(found.metaparameters[n])}" for n in varying)
        ends = (found.validation_low, found.validation_high)
        facts["validation"] = (
            percent(found.validation_accuracy) + interval_text(*ends) + ", mean of its seeds"
        )
        if weights := [seed.weights for seed in found.seeds if seed.weights]:
            facts["weights"] = weights[0]
        if found.compressed_bytes:
            facts["compressed"] = (
                f"{found.compressed_bytes:,} bytes with 64 values per layer; dse compress "
                "continues from there"
            )
        if found.int8_accuracy is not None and found.int8_difference is not None:
            kind = "validation" if found.test_accuracy is None else "test"
            facts["int8"] = (
                f"{percent(found.int8_accuracy)} on {found.int8_images_count:,} {kind} images "
                f"as dse export --int8 writes it: {points(found.int8_difference)} points against "
                "float32"
            )
    if answer.passed_over:
        one = answer.passed_over[0]
        facts["no finalists"] = (
            f"{counted(len(answer.passed_over), 'more candidate')} at the level by the selection "
            f"images; the smallest, {one.candidate} ({one.params_count:,} parameters, "
            f"{percent(one.selection_accuracy)}): {one.reason}"
        )
    if answer.other_claims:
        facts["claimed"] = "; ".join(map(_other_claim_text, answer.other_claims))
    if answer.analyses_count > 1:
        analyses = (
            f"{answer.analyses_count} series of tests on the same confirmation images, by all "
            "runs of this study; the stated confidence is that of one"
        )
        if answer.tested_count > 1:
            analyses += f"; {answer.tested_count} networks scored on the test images"
        facts["analyses"] = analyses
    facts["cost"] = (
        f"{counted(cost.trials, 'trial')} ({cost.finished} to full fidelity, {cost.stopped} "
        f"paused, {cost.failed} failed), {counted(cost.epochs, 'epoch')}, {duration(cost.wall_s)}"
        + (f"; {cost.left_out:,} candidates left out" if cost.left_out else "")
    )
    return facts


def _claim_text(answer: Answer, found: Found) -> str:
    assert found.p_value is not None
    p_text = "p < 0.0001" if found.p_value < 0.0001 else f"p = {found.p_value:.4f}"
    return (
        f"non-inferior to {answer.reference.name} with a margin of {percent(answer.margin)} at "
        f"{answer.confidence:.0%} confidence: difference {points(found.difference)} points, "
        f"lower bound {points(found.difference_low)} ({p_text}, "
        f"{answer.confirmation_images:,} confirmation images, "
        f"{counted(found.seeds_count, 'seed')})"
    )


def _other_claim_text(claim: OtherClaim) -> str:
    against = f", {claim.reference}" if claim.reference else ""
    return (
        f"on other terms ({claim.margin:.2%} margin, {claim.confidence:.4g} confidence, "
        f"{counted(claim.seeds, 'seed')}{against} at {percent(claim.reference_accuracy)}): "
        f"{claim.candidate}, {claim.params_count:,} parameters"
    )


def _reference_text(reference: ReferenceSummary) -> str:
    accuracy = percent(reference.validation_accuracy)
    if reference.params_count is None:
        return f"an accuracy of {accuracy}"
    if reference.chosen:
        tested = f", test {percent(reference.test_accuracy)}" if reference.test_accuracy else ""
        return (
            f"{reference.candidate}, {reference.params_count:,} parameters, {reference.chosen}; "
            f"validation accuracy {accuracy}{tested}, mean of "
            f"{counted(reference.seeds_count, 'fresh seed')}"
        )
    return (
        f"{reference.name}, {reference.params_count:,} parameters, validation accuracy "
        f"{accuracy}, test {percent(reference.test_accuracy)}, mean of "
        f"{counted(reference.seeds_count, 'seed')}"
    )


def _found_text(found: Found, reference: ReferenceSummary) -> str:
    text = f"{found.candidate}, {found.params_count:,} parameters"
    if found.times_fewer:
        times = math.floor(10 * found.times_fewer) / 10  # never rounded up, as in the plot
        text += f", {times:,.1f} times fewer than {reference.name}"
    return text


def _test_text(found: Found, reference: ReferenceSummary) -> str:
    if found.test_accuracy is None:
        return "not scored: its weights are gone"
    text = percent(found.test_accuracy) + interval_text(found.test_low, found.test_high)
    if found.test_difference is not None:
        text += (
            f"; {reference.name} {percent(reference.test_accuracy)}: difference "
            f"{points(found.test_difference)} points, lower bound "
            f"{points(found.test_difference_low)}"
        )
    return text
