"""What the page says in sentences: the summary, the claim and its test, where all comes from."""

from __future__ import annotations

from collections.abc import Sequence

from dse.report.html.contents import Contents, Point
from dse.report.html.markup import Html, Part, facts, join, table, tag
from dse.report.html.plot import Scale, interval_row
from dse.study.answer import Answer, Found
from dse.study.description import TEST_SEEN
from dse.text import (
    cell,
    counted,
    duration,
    interval_text,
    percent,
    points,
    shape_text,
    size_text,
    times_text,
)


def summary(study: Contents) -> Html:
    """The result in a paragraph, with its numbers as tiles."""
    tiles = _tiles(study)
    return join(
        [
            tag("p", *_result(study), class_="lead"),
            tag(
                "ul",
                *(tag("li", tag("b", value), tag("span", words)) for value, words in tiles),
                class_="tiles",
            )
            if tiles
            else None,
            *(tag("p", f"Not shown: {problem}", class_="no") for problem in study.problems),
        ]
    )


def headline(studies: Sequence[Contents]) -> str:
    """The title of the page."""
    if len(studies) > 1:
        return f"{len(studies)} studies compared"
    study = studies[0]
    data = study.table.description.data.name
    on = f" on {data}" if data else ""
    if study.answer and study.answer.reference.params_count is not None:
        return f"Fewest parameters at the accuracy of {study.answer.reference.called}{on}"
    if study.answer:
        return f"Fewest parameters at {percent(study.answer.reference.validation_accuracy)}{on}"
    return f"Accuracy against size{on}"


def _result(study: Contents) -> list[Part]:
    answer, found = study.answer, study.found
    effort = _effort(study)
    if answer and answer.answer and found:
        reference = answer.reference
        fewer = ""
        if found.times_fewer and reference.params_count:
            times = times_text(found.times_fewer)
            fewer = f", {times} fewer than the {reference.params_count:,} of {reference.called}"
        test = (
            f", on test images {percent(found.test_accuracy)}"
            + interval_text(found.test_low, found.test_high)
            if found.test_accuracy is not None
            else ""
        )
        return [
            "The smallest network that was found non-inferior to ",
            tag("b", _name(answer)),
            " has ",
            tag("b", f"{found.params_count:,} parameters"),
            f"{fewer}. Its validation accuracy is {percent(found.validation_accuracy)}"
            f"{interval_text(found.validation_low, found.validation_high)}{test}. {effort}",
        ]
    if answer:
        near = (
            f" The nearest has {found.params_count:,} parameters and a validation accuracy of "
            f"{percent(found.validation_accuracy)}"
            f"{interval_text(found.validation_low, found.validation_high)}."
            if found
            else ""
        )
        return [
            tag("b", "No answer"),
            f": no candidate is shown to be non-inferior to {_name(answer)} at "
            f"{answer.confidence:.0%} confidence.{near} {effort}",
        ]
    return [*_unanswered(study), effort]


def _unanswered(study: Contents) -> list[Part]:
    """Of a sweep, or of a search that has not ended."""
    parts: list[Part] = []
    if study.is_search:
        parts.append(tag("b", "This search has not ended"))
        parts.append(", so it has no answer yet: its command, below, resumes it. ")
    missing = (study.table.description.trials_count or 0) - len(study.table.trials)
    if missing > 0:
        parts.append(tag("b", "This sweep has not ended"))
        parts.append(f": {counted(missing, 'trial')} are still to be trained. ")
    if not study.finished:
        return [*parts, "No candidate has finished. "]
    on_front = [point for point in study.points if "params_count" in point.fronts]
    best = study.shown
    assert best is not None
    size = best.sizes["params_count"]
    parts.append(f"The most accurate of {counted(len(study.finished), 'finished candidate')} has ")
    parts.append(tag("b", f"{size:,.0f} parameters"))
    parts.append(f" and a validation accuracy of {percent(best.accuracy)}")
    if len(on_front) > 1:
        least = on_front[0]
        parts.append(
            f"; the smallest, with {least.sizes['params_count']:,.0f}, "
            f"reaches {percent(least.accuracy)}"
        )
    return [*parts, ". "]


