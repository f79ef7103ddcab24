"""`dse studies`: the studies that there are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from dse.cli.options import JsonFlag, ResultsDirectory, StorageUrl
from dse.cli.running import studies_in
from dse.cli.tables import note, print_json, print_table
from dse.text import NOTHING, percent

if TYPE_CHECKING:
    from dse.report.tables.listing import Best, StudyEntry

EXAMPLES = """
\b
Examples:
  dse studies
  dse studies --results elsewhere --json
"""


def command(
    results: ResultsDirectory = Path("results"),
    storage_url: StorageUrl = "",
    as_json: JsonFlag = False,
) -> None:
    """List the studies, with size of space, trials and best answer.

    The one that changed last comes first. A space has its candidates before limits and, where
    a study says so, those within them; the best of a search is its answer, that of a sweep
    its most accurate candidate.
    """
    from dse.report.tables.listing import list_studies

    with studies_in(storage_url, results, None) as folder:
        entries = list_studies(folder)
    if as_json:
        print_json([entry.to_dict() for entry in entries])
        return
    if known := [entry for entry in entries if entry.problem is None]:
        _print_entries(known)
    for entry in entries:
        if entry.problem is not None:
            note(f"{entry.name}: {entry.problem}")
    if not entries:
        where = "the database" if storage_url else results
        note(f"no studies in {where}; `dse sweep` and `dse search` make them")


def _print_entries(entries: list[StudyEntry]) -> None:
    numbers = ("candidates", "feasible", "finished", "stopped", "failed")
    print_table(
        ("study", "kind", "data", *numbers, "best", "changed"),
        [
            (
                entry.name,
                entry.kind,
                entry.data,
                entry.space_size,
                entry.feasible_count,
                entry.finished_count,
                entry.stopped_count,
                entry.failed_count,
                _best(entry.best),
                f"{entry.changed.astimezone():%Y-%m-%d %H:%M}",
            )
            for entry in entries
        ],
        right=numbers,
    )


def _best(best: Best | None) -> str:
    """`12,345 parameters, 103× fewer`; for a sweep its accuracy."""
    from dse.text import times_text

    if best is None:
        return NOTHING
    count = f"{best.params_count:,} parameters"
    if best.qualifies is None:
        return f"{percent(best.validation_accuracy)}, {count}"
    times = f", {times_text(best.times_fewer)} fewer" if best.times_fewer is not None else ""
    return f"{count}{times}" if best.qualifies else f"none qualified; nearest {count}{times}"
