"""Plain data to and from YAML files: what `study.yaml` is written and read with."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.representer import SafeRepresenter

from dse.config.document import plain_scalar, read_document, shown_path
from dse.errors import ConfigError
from dse.files import replacing

_PLAINEST = re.compile(r"[A-Za-z_]([A-Za-z0-9_./ -]*[A-Za-z0-9_.])?")


class _Representer(SafeRepresenter):
    """Writes what the reader takes: no aliases, quotes around all but the plainest words."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_text(self, data: str) -> Any:
        style: str | None = "'" if data.isprintable() else '"'
        if _PLAINEST.fullmatch(data) and isinstance(plain_scalar(data), str):
            style = None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Representer.add_representer(str, _Representer.represent_text)


def yaml_text(data: object) -> str:
    """Plain data (dicts with text as keys, lists, text, numbers, booleans, None) as YAML."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Representer = _Representer
    yaml.default_flow_style = None  # lists and mappings of plain values on one line
    yaml.sort_base_mapping_type_on_output = False
    yaml.width = 100
    stream = io.StringIO()
    yaml.dump(data, stream)
    return stream.getvalue()


def dump_yaml(data: object, path: Path) -> None:
    """Write plain data to a YAML file, all of it or nothing.

    Args:
        data: dicts with text as keys, lists, tuples, text, numbers, booleans, None.
        path: the file; its folder has to be there.

    Raises:
        ConfigError: the file cannot be written; one that was there before is as it was.
    """
    text = yaml_text(data)
    try:
        with replacing(path) as file:
            file.write(text.encode())
    except OSError as error:
        raise ConfigError(f"{shown_path(path)}: cannot be written: {error.strerror}") from error


def load_yaml_dict(path: Path) -> Any:
    """Read plain data from a YAML file.

    Raises:
        ConfigError: it cannot be read, or holds more than plain data; `file:line: …`.
    """
    document = read_document(path)
    if document.problems:
        raise ConfigError([str(problem) for problem in document.problems])
    return document.data
