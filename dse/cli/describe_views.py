"""What `dse describe` prints: one network with its sheet, or several side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import typer

from dse.architecture.objectives import OBJECTIVES
from dse.cli.tables import print_facts, print_json, print_table
from dse.text import NOTHING, seconds_text, shape_text, size_text

if TYPE_CHECKING:
    from dse.architecture import Architecture, Candidate, Cost
    from dse.architecture.primitives import Layer
    from dse.deployment.devices import Device
    from dse.deployment.footprint import Deployment, Fit, Link
    from dse.training.latency import Latency


@dataclass(frozen=True)
class Described:
    """A network with all that is known of it; `latency` only where it was asked for."""

    name: str
    candidate: Candidate
    architecture: Architecture
    costs: Cost
    sheet: Deployment
    latency: Latency | None


def document(described: Described) -> dict[str, Any]:
    """One network as plain data."""
    architecture = described.architecture
    return {
        "network": described.name,
        "candidate": described.candidate.key,
        "family": described.candidate.family,
        "metaparameters": described.candidate.metaparameters,
        "input_shape": architecture.input_shape,
        "classes_count": architecture.classes_count,
        **asdict(described.costs),
        "deployment": _sheet_document(described),
    }


def print_document(described: Described) -> None:
    """Print one network as JSON."""
    print_json(document(described))


def print_documents(described: Sequence[Described]) -> None:
    """Print several networks as JSON, and how many times smaller each is than the first."""
    print_json(
        {
            "networks": [document(one) for one in described],
            "ratios": [_ratios(described[0], other) for other in described],
        }
    )


def _ratios(first: Described, other: Described) -> dict[str, Any]:
    """The first network's numbers divided by the other's; None where one is 0 or unknown."""
    sent = (first.sheet.exchange.sent_bytes, other.sheet.exchange.sent_bytes)
    medians = [one.latency.median_s if one.latency else None for one in (first, other)]
    return {
        "network": other.name,
        **{
            name: _ratio(getattr(first.costs, name), getattr(other.costs, name))
            for name in OBJECTIVES
        },
        "sent_bytes": _ratio(*sent),
        "latency_median_s": _ratio(*medians),
    }


def _ratio(first: float | Fraction | None, other: float | Fraction | None) -> float | None:
    return float(first / other) if first is not None and other else None


def _sheet_document(described: Described) -> dict[str, Any]:
    from dse.deployment.footprint import PEAK_ASSUMPTION

    sheet = described.sheet
    exchange = sheet.exchange
    return {
        "footprint": {
            f.precision: {
                "weight_bytes": f.weight_bytes,
                "peak_activation_bytes": f.peak_activation_bytes,
                "total_bytes": f.total_bytes,
            }
            for f in sheet.footprints
        },
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
            **{
                update.precision: {
                    "update_bytes": update.update_bytes,
                    "least_s": float(update.least_s),
                }
                for update in sheet.updates
            },
        },
        "devices": [
            {
                "name": fit.device.name,
                "kind": fit.device.kind,
                "ram_bytes": fit.device.ram_bytes,
                "flash_bytes": fit.device.flash_bytes,
                "figure": fit.device.figure,
                "source": fit.device.source,
                "weights_fit": fit.weights,
                "weights_and_activations_fit": fit.weights_and_activations,
            }
            for fit in sheet.fits
        ],
        "latency": asdict(described.latency) if described.latency else None,
    }


def _link_document(link: Link) -> dict[str, Any]:
    return {"link": link.text, "link_bits_per_s": float(link.bits_per_s)}


def print_network(described: Described) -> None:
    """Print the layers of one network, its costs, its metaparameters and its sheet."""
    candidate, architecture, costs = described.candidate, described.architecture, described.costs
    typer.echo(f"{described.name}: {candidate.family}, candidate {candidate.key}")
    typer.echo(
        f"input {shape_text(architecture.input_shape)}, {architecture.classes_count:,} classes\n"
    )
    print_table(
        ("layer", "what", "output", "parameters", "MACs", "activation\nbytes"),
        [
            (
                row.name,
                _what(layer),
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
    exchange = sheet.exchange
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
                *(f"{seconds_text(update.least_s)}" for update in sheet.updates),
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
    print_table(
        ("device", "kind", "memory for\nweights", "memory for\nactivations", *precisions),
        [
            (
                fit.device.name,
                fit.device.kind,
                *_memory_texts(fit.device),
                *(_fit_text(fit, precision) for precision in precisions),
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


def _fit_text(fit: Fit, precision: str) -> str:
    if fit.weights_and_activations[precision]:
        return "all"
    return "weights" if fit.weights[precision] else NOTHING


def print_comparison(described: Sequence[Described]) -> None:
    """Print several networks side by side, each with how many times smaller than the first."""
    first = described[0]
    titles = ["", _stacked(first.name)]
    for other in described[1:]:
        titles += [_stacked(other.name), "times\nsmaller"]
    rows = [_row(line, described) for line in _lines(described)]
    print_table(titles, rows, right=titles[1:])
    typer.echo()
    _print_devices(described)
    typer.echo(f"\ntimes smaller: {first.name} divided by the network to the left; below 1: larger")
    _print_assumption()


def _print_assumption() -> None:
    from dse.deployment.footprint import PEAK_ASSUMPTION

    typer.echo(textwrap.fill(f"peak activations: {PEAK_ASSUMPTION}", 80, subsequent_indent="  "))


def _stacked(name: str) -> str:
    """A name as the title of a column: study over candidate."""
    return "\n".join(name.split("/"))


@dataclass(frozen=True)
class _Line:
    """A line of the comparison: a number of each network, and how it is shown."""

    name: str
    number: Callable[[Described], float | Fraction | None]
    text: Callable[[Described], object] | None = None


def _row(line: _Line, described: Sequence[Described]) -> list[object]:
    numbers = [line.number(one) for one in described]
    texts = [line.text(one) if line.text else line.number(one) for one in described]
    row: list[object] = [line.name, texts[0]]
    for number, text in zip(numbers[1:], texts[1:], strict=True):
        ratio = _ratio(numbers[0], number)
        row += [text, NOTHING if ratio is None else f"{ratio:.3g}x"]
    return row


def _weights_line(index: int, precision: str) -> _Line:
    return _Line(
        f"weights, {precision}, bytes", lambda one: one.sheet.footprints[index].weight_bytes
    )


def _lines(described: Sequence[Described]) -> list[_Line]:
    exchange, update_link = described[0].sheet.exchange, described[0].sheet.update_link
    lines = [
        _Line("parameters", lambda one: one.costs.params_count),
        _Line("MACs", lambda one: one.costs.macs),
    ]
    lines += [
        _weights_line(index, f.precision) for index, f in enumerate(described[0].sheet.footprints)
    ]
    lines += [
        _Line("peak activations, bytes", lambda one: one.costs.peak_activation_bytes),
        _Line("at layer", lambda _: None, lambda one: one.sheet.peak_layer),
        _Line(
            f"sent by each of {exchange.workers_count:,} workers, bytes",
            lambda one: one.sheet.exchange.sent_bytes,
        ),
        _Line(
            f"least time at {exchange.link.text}",
            lambda one: one.sheet.exchange.least_s,
            lambda one: seconds_text(one.sheet.exchange.least_s),
        ),
        _Line(
            f"update over the air at {update_link.text}, fp32",
            lambda one: one.sheet.updates[0].least_s,
            lambda one: seconds_text(one.sheet.updates[0].least_s),
        ),
    ]
    if all(one.latency for one in described):
        lines.append(
            _Line(
                "latency, median (95th percentile)",
                lambda one: one.latency.median_s if one.latency else None,
                lambda one: _latency_text(one.latency) if one.latency else None,
            )
        )
    return lines


def _print_devices(described: Sequence[Described]) -> None:
    print_table(
        (
            "widest precision at which\nweights / all fit",
            "memory for\nweights",
            "memory for\nactivations",
            *(_stacked(one.name) for one in described),
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
        right=("memory for\nweights", "memory for\nactivations"),
    )


def _widest(fits: dict[str, bool]) -> str:
    return next((precision for precision, fit in fits.items() if fit), NOTHING)


def _latency_text(latency: Latency) -> str:
    return f"{seconds_text(latency.median_s)} ({seconds_text(latency.p95_s)})"


def _what(layer: Layer) -> str:
    """A layer in a few words: `conv 7x7/2`, `fire 16→64+64 simple`, `max pool 3x3/2`.

    Short, so that the table of a usual network fits 80 columns; the norm, which is the same
    everywhere, stands among the metaparameters.
    """
    from dse.architecture import primitives as layers

    match layer:
        case layers.Conv(kernel_size=kernel, stride=stride, groups=groups):
            return f"conv {kernel}x{kernel}/{stride}" + (f" {groups} groups" if groups > 1 else "")
        case layers.Fire(squeeze=squeeze, expand1x1=left, expand3x3=right, bypass=bypass):
            return f"fire {squeeze}→{left}+{right}" + (f" {bypass}" if bypass != "none" else "")
        case layers.MaxPool(window=window, stride=stride):
            return f"max pool {window}x{window}/{stride}"
        case layers.GlobalAveragePool():
            return "average pool"
        case layers.Dropout(rate=rate):
            return f"dropout {rate:g}"
        case layers.LocalResponseNorm(size=size):
            return f"local norm {size}"
    return type(layer).__name__.lower()
