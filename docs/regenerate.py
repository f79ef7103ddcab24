"""Make every block, output and generated page of the documents again.

    python docs/regenerate.py                    # all pages: some minutes on two idle cores
    python docs/regenerate.py docs/tutorial.md   # one page
    python docs/regenerate.py --quick            # what the tests run, and the reference

Blocks marked `<!-- run -->` and `<!-- generated: NAME -->` (see `docs/blocks.py`) are run in
their order, a page at a time, in an empty folder. What they print replaces what stands there,
unless it differs in masked numbers alone; that of generated blocks is written to
`docs/outputs/NAME.txt` too, and pages that show it as well take it from there.
`docs/reference/commands.md` is made from the commands' own options, `python.md` beside it from
the public names.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.blocks import OUTPUTS, PAGES, ROOT, Block, blocks, masked, prepare, rewrite, run_block
from docs.references import command_reference, python_reference


def regenerate(page: str, done: set[str], *, quick: bool) -> None:
    """Run the blocks of one page and write what they print; `done` names generated outputs."""
    wanted = [block for block in blocks(page) if block.mark == "run" or block.name]
    fresh: dict[int, str] = {}

    def keep(block: Block, body: str) -> None:
        if masked(body) != masked(block.body):
            fresh[block.line] = body

    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        prepare(page, folder)
        for block in wanted:
            if block.name and (quick or block.name in done):
                keep(block, (OUTPUTS / f"{block.name}.txt").read_text(encoding="utf-8"))
                continue
            began = time.monotonic()
            body = _run(block, folder)
            print(f"{page}:{block.line}: {time.monotonic() - began:.0f} s", flush=True)
            keep(block, body)
            if block.name:
                (OUTPUTS / f"{block.name}.txt").write_text(body, encoding="utf-8")
                done.add(block.name)
    rewrite(page, fresh)


def _run(block: Block, folder: Path) -> str:
    try:
        return run_block(block, folder)
    except subprocess.CalledProcessError as error:
        print(f"{block.page}:{block.line}: {error.stderr}{error.stdout}", file=sys.stderr)
        raise


def main() -> None:
    """Read the command line and make the pages."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", help="such as README.md; default: all")
    parser.add_argument("--quick", action="store_true", help="leave generated blocks as they are")
    options = parser.parse_args()
    reference = ROOT / "docs" / "reference"
    (reference / "commands.md").write_text(command_reference(), encoding="utf-8")
    (reference / "python.md").write_text(python_reference(), encoding="utf-8")
    done: set[str] = set()
    for page in options.pages or PAGES:
        regenerate(page, done, quick=options.quick)


if __name__ == "__main__":
    main()
