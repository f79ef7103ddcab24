"""`dse cache`: what is kept between runs, and how to be rid of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Literal

import typer

from dse.cli.options import JsonFlag
from dse.cli.tables import note, print_json, print_line, print_table
from dse.text import counted, size_text

EXAMPLES = """
\b
Examples:
  dse cache
  dse cache --clean compiled
"""

COMPILED = "compiled"


def command(
    clean: Annotated[
        Literal["images", "compiled", "all"] | None,
        typer.Option(
            "--clean", help="Remove prepared images, compiled programs or both; both are made anew."
        ),
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show how much prepared images and compiled programs take, or remove them.

    What a running dse uses stays. DSE_CACHE names another folder, DSE_CACHE_GB the limit of the
    prepared images.
    """
    from dse.data.cache import prepared_images, remove_prepared
    from dse.data.spec import cache_root

    root = cache_root()
    removed = kept = 0
    if clean in ("images", "all"):
        for one in prepared_images(root):
            is_gone = remove_prepared(one)
            removed += one.size_bytes * is_gone
            kept += not is_gone
    if clean in ("compiled", "all"):
        removed += _size(root / COMPILED)[1]
        shutil.rmtree(root / COMPILED, ignore_errors=True)
    prepared = prepared_images(root)
    rows = [("images", len(prepared), sum(one.size_bytes for one in prepared))]
    rows.append((COMPILED, *_size(root / COMPILED)))
    if as_json:
        kinds = [dict(zip(("kind", "count", "bytes"), row, strict=True)) for row in rows]
        print_json({"folder": str(root), "removed_bytes": removed, "kinds": kinds})
        return
    print_line(f"folder  {root}")
    table = [(kind, count, size_text(size)) for kind, count, size in rows]
    print_table(("kind", "entries", "size"), table, right=("entries", "size"))
    if clean:
        in_use = f"; {counted(kept, 'set')} of images in use stayed" if kept else ""
        note(f"removed: {size_text(removed)}{in_use}")


def _size(folder: Path) -> tuple[int, int]:
    """How many files a folder holds, and their bytes."""
    files = [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []
    return len(files), sum(path.stat().st_size for path in files)
