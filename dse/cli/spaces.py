"""`dse spaces`: the search spaces that a name can mean."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dse.cli.options import JsonFlag
from dse.cli.tables import bold, print_json, table_lines
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
    from dse.config import load_space

    spaces: list[tuple[str, SearchSpace]] = []
    problems: list[str] = []
    for name, path in _known_spaces().items():
        try:
            spaces.append((name, load_space(path)))
        except ConfigError as error:
            problems += error.problems
        except DseError as error:
            problems.append(f"{path}: {error}")
    if as_json:
        print_json([_document(name, space) for name, space in spaces])
    elif spaces:
        _print_spaces(spaces)
    if problems:  # after the list: one broken file does not hide the others
        raise ConfigError(list(dict.fromkeys(problems)))


def _known_spaces() -> dict[str, Path]:
    from dse.config.lookup import LOCAL_FOLDER, SUFFIXES, shipped_spaces

    files = sorted(path for path in LOCAL_FOLDER.rglob("*") if path.suffix in SUFFIXES)
    local = {path.relative_to(LOCAL_FOLDER).with_suffix("").as_posix(): path for path in files}
    top_first = dict(sorted(local.items(), key=lambda item: (item[0].count("/"), item[0])))
    return top_first | {name: path for name, path in shipped_spaces() if name not in local}


def _document(name: str, space: SearchSpace) -> dict[str, Any]:
    return {
        "name": name,
        "family": space.family,
        "varying": space.varying,
        "candidates_count": space.size,
        "description": _first_line(space),
        "source": str(space.source),
    }


def _print_spaces(spaces: list[tuple[str, SearchSpace]]) -> None:
    """Two lines a space, so that many varying metaparameters fit a terminal too."""
    rows = [
        (name, "infinite" if space.size is None else space.size, _first_line(space))
        for name, space in spaces
    ]
    header, *lines = table_lines(("name", "candidates", "description"), rows, right=("candidates",))
    typer.echo(bold(header, sys.stdout))
    for line, (_, space) in zip(lines, spaces, strict=True):
        typer.echo(line)
        typer.echo(f"    {space.family}: {', '.join(space.varying) or 'nothing varies'}")


def _first_line(space: SearchSpace) -> str:
    return next(iter(space.description.splitlines()), "")
