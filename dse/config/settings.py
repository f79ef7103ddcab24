"""`--set key=value` from the command line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from dse.architecture import FAMILIES, Metaparameter, Value
from dse.config.document import Document, Place, parse_document
from dse.config.domains import read_domain, read_value
from dse.errors import ConfigError
from dse.space import SearchSpace
from dse.text import nearest


def parse_settings(settings: Sequence[str], family: str) -> dict[str, Value]:
    """Values of metaparameters from `key=value` words.

    Args:
        settings: `squeeze_ratio=0.5`, `pools=[conv1, fire4]`; the value is YAML.
        family: a name in `FAMILIES`.

    Raises:
        ConfigError: every problem, one line each, as `--set key=value: …`.
    """
    return _parse(settings, family, read_value)


def apply_settings(space: SearchSpace, settings: Sequence[str]) -> SearchSpace:
    """The space with some metaparameters set to a value, or to vary otherwise.

    Args:
        space: stays as it is.
        settings: as `parse_settings` takes them, and `key={values: [...]}` and
            `key={range: [low, high], step: ...}`.

    Raises:
        ConfigError: every problem, one line each, as `--set key=value: …`.
    """
    return replace(space, domains=space.domains | _parse(settings, space.family, read_domain))


def _parse(
    settings: Sequence[str],
    family: str,
    read: Callable[[Document, Metaparameter, object, Place], Any],
) -> dict[str, Any]:
    known = FAMILIES[family].metaparameters
    parsed: dict[str, Any] = {}
    problems: list[str] = []
    for setting in settings:
        source = f"--set {setting if len(setting) <= 100 else setting[:100] + '…'}"
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not equals:
            problems.append(f"{source}: this is not key=value, such as squeeze_ratio=0.5")
        elif name not in known:
            fix = nearest(name, known)
            problems.append(f"{source}: unknown metaparameter {name} of {family}{fix}")
        elif name in parsed:
            problems.append(f"{source}: {name} is set twice")
        else:
            parsed[name] = None
            try:
                document = parse_document(text, source, with_lines=False)
            except ConfigError as error:
                problems += error.problems
            else:
                parsed[name] = read(document, known[name], document.data, ())
                problems += map(str, document.problems)
    if problems:
        raise ConfigError(problems)
    return parsed
