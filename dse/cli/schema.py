"""`dse schema`: the JSON schema of a search space file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dse.cli.tables import print_line
from dse.errors import ConfigError
from dse.files import replacing

EXAMPLES = """
\b
Examples:
  dse schema
  dse schema --out space.schema.json
\b
Editors that know the YAML language server take it from a space's first line:
  # yaml-language-server: $schema=space.schema.json
"""


def command(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it there instead.")
    ] = None,
) -> None:
    """Print the JSON schema of search spaces, for editors."""
    from dse.config import json_schema

    text = json.dumps(json_schema(), indent=2, ensure_ascii=False)
    if out is None:
        typer.echo(text)
        return
    try:
        with replacing(out) as file:
            file.write(f"{text}\n".encode())
    except OSError as error:
        raise ConfigError(f"--out {out}: cannot be written: {error.strerror}") from error
    print_line(out)
