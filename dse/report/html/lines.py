"""Lines that are one candidate each: learning curves and parallel coordinates."""

from __future__ import annotations

from dse.report.figures.parallel import coordinates
from dse.report.html.contents import Contents, Point
from dse.report.html.markup import Html, Part, tag
from dse.report.html.plot import Scale, legend, linear_scale, pc, plot, points_text, share_ticks
from dse.text import counted

_LADDER_RATIO = 4
"""From this factor between first and last rung on, epochs stand on a logarithmic axis."""


def curves_section(study: Contents) -> Html | None:
    """Validation accuracy after each rung, one line per candidate; None for a single rung."""
    held = [point for point in study.points if len(point.curve) > 1]
    if not held:
        return None
    rungs = sorted({epochs for point in held for epochs, _ in point.curve})
    is_log = rungs[-1] / rungs[0] >= _LADDER_RATIO
    margin = (rungs[-1] / rungs[0]) ** 0.04 if is_log else 0.04 * (rungs[-1] - rungs[0])
    x = (
        Scale(rungs[0] / margin, rungs[-1] * margin, is_log=True)
        if is_log
        else Scale(rungs[0] - margin, rungs[-1] + margin)
    )
    y = linear_scale([accuracy for point in held for _, accuracy in point.curve], least=0.01)
    found = study.shown
    ordered = sorted(held, key=lambda point: (point is found, len(point.curve)))
    ends = [tag("g", *(_end(point, found, x, y) for point in ordered))]
    figure = plot(
        x,
        y,
        ends,
        stretched=[
            _line(point, found, [(x.at(e), y.at(a)) for e, a in point.curve]) for point in ordered
        ],
        x_ticks=[(epochs, str(epochs)) for epochs in rungs],
        y_ticks=share_ticks(y),
        x_title="epochs" + (", logarithmic" if is_log else ""),
        y_title="validation accuracy",
        label="Validation accuracy after each rung",
        class_="plot lines",
    )
    finished = sum(point.seeds_count > 0 for point in held)
    paused = sum(point.kind == "paused" for point in held)
    words = (
        f"{counted(len(held), 'candidate')} at {counted(len(rungs), 'rung')}: {finished} "
        f"trained to the end, {paused} paused on the way because others of their size or smaller "
        "were better."
    )
    keys: list[tuple[str, Part]] = [("line", "trained to the end"), ("line paused", "paused")]
    keys += [("line hot", _shown_words(study))] if found in held else []
    return tag("figure", figure, legend(keys), tag("figcaption", words))


def _shown_words(study: Contents) -> str:
    if study.answer is None:
        return "the most accurate"
    return "the answer" if study.answer.found else "the nearest"


def _look(point: Point, found: Point | None) -> str:
    return "hot" if point is found else point.kind


def _line(
    point: Point, found: Point | None, places: list[tuple[float, float]], **more: object
) -> Html:
    """A candidate's line, which leads to its sheet."""
    line = tag("polyline", points=points_text(places), **more)
    title = tag("title", point.key)
    return tag("a", line, title, href=f"#{point.anchor}", class_=_look(point, found), tabindex=-1)


def _end(point: Point, found: Point | None, x: Scale, y: Scale) -> Html:
    epochs, accuracy = point.curve[-1]
    return tag(
        "circle",
        cx=pc(x.at(epochs)),
        cy=pc(100 - y.at(accuracy)),
        r=2.5,
        class_=_look(point, found),
    )


def parallel_section(study: Contents) -> Html | None:
    """Parallel coordinates of the finished candidates; None where there is nothing to see."""
    found = coordinates(study.table)
    if found is None:
        return None
    summary, axes = found
    last = len(axes) - 1
    by_key = {point.key: point for point in study.points}
    shown, lines = study.shown, []
    for line, key in enumerate(summary["candidate"]):
        heights = [axis.heights[line] + axis.fan[line] for axis in axes]
        places = [(100 * at / last, 100 * height) for at, height in enumerate(heights)]
        colour = f"v{round(9 * axes[-1].heights[line])}"
        point = by_key[str(key)]
        lines.append(_line(point, shown, places, class_=colour))
    words: list[Part] = []
    for at, axis in enumerate(axes):
        place = pc(100 * at / last)
        words.append(tag("line", x1=place, x2=place, y1=0, y2="100%", class_="axis"))
        words.append(
            tag(
                "text",
                axis.name,
                x=place,
                y=0,
                dy=-16,
                class_=f"t b {'e' if at == last else 'c' if at else ''}",
            )
        )
        side = {"dx": -7, "class_": "t halo e"} if at == last else {"dx": 7, "class_": "t halo"}
        words += [
            tag("text", text, x=place, y=pc(100 - 100 * height), dy=4, **side)
            for height, text in axis.ticks
        ]
    drawing = tag(
        "svg",
        tag("svg", *lines, viewBox="0 0 100 100", preserveAspectRatio="none", class_="s"),
        *words,
        role="group",
        aria_label="Parallel coordinates of the finished candidates",
    )
    box = tag(
        "div", tag("div", drawing, class_="box"), class_=f"plot lines parallel w{min(last + 1, 14)}"
    )
    caption = (
        f"One line for each of {counted(len(summary), 'finished candidate')}; dark to bright: low "
        f"to high validation accuracy. Bold: {_shown_words(study)}."
    )
    return tag("figure", tag("div", box, class_="scroll", tabindex=0), tag("figcaption", caption))
