"""How every figure looks: matplotlib's settings, colours and marks.

From matplotlib's own defaults, so that neither a user's matplotlibrc nor another figure changes
it, and the same figure has the same bytes.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DPI = 150
WIDTH_IN = 7.2
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 10.5,
    "text.parse_math": False,  # a $ in a name is a $
    "svg.fonttype": "path",
    "svg.hashsalt": "dse",
}

INK, GREY, MARK_GREY, FAINT = "#222222", "#666666", "#777777", "#e8e8e8"
DOT = " · "

# Okabe and Ito 2008: blue, vermillion and grey stay apart for the colour-blind, and in print.
BLUE, PALE_BLUE, VERMILLION = "#0072B2", "#A6CDE4", "#D55E00"
FRONT_LINE: dict[str, Any] = {"color": BLUE, "linewidth": 2.4, "alpha": 0.32}
POINT: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 5.5}
ON_FRONT: dict[str, Any] = {**POINT, "mfc": BLUE, "mec": BLUE, "mew": 1.1}
DOMINATED: dict[str, Any] = {**POINT, "mfc": PALE_BLUE, "mec": PALE_BLUE, "mew": 1.1}
REUSED: dict[str, Any] = {**POINT, "mfc": "white", "mec": BLUE, "mew": 1.1}
WHISKER: dict[str, Any] = {"color": BLUE, "linewidth": 0.9}
STOPPED: dict[str, Any] = {
    "linestyle": "none",
    "marker": "o",
    "markersize": 2.6,
    "color": MARK_GREY,
    "mew": 0,
    "alpha": 0.45,
}
REFERENCE_LOOK: dict[str, Any] = {"color": VERMILLION, "linewidth": 1.2, "linestyle": (0, (6, 3))}
LEAST_LOOK: dict[str, Any] = {"color": VERMILLION, "linewidth": 1.0, "linestyle": ":"}
BAND_ALPHA = 0.13
ANSWER_LOOK: dict[str, Any] = {
    "linestyle": "none",
    "marker": "*",
    "markersize": 15,
    "mfc": VERMILLION,
    "mec": "white",
    "mew": 0.9,
}
NEAREST_LOOK: dict[str, Any] = {**ANSWER_LOOK, "mfc": "white", "mec": VERMILLION, "mew": 1.1}


@contextlib.contextmanager
def style() -> Iterator[None]:
    """Matplotlib's defaults with the plates' own settings, as long as the context lasts."""
    matplotlib = _matplotlib()
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def _matplotlib() -> Any:
    """The package, imported with its own settings whatever the user's environment says.

    Its import ends at a `matplotlibrc` in the working folder that is not UTF-8, and at a backend
    in MPLBACKEND that is not installed, which every shell of a notebook inherits. The folder of
    its defaults is the one place where it looks no further. What MPLBACKEND asks for is set
    afterwards where it can be: this figure needs none, another of the same process might.
    """
    if (found := sys.modules.get("matplotlib")) is not None:
        return found
    spec = find_spec("matplotlib")
    assert spec is not None
    assert spec.origin is not None
    backend = os.environ.pop("MPLBACKEND", None)
    here = os.open(".", getattr(os, "O_PATH", os.O_RDONLY))  # it may be one that cannot be read
    try:
        os.chdir(Path(spec.origin).parent / "mpl-data")
        # It warns where there is no home folder to cache its fonts in.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        import matplotlib
    finally:
        os.fchdir(here)
        os.close(here)
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    if backend:
        with contextlib.suppress(ValueError):
            matplotlib.rcParams["backend"] = backend
    return matplotlib
