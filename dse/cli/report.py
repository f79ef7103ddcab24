"""`dse report`: studies as one HTML page to send to others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dse.cli.options import JsonFlag, ResultsDirectory
from dse.cli.running import check_output
from dse.cli.tables import note, print_json, print_line
from dse.errors import UsageError
from dse.text import size_text

EXAMPLES = """
\b
Examples:
  dse report squeeze_ratio-digits
  dse report squeezenet-photos-search --out report.html
  dse report squeeze_ratio-digits pct_3x3-digits --out both.html
"""


def command(
    study_names: Annotated[
        list[str], typer.Argument(metavar="STUDY...", help="One study, or several to compare.")
    ],
    results: ResultsDirectory = Path("results"),
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The page to write, an .html file.")
    ] = Path("report.html"),
    as_json: JsonFlag = False,
) -> None:
    """Write studies as one HTML page: front, layers, claim, curves, deployment, provenance.

    The page fetches nothing and can be sent as it is; it works without scripts and printed too.
    """
    from dse.report.html.contents import read_contents
    from dse.report.html.page import report_page, write_report

    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--out is {out}, but must end in .html, for example report.html")
    check_output(out)
    names = list(dict.fromkeys(study_names))
    studies = [read_contents(results, name, at=at) for at, name in enumerate(names)]
    page = report_page(studies)
    write_report(out, page)
    if as_json:
        print_json({"studies": names, "path": str(out), "bytes": len(page.encode())})
    else:
        print_line(out)
        note(f"{size_text(len(page.encode()))}; open it in any browser")
