"""What `dse describe` prints: one network with its sheet, or several side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import typer

from dse.architecture.objectives import OBJECTIVES
from dse.cli.tables import print_facts, print_json, print_line, print_table
from dse.text import NOTHING, seconds_text, shape_text, size_text

if TYPE_CHECKING:
    from dse.architecture import Architecture, Cost, Preset
    from dse.deployment.devices import Device
    from dse.deployment.footprint import Deployment
    from dse.deployment.link import Link
    from dse.deployment.timing import Latency
    from dse.export.measure import MeasuredSheet


@dataclass(frozen=True)
class Described:
    """A network with all that is known of it; the last two only where they were measured."""

    network: Preset
    architecture: Architecture
    costs: Cost
    sheet: Deployment
    latency: Latency | None
    measured: MeasuredSheet | None = None

    @property
    def name(self) -> str:
        """As the user gave it."""
        return self.network.name

    @property
    def stacked_name(self) -> str:
        """Its name as the title of a column: study over candidate."""
        return "\n".join(self.name.split("/"))

    @property
    def median_s(self) -> float | None:
        """The median latency, where it was measured."""
        return self.latency.median_s if self.latency else None


def print_documents(described: Sequence[Described]) -> None:
    """Print one network as JSON, or several, and how many times smaller each is than the first."""
    documents = [_document(one) for one in described]
    if len(described) == 1:
        print_json(documents[0])
        return
    ratios = []
    for one in described:
        costs = {
            name: (getattr(described[0].costs, name), getattr(one.costs, name))
            for name in OBJECTIVES
        }
        sent = (described[0].sheet.exchange.sent_bytes, one.sheet.exchange.sent_bytes)
        pairs = costs | {
            "sent_bytes": sent,
            "latency_median_s": (described[0].median_s, one.median_s),
        }
        ratios.append({"network": one.name} | {name: _ratio(*pair) for name, pair in pairs.items()})
    print_json({"networks": documents, "ratios": ratios})


def _ratio(first: float | Fraction | None, other: float | Fraction | None) -> float | None:
    """How many times smaller the other is; None where one is 0 or unknown."""
    return float(first / other) if first is not None and other else None


def _document(described: Described) -> dict[str, Any]:
    """One network as plain data."""
    from dse.deployment.footprint import PEAK_ASSUMPTION

    network, sheet, exchange = described.network, described.sheet, described.sheet.exchange
    footprints = {
        f.precision: {
            "weight_bytes": f.weight_bytes,
            "peak_activation_bytes": f.peak_activation_bytes,
            "total_bytes": f.total_bytes,
        }
        for f in sheet.footprints
    }
    updates = {
        f.precision: {"update_bytes": f.weight_bytes, "least_s": float(f.update_s)}
        for f in sheet.footprints
    }
    devices = [
        {
            **asdict(fit.device),
            "weights_fit": fit.weights,
            "weights_and_activations_fit": fit.weights_and_activations,
        }
        for fit in sheet.fits
    ]
    return {
        "network": described.name,
        "candidate": network.candidate.key,
        "family": network.candidate.family,
        "metaparameters": network.candidate.metaparameters,
        "input_shape": network.input_shape,
        "classes_count": network.classes_count,
        **asdict(described.costs),
        "deployment": {
            "footprint": footprints,
            "peak_layer": sheet.peak_layer,
            "peak_assumption": PEAK_ASSUMPTION,
            "gradient_exchange": {
                "formula": "2(n - 1)/n x 4 bytes x params_count, rounded up",
                "workers_count": exchange.workers_count,
                **_link_document(exchange.link),
                "gradient_bytes": exchange.gradient_bytes,
                "sent_bytes": exchange.sent_bytes,
                "least_s": float(exchange.least_s),
            },
            "over_the_air": {
                "formula": "8 x weight_bytes / link_bits_per_s",
                **_link_document(sheet.update_link),
                **updates,
            },
            "devices": devices,
            "latency": asdict(described.latency) if described.latency else None,
            "int8_program": {**asdict(sheet.chip), "flash_bytes": sheet.chip.flash_bytes}
            if sheet.chip
            else None,
            "runtimes": _measured_document(described.measured) if described.measured else None,
        },
    }


def _measured_document(measured: MeasuredSheet) -> dict[str, Any]:
    arena = measured.micro_arena
    return {
        "tflite_micro_arena": {**asdict(arena), "total_bytes": arena.total_bytes}
        if arena
        else None,
        "files": [asdict(one) for one in measured.runtimes],
    }


def _link_document(link: Link) -> dict[str, Any]:
    return {"link": link.text, "link_bits_per_s": float(link.bits_per_s)}


def print_network(described: Described) -> None:
    """Print the layers of one network, its costs, its metaparameters and its sheet."""
    candidate, architecture = described.network.candidate, described.architecture
    costs = described.costs
    print_line(f"{described.name}: {candidate.family}, candidate {candidate.key}")
    typer.echo(
        f"input {shape_text(architecture.input_shape)}, {architecture.classes_count:,} classes\n"
    )
    print_table(
        ("layer", "what", "output", "parameters", "MACs", "activation\nbytes"),
        [
            (
                row.name,
                layer.summary,
                shape_text(row.output_shape),
                row.params_count or None,
                row.macs or None,
                row.activation_bytes,
            )
            for layer, row in zip(architecture.layers, costs.layers, strict=True)
        ],
        right=("parameters", "MACs", "activation\nbytes"),
    )
    typer.echo()
    print_facts(
        {
            "parameters": costs.params_count,
            "MACs": costs.macs,
            "weights": f"{costs.weight_bytes:,} bytes ({size_text(costs.weight_bytes)}, float32)",
            "peak activations": f"{costs.peak_activation_bytes:,} bytes "
            f"({size_text(costs.peak_activation_bytes)}) at {costs.peak_layer}",
        }
    )
    typer.echo()
    print_facts(candidate.metaparameters)
    typer.echo()
    _print_sheet(described)


def _print_sheet(described: Described) -> None:
    sheet = described.sheet
    exchange, chip = sheet.exchange, sheet.chip
    precisions = tuple(f.precision for f in sheet.footprints)
    print_table(
        ("deployment, bytes", *precisions),
        [
            ("weights", *(f.weight_bytes for f in sheet.footprints)),
            (
                f"peak activations, at {sheet.peak_layer}",
                *(f.peak_activation_bytes for f in sheet.footprints),
            ),
            ("together", *(f.total_bytes for f in sheet.footprints)),
            (
                f"update over the air, {sheet.update_link.text}",
                *(seconds_text(f.update_s) for f in sheet.footprints),
            ),
        ],
        right=precisions,
    )
    typer.echo()
    facts: dict[str, object] = {
        "all-reduce": f"{exchange.sent_bytes:,} bytes from each of "
        f"{exchange.workers_count:,} workers, 2(n-1)/n of the gradient",
        "least time": f"{seconds_text(exchange.least_s)} at {exchange.link.text}",
    }
    if described.latency:
        latency = described.latency
        facts["latency"] = (
            f"median {seconds_text(latency.median_s)}, 95th percentile "
            f"{seconds_text(latency.p95_s)}; one image, one CPU thread"
        )
    print_facts(facts)
    typer.echo()
    if chip:
        rows: list[tuple[str, int | None, int | None]] = [
            ("C: constants, arena", chip.constant_bytes, chip.ram_bytes),
            ("C: code on a Cortex-M4", chip.code_bytes, None),
            ("C: together", chip.flash_bytes, chip.ram_bytes),
        ]
        if described.measured and (arena := described.measured.micro_arena):
            parts = (*asdict(arena).items(), ("together_bytes", arena.total_bytes))
            rows += [
                (f"tflite-micro: {name.removesuffix('_bytes')}", None, size) for name, size in parts
            ]
        print_table(("int8 program, bytes", "flash", "RAM"), rows, right=("flash", "RAM"))
        typer.echo()
    if described.measured:
        print_table(
            ("runtime, one thread", "precision", "bytes", "median", "95% within"),
            [
                (
                    one.runtime,
                    one.precision,
                    one.file_bytes,
                    seconds_text(one.latency.median_s),
                    seconds_text(one.latency.p95_s),
                )
                for one in described.measured.runtimes
            ],
            right=("bytes", "median", "95% within"),
        )
        typer.echo()
    print_table(
        ("device", "kind", "memory for\nweights", "memory for\nactivations", *precisions),
        [
            (
                fit.device.name,
                fit.device.kind,
                *_memory_texts(fit.device),
                *(
                    "all" if both else "weights" if weights else NOTHING
                    for weights, both in zip(
                        fit.weights.values(), fit.weights_and_activations.values(), strict=True
                    )
                ),
            )
            for fit in sheet.fits
        ],
        right=("memory for\nweights", "memory for\nactivations"),
    )
    typer.echo("\nall: weights and peak activations fit the chip; weights: the weights alone")
    _print_assumption()


def _memory_texts(device: Device) -> tuple[str, str]:
    """Memory for weights and for activations; what they share is said once."""
    ram = _kb_text(device.ram_bytes)
    return (ram, "shared") if device.flash_bytes is None else (_kb_text(device.flash_bytes), ram)


def _kb_text(bytes_count: int) -> str:
    """Memory of a chip in the data sheets' unit, 1 KB = 1,024 bytes."""
    return f"{bytes_count / 1024:,.6g} KB" if bytes_count % 1024 else f"{bytes_count // 1024:,} KB"


