"""The front of one study or several: accuracy against each size, one plot a size."""

from __future__ import annotations

from collections.abc import Sequence

from dse.architecture import ALL_OBJECTIVES
from dse.report.html.contents import Contents, Point, sizes_of
from dse.report.html.markup import Html, Part, join, tag
from dse.report.html.plot import (
    Scale,
    count_ticks,
    legend,
    linear_scale,
    log_scale,
    pc,
    plot,
    points_text,
    share_ticks,
)
from dse.text import counted, percent, times_text

COLOURS_COUNT = 8
"""Studies that the colours of `page.css` tell apart."""

_MOST_BARS_COUNT = 30
_PAUSED_REACH = 0.35
"""Paused candidates may stretch the accuracy axis by this share of what the others take."""

_WORDS = {"params_count": "parameters", "peak_activation_bytes": "activations"}


def front_section(studies: Sequence[Contents]) -> Html:
    """The plots with their switches, and what their marks mean."""
    names = sizes_of(studies)
    if not any(point.accuracy is not None for study in studies for point in study.points):
        return tag("p", "No candidate was measured yet, so there is nothing to draw.", class_="no")
    switches = [
        tag(
            "label",
            tag("input", type="radio", name="size", value=name, id=f"x-{name}", checked=at == 0),
            tag("span", _WORDS.get(name, ALL_OBJECTIVES[name].title)),
        )
        for at, name in enumerate(names)
    ]
    plots = [_plot(studies, name) for name in names]
    return tag(
        "figure",
        tag("div", tag("fieldset", *switches), _toggles(studies), class_="controls"),
        *plots,
        _legend(studies),
        tag("figcaption", *_caption(studies)),
        class_="fronts",
        id="fronts",
    )


def _toggles(studies: Sequence[Contents]) -> Html:
    kinds = {point.kind for study in studies for point in study.points}
    has_bars = any(point.bar for study in studies for point in study.points)
    offered = [("t-dominated", "dominated", True), ("t-paused", "paused", "paused" in kinds)]
    offered.append(("t-bars", "bars", has_bars))
    if len(studies) > 1:
        offered += [(f"t-s{at}", study.name, True) for at, study in enumerate(studies)]
    return tag(
        "fieldset",
        *(
            tag("label", tag("input", type="checkbox", id=name, checked=True), tag("span", words))
            for name, words, is_there in offered
            if is_there
        ),
        class_="toggles",
    )


def _plot(studies: Sequence[Contents], name: str) -> Html:
    held = [(study, point) for study in studies for point in study.points if point.accuracy]
    places = [point.sizes[name] for _, point in held]
    y = linear_scale(_heights(studies), least=0.005)
    x = log_scale([*places, *(float(getattr(s.found, name) or 1) for s in studies if s.found)])
    objective = ALL_OBJECTIVES[name]
    marks = [_marks(study, at, x, y, name) for at, study in enumerate(studies)]
    behind = [_reference(study, at, y) for at, study in enumerate(studies)]
    lines = [_steps(study, at, x, y, name) for at, study in enumerate(studies)]
    return plot(
        x,
        y,
        marks,
        behind=behind,
        stretched=lines,
        x_ticks=count_ticks(x, objective.tick_unit),
        y_ticks=share_ticks(y),
        x_title=f"{objective.title}, logarithmic",
        y_title="validation accuracy",
        label=f"Validation accuracy against {objective.title}",
        class_=f"plot front x-{name}",
    )


def _heights(studies: Sequence[Contents]) -> list[float]:
    """Accuracies that the axis has to hold."""
    wanted: list[float | None] = []
    paused: list[float] = []
    for study in studies:
        for point in study.points:
            if point.kind == "paused":
                paused += [point.accuracy or 0.0]
            else:
                is_shown = bool(point.fronts) or _shows_bars(study)
                wanted += [point.accuracy, *(point.bar if point.bar and is_shown else ())]
        if study.answer:
            reference, found = study.answer.reference, study.found
            wanted += [reference.low, reference.validation_accuracy, reference.high]
            wanted += [reference.validation_accuracy - study.answer.margin]
            if found:
                wanted += [found.validation_low, found.validation_accuracy, found.validation_high]
    heights = [min(1.0, max(0.0, value)) for value in wanted if value is not None]
    if not heights:
        return paused
    floor = min(heights) - _PAUSED_REACH * max(max(heights) - min(heights), 0.05)
    return heights + [value for value in paused if value >= floor]


