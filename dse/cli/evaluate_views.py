"""What `dse evaluate` prints and writes of classes: recall, precision, confusions, errors."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from dse.cli.tables import note, print_table
from dse.text import NOTHING, csv_cell, percent

if TYPE_CHECKING:
    from dse.stats.classification import Outcomes
    from dse.stats.intervals import Interval

SHOWN_COUNT = 20
"""Classes that are listed and stand in the matrix."""

LOWEST_COUNT = 10
"""Of more, those of the lowest recall are listed, and the most frequent confusions."""


def print_classes(outcomes: Outcomes) -> None:
    """Print recall and precision of each class, and the confusion matrix where it is small."""
    rows = [
        (
            name,
            f"{correct:,} of {count:,}",
            *(_share(recall), _ends(recall), _share(precision), _ends(precision)),
        )
        for name, correct, count, recall, precision in outcomes.by_class
    ]
    if len(rows) > SHOWN_COUNT:
        held = [recall.estimate for *_, recall, _ in outcomes.by_class]
        order = sorted(range(len(rows)), key=lambda at: held[at])
        note(f"the {LOWEST_COUNT} of {len(rows):,} classes with the lowest recall:")
        rows = [rows[at] for at in order[:LOWEST_COUNT]]
    typer.echo()
    titles = ("class", "correct", "recall", "95% interval", "precision", "95% interval ")
    print_table(titles, rows, right=titles[1:])
    typer.echo()
    if len(outcomes.classes) <= SHOWN_COUNT:
        _print_confusion(outcomes)
    else:
        names = outcomes.classes
        pairs = [(names[t], names[p], count) for t, p, count in outcomes.confused()[:LOWEST_COUNT]]
        print_table(("true class", "taken for", "images"), pairs, right=("images",))


def _print_confusion(outcomes: Outcomes) -> None:
    """True classes down, predicted ones across, by their index."""
    indices = [f"[{at}]" for at in range(len(outcomes.classes))]
    print_table(
        ("true class, down; predicted, across", "", *indices),
        [
            (name, index, *(int(count) or "." for count in counts))
            for name, index, counts in zip(
                outcomes.classes, indices, outcomes.confusion, strict=True
            )
        ],
        right=("", *indices),
    )


def classes_document(outcomes: Outcomes) -> dict[str, Any]:
    """The same as plain data."""
    from dse.stats.classification import calibration

    found = calibration(outcomes)
    per_class = [
        {
            "class": name,
            "images_count": int(count),
            "correct_count": int(correct),
            "predicted_count": int(predicted),
            "recall": recall and recall.estimate,
            "recall_interval": recall and [recall.low, recall.high],
            "precision": precision and precision.estimate,
            "precision_interval": precision and [precision.low, precision.high],
        }
        for name, count, correct, predicted, recall, precision in zip(
            outcomes.classes,
            outcomes.images,
            outcomes.correct,
            outcomes.predicted,
            outcomes.recall,
            outcomes.precision,
            strict=True,
        )
    ]
    return {
        "balanced_accuracy": outcomes.balanced_accuracy,
        "largest_class": outcomes.largest[0],
        "largest_class_share": outcomes.largest[1],
        "calibration_error": found.error,
        "confidence": found.confidence,
        "calibration": [vars(one) for one in found.bins],
        "classes": per_class,
        "confusion": outcomes.confusion.tolist(),
    }


def write_errors(path: Path, outcomes: Outcomes) -> int:
    """Write the images that are not correct, the most confident first; how many.

    Raises:
        StudyError: the file cannot be written.
    """
    from dse.study.paths import write_file

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("image", "class", "predicted", "predicted_probability", "class_probability"))
    worst = outcomes.worst()
    for at in worst:
        truth = outcomes.true_probability(at)
        cells: tuple[object, ...] = (
            outcomes.names[at] if outcomes.names else int(at),
            outcomes.classes[outcomes.labels[at]],
            outcomes.classes[outcomes.best[at, 0]],
            f"{outcomes.probabilities[at, 0]:.6f}",
            "" if truth is None else f"{truth:.6f}",
        )
        writer.writerow(map(csv_cell, cells))
    write_file(path, text.getvalue().encode())
    return len(worst)


def _share(share: Interval | None) -> str:
    return percent(share.estimate) if share else NOTHING


def _ends(share: Interval | None) -> str:
    return f"{100 * share.low:.2f} to {100 * share.high:.2f}" if share else NOTHING
