"""`dse pack`: an image folder as one file, for data that is too large to be decoded at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from dse.cli.display import DataProgress
from dse.cli.options import JsonFlag
from dse.cli.tables import note, print_facts, print_json
from dse.text import size_text, some_of

EXAMPLES = """
\b
Examples:
  dse pack folder:imagenet --out imagenet.pack
  dse pack folder:photos --short-side 64 --format raw --out photos.pack
  dse sweep squeezenet.yaml --data pack:imagenet.pack --image-size 128
"""


def command(
    data: Annotated[str, typer.Argument(metavar="SPEC", help="The images: folder:PATH.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The pack to write.")],
    short_side: Annotated[
        int,
        typer.Option(
            "--short-side",
            metavar="PIXELS",
            min=1,
            max=4096,
            help="The shorter side of larger images; smaller ones keep their size.",
        ),
    ] = 160,
    format: Annotated[
        Literal["jpeg", "raw"],
        typer.Option("--format", help="JPEG of quality 90, or pixels as they are."),
    ] = "jpeg",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Repack an image folder into one file, for --data pack:FILE; interrupted, it resumes."""
    from dse.data.packing import pack_folder
    from dse.data.spec import parse_data
    from dse.training.xla import cores_count

    spec = parse_data(data, image_size=short_side if data.startswith("folder:") else None)
    with DataProgress() as progress:
        found = pack_folder(
            spec, out, short_side=short_side, format=format, force=force, progress=progress
        )
    for warning in found.warnings:
        note(f"note: {warning}")
    made_count = found.images_count + len(found.broken) - found.resumed_count
    per_s = made_count / found.wall_s
    if as_json:
        print_json(
            {
                "pack": str(found.path),
                "images_count": found.images_count,
                "resumed_count": found.resumed_count,
                "broken": list(found.broken),
                "classes": list(found.classes),
                "counts": found.counts,
                "file_bytes": found.file_bytes,
                "wall_s": found.wall_s,
                "images_per_s": per_s,
                "cores": cores_count(),
            }
        )
        return
    parts = ", ".join(f"{count:,} {split}" for split, count in found.counts.items())
    facts = {
        "wrote": f"{found.path}: {size_text(found.file_bytes)}",
        "images": f"{found.images_count:,} of {len(found.classes):,} classes ({parts})",
        "speed": f"{per_s:,.0f} images/s, {per_s / cores_count():,.0f} a core",
    }
    if found.resumed_count:
        facts["resumed"] = f"{found.resumed_count:,} images were packed before"
    if found.broken:
        facts["left out"] = some_of(found.broken)
    print_facts(facts)
