"""Where a search space is found by its name."""

from __future__ import annotations

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
    raise ConfigError(_missing(str(name)))


def file_at(path: Path) -> Path | None:
    """The file at this path, with or without its suffix; None where there is none."""
    candidates = (path, *(path.with_name(path.name + suffix) for suffix in SUFFIXES if path.name))
    return next((candidate for candidate in candidates if _is_file(candidate)), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _spaces_in(folder: Path) -> list[tuple[str, Path]]:
    files = [file for suffix in SUFFIXES for file in folder.rglob(f"*{suffix}")]
    named = [(file.relative_to(folder).with_suffix("").as_posix(), file) for file in files]
    return sorted(named, key=lambda pair: (pair[0].count("/"), pair[0]))


def _missing(name: str) -> str:
    shipped = [known for known, _ in shipped_spaces()]
    local = [known for known, _ in _spaces_in(LOCAL_FOLDER)] if LOCAL_FOLDER.is_dir() else []
    names = list(dict.fromkeys(local + shipped))
    bare = name.removesuffix(".yaml").removesuffix(".yml")
    close = get_close_matches(bare, names, n=3, cutoff=0.5)
    mend = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names)}"
    folder = ", a folder," if _is_folder(name) else ""
    return (
        f"search space {name} not found: looked for the file{folder} then in ./{LOCAL_FOLDER} "
        f"and among the shipped ones; {mend}"
    )


def _is_folder(name: str) -> bool:
    try:
        return bool(name) and Path(name).is_dir()
    except (OSError, ValueError):
        return False
