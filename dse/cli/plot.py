"""`dse plot`: draws a study, or several in one figure, again from their tables."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dse.cli.options import (
    JsonFlag,
    PlotsDirectory,
    ResultsDirectory,
    SizeAxis,
    SizeName,
    StorageUrl,
)
from dse.cli.running import studies_in
from dse.cli.tables import note, print_json, print_line
from dse.errors import UsageError

if TYPE_CHECKING:
    from dse.report.tables.summary import StudyTable

EXAMPLES = """
\b
Examples:
  dse plot squeeze_ratio-digits
  dse plot squeeze_ratio-digits pct_3x3-digits --out comparison.svg
  dse plot squeeze_ratio-digits --x macs --plots figures
  dse plot squeeze_ratio-cifar10 --published
  dse plot squeezenet-digits-search
  dse plot small-front.json
  dse plot --paper
"""

FORMATS = (".png", ".svg")
FIGURE_3 = Path("paper", "figure3")


def command(
    study_names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="STUDY",
            help="One study, or several in one figure; or one …-front.json of dse compress.",
        ),
    ] = None,
    results: ResultsDirectory = Path("results"),
    storage_url: StorageUrl = "",
    plots: PlotsDirectory = Path("plots"),
    size: SizeAxis = "params_count",
    with_published: Annotated[
        bool,
        typer.Option(
            "--published",
            help="Draw the SqueezeNet paper's points beside them: ImageNet, top-5.",
        ),
    ] = False,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper",
            help="Draw the paper's figure 3 instead of a study: both sweeps, sizes counted, "
            "accuracies as published.",
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write this .png or .svg file instead of STUDY.png and STUDY.svg.",
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Draw accuracy against size again.

    A search alone gets four figures: its front with the reference and the answer, its
    hypervolume against time, the importance of each metaparameter, and parallel coordinates;
    --out writes the first alone. Prints the paths of the figures that it wrote.
    """
    names = list(dict.fromkeys(study_names or []))
    _check(names, paper=paper, with_published=with_published, size=size)
    if paper:
        from dse.report.figures.paper import plot_figure_3

        paths = _paths(plots / FIGURE_3, out)
        plot_figure_3(png_path=paths.get(".png"), svg_path=paths.get(".svg"))
        written = list(paths.values())
    elif _is_compression_table(names[0]):
        written = _draw_compression(names, plots=plots, out=out)
    else:
        with studies_in(storage_url, results, names) as folder:
            written = _draw_studies(
                names,
                results=folder,
                plots=plots,
                size=size,
                with_published=with_published,
                out=out,
            )
    if as_json:
        print_json({"studies": names, "size": size, "paths": [str(p) for p in written]})
    else:
        for path in written:
            print_line(path)


def _is_compression_table(name: str) -> bool:
    """Whether a name is that of the table of a compression and not of a study."""
    from dse.study.compression_front import SUFFIX

    return name.endswith(SUFFIX)


def _draw_compression(names: list[str], *, plots: Path, out: Path | None) -> list[Path]:
    """Draw the front of a compression; the paths."""
    from dse.report.figures.compression_front import plot_compression
    from dse.study.compression_front import read_compression_table

    if len(names) > 1:
        raise UsageError(f"{names[0]} is drawn alone, without {' and '.join(names[1:])}")
    stem = Path(names[0]).name.removesuffix(".json")
    paths = list(_paths(plots / stem, out).values())
    plot_compression(read_compression_table(Path(names[0])), paths)
    return paths


def _draw_studies(
    names: list[str],
    *,
    results: Path,
    plots: Path,
    size: SizeName,
    with_published: bool,
    out: Path | None,
) -> list[Path]:
    """Draw one figure of all, or those of a search where it is the only one; their paths."""
    from dse.report.figures.accuracy import plot_accuracy_against_size
    from dse.report.tables.studies import open_study
    from dse.study.table import is_search

    studies = [open_study(results, name) for name in names]
    if len(studies) == 1 and is_search(studies[0].trials) and not with_published:
        return _draw_search(
            studies[0], results=results, name=names[0], plots=plots, out=out, size=size
        )
    stem = _stem([study.name for study in studies], size=size, with_published=with_published)
    paths = _paths(plots / stem, out)
    plot_accuracy_against_size(
        studies,
        png_path=paths.get(".png"),
        svg_path=paths.get(".svg"),
        size=size,
        with_published=with_published,
    )
    return list(paths.values())


def _draw_search(
    study: StudyTable, *, results: Path, name: str, plots: Path, out: Path | None, size: SizeName
) -> list[Path]:
    from dse.report.figures.search import plot_search, plot_search_front
    from dse.report.tables.studies import study_directory
    from dse.study.answer import find_answer

    answer = find_answer(study_directory(results, name))
    if out is not None:
        paths = list(_paths(plots, out).values())
        plot_search_front(study, answer, paths[0], size=size)
        return paths
    figures = plot_search(study, answer, plots, size=size)
    for line in figures.notes:
        note(line)
    return list(figures.paths)


def _check(names: list[str], *, paper: bool, with_published: bool, size: str) -> None:
    """Refuse what does not go together.

    Raises:
        UsageError: neither a study nor --paper, or --paper with what belongs to studies.
    """
    if not names and not paper:
        raise UsageError("name a study, for example `dse plot squeeze_ratio-digits`, or --paper")
    if paper and (names or with_published or size != "params_count"):
        raise UsageError(
            "--paper draws the paper's own figure: no STUDY, --published or --x with it"
        )


def _stem(names: list[str], *, size: str, with_published: bool) -> str:
    """`<studies>[-<size>][-published]`."""
    parts = ["+".join(names)]
    parts += [size] * (size != "params_count") + ["published"] * with_published
    return "-".join(parts)


def _paths(stem: Path, out: Path | None) -> dict[str, Path]:
    """The figures by suffix: `out` alone, or the stem as `.png` and `.svg`."""
    if out is None:
        return {suffix: stem.with_name(stem.name + suffix) for suffix in FORMATS}
    suffix = out.suffix.lower()
    if suffix not in FORMATS:
        raise UsageError(f"--out is {out}, but must end in .png or .svg, for example front.svg")
    return {suffix: out}