def print_comparison(described: Sequence[Described]) -> None:
    """Print several networks side by side, each with how many times smaller than the first."""
    first = described[0]
    titles = ["", first.stacked_name]
    for other in described[1:]:
        titles += [other.stacked_name, "times\nsmaller"]
    rows = []
    for name, numbers, texts in _lines(described):
        row: list[object] = [name, texts[0]]
        for number, text in zip(numbers[1:], texts[1:], strict=True):
            ratio = _ratio(numbers[0], number)
            row += [text, NOTHING if ratio is None else f"{ratio:.3g}x"]
        rows.append(row)
    print_table(titles, rows, right=titles[1:])
    typer.echo()
    memory = ("memory for\nweights", "memory for\nactivations")
    print_table(
        (
            "widest precision at which\nweights / all fit",
            *memory,
            *(one.stacked_name for one in described),
        ),
        [
            (
                fits[0].device.name,
                *_memory_texts(fits[0].device),
                *(
                    f"{_widest(fit.weights)} / {_widest(fit.weights_and_activations)}"
                    for fit in fits
                ),
            )
            for fits in zip(*(one.sheet.fits for one in described), strict=True)
        ],
        right=memory,
    )
    typer.echo()
    print_line(f"times smaller: {first.name} divided by the network to the left; below 1: larger")
    _print_assumption()


