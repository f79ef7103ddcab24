"""The sheet that a figure is drawn on: wrapped text, and files written whole, without pyplot."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dse.errors import StudyError
from dse.files import replacing
from dse.report.style import DPI, WIDTH_IN
from dse.text import inert

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg
    from matplotlib.figure import Figure
    from matplotlib.text import Text

# A date or a version in the file would make equal figures differ.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


def new_figure() -> tuple[Figure, RendererAgg]:
    """An empty figure, as wide as plates are, with the renderer that measures its text."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, WIDTH_IN), dpi=DPI)
    return figure, FigureCanvasAgg(figure).get_renderer()


def figure_of(axes: Axes) -> Figure:
    """The figure that the axes stand in."""
    figure = axes.get_figure(root=True)
    assert figure is not None, "the axes were removed from their figure"
    return figure


def wrap(text: Text, renderer: RendererAgg, width_px: float) -> None:
    """Break the text's lines at spaces, and inside what is still too long, to fit the width."""

    def fits(line: str) -> bool:
        text.set_text(line)
        return text.get_window_extent(renderer).width <= width_px

    lines: list[str] = []
    for paragraph in text.get_text().split("\n"):
        line = ""
        for word in paragraph.split(" "):
            if line and fits(f"{line} {word}"):
                line = f"{line} {word}"
                continue
            if line:
                lines.append(line)
            line = word
            while not fits(line):
                cut = next(at for at in range(len(line) - 1, 0, -1) if at == 1 or fits(line[:at]))
                lines.append(line[:cut])
                line = line[cut:]
        lines.append(line)
    text.set_text("\n".join(lines))


def save(figure: Figure, path: Path) -> None:
    """Write the figure in the form that the path's suffix names (.png or .svg), whole or not.

    Raises:
        StudyError: another suffix, or a folder that cannot be written.
    """
    kind = path.suffix.lstrip(".").lower()
    if kind not in _METADATA:
        raise StudyError(f"{path}: a plot is written as .png or .svg, not as {path.suffix!r}")
    from matplotlib.text import Text as AnyText

    for text in figure.findobj(AnyText):  # no control character stands in valid XML
        text.set_text(inert(text.get_text(), keep_lines=True))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            figure.savefig(file, format=kind, dpi=DPI, metadata=_METADATA[kind])
    except OSError as error:
        raise StudyError(f"{path}: the plot cannot be written: {error.strerror}") from error
