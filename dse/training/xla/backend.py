"""Whether JAX can start at all as the environment asks, before anything is trained.

An unknown flag in XLA_FLAGS ends the process without a word to Python, and a backend that is not
there fails in several ways deep inside JAX, so a process of its own tries. Importing this module
imports no JAX.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping

from dse.errors import MachineError

_VARIABLES = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "XLA_FLAGS")
_TRY = "import jax; jax.devices()"

_sound: list[Mapping[str, str]] = []
"""With which JAX was seen to start."""


def check_backend(environment: Mapping[str, str] | None = None) -> None:
    """Refuse an environment in which JAX cannot start; takes no time where it asks for nothing.

    Args:
        environment: what the processes that train will have; this one's unless given.

    Raises:
        MachineError: says which variables are set, and what JAX says of them.
    """
    wanted = {name: os.environ[name] for name in _VARIABLES if os.environ.get(name)}
    if not wanted or wanted == {"JAX_PLATFORMS": "cpu"} or wanted in _sound:
        return
    done = subprocess.run(
        [sys.executable, "-P", "-c", _TRY],
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        check=False,
    )
    if not done.returncode:
        _sound.append(wanted)
        return
    asked = " and ".join(f"{name}={value}" for name, value in wanted.items())
    raise MachineError(
        f"JAX cannot start with {asked} in the environment: {_reason(done)}; unset or "
        "correct it, and try the same command again"
    )


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    """The line that says it: a complaint about a flag, or the end of the trace."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    of_flags = [line for line in lines if re.search(r"Unknown flags? in|for flag ", line)]
    said = (of_flags or lines[-1:] or [f"exit status {done.returncode}"])[0]
    said = re.sub(r"^[EFIW]\d{4} .*?\] ", "", said)  # severity, time and file of a log's line
    return "this backend is not installed" if said == "AssertionError" else said[:300]
