"""The reference pages: commands from their own help and options, Python from `dse.__all__`."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, get_args, get_origin, get_type_hints

HEAD = """\
# Commands

Made from the commands' own options by `python docs/regenerate.py`; `dse COMMAND --help` says the
same. Exit status: 0, or 1 for an error that the user can fix, 2 for a command line that cannot
be understood, 130 for Ctrl-C. `--debug` shows the trace of an error. Commands that print a
result print one JSON document with `--json`.
"""


def command_reference() -> str:
    """The page `docs/reference/commands.md`."""
    import typer

    from dse.cli.main import COMMANDS, app

    group: Any = typer.main.get_command(app)
    sections = [_section(name, group.commands[name], COMMANDS[name]) for name in COMMANDS]
    return "\n".join([HEAD, *sections])


PYTHON_HEAD = """\
# Python

Everything is loaded when it is first used: `import dse` costs nothing, and only training imports
JAX. These are the public names of `dse`, by the module that defines them; `dse.NAME` is how to
use them. A candidate trained by hand:

<!-- slow -->
```python
import dse

space = dse.load_space("squeeze_ratio.yaml")
data = dse.prepare_data(dse.parse_data("digits"))
candidate, cost = dse.survey(space, data.input_shape, len(data.classes)).feasible[0]
print(candidate.metaparameters["squeeze_ratio"], cost.params_count, cost.macs)
architecture = dse.build(candidate, data.input_shape, len(data.classes))
recipe = dse.default_recipe("digits", data.input_shape, len(data.train))
trained = dse.Trainer(architecture, data, recipe).train(dse.Seed(0))
print(trained.measurement.test_accuracy)
```
"""


def python_reference() -> str:
    """The page `docs/reference/python.md`; mkdocstrings fills in what `:::` names."""
    import dse

    parts = [PYTHON_HEAD]
    for module, names in dse._HOMES.items():
        parts += [f"## {module}\n", *(f"::: {module}.{name}\n" for name in names)]
    return "\n".join(parts)


def _section(name: str, command: Any, module: Any) -> str:
    text = inspect.cleandoc(module.command.__doc__)
    examples = module.EXAMPLES.replace("\b\n", "").strip()
    options = [parameter for parameter in command.params if not _is_argument(parameter)]
    arguments = [parameter for parameter in command.params if _is_argument(parameter)]
    usage = " ".join([f"dse {name} [OPTIONS]", *map(_argument_name, arguments)])
    rows = [f"| `{_argument_name(parameter)}` | | {_help(parameter)} |" for parameter in arguments]
    choices = _choices(module.command)
    for option in options:
        value = option.metavar or choices.get(option.name, "")
        shown = " ".join([", ".join(option.opts), value]).strip()
        rows.append(f"| `{shown}` | {_default(option)} | {_help(option)} |")
    table = ["| option | default | what it does |", "|---|---|---|", *rows]
    parts = [f"## dse {name}", text, f"```text\n{usage}\n```", "\n".join(table)]
    return "\n\n".join([*parts, f"```text\n{examples}\n```\n"])


def _is_argument(parameter: Any) -> bool:
    return parameter.param_type_name == "argument"


def _argument_name(parameter: Any) -> str:
    word = str(parameter.metavar or parameter.name.upper()).removesuffix("...")
    return f"{word}{'…' if parameter.nargs == -1 else ''}"


def _help(parameter: Any) -> str:
    return re.sub(r"\s+", " ", parameter.help or "").replace("|", "\\|")


def _default(option: Any) -> str:
    given = option.default not in (None, False, ()) and not callable(option.default)
    return f"`{option.default}`" if given and not option.required else ""


def _choices(command: Callable[..., None]) -> dict[str, str]:
    """The words of parameters that are one of a few, joined by bars."""

    def literals(hint: Any) -> Iterator[str]:
        if get_origin(hint) is Literal:
            yield from get_args(hint)
        for part in get_args(hint) if get_origin(hint) is not Literal else ():
            yield from literals(part)

    hints = get_type_hints(command)
    return {name: "/".join(literals(hint)) for name, hint in hints.items()}
