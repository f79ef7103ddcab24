"""Packages that only export and its runtimes need: the extra `dse[export]`."""

from __future__ import annotations

from importlib.util import find_spec

from dse.errors import ExportError


def need(*packages: str) -> None:
    """See that packages can be imported, before they are.

    Raises:
        ExportError: naming those that are missing and how to install them.
    """
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise ExportError(
            f"{' and '.join(missing)} not installed; pip install 'dse[export]' brings what the "
            "formats need, pip install 'dse[runtimes]' what runs them"
        )