def _reference(study: Contents, at: int, y: Scale) -> Html | None:
    """Dashed line in its band, and dotted what the margin leaves of it."""
    if study.answer is None:
        return None
    reference, margin = study.answer.reference, study.answer.margin
    level, parts = reference.validation_accuracy, []
    if reference.low is not None and reference.high is not None:
        top, bottom = 100 - y.at(reference.high), 100 - y.at(reference.low)
        top, bottom = max(0.0, top), min(100.0, bottom)
        parts.append(
            tag("rect", x=0, width="100%", y=pc(top), height=pc(bottom - top), class_="band")
        )
    lines = [(level, "ref"), *([(level - margin, "ref least")] if margin else [])]
    for value, look in lines:
        place = pc(100 - y.at(value))
        parts.append(tag("line", x1=0, x2="100%", y1=place, y2=place, class_=look))
    return tag("g", *parts, class_=f"s{at}")


def _steps(study: Contents, at: int, x: Scale, y: Scale, name: str) -> Html | None:
    """What is reachable with at most a size."""
    on_front = sorted(
        (point.sizes[name], point.accuracy) for point in study.points if name in point.fronts
    )
    corners: list[tuple[float, float]] = []
    for size, accuracy in on_front:
        place, height = x.at(size), y.at(accuracy or 0.0)
        corners += [(place, corners[-1][1])] if corners else []
        corners.append((place, height))
    if not corners:
        return None
    corners.append((100.0, corners[-1][1]))
    return tag("polyline", points=points_text(corners), class_=f"front-line s{at}")


def _shows_bars(study: Contents) -> bool:
    """Whether all points have their bars, and not those of the front alone."""
    return len(study.finished) <= _MOST_BARS_COUNT


def _marks(study: Contents, at: int, x: Scale, y: Scale, name: str) -> Html:
    bars, dots = [], []
    for point in study.points:
        if point.accuracy is None or point.accuracy < y.low:
            continue
        place, is_front = pc(x.at(point.sizes[name])), name in point.fronts
        look = point.kind if is_front or point.kind == "paused" else f"{point.kind} dominated"
        if point.bar and (is_front or _shows_bars(study)):
            ends = [pc(100 - y.at(end)) for end in point.bar]
            hidden = "" if is_front else " dominated"
            bars.append(
                tag("line", x1=place, x2=place, y1=ends[0], y2=ends[1], class_=f"bar{hidden}")
            )
        dot = tag(
            "circle",
            cx=place,
            cy=pc(100 - y.at(point.accuracy)),
            r=3 if point.kind == "paused" else 5.5,
        )
        title = tag("title", point_words(point, name))
        dots.append(
            (
                is_front,
                tag(
                    "a",
                    dot,
                    title,
                    href=f"#{point.anchor}",
                    class_=look,
                    tabindex=None if is_front else -1,
                ),
            )
        )
    ordered = [dot for _, dot in sorted(dots, key=lambda item: item[0])]
    return tag("g", *bars, *ordered, _star(study, x, y, name), class_=f"s{at}")


def _star(study: Contents, x: Scale, y: Scale, name: str) -> Part:
    """The answer, at what it scored with fresh seeds, and its interval."""
    found = study.found
    size = getattr(found, name, None) if found else None
    if found is None or size is None or study.answer is None:
        return None
    place, level = pc(x.at(float(size))), pc(100 - y.at(found.validation_accuracy))
    anchor = next((p.anchor for p in study.points if p.key == found.candidate), None)
    parts: list[Part] = []
    if found.validation_low is not None and found.validation_high is not None:
        ends = (max(0.0, found.validation_low), min(1.0, found.validation_high))
        y1, y2 = (pc(100 - y.at(end)) for end in ends)
        parts.append(tag("line", x1=place, x2=place, y1=y1, y2=y2, class_="answer-bar"))
    path = "M0-9 2.1-2.9 8.6-2.8 3.4 1.1 5.3 7.3 0 3.6-5.3 7.3-3.4 1.1-8.6-2.8-2.1-2.9Z"
    star = tag("svg", tag("path", d=path), x=place, y=level, class_="star")
    words = "the answer" if study.answer.found else "nothing qualified; the nearest"
    title = tag(
        "title", f"{words}: {found.params_count:,} parameters, {percent(found.validation_accuracy)}"
    )
    parts.append(
        tag(
            "a",
            star,
            title,
            href=f"#{anchor}" if anchor else None,
            class_="answer" if study.answer.found else "answer nearest",
        )
    )
    return join(parts)


