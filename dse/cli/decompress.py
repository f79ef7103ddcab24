"""`dse decompress`: the weights file of a `.dsz` file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dse.cli.options import JsonFlag
from dse.cli.tables import print_facts, print_json
from dse.errors import UsageError
from dse.text import size_text

EXAMPLES = """
\b
Examples:
  dse decompress squeezenet.dsz --out squeezenet.safetensors
"""


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A .dsz file of `dse compress`.")],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="WEIGHTS", help="Weights file to write, such as x.safetensors."
        ),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Write the weights of a .dsz file as safetensors, in float32."""
    from dse.weights.dsz import SUFFIX, read_dsz
    from dse.weights.safetensors import save_weights

    if out.suffix.lower() == SUFFIX:
        raise UsageError(f"--out is {out}, but what is written is safetensors, not {SUFFIX}")
    metadata, arrays = read_dsz(file)
    save_weights(out, arrays, {}, metadata)
    document = {
        "file": str(file),
        "candidate": metadata.candidate.key,
        "params_count": sum(array.size for array in arrays.values()),
        "file_bytes": file.stat().st_size,
        "weights": str(out),
        "weights_bytes": out.stat().st_size,
    }
    if as_json:
        print_json(document)
        return
    print_facts(
        {
            "network": f"{metadata.family} {document['candidate']}",
            "parameters": document["params_count"],
            "read": f"{file}: {document['file_bytes']:,} bytes",
            "wrote": f"{out}: {document['weights_bytes']:,} bytes "
            f"({size_text(out.stat().st_size)})",
        }
    )
