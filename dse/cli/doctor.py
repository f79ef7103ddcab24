"""`dse doctor`: what this machine offers, and what is in the way."""

from __future__ import annotations

import os
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from dse.cli.options import JsonFlag, PlotsDirectory, ResultsDirectory
from dse.cli.tables import note, print_facts, print_json
from dse.errors import DseError
from dse.text import counted, size_text

EXAMPLES = """
\b
Examples:
  dse doctor
  dse doctor --json
"""

PACKAGES = ("dse", "jax", "jaxlib", "flax", "optax", "optuna", "numpy", "pandas", "pillow")
LEAST_FREE_BYTES = 2 * 10**9


def command(
    results: ResultsDirectory = Path("results"),
    plots: PlotsDirectory = Path("plots"),
    as_json: JsonFlag = False,
) -> None:
    """Show versions, cores, memory, devices, cache and write rights; name what is in the way.

    Exit status 1 where something is.
    """
    from dse.execution.limits import cores_and_memory, limits

    problems: list[str] = []
    given = limits()
    if platform.system() not in ("Linux", "Darwin"):
        problems.append(f"{platform.system()} is not supported; use WSL 2 on Windows")
    facts = {
        "python": f"{platform.python_version()}, {platform.system()} {platform.machine()}",
        "packages": ", ".join(f"{name} {_version(name)}" for name in PACKAGES),
        "cores": f"{given.cores:g} of {os.cpu_count()} may be used; "
        f"{counted(cores_and_memory(), 'worker')} by default on CPU",
        "memory": f"{size_text(int(given.memory_bytes))} may be used",
        "devices": _devices(problems),
        "cache": _cache(problems),
        "results": _folder(results, "--results", problems),
        "plots": _folder(plots, "--plots", problems),
    }
    if as_json:
        print_json({**facts, "problems": problems})
    else:
        print_facts(facts)
        for problem in problems:
            note(f"problem: {problem}")
        if not problems:
            note("nothing is in the way")
    if problems:
        raise typer.Exit(1)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _devices(problems: list[str]) -> str:
    """Those that JAX finds; a GPU that it cannot use is a problem."""
    import jax

    try:
        found = jax.devices()
    except RuntimeError as error:
        problems.append(f"jax finds no device: {str(error).splitlines()[0]}")
        return "none"
    if found[0].platform == "cpu" and Path("/dev/nvidia0").exists():
        problems.append("this machine has a GPU that jax does not see; pip install 'jax[cuda13]'")
    kinds = [f"{device.platform} ({device.device_kind})" for device in found]
    return ", ".join(f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds))


def _cache(problems: list[str]) -> str:
    from dse.data.cache import make_cache
    from dse.data.spec import cache_root

    try:
        root = cache_root()
        make_cache(root)
    except (OSError, DseError) as error:
        problems.append(f"prepared images cannot be kept: {error}")
        return "cannot be used"
    return _folder(root, "DSE_CACHE", problems)


def _folder(folder: Path, option: str, problems: list[str]) -> str:
    """Whether a folder can be written, and the space that is left; it is not made."""
    here = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    try:
        with tempfile.TemporaryFile(dir=here):
            pass
    except OSError as error:
        problems.append(
            f"{here} cannot be written ({error.strerror}); name another folder by {option}"
        )
        return f"{folder}: cannot be written"
    space = os.statvfs(here)
    free = space.f_bavail * space.f_frsize
    if free < LEAST_FREE_BYTES:
        problems.append(f"{here} has {size_text(free)} left; make room, or use {option}")
    return f"{folder}: can be written, {size_text(free)} free"
