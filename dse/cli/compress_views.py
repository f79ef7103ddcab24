"""What `dse compress` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.cli.tables import note, print_facts, print_table
from dse.text import bytes_text, percent, points, size_text

if TYPE_CHECKING:
    from dse.study.compression_front import CompressionTable, Stage

STAGE_TITLES = (
    "what",
    "nonzero\nweights",
    "bytes",
    "times\nsmaller",
    "accuracy,\nvalidation",
    "accuracy,\ntest",
)

FRONT_TITLES = (
    "density",
    "lambda",
    "nonzero\nweights",
    "values",
    "bytes",
    "times\nsmaller",
    "accuracy,\nvalidation",
    "95% lower\nbound",
)


def show_compressed(document: dict[str, Any], stages: Sequence[Stage]) -> None:
    """Print the stages beside other methods, and what came of it."""
    float32, size = document["float32_bytes"], document["file_bytes"]
    others = {"float32": float32, **document["baselines_bytes"]}
    rows: list[tuple[object, ...]] = [
        (name, None, count, f"{float32 / count:.1f}", percent(None), percent(None))
        for name, count in others.items()
    ]
    rows += [
        (
            f"dsz, {stage.name}" + ("" if stage.kept else " (taken back)"),
            stage.nonzero_count,
            stage.file_bytes,
            f"{float32 / stage.file_bytes:.1f}",
            percent(stage.validation_accuracy),
            percent(stage.test_accuracy),
        )
        for stage in stages
    ]
    print_table(STAGE_TITLES, rows, right=STAGE_TITLES[1:])
    print_facts(
        {
            "wrote": f"{document['out']}: {bytes_text(size)}",
            "bits per weight": f"{8 * size / document['params_count']:.2f}",
            "times smaller": _times_smaller(size, float32, document["alexnet_bytes"]),
        }
    )


def show_front(table: CompressionTable, table_path: Path, figures: Sequence[Path]) -> None:
    """Print the front, and what came of it."""
    rows = [
        (
            f"{setting.density:.3g}",
            f"{setting.rate_lambda:.3g}",
            setting.nonzero_count,
            "trained" if setting.values_trained else "shared",
            setting.file_bytes,
            f"{table.float32_bytes / setting.file_bytes:.1f}",
            percent(setting.validation_accuracy),
            points(setting.difference_low) + (" *" if setting.chosen else "  "),
        )
        for setting in table.settings
        if setting.on_front
    ]
    print_table(FRONT_TITLES, rows, right=FRONT_TITLES)
    given, chosen = table.given, table.chosen
    trained_count = sum(setting.values_trained for setting in table.settings)
    facts = {
        "tried": f"{len(table.settings)} settings, {trained_count} of them with their values "
        "trained",
        "before": f"{_accuracies(given.validation_accuracy, given.test_accuracy)}, "
        f"{table.float32_bytes:,} bytes of float32",
    }
    if table.int8_flash_bytes is not None and table.int8_difference is not None:
        facts["as int8"] = (
            f"{table.int8_flash_bytes:,} bytes of flash as the C program of dse export, validation "
            f"accuracy {percent(table.int8_accuracy)}, {points(table.int8_difference)} points "
            "against float32 on the same images"
        )
    if chosen is not None:
        size = chosen.file_bytes
        lost = (given.test_accuracy or 0.0) - (chosen.test_accuracy or 0.0)
        facts |= {
            "wrote": f"{table.out}: {bytes_text(size)}, marked *",
            "accuracy": f"{_accuracies(chosen.validation_accuracy, chosen.test_accuracy)}: "
            f"{abs(100 * lost):.2f} points {'lost' if lost >= 0 else 'gained'} there",
            "times smaller": _times_smaller(size, table.float32_bytes, table.alexnet_bytes),
        }
    print_facts(facts)
    note(f"table: {table_path}; figures: {', '.join(map(str, figures))}")


def _accuracies(validation: float | None, test: float | None) -> str:
    return f"validation accuracy {percent(validation)}, test accuracy {percent(test)}"


def _times_smaller(size: int, float32_bytes: int, alexnet_bytes: int | None) -> str:
    """How many times a file of so many bytes is smaller than its float32, and than AlexNet's."""
    text = f"{float32_bytes / size:.1f} than its own float32"
    if not alexnet_bytes:
        return text
    times = f"{alexnet_bytes / size:,.0f}"
    return f"{text}, {times} than AlexNet for such images ({size_text(alexnet_bytes)})"
