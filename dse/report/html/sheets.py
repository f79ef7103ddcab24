"""What the page says of a candidate: its costs, its layers, where it fits."""

from __future__ import annotations

from collections.abc import Sequence

from dse.architecture import ALL_OBJECTIVES
from dse.deployment.footprint import PEAK_ASSUMPTION
from dse.report.html.contents import Contents, Network, Point
from dse.report.html.markup import Html, Part, facts, join, table, tag
from dse.text import NOTHING, cell, counted, percent, seconds_text, shape_text, size_text

MOST_LAYERS_COUNT = 8_000
"""Rows of layers on a page, so that it stays small: some 0.5 MB."""


def sheets(studies: Sequence[Contents]) -> Html:
    """One for each candidate; the page shows the chosen one, or the first of these.

    Where there are very many, those on a front and the finished ones keep their layers.
    """
    first = studies[0].shown or next(iter(studies[0].points), None)
    ranked = sorted(
        (point for study in studies for point in study.points),
        key=lambda point: (point is not first, not point.fronts, not point.seeds_count),
    )
    left, with_layers = MOST_LAYERS_COUNT, set()
    for point in ranked:
        left -= len(point.network.cost.layers) if point.network else 0
        if left >= 0:
            with_layers.add(point.anchor)
    return tag(
        "div",
        *(
            _sheet(point, study, is_first=point is first, with_layers=point.anchor in with_layers)
            for study in studies
            for point in study.points
        ),
        class_="sheets",
    )


def _sheet(point: Point, study: Contents, *, is_first: bool, with_layers: bool) -> Html:
    network = point.network
    rest: list[Part] = []
    if network is None:
        rest.append(tag("p", f"Its layers cannot be shown: {point.problem}", class_="no"))
    else:
        fits = [
            fit.device.name for fit in network.sheet.fits if fit.weights_and_activations["int8"]
        ]
        rest.append(
            tag("p", tag("b", "Fits in int8: "), ", ".join(fits) or "none of the known chips")
        )
        rest.append(
            _layers(network)
            if with_layers
            else tag("p", f"Its layers: dse describe {study.name}/{point.key}", class_="no")
        )
    return tag(
        "article",
        tag(
            "header",
            tag("h3", "Candidate ", tag("code", point.key)),
            tag("a", "to the plot", href="#fronts"),
        ),
        facts(brief(point)),
        facts({name: cell(value) for name, value in point.values.items()}),
        *rest,
        class_="sheet first" if is_first else "sheet",
        id=point.anchor,
    )


def brief(point: Point) -> dict[str, Part]:
    """Sizes and accuracy in a few words."""
    sizes = {
        objective.title: objective.text(point.sizes[name]).removesuffix(f" {objective.noun}")
        + (f" ({size_text(int(point.sizes[name]))})" if objective.tick_unit == "B" else "")
        for name, objective in ALL_OBJECTIVES.items()
        if name in point.sizes
    }
    words = percent(point.accuracy)
    if point.low is not None and point.high is not None:
        words += f", seeds {100 * point.low:.2f} to {100 * point.high:.2f}"
    ended = f"{counted(point.epochs, 'epoch')}, {counted(max(point.seeds_count, 1), 'seed')}"
    return {
        "validation accuracy": words,
        "test accuracy": percent(point.test_accuracy) if point.test_accuracy is not None else None,
        **sizes,
        "training": f"{point.kind}, {ended}" + (f": {point.reason}" if point.reason else ""),
    }


def _layers(network: Network) -> Html:
    """The layer table; rows without closing tags, which HTML allows and 200 of them notice."""
    rows = [
        join(
            [
                Html("<tr><td>"),
                row.name,
                Html("<td>"),
                layer.summary,
                Html("<td>"),
                shape_text(row.output_shape),
                *(
                    part
                    for count in (row.params_count, row.macs, row.activation_bytes)
                    for part in (Html("<td class=n>"), f"{count:,}" if count else NOTHING)
                ),
            ]
        )
        for layer, row in zip(network.architecture.layers, network.cost.layers, strict=True)
    ]
    titles = ("layer", "what", "output", "parameters", "MACs", "activation bytes")
    head = tag(
        "tr", *(tag("th", title, class_="n" if at > 2 else None) for at, title in enumerate(titles))
    )
    return tag(
        "div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="scroll", tabindex=0
    )


def deployment_section(study: Contents) -> Html | None:
    """The whole sheet of the candidate that stands for the study."""
    point, found = study.shown, study.found
    if point is None or point.network is None:
        return None
    sheet = point.network.sheet
    precisions = [f.precision for f in sheet.footprints]
    update = f"update over {sheet.update_link.text}, at least"
    rows: list[list[Part]] = [
        ["weights", *(size_text(f.weight_bytes) for f in sheet.footprints)],
        ["peak activations", *(size_text(f.peak_activation_bytes) for f in sheet.footprints)],
        ["together", *(size_text(f.total_bytes) for f in sheet.footprints)],
        [update, *(seconds_text(f.update_s) for f in sheet.footprints)],
    ]
    fits = [
        [
            fit.device.name,
            fit.device.kind,
            *(
                "fits" if fit.weights_and_activations[p] else "weights" if fit.weights[p] else "no"
                for p in precisions
            ),
        ]
        for fit in sheet.fits
    ]
    packed = (
        f" Compressed by dse compress: {found.compressed_bytes:,} bytes."
        if found and found.compressed_bytes
        else ""
    )
    if found and found.int8_accuracy is not None and found.int8_difference is not None:
        packed += (
            f" In int8, as dse export writes it: {percent(found.int8_accuracy)} on "
            f"{found.int8_images_count:,} images, {100 * found.int8_difference:+.2f} points "
            "against float32."
        )
    exchange = sheet.exchange
    return join(
        [
            tag(
                "p",
                "Candidate ",
                tag("a", tag("code", point.key), href=f"#{point.anchor}"),
                f", {point.sizes['params_count']:,.0f} parameters.{packed}",
            ),
            table(["", *precisions], rows, numbers=1),
            table(["chip", "kind", *precisions], fits, numbers=2, class_="chips"),
            tag(
                "p",
                f"In training on {exchange.workers_count} machines each would send "
                f"{size_text(exchange.sent_bytes)} a step, which takes at least "
                f"{seconds_text(exchange.least_s)} at {exchange.link.text}. Activations peak at "
                f"{sheet.peak_layer}: {PEAK_ASSUMPTION}.",
                class_="small",
            ),
        ]
    )