def _widest(fits: dict[str, bool]) -> str:
    return next((precision for precision, fit in fits.items() if fit), NOTHING)


Line = tuple[str, list[Any], list[Any]]
"""A line of the comparison: its name, the number of each network, and how each is shown."""


def _lines(described: Sequence[Described]) -> list[Line]:
    costs, sheets = [one.costs for one in described], [one.sheet for one in described]
    exchanges = [sheet.exchange for sheet in sheets]
    lines: list[Line] = []

    def add(name: str, numbers: list[Any], text: Callable[[Any], object] | None = None) -> None:
        lines.append((name, numbers, numbers if text is None else [text(n) for n in numbers]))

    add("parameters", [cost.params_count for cost in costs])
    add("MACs", [cost.macs for cost in costs])
    for prints in zip(*(sheet.footprints for sheet in sheets), strict=True):
        add(f"weights, {prints[0].precision}, bytes", [f.weight_bytes for f in prints])
    add("peak activations, bytes", [cost.peak_activation_bytes for cost in costs])
    chips = [sheet.chip for sheet in sheets if sheet.chip]
    if len(chips) == len(sheets):
        add("flash of the int8 program, bytes", [chip.flash_bytes for chip in chips])
        add("RAM of the int8 program, bytes", [chip.ram_bytes for chip in chips])
    lines.append(("at layer", [None] * len(sheets), [sheet.peak_layer for sheet in sheets]))
    add(
        f"sent by each of {exchanges[0].workers_count:,} workers, bytes",
        [exchange.sent_bytes for exchange in exchanges],
    )
    add(
        f"least time at {exchanges[0].link.text}",
        [exchange.least_s for exchange in exchanges],
        seconds_text,
    )
    add(
        f"update over the air at {sheets[0].update_link.text}, fp32",
        [sheet.footprints[0].update_s for sheet in sheets],
        seconds_text,
    )
    latencies = [one.latency for one in described if one.latency]
    if len(latencies) == len(described):
        lines.append(
            (
                "latency, median (95th percentile)",
                [latency.median_s for latency in latencies],
                [f"{seconds_text(x.median_s)} ({seconds_text(x.p95_s)})" for x in latencies],
            )
        )
    return lines


def _print_assumption() -> None:
    from dse.deployment.footprint import PEAK_ASSUMPTION

    typer.echo(textwrap.fill(f"peak activations: {PEAK_ASSUMPTION}", 80, subsequent_indent="  "))
