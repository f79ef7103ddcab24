"""`dse run`: a study from one file, be it written by hand or recorded by a study."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from dse.cli.running import command_text
from dse.cli.tables import note
from dse.errors import ConfigError
from dse.text import nearest

EXAMPLES = """
\b
Examples:
  dse run photos.yaml
  dse run photos.yaml --dry-run
  dse run results/squeezenet-photos-search/study.yaml --results again

\b
A study file names a space (or holds one) and options of dse sweep, search or train:
  kind: search
  space: squeezenet.yaml
  data: folder:photos
  image_size: 32
  recipe: {lr: 0.05, epochs: 20}
  reference: alexnet
  budget: 60m
"""

CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}

KINDS = ("sweep", "search", "train")
SHOWN_ONLY = ("help", "json", "dry-run")
"""Options that say what to print, not what to study."""
OF_THE_RECORD = ("set", "recipe", "epochs", "study", "study-seed")
"""Options whose effect a study's own `study.yaml` records, resolved."""
OF_THE_RUN = (
    *(*SHOWN_ONLY, "results", "plots", "tensorboard", "workers", "out"),
    *("storage", "executor", "address", "gpus-per-worker", "artifacts"),
)
"""Options that are the machine's or the moment's: another run says them anew."""


def command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The study file, or a study.yaml.")],
) -> None:
    """Run the sweep, search or training that a FILE describes: space, data, recipe, budget.

    Keys are the options of that command, checked as it checks them. The `study.yaml` of a study
    is such a file too: its space and recipe as they were resolved, its other options as they were
    given. Options behind FILE take the place of what it says.
    """
    root = context.find_root()
    group = cast(TyperGroup, root.command)
    commands: dict[str, Any] = {kind: group.get_command(root, kind) for kind in KINDS}
    options = {kind: _options(commands[kind]) for kind in KINDS}
    kind, arguments = study_arguments(file, options)
    arguments += context.args
    sys.argv[1:] = [kind, *arguments]  # what the study records as its command
    note(f"runs {command_text()}")
    with commands[kind].make_context(kind, arguments, parent=context.parent) as inner:
        commands[kind].invoke(inner)


def _options(command: Any) -> dict[str, bool]:
    """Long options of a command, and whether each is a flag."""
    return {
        name.removeprefix("--"): bool(getattr(param, "is_flag", False))
        for param in command.params
        for name in param.opts
        if name.startswith("--")
    }


def study_arguments(path: Path, options: Mapping[str, Mapping[str, bool]]) -> tuple[str, list[str]]:
    """The command that a study file stands for.

    Args:
        path: of the file.
        options: of each command that it may be, and whether they are flags.

    Returns:
        The command's name and its arguments.

    Raises:
        ConfigError: every problem of the file, with its line.
    """
    from dse.config.document import read_document

    document = read_document(path)
    data = document.data
    if not isinstance(data, dict):
        if not document.problems:
            document.report((), "must hold a mapping with space, data and options of the command")
        raise ConfigError(list(map(str, document.problems)))
    if "versions" in data and isinstance(data.get("command"), str):
        if not isinstance(data.get("space"), dict):
            document.report(("space",), "space must hold the space that was studied")
            raise ConfigError(list(map(str, document.problems)))
        kind, given = _recorded(path, data, options)
    else:
        is_search = data.keys() & {name.replace("-", "_") for name in options["search"]} - {
            name.replace("-", "_") for name in options["sweep"]
        }
        kind = data.get("kind", "search" if is_search else "sweep")
        given = {key: value for key, value in data.items() if key != "kind"}
    if kind not in KINDS:
        document.report(("kind",), f"kind is {kind!r}, but must be one of {', '.join(KINDS)}")
        raise ConfigError(list(map(str, document.problems)))
    first = "network" if kind == "train" else "space"
    known = {name.replace("-", "_"): name for name in options[kind] if name not in SHOWN_ONLY}
    arguments: list[str] = []
    for key, value in given.items():
        if key == first:
            arguments.insert(0, str(path) if isinstance(value, dict) else str(value))
        elif key not in known:
            names = ["kind", first, *known]
            said = f"unknown key {key} of a {kind}{nearest(key, names)}"
            document.report((key,), said, at_key=True)
        elif value is None or (options[kind][known[key]] and not isinstance(value, bool)):
            said = "is empty; give it a value or leave it out"
            said = said if value is None else f"is {value!r}, but must be true or false"
            document.report((key,), f"{key} {said}")
        else:
            arguments += _texts(f"--{known[key]}", value)
    if document.problems:
        raise ConfigError(list(map(str, document.problems)))
    return kind, arguments


def _texts(option: str, value: Any) -> Iterator[str]:
    """An option with its value, as a command line has them."""
    if isinstance(value, bool):
        yield from [option] if value else []
    elif isinstance(value, dict):
        for name, part in value.items():
            text = part if isinstance(part, str) else json.dumps(part)
            yield f"{option}={name}={text}"
    elif isinstance(value, list):
        for part in value:
            yield from _texts(option, part)
    else:
        yield f"{option}={value}"


def _recorded(
    path: Path, data: Mapping[str, Any], options: Mapping[str, Mapping[str, bool]]
) -> tuple[str, dict[str, Any]]:
    """What a study's own `study.yaml` says, as a study file says it."""
    words = shlex.split(data["command"])
    kind = str(data.get("kind", "sweep"))
    given: dict[str, Any] = {}
    if words[:1] == ["dse"] and words[1:2] and words[1] in KINDS:
        kind = words[1]
        rest = iter(words[2:])
        for word in rest:
            name, equals, value = word.removeprefix("--").partition("=")
            if not word.startswith("--") or name not in options[kind]:
                continue
            is_flag = options[kind][name]
            found = True if is_flag else value if equals else next(rest, "")
            if name not in (*OF_THE_RUN, *OF_THE_RECORD):
                held = given.setdefault(name.replace("-", "_"), [])
                held.append(found)
        given = {key: held[0] if len(held) == 1 else held for key, held in given.items()}
    elif data.get("seeds"):  # by the Python interface
        given["seeds"] = data["seeds"]
    if kind == "search":
        given = {key: data[key] for key in ("reference", "budget") if key in data} | given
    if "data" not in given and isinstance(data.get("data"), dict):
        given["data"] = str(data["data"].get("name"))
    told = {"network" if kind == "train" else "space": dict(data["space"]), "recipe": str(path)}
    named = {key: data[key] for key in ("study", "study_seed") if key in data}
    return kind, told | given | named
