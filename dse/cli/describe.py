"""`dse describe`: layers, exact costs and the deployment sheet of networks."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dse.cli.describe_views import (
    Described,
    print_comparison,
    print_documents,
    print_network,
)
from dse.cli.options import JsonFlag, ResultsDirectory, SettingTexts
from dse.errors import UsageError

if TYPE_CHECKING:
    from dse.architecture import Preset, Shape

EXAMPLES = """
\b
Examples:
  dse describe squeezenet_v1.0
  dse describe squeezenet_v1.0 --set squeeze_ratio=0.75
  dse describe squeezenet --set pools=early --input 32x32x3 --classes 10
  dse describe squeeze_ratio-digits/2aff3db7c041 --json
  dse describe alexnet squeezenet_v1.0 --workers 8 --link 1Gbit
  dse describe squeezenet.safetensors --device STM32F746 --latency --runtimes
"""


def command(
    networks: Annotated[
        list[str],
        typer.Argument(
            metavar="NETWORK",
            help="A preset, a family, STUDY/CANDIDATE from a study's table, or a weights file "
            "(.safetensors); several are compared with the first.",
        ),
    ],
    settings: SettingTexts = None,
    input_text: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="HxWxC",
            help="Height, width and channels of an image in pixels; default: the network's "
            "own, 224x224x3 for a family.",
        ),
    ] = None,
    classes_count: Annotated[
        int | None,
        typer.Option(
            "--classes",
            metavar="N",
            min=1,
            help="Number of classes; default: the network's own, 1000 for a family.",
        ),
    ] = None,
    workers_count: Annotated[
        int,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            max=10**6,
            help="Machines that train it together, for the gradient exchange.",
            show_default=True,
        ),
    ] = 8,
    link_text: Annotated[
        str,
        typer.Option(
            "--link",
            metavar="SPEED",
            help="Link between them: 1Gbit, 100Mbit, 125MB (a second, decimal).",
            show_default=True,
        ),
    ] = "1Gbit",
    update_text: Annotated[
        str,
        typer.Option(
            "--ota",
            metavar="SPEED",
            help="Link to a client that gets new weights over the air.",
            show_default=True,
        ),
    ] = "10Mbit",
    device_names: Annotated[
        list[str] | None,
        typer.Option(
            "--device",
            metavar="NAME",
            help="A chip whose memory it may have to fit; repeatable; default: all known ones.",
        ),
    ] = None,
    with_latency: Annotated[
        bool,
        typer.Option(
            "--latency",
            help="Measure one image on this machine too: one CPU thread, some seconds.",
        ),
    ] = False,
    with_runtimes: Annotated[
        bool,
        typer.Option(
            "--runtimes",
            help="Export it and measure it in onnxruntime, LiteRT, as compiled C and in "
            "tflite-micro: files, RAM and latency; needs the extra runtimes.",
        ),
    ] = False,
    results: ResultsDirectory = Path("results"),
    as_json: JsonFlag = False,
) -> None:
    """Show a network's layers, exact costs and deployment sheet, or compare several.

    MACs and activations are those of one image in float32; activation bytes are what a
    layer holds at once, its input included. Nothing is trained, and nothing is built unless
    --latency asks for it.
    """
    from dataclasses import replace

    from dse.architecture import build, cost, make_candidate
    from dse.deployment.chip import chip_memory
    from dse.deployment.devices import find_devices
    from dse.deployment.footprint import deployment
    from dse.deployment.link import parse_link
    from dse.weights.by_name import find_network

    def studied(study: str, key: str) -> Preset:
        from dse.report.networks import studied_network  # takes tables along

        return studied_network(results, study, key)

    sheet_of = partial(
        deployment,
        workers_count=workers_count,
        link=parse_link(link_text, "--link"),
        update_link=parse_link(update_text, "--ota"),
        devices=find_devices(device_names or []),
    )
    shape = parse_input(input_text) if input_text else None
    described = []
    for name in networks:
        network = find_network(name, studied)
        candidate, input_shape = network.candidate, shape or network.input_shape
        count = classes_count or network.classes_count
        if settings:
            from dse.config import parse_settings  # takes YAML along

            values = candidate.metaparameters | parse_settings(settings, candidate.family)
            candidate = make_candidate(candidate.family, values)
        architecture, latency = build(candidate, input_shape, count), None
        if with_latency:
            from dse.training.latency import measure_latency

            latency = measure_latency(candidate, input_shape, count)
        measured = None
        if with_runtimes:
            from dse.export.measure import measure_sheet

            measured = measure_sheet(architecture)
        network = replace(
            network, candidate=candidate, input_shape=input_shape, classes_count=count
        )
        costs = cost(architecture)
        sheet = sheet_of(costs, chip=chip_memory(architecture))
        described.append(Described(network, architecture, costs, sheet, latency, measured))
    if as_json:
        print_documents(described)
    elif len(described) == 1:
        print_network(described[0])
    else:
        print_comparison(described)


def parse_input(text: str) -> Shape:
    """Read `HEIGHTxWIDTHxCHANNELS`.

    Raises:
        UsageError: it is not three whole numbers of at least 1.
    """
    parts = text.strip().lower().split("x")
    if len(parts) == 3 and all(
        part.isdecimal() and len(part) < 10 and int(part) > 0 for part in parts
    ):
        return int(parts[0]), int(parts[1]), int(parts[2])
    raise UsageError(
        f"--input is {text!r}, but must be HEIGHTxWIDTHxCHANNELS in pixels, for example 32x32x3"
    )
