"""`dse front`: the front of a study as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dse.cli.options import JsonFlag, ResultsDirectory, SizeAxis
from dse.cli.tables import note, percent, print_json, print_table

if TYPE_CHECKING:
    from dse.report.tables import StudyTable

EXAMPLES = """
\b
Examples:
  dse front squeeze_ratio-digits
  dse front squeeze_ratio-digits --x peak_activation_bytes --json
"""


def command(
    study_name: Annotated[str, typer.Argument(metavar="STUDY", help="The study's name.")],
    results: ResultsDirectory = Path("results"),
    size: SizeAxis = "params_count",
    as_json: JsonFlag = False,
) -> None:
    """List the best of a study for every size.

    Those candidates that no other beats in both size and validation accuracy, smallest
    first; accuracies are means over the seeds.
    """
    from dse.report.formats import records
    from dse.report.studies import open_study
    from dse.report.tables import front_table

    study = open_study(results, study_name)
    rows = records(front_table(study.trials, size=size))
    if as_json:
        print_json({"study": study.name, "size": size, **_counts(study), "front": rows})
        return
    if rows:
        _print_front(rows, size)
    _print_counts(study, rows)


def _counts(study: StudyTable) -> dict[str, int]:
    """How many candidates and trials the table holds, and how many a sweep still lacks."""
    planned = study.info.get("trials_count")
    missing = planned - len(study.trials) if isinstance(planned, int) else 0
    return {
        "candidates_count": int(study.trials["candidate"].nunique()),
        "trials_count": len(study.trials),
        "missing_count": max(missing, 0),
        "stopped_count": int((study.trials["status"] == "stopped").sum()),
        "failed_count": int((study.trials["status"] == "failed").sum()),
    }


_SIZE_TITLES = {
    "params_count": "parameters",
    "macs": "MACs",
    "weight_bytes": "weight\nbytes",
    "peak_activation_bytes": "peak activation\nbytes",
}


def _print_front(rows: list[dict[str, Any]], size: str) -> None:
    """What was swept, the size, the accuracies over the seeds, the key."""
    columns = list(rows[0])
    swept = columns[: columns.index("params_count")]
    accuracies = ("validation\naccuracy", "lowest\nseed", "highest\nseed", "test\naccuracy")
    numbers = (_SIZE_TITLES[size], *accuracies, "seeds")
    print_table(
        (*swept, *numbers, "candidate"),
        [
            (
                *(row[name] for name in swept),
                row[size],
                percent(row["validation_accuracy_mean"]),
                percent(row["validation_accuracy_min"]),
                percent(row["validation_accuracy_max"]),
                percent(row["test_accuracy_mean"]),
                row["seeds_count"],
                row["candidate"],
            )
            for row in rows
        ],
        right=numbers,
    )


def _print_counts(study: StudyTable, rows: list[dict[str, Any]]) -> None:
    counts = _counts(study)
    others = "".join(
        f", {counts[name]:,} {words}"
        for name, words in (
            ("stopped_count", "stopped early"),
            ("failed_count", "failed"),
            ("missing_count", "still to be trained: `dse sweep` goes on"),
        )
        if counts[name]
    )
    note(
        f"{len(rows):,} of {counts['candidates_count']:,} candidates on the front "
        f"({counts['trials_count']:,} trials{others})"
    )
