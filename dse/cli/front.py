"""`dse front`: the front of a study as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.cli.options import JsonFlag, ResultsDirectory, SizeAxis, StorageUrl, StudyName
from dse.cli.running import studies_in
from dse.cli.tables import note, print_json, print_table
from dse.text import percent

if TYPE_CHECKING:
    from dse.report.tables.summary import StudyTable

EXAMPLES = """
\b
Examples:
  dse front squeeze_ratio-digits
  dse front squeeze_ratio-digits --x peak_activation_bytes --json
"""


def command(
    study_name: StudyName,
    results: ResultsDirectory = Path("results"),
    storage_url: StorageUrl = "",
    size: SizeAxis = "params_count",
    as_json: JsonFlag = False,
) -> None:
    """List the best of a study for every size.

    Those candidates that no other beats in both size and validation accuracy, smallest
    first; accuracies are means over the seeds. The answer of a search is marked.
    """
    from dse.errors import StudyError
    from dse.report.tables.markdown import records
    from dse.report.tables.studies import open_study, study_directory
    from dse.report.tables.summary import front_table
    from dse.study.answer import find_answer

    with studies_in(storage_url, results, [study_name]) as folder:
        study = open_study(folder, study_name)
        try:
            answer = find_answer(study_directory(folder, study_name))
        except StudyError as error:  # the table does not need it
            answer = None
            note(f"note: {error}")
    found = answer.answer if answer else None
    rows = records(front_table(study.trials, size=size))
    for row in rows:
        # A search scores the answer alone on the test images, and keeps it with the answer.
        if found and row["candidate"] == found.candidate and row["test_accuracy_mean"] is None:
            row["test_accuracy_mean"] = found.test_accuracy
    if as_json:
        document = {"study": study.name, "size": size, **_counts(study)}
        if answer:
            document["answer"] = found.candidate if found else None
        print_json({**document, "front": rows})
        return
    if rows:
        _print_front(rows, size, found.candidate if found else "")
    _print_counts(study, rows)
    if mixed := study.description.mixed_versions:
        note(f"note: trained with {mixed}: accuracies of different versions may differ")
    if found:
        is_here = any(row["candidate"] == found.candidate for row in rows)
        note(
            f"{'* ' if is_here else ''}the answer of the search: {found.candidate}, "
            f"{found.params_count:,} parameters, test accuracy {percent(found.test_accuracy)}"
            + ("" if is_here else "; it is not on the front")
        )


def _counts(study: StudyTable) -> dict[str, Any]:
    """How many candidates and trials the table holds, and how many a sweep still lacks."""
    missing = (study.description.trials_count or 0) - len(study.trials)
    return {
        "candidates_count": int(study.trials["candidate"].nunique()),
        "trials_count": len(study.trials),
        "missing_count": max(missing, 0),
        "stopped_count": int((study.trials["status"] == "stopped").sum()),
        "failed_count": int((study.trials["status"] == "failed").sum()),
    }


def _print_front(rows: list[dict[str, Any]], size: str, answer: str) -> None:
    """What was swept, the size, the accuracies over the seeds, the key; a star for the answer."""
    from dse.architecture import ALL_OBJECTIVES

    columns = list(rows[0])
    swept = columns[: columns.index("params_count")]
    accuracies = ("validation\naccuracy", "lowest\nseed", "highest\nseed", "test\naccuracy")
    numbers = (ALL_OBJECTIVES[size].stacked_title, *accuracies, "seeds")
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
                row["candidate"] + (" *" if row["candidate"] == answer else ""),
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
            ("missing_count", "still to be trained: `dse sweep` resumes"),
        )
        if counts[name]
    )
    note(
        f"{len(rows):,} of {counts['candidates_count']:,} candidates on the front "
        f"({counts['trials_count']:,} trials{others})"
    )