def point_words(point: Point, name: str) -> str:
    """`160,026 parameters, 84.26%, 3 seeds: bypass simple`."""
    size = ALL_OBJECTIVES[name].text(point.sizes[name])
    seeds = f", {counted(point.seeds_count, 'seed')}" if point.seeds_count else ", paused"
    return f"{size}, {percent(point.accuracy)}{seeds}: {point.key}"


def _legend(studies: Sequence[Contents]) -> Html:
    entries: list[tuple[str, Part]] = []
    if len(studies) > 1:
        for at, study in enumerate(studies):
            family = study.table.description.space.get("family")
            entries.append((f"dot s{at}", f"{study.name}{f' ({family})' if family else ''}"))
    points = [point for study in studies for point in study.points]
    kinds = {point.kind for point in points}
    is_dominated = any(p.seeds_count and "params_count" not in p.fronts for p in points)
    entries += [("dot s0", "on the front")] if len(studies) == 1 else []
    bars = dict.fromkeys(
        study.table.bar_words for study in studies if any(point.bar for point in study.points)
    )
    offered = [
        ("dot dominated", "dominated", is_dominated),
        ("dot reused", "reused from another study", "reused" in kinds),
        ("dot paused", "paused: its last accuracy", "paused" in kinds),
        *(("bar", words, True) for words in bars),
    ]
    entries += [(look, words) for look, words, is_there in offered if is_there]
    for study in studies:
        entries += _claim_entries(study, f"{study.name}: " if len(studies) > 1 else "")
    return legend(entries)


def _claim_entries(study: Contents, before: str) -> list[tuple[str, Part]]:
    if study.answer is None:
        return []
    entries: list[tuple[str, Part]] = []
    reference, found = study.answer.reference, study.found
    if found:
        fewer = f", {times_text(found.times_fewer)} fewer" if found.times_fewer else ""
        words = "the answer" if study.answer.found else "nothing qualified; the nearest"
        look = "star" if study.answer.found else "star nearest"
        entries.append((look, f"{before}{words}: {found.params_count:,} parameters{fewer}"))
    has_band = reference.low is not None and reference.high is not None
    size = f", {reference.params_count:,} parameters" if reference.params_count else ""
    name = reference.called if reference.params_count else "reference"
    level = percent(reference.validation_accuracy)
    words = f"{before}{name}{size}: {level}{', band: 95% of its mean' if has_band else ''}"
    entries.append(("ref", words))
    if study.answer.margin:
        entries.append(("least", f"{before}{margin_words(study.answer.margin)}"))
    return entries


def margin_words(margin: float) -> str:
    """What the dotted line is."""
    return f"less the margin of {100 * margin:g} point{'s' * (100 * margin != 1)}"


def _caption(studies: Sequence[Contents]) -> list[Part]:
    parts: list[Part] = [
        "A point is a candidate, at the mean of its seeds on all validation images; the line is "
        "what is reachable with at most that size. Choose a point for its layers and costs."
    ]
    if any(study.found for study in studies):
        parts.append(
            " The star stands at the mean of the answer's fresh seeds, with its 95% interval."
        )
    heights = _heights(studies)
    hidden = sum(
        1
        for study in studies
        for point in study.points
        if point.kind == "paused" and heights and (point.accuracy or 0.0) < min(heights)
    )
    if hidden:
        parts.append(f" {counted(hidden, 'paused candidate')} below the plot.")
    return parts
