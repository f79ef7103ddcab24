"""Where a search space is found by its name."""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path

import dse
from dse.errors import ConfigError

SUFFIXES = (".yaml", ".yml")
LOCAL_FOLDER = Path("search_spaces")


def shipped_folder() -> Path:
    """The folder of the shipped spaces: inside the wheel, beside the package in a checkout."""
    package = Path(dse.__file__).parent
    inside = package / "search_spaces"
    return inside if inside.is_dir() else package.parent / "search_spaces"


def shipped_spaces() -> list[tuple[str, Path]]:
    """(name, file) of every shipped space, those at the top first."""
    return _spaces_in(shipped_folder())


def known_spaces() -> dict[str, Path]:
    """Name to file: those of the local folder, then the shipped ones they do not replace."""
    local = dict(_spaces_in(LOCAL_FOLDER))
    return local | {name: path for name, path in shipped_spaces() if name not in local}


def find_space(name: str | Path) -> Path:
    """The file of a search space.

    Args:
        name: a path, or a name in `./search_spaces` or among the shipped spaces, with or
            without `.yaml` (`squeeze_ratio`, `paper/squeeze_ratio.yaml`).

    Raises:
        ConfigError: there is none; says where it looked and the nearest names.
    """
    for folder in (Path(), LOCAL_FOLDER, shipped_folder()):
        found = file_at(folder / name)
        if found is not None:
            return found
    names = list(known_spaces())
    close = get_close_matches(
        str(name).removesuffix(".yaml").removesuffix(".yml"), names, n=3, cutoff=0.5
    )
    fix = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}"
    folder_too = ", a folder," if str(name) and os.path.isdir(name) else ""
    raise ConfigError(
        f"search space {name} not found: looked for the file{folder_too} then in "
        f"./{LOCAL_FOLDER} and among the shipped ones; {fix}"
    )


def file_at(path: Path) -> Path | None:
    """The file at this path, with or without its suffix; None where there is none."""
    candidates = (path, *(path.with_name(path.name + suffix) for suffix in SUFFIXES if path.name))
    # Not `Path.is_file`, which raises for a name that no file can have.
    return next((candidate for candidate in candidates if os.path.isfile(candidate)), None)


def _spaces_in(folder: Path) -> list[tuple[str, Path]]:
    files = [file for suffix in SUFFIXES for file in folder.rglob(f"*{suffix}")]
    named = [(file.relative_to(folder).with_suffix("").as_posix(), file) for file in files]
    return sorted(named, key=lambda pair: (pair[0].count("/"), pair[0]))
