"""`dse export`: a weights file in the format of another runtime."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer

from dse.cli.options import JsonFlag
from dse.cli.tables import print_facts, print_json
from dse.text import size_text

EXAMPLES = """
\b
Examples:
  dse export squeezenet.safetensors --out squeezenet.onnx
  dse export small.dsz --format onnx --with-preprocessing --out small.onnx
"""


def command(
    weights: Annotated[
        Path, typer.Argument(metavar="WEIGHTS", help="A weights file, .safetensors or .dsz.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The file to write, such as x.onnx.")
    ],
    format: Annotated[
        Literal["onnx"] | None,
        typer.Option("--format", help="Default: as the suffix of --out says."),
    ] = None,
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            help="Let the file take uint8 pixels, RGB or gray, and scale them itself.",
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file of --out if there is one.")
    ] = False,
    as_json: JsonFlag = False,
) -> None:
    """Write a network for another runtime: ONNX."""
    from dse.export.exporting import export_weights

    found = export_weights(
        weights, out, format=format, with_preprocessing=with_preprocessing, force=force
    )
    if as_json:
        print_json({**asdict(found), "path": str(found.path)})
        return
    print_facts(
        {
            "network": found.candidate,
            "values": found.params_count,
            "wrote": f"{out}: {found.file_bytes:,} bytes ({size_text(found.file_bytes)})",
        }
    )
