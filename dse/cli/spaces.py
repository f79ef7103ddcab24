"""`dse spaces`: the search spaces that a name can mean."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import typer

from dse.cli.options import JsonFlag
from dse.cli.tables import bold, print_json, print_line, table_lines
from dse.errors import ConfigError, DseError

if TYPE_CHECKING:
    from dse.space import SearchSpace

EXAMPLES = """
\b
Examples:
  dse spaces
  dse spaces --json
"""


def command(as_json: JsonFlag = False) -> None:
    """List the search spaces that can be called by name.

    Those of the folder ./search_spaces, then the shipped ones that it does not replace.
    """
    from dse.config import known_spaces, load_space

    spaces: list[tuple[str, SearchSpace]] = []
    problems: list[str] = []
    for name, path in known_spaces().items():
        try:
            spaces.append((name, load_space(path)))
        except ConfigError as error:
            problems += error.problems
        except DseError as error:
            problems.append(f"{path}: {error}")
    documents = [
        {
            "name": name,
            "family": space.family,
            "varying": space.varying,
            "candidates_count": space.size,
            "description": next(iter(space.description.splitlines()), ""),
            "source": str(space.source),
        }
        for name, space in spaces
    ]
    if as_json:
        print_json(documents)
    elif documents:
        _print_spaces(documents)
    if problems:  # after the list: one broken file does not hide the others
        raise ConfigError(list(dict.fromkeys(problems)))


def _print_spaces(documents: list[dict[str, Any]]) -> None:
    """Two lines a space, so that many varying metaparameters fit a terminal too."""
    rows = [(x["name"], x["candidates_count"] or "infinite", x["description"]) for x in documents]
    header, *lines = table_lines(("name", "candidates", "description"), rows, right=("candidates",))
    typer.echo(bold(header, sys.stdout))
    for line, document in zip(lines, documents, strict=True):
        print_line(line)
        print_line(
            f"    {document['family']}: {', '.join(document['varying']) or 'nothing varies'}"
        )
