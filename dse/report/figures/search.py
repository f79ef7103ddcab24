"""All figures of a search, from its table and its answer alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dse.report.figures.canvas import save
from dse.report.figures.hypervolume import LEAST_TIMES_COUNT, hypervolume_curve, hypervolume_figure
from dse.report.figures.importance import importance_figure
from dse.report.figures.parallel import parallel_figure
from dse.report.figures.search_front import search_front_figure
from dse.report.style import style
from dse.report.tables.importance import LEAST_CANDIDATES_COUNT, importances
from dse.report.tables.summary import StudyTable
from dse.study.answer import Answer

if TYPE_CHECKING:
    pass

FORMATS = (".png", ".svg")


class SearchFigures(NamedTuple):
    """What was drawn: the paths, and a line for each figure for which there is too little."""

    paths: tuple[Path, ...]
    notes: tuple[str, ...]


def plot_search(
    study: StudyTable, answer: Answer | None, directory: Path, *, size: str = "params_count"
) -> SearchFigures:
    """Draw a search: front, hypervolume against time, importance, parallel coordinates.

    Writes `<study>`, `<study>-hypervolume`, `<study>-importance` and `<study>-parallel` into
    `directory`, each as PNG and SVG; against another size than params_count the size stands
    behind the study's name. The same table gives the same bytes.

    Args:
        study: of a search (`is_search` of its trials).
        answer: as `find_answer` returns it.
        directory: where the figures go; made where it is missing.
        size: params_count, macs, weight_bytes or peak_activation_bytes.

    Returns:
        The paths, and notes that say which figures were left out and why.

    Raises:
        StudyError: a file cannot be written.
        ObjectiveError: another `size`.
    """
    stem = study.name if size == "params_count" else f"{study.name}-{size}"
    paths, notes = [], []
    with style():
        front = search_front_figure(study, answer, size=size)
        curve = hypervolume_curve(study, size=size)
        if curve is not None and len(curve.times_s) < LEAST_TIMES_COUNT:
            curve = None
        found = importances(study, size=size)
        for name, figure, needs in (
            ("", front, ""),
            (
                "-hypervolume",
                None if curve is None else hypervolume_figure(study, answer, curve, size=size),
                f"it needs trials that finished at {LEAST_TIMES_COUNT} or more moments",
            ),
            (
                "-importance",
                None if found is None else importance_figure(study, found, size=size),
                f"it needs {LEAST_CANDIDATES_COUNT} candidates or more that were measured and "
                "differ at equal size",
            ),
            (
                "-parallel",
                parallel_figure(study, answer, size=size),
                "fewer than five candidates finished, of which a table says more",
            ),
        ):
            if figure is None:
                notes.append(f"{stem}{name} is not drawn: {needs}")
                continue
            for suffix in FORMATS:
                path = directory / f"{stem}{name}{suffix}"
                save(figure, path)
                paths.append(path)
    return SearchFigures(tuple(paths), tuple(notes))


def plot_search_front(
    study: StudyTable, answer: Answer | None, path: Path, *, size: str = "params_count"
) -> None:
    """Draw a search's front alone into one .png or .svg file.

    Raises:
        StudyError: the file cannot be written.
        ObjectiveError: another `size`.
    """
    with style():
        save(search_front_figure(study, answer, size=size), path)
