"""What `dse compress --front` writes and prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.cli.compress_views import times_smaller
from dse.cli.tables import note, print_facts, print_table
from dse.errors import WeightsError
from dse.text import bytes_text, percent, points

if TYPE_CHECKING:
    from dse.compress.front import CompressionFront

TITLES = (
    "density",
    "price",
    "nonzero\nweights",
    "values",
    "bytes",
    "times\nsmaller",
    "accuracy,\nvalidation",
    "95% sure\nnot under",
)


def front_document(found: CompressionFront, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The table of a front as plain data, settings by rising bytes.

    Args:
        found: what was tried.
        facts: of the network, the figures and the command.
    """
    on_front = set(found.on_front())
    rows = sorted(range(len(found.settings)), key=lambda r: found.settings[r].stage.file_bytes)
    settings = []
    for row in rows:
        setting = found.settings[row]
        settings.append(
            {
                "density": setting.density,
                "price": setting.price,
                "values_trained": setting.is_trained,
                "nonzero_count": setting.stage.nonzero_count,
                "file_bytes": setting.stage.file_bytes,
                "validation_accuracy": setting.accuracy,
                "difference_low": setting.difference_low,
                "test_accuracy": setting.stage.test_accuracy,
                "on_front": row in on_front,
                "chosen": row == found.chosen,
            }
        )
    return {
        "schema": 1,
        **facts,
        "given": asdict(found.given),
        "densities": [asdict(stage) for stage in found.densities],
        "settings": settings,
    }


def write_front(document: dict[str, Any], out: Path, plots: Path) -> tuple[Path, list[Path]]:
    """Write the table beside the file and draw it; their paths.

    Raises:
        WeightsError: the table cannot be written.
        StudyError: a figure cannot be written.
    """
    import json

    from dse.files import replacing
    from dse.report.compression_front import SUFFIX, plot_compression, read_compression_table

    table_path = out.with_name(out.stem + SUFFIX)
    try:
        with replacing(table_path) as file:
            file.write((json.dumps(document, indent=1) + "\n").encode())
    except OSError as error:
        raise WeightsError(f"{table_path}: cannot be written: {error.strerror or error}") from error
    stem = table_path.name.removesuffix(".json")
    figures = [plots / f"{stem}{suffix}" for suffix in (".png", ".svg")]
    plot_compression(read_compression_table(table_path), figures)
    return table_path, figures


def show_front(document: dict[str, Any], table_path: Path, figures: list[Path]) -> None:
    """Print the front, and what came of it.

    Raises:
        WeightsError: each setting loses more than was allowed, so no file was written.
    """
    float32, given = document["float32_bytes"], document["given"]
    rows = [row for row in document["settings"] if row["on_front"]]
    cells = [
        (
            f"{row['density']:.3g}",
            f"{row['price']:.3g}",
            row["nonzero_count"],
            "trained" if row["values_trained"] else "shared",
            row["file_bytes"],
            f"{float32 / row['file_bytes']:.1f}",
            percent(row["validation_accuracy"]),
            points(row["difference_low"]) + (" *" if row["chosen"] else "  "),
        )
        for row in rows
    ]
    print_table(TITLES, cells, right=TITLES)
    tried = len(document["settings"])
    trained = sum(row["values_trained"] for row in document["settings"])
    facts = {
        "tried": f"{tried} settings, {trained} of them with their values trained",
        "before": f"{percent(given['validation_accuracy'])} right in validation, "
        f"{percent(given['test_accuracy'])} in test, {float32:,} bytes of float32",
    }
    for row in document["settings"]:
        if row["chosen"]:
            facts |= _chosen(row, document)
    print_facts(facts)
    note(f"table: {table_path}; figures: {', '.join(map(str, figures))}")


def _chosen(row: dict[str, Any], document: dict[str, Any]) -> dict[str, str]:
    size = row["file_bytes"]
    given = document["given"]
    lost = given["test_accuracy"] - row["test_accuracy"]
    return {
        "wrote": f"{document['out']}: {bytes_text(size)}, marked *",
        "accuracy": f"{percent(row['validation_accuracy'])} right in validation, "
        f"{percent(row['test_accuracy'])} in test: {abs(100 * lost):.2f} points "
        + ("lost there" if lost >= 0 else "gained there"),
        "times smaller": times_smaller(size, document["float32_bytes"], document["alexnet_bytes"]),
    }
