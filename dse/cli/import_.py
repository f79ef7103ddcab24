"""`dse import`: published weights as a weights file that says everything of itself."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dse.cli.options import ClassesFile, JsonFlag
from dse.cli.tables import note, print_facts, print_json
from dse.errors import UsageError, WeightsError
from dse.text import bytes_text

if TYPE_CHECKING:
    from dse.architecture import Preset
    from dse.weights.metadata import WeightsMetadata

EXAMPLES = """
\b
Examples:
  dse import squeezenet_v1.0.net --format deep-compression --out squeezenet.safetensors
  dse import squeezenet_v1.0.net --format deep-compression --out squeezenet.safetensors \
--classes imagenet_classes.csv --json
"""

PRESET = "squeezenet_v1.0"
"""The network that is published in the deep-compression format; the file names none."""

FormatName = Literal["deep-compression"]


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The published file.")],
    file_format: Annotated[
        FormatName,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="deep-compression: SqueezeNet v1.0 as its authors published it.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out", metavar="WEIGHTS", help="Weights file to write, such as x.safetensors."
        ),
    ],
    classes_file: ClassesFile = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a weights file of published weights.

    It holds the weights in float32 and says which network they belong to, its classes and
    how images are fed to it; without --classes the classes are called by their numbers.
    """
    from dse.architecture import PRESETS, build
    from dse.weights.deep_compression import PUBLISHED_SHA256, read_deep_compression
    from dse.weights.safetensors import save_weights

    if out.exists() and file.exists() and out.samefile(file):
        raise UsageError(f"--out is {out}, the file to be imported; it would be overwritten")
    preset = PRESETS[PRESET]
    architecture = build(preset.candidate, preset.input_shape, preset.classes_count)
    metadata = _metadata(preset, file, file_format, classes_file)
    decoded = read_deep_compression(file, architecture)
    if decoded.sha256 != PUBLISHED_SHA256:
        note(
            f"note: {file} is well formed, but not the published file, whose SHA-256 is "
            f"{PUBLISHED_SHA256}; its format has no checksum, so some values may be wrong"
        )
    save_weights(out, decoded.arrays, {}, metadata)
    document = {
        "file": str(file),
        "network": PRESET,
        "candidate": metadata.candidate.key,
        "family": metadata.family,
        "metaparameters": dict(metadata.metaparameters),
        "input_shape": metadata.input_shape,
        "classes_count": len(metadata.classes),
        "preprocessing": metadata.preprocessing.to_dict(),
        "params_count": decoded.params_count,
        "nonzero_weights_count": decoded.nonzero_weights_count,
        "file_bytes": decoded.source_bytes,
        "file_sha256": decoded.sha256,
        "weights": str(out),
        "weights_bytes": out.stat().st_size,
    }
    if as_json:
        print_json(document)
        return
    print_facts(
        {
            "network": PRESET,
            "parameters": decoded.params_count,
            "nonzero weights": decoded.nonzero_weights_count,
            "read": f"{file}: {bytes_text(decoded.source_bytes)}",
            "wrote": f"{out}: {bytes_text(out.stat().st_size)}",
        }
    )


def _metadata(
    preset: Preset, file: Path, file_format: FormatName, classes_file: Path | None
) -> WeightsMetadata:
    from dse.data import read_classes
    from dse.weights.metadata import WeightsMetadata
    from dse.weights.preprocessing import PREPROCESSINGS

    names: tuple[str, ...] = tuple(map(str, range(preset.classes_count)))
    ids: tuple[str, ...] = ()
    if classes_file:
        found = read_classes(classes_file)
        if len(found.names) != preset.classes_count:
            raise WeightsError(
                f"{classes_file} has {len(found.names):,} classes, but {preset.name} has "
                f"{preset.classes_count:,}"
            )
        names, ids = found.names, found.ids
    return WeightsMetadata(
        family=preset.candidate.family,
        metaparameters=preset.candidate.metaparameters,
        input_shape=preset.input_shape,
        classes=names,
        preprocessing=PREPROCESSINGS["caffe"],
        class_ids=ids,
        extra={"imported_from": file.name, "imported_format": file_format},
    )
