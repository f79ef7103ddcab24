"""What `dse compress` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dse.cli.tables import print_facts, print_table
from dse.text import bytes_text, percent, size_text

if TYPE_CHECKING:
    from dse.weights.metadata import WeightsMetadata


TITLES = (
    "what",
    "nonzero\nweights",
    "bytes",
    "times\nsmaller",
    "accuracy,\nvalidation",
    "accuracy,\ntest",
)


def alexnet_bytes(metadata: WeightsMetadata) -> int | None:
    """Float32 bytes of the AlexNet that suits these images; None where none does."""
    from dse.architecture import build, cost, make_candidate
    from dse.errors import ArchitectureError

    try:
        architecture = build(
            make_candidate("alexnet", {}), metadata.input_shape, len(metadata.classes)
        )
    except ArchitectureError:
        return None
    return cost(architecture).weight_bytes


def show_compressed(document: dict[str, Any]) -> None:
    """Print the stages beside other methods, and what came of it."""
    float32, size = document["float32_bytes"], document["file_bytes"]
    rows: list[tuple[Any, ...]] = [("float32", None, float32, 1.0, None, None)]
    rows += [
        (name, None, count, float32 / count, None, None)
        for name, count in document["baselines_bytes"].items()
    ]
    rows += [
        (
            f"dsz, {stage['name']}" + ("" if stage["kept"] else " (taken back)"),
            stage["nonzero_count"],
            stage["file_bytes"],
            float32 / stage["file_bytes"],
            stage["validation_accuracy"],
            stage["test_accuracy"],
        )
        for stage in document["stages"]
    ]
    cells = [
        (what, nonzero, count, f"{times:.1f}", percent(validation), percent(test))
        for what, nonzero, count, times, validation, test in rows
    ]
    print_table(TITLES, cells, right=TITLES[1:])
    print_facts(
        {
            "wrote": f"{document['out']}: {bytes_text(size)}",
            "bits a weight": f"{8 * size / document['params_count']:.2f}",
            "times smaller": times_smaller(size, float32, document["alexnet_bytes"]),
        }
    )


def times_smaller(size: int, float32_bytes: int, alexnet_bytes: int | None) -> str:
    """How many times a file of so many bytes is smaller than its float32, and than AlexNet's."""
    text = f"{float32_bytes / size:.1f} than its own float32"
    if not alexnet_bytes:
        return text
    times = f"{alexnet_bytes / size:,.0f}"
    return f"{text}, {times} than AlexNet for such images ({size_text(alexnet_bytes)})"