def _effort(study: Contents) -> str:
    data, answer = study.table.description.data, study.answer
    on = ""
    if data.name:
        shape = f", {shape_text(data.input_shape)}" if data.input_shape else ""
        classes = f", {counted(len(data.classes), 'class')}" if data.classes else ""
        on = f" on {data.name}{shape}{classes}"
    if answer:
        cost = answer.cost
        return (
            f"The search trained {counted(cost.trials, 'trial')} ({cost.stopped} paused, "
            f"{cost.failed} failed) over {counted(cost.epochs, 'epoch')} in "
            f"{duration(cost.wall_s)}{on}."
        )
    trials = study.table.trials
    seconds = float((trials["train_s"] + trials["compile_s"]).sum())
    return f"Recorded: {counted(len(trials), 'trial')}, {duration(seconds)} of training{on}."


def _tiles(study: Contents) -> list[tuple[str, str]]:
    found, answer = study.found, study.answer
    if answer is None or found is None:
        best = study.shown
        return [] if best is None else _point_tiles(best)
    what = "parameters" if answer.answer else "parameters of the nearest"
    fewer = f", {times_text(found.times_fewer)} fewer" if found.times_fewer else ""
    tiles = [(f"{found.params_count:,}", what + fewer)]
    tiles.append(
        (
            percent(found.validation_accuracy),
            f"validation accuracy, {counted(found.seeds_count, 'seed')}",
        )
    )
    if found.test_accuracy is not None:
        tiles.append((percent(found.test_accuracy), "test accuracy"))
    if found.difference is not None:
        tiles.append(
            (
                f"{points(found.difference)}",
                f"points to the reference; margin {100 * answer.margin:g}",
            )
        )
    tiles.append((f"{found.macs:,}", "MACs per image"))
    if found.compressed_bytes:
        tiles.append((size_text(found.compressed_bytes), "compressed"))
    return tiles


def _point_tiles(point: Point) -> list[tuple[str, str]]:
    tiles = [
        (f"{point.sizes['params_count']:,.0f}", "parameters of the most accurate"),
        (percent(point.accuracy), f"validation accuracy, {counted(point.seeds_count, 'seed')}"),
    ]
    if point.test_accuracy is not None:
        tiles.append((percent(point.test_accuracy), "test accuracy"))
    return [*tiles, (f"{point.sizes['macs']:,.0f}", "MACs per image")]


def _name(answer: Answer) -> str:
    reference = answer.reference
    return (
        reference.called
        if reference.params_count is not None
        else percent(reference.validation_accuracy)
    )


def claim_section(study: Contents) -> Html | None:
    """The test of the finalists in words and numbers; None for a sweep."""
    answer = study.answer
    if answer is None:
        return None
    confidence = f"{answer.confidence:.0%}"
    method = (
        f"Each finalist was trained with fresh seeds and compared with {_name(answer)} on "
        + (
            f"{counted(answer.confirmation_images, 'validation image')}"
            if answer.confirmation_images
            else "validation images"
        )
        + f" that had no part in any choice. It is non-inferior where the {confidence} lower "
        f"bound of the difference lies above −{100 * answer.margin:g} points, the margin "
        "(one-sided test)."
    )
    parts: list[Part] = [tag("p", *_verdict(answer)), tag("p", method, class_="small")]
    if answer.finalists:
        parts.append(_finalists(study, answer, confidence))
    if answer.analyses_count > 1:
        parts.append(
            tag(
                "p",
                f"{answer.analyses_count} series of tests were made on the same images, by all "
                "runs of this study; the stated confidence is that of one.",
                class_="small",
            )
        )
    return join(parts)


def _verdict(answer: Answer) -> list[Part]:
    found: Found | None = answer.answer
    if found is None:
        return [tag("b", "Not shown."), f" No finalist is non-inferior to {_name(answer)}."]
    p_text = ""
    if found.p_value is not None:
        p_text = ", p < 0.0001" if found.p_value < 1e-4 else f", p = {found.p_value:.4f}"
    return [
        tag("b", "Non-inferior."),
        f" Accuracy less the reference’s: {points(found.difference)} points, lower bound "
        f"{points(found.difference_low)}, margin −{100 * answer.margin:g}{p_text} "
        f"({counted(found.seeds_count, 'seed')}).",
    ]


