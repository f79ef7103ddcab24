"""All figures of a search, from its table and its answer alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from dse.report.canvas import save, style
from dse.report.hypervolume import LEAST_TIMES_COUNT, hypervolume_curve, hypervolume_figure
from dse.report.importance import LEAST_CANDIDATES_COUNT, importances
from dse.report.importance_plot import importance_figure
from dse.report.parallel import parallel_figure
from dse.report.search_front import search_front_figure
from dse.report.tables import StudyTable
from dse.study.answer import Answer

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
        for name, figure in (
            ("", search_front_figure(study, answer, size=size)),
            ("-hypervolume", _hypervolume(study, answer, size)),
            ("-importance", _importance(study, size)),
            ("-parallel", _parallel(study, answer, size)),
        ):
            if isinstance(figure, str):
                notes.append(f"{stem}{name} is not drawn: {figure}")
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


def _hypervolume(study: StudyTable, answer: Answer | None, size: str) -> Figure | str:
    curve = hypervolume_curve(study, size=size)
    if curve is None or len(curve.times_s) < LEAST_TIMES_COUNT:
        return f"it needs trials that finished at {LEAST_TIMES_COUNT} or more moments"
    return hypervolume_figure(study, answer, curve, size=size)


def _importance(study: StudyTable, size: str) -> Figure | str:
    found = importances(study, size=size)
    if found is None:
        return (
            f"it needs {LEAST_CANDIDATES_COUNT} candidates or more that were measured and differ "
            "at equal size"
        )
    return importance_figure(study, found, size=size)


def _parallel(study: StudyTable, answer: Answer | None, size: str) -> Figure | str:
    return parallel_figure(study, answer, size=size) or "fewer than two candidates finished"