def _finalists(study: Contents, answer: Answer, confidence: str) -> Html:
    anchors = {point.key: point.anchor for point in study.points}
    known = [f for f in answer.finalists if f.difference is not None]
    ends = [value for f in known for value in (f.difference, f.difference_low) if value is not None]
    low, high = min([-answer.margin, 0.0, *ends]), max([0.0, *ends])
    room = 0.12 * max(high - low, 0.01)
    scale = Scale(low - room, high + room)
    rows: list[list[Part]] = []
    for finalist in answer.finalists:
        key: Part = tag("code", finalist.candidate)
        if anchor := anchors.get(finalist.candidate):
            key = tag("a", key, href=f"#{anchor}")
        drawn: Part = None
        if finalist.difference is not None:
            lines = [-answer.margin, 0.0] if answer.margin else [0.0]
            bound = finalist.difference_low
            drawn = interval_row(scale, finalist.difference, bound, None, lines=lines)
        rows.append(
            [
                key,
                f"{finalist.params_count:,}",
                finalist.seeds_count,
                points(finalist.difference),
                points(finalist.difference_low),
                drawn or "",
                finalist.verdict.partition(":")[0],
            ]
        )
    titles = ["finalist", "parameters", "seeds", "difference, points", f"{confidence} lower bound"]
    return table([*titles, "", "verdict"], rows, class_="claims")


def importance_section(study: Contents) -> Html | None:
    """A row for each metaparameter; None where there is too little to tell."""
    found = study.importances
    if found is None:
        return None
    low = min(0.0, *(part.low for part in found.parts))
    high = max(0.1, *(part.high for part in found.parts))
    scale = Scale(low - 0.04 * (high - low), high + 0.04 * (high - low))
    rows: list[list[Part]] = [
        [
            part.name,
            interval_row(scale, part.mean, part.low, part.high, lines=[0.0]),
            f"{100 * part.mean:.0f}% ({100 * part.low:.0f} to {100 * part.high:.0f})",
        ]
        for part in found.parts
    ]
    told = (
        f"all together predict {100 * found.explained:.0f}% of it"
        if found.explained > 0
        else "together they predict nothing: these differences cannot be told from noise"
    )
    return join(
        [
            table(["metaparameter", "", "share of the variance"], rows, class_="rows"),
            tag(
                "p",
                "How much of the accuracy’s variance at equal parameters goes back to each "
                "metaparameter (permutation importance of a random forest on "
                f"{counted(found.candidates_count, 'candidate')}; {told}). Line: 95% of 30 draws; "
                "hollow: cannot be told from 0.",
                class_="small",
            ),
        ]
    )


def provenance_section(study: Contents) -> Html:
    """Data, seeds, versions and the commands that make it again."""
    told = study.table.description
    data, images = told.data, told.data.images
    trials = study.table.trials
    seeds = sorted(int(seed) for seed in trials["seed"].unique())
    commands = [told.command] if told.command else []
    commands += [f"dse report {study.name}"]
    recipe = ", ".join(f"{name} {cell(value)}" for name, value in told.recipe.items())
    values: dict[str, Part] = {
        "study": study.name,
        "data": data.name,
        "data fingerprint": data.fingerprint,
        "images": ", ".join(f"{name} {cell(count)}" for name, count in images.items()) or None,
        "classes": ", ".join(data.classes) or None,
        "search space": told.space.get("name"),
        "recipe": recipe or None,
        "starts from": told.init.get("file"),
        "teacher": told.teacher.get("file"),
        "seed of the study": told.study_seed,
        "seeds of candidates": ", ".join(map(str, seeds)) or None,
        "versions": ", ".join(f"{name} {text}" for name, text in told.versions.items()) or None,
        "earlier versions": told.mixed_versions or None,
        "machine": told.machine or None,
    }
    given = told.init or told.teacher
    seen = [tag("p", f"Note: {TEST_SEEN}.", class_="small")] if given else []
    return join(
        [
            facts(values),
            *seen,
            tag("p", "Commands that make it again:"),
            *(tag("pre", line) for line in commands),
        ]
    )
