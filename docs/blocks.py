"""Code blocks of the documents: where they stand, what makes them, and how they are run.

A block says in an HTML comment above its fence how it is kept true:

    <!-- run -->               the tests run it, in a folder of its page, and compare its output
    <!-- generated: NAME -->   `python docs/regenerate.py` made it: too long for every test run
    <!-- slow -->              what trains: the tests check its calls, the slow ones run it
    <!-- parsed -->            commands without output; the tests parse their options
    <!-- NAME command -->      `.ci/run` runs it

A line `$ command` is run; the lines up to the next one are what it prints on stdout. Blocks of
one page share a folder and run in their order. What depends on the machine is masked before a
comparison (`masked`): images per second, times of day, and where the folder is.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("DSE_SAMPLE_DATA", ROOT.parent / "shared" / "data"))
OUTPUTS = ROOT / "docs" / "outputs"
PAGES = (
    "docs/tutorial.md",
    "README.md",
    "CONTRIBUTING.md",
    *(
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "docs").rglob("*.md"))
        if "decisions" not in path.parts and path.name != "tutorial.md"
    ),
)
"""Documents with blocks; the README shows outputs of the tutorial, which is made first."""

LANGUAGES = ("console", "bash", "python", "yaml")
"""Fences that need a mark; `text` and others are not code that a reader would run."""

FETCHED = {
    "imagenet-sample": DATA / "imagenet-sample",
    "imagenet_classes.csv": DATA / "imagenet_classes.csv",
    "squeezenet_v1.0_deep_compression.net": DATA / "squeezenet_v1.0_deep_compression.net",
}
"""Files that a reader has fetched from elsewhere, and where they lie beside a checkout."""

COMMITTED = (
    "answer-front",
    "benchmarks",
    "paper",
    "pct_3x3-cifar10-jpeg",
    "references",
    "squeeze_ratio-cifar10-jpeg",
    "squeezenet-cifar10-jpeg-search",
)
"""What begins the names in `results/` and `plots/` that are committed.

The rest is a developer's own, such as what the README's first command leaves there.
"""

COPIED_AT = datetime(2026, 11, 27, 12)
"""When the committed studies seem to have changed, in a page's folder."""

_FENCE = re.compile(
    r"(?:^<!-- (?P<mark>[^>]*?) -->\n)?^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.M | re.S
)
_WEIGHTS = re.compile(r"results/([\w.-]+)/weights/[0-9a-f]{12}-seed\d+\.safetensors")


@dataclass(frozen=True)
class Block:
    """One fenced block: page, line of its fence, mark (empty: none), language and text."""

    page: str
    line: int
    mark: str
    language: str
    body: str

    @property
    def name(self) -> str | None:
        """Of a generated block, the name of its output file."""
        return (
            self.mark.removeprefix("generated: ") if self.mark.startswith("generated: ") else None
        )

    @property
    def commands(self) -> list[str]:
        """Commands of a console block, or the lines of a bash block."""
        if self.language == "bash":
            return self.body.replace("\\\n", " ").splitlines()
        return [line[2:] for line in self.body.splitlines() if line.startswith("$ ")]


def blocks(page: str) -> list[Block]:
    """All blocks of a page with a language in `LANGUAGES`, in their order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        if match["language"] in LANGUAGES:
            line = text.count("\n", 0, match.start()) + 1
            mark, language, body = match["mark"] or "", match["language"], match["body"]
            found.append(Block(page, line, mark, language, body))
    return found


def rewrite(page: str, bodies: dict[int, str]) -> None:
    """Put other bodies in place of those of the blocks on these lines."""

    def changed(match: re.Match[str]) -> str:
        line = text.count("\n", 0, match.start()) + 1
        if line not in bodies:
            return match[0]
        start, end = (place - match.start() for place in match.span("body"))
        return match[0][:start] + bodies[line] + match[0][end:]

    text = (ROOT / page).read_text(encoding="utf-8")
    (ROOT / page).write_text(_FENCE.sub(changed, text), encoding="utf-8")


def committed(folder: str) -> list[Path]:
    """What is committed in `results` or `plots`, sorted by name."""
    return sorted(path for path in (ROOT / folder).iterdir() if path.name.startswith(COMMITTED))


def prepare(page: str, folder: Path) -> None:
    """Make a page's folder: committed studies, drawn photos, and the fetched files there are."""
    from docs.photos import draw_photos

    for name in ("results", "plots"):
        (folder / name).mkdir(parents=True)
        for path in committed(name):
            copy = shutil.copytree if path.is_dir() else shutil.copy2
            copy(path, folder / name / path.name)
    for minute, path in enumerate(sorted((folder / "results").rglob("*"))):
        second = COPIED_AT.timestamp() + 60 * minute
        os.utime(path, (second, second))  # `dse studies` sorts by it
    if any("photos" in block.body for block in blocks(page) if block.mark != "parsed"):
        draw_photos(folder / "photos")
    for name, place in FETCHED.items():
        if place.exists():
            (folder / name).symlink_to(place)


def run_block(block: Block, folder: Path) -> str:
    """The body of a block as it is now: its commands with what they print.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """
    if block.language == "python":
        _run([sys.executable, "-W", "error::SyntaxWarning", "-c", block.body], folder)
        return block.body
    if block.language == "yaml":
        (folder / "block.yaml").write_text(block.body, encoding="utf-8")
        is_study = re.search(r"^data:", block.body, re.M)
        how = ["run", "block.yaml", "--dry-run"] if is_study else ["check", "block.yaml"]
        _run([*_DSE, *how], folder)
        return block.body
    run = _run_here if block.mark == "run" else _run_alone
    printed = []
    for command in block.commands:
        command = _WEIGHTS.sub(lambda match: _weights_there(match, folder), command)
        program, *words = shlex.split(command)
        assert program == "dse", f"only dse is run, not {program}"
        printed.append((command, masked_folder(run(words, folder), folder)))
    if block.language == "bash":
        return block.body
    return "".join(f"$ {command}\n{output}" for command, output in printed)


_DSE = (sys.executable, "-m", "dse.cli.main")


def _run_here(words: list[str], folder: Path) -> str:
    """What a command prints that starts in this process, which is faster for short ones."""
    from typer.testing import CliRunner

    from dse.cli.main import app

    with contextlib.chdir(folder):
        done = CliRunner().invoke(app, words, prog_name="dse")
    if done.exit_code:
        raise subprocess.CalledProcessError(done.exit_code, words, done.stdout, done.stderr)
    return done.stdout


def _run_alone(words: list[str], folder: Path) -> str:
    return _run([*_DSE, *words], folder)


def _weights_there(match: re.Match[str], folder: Path) -> str:
    """A weights file of a search that is not there becomes the one of the search's answer."""
    answer = folder / "results" / match[1] / "answer.json"
    if (folder / match[0]).exists() or not answer.exists():
        return match[0]
    found = [path for path in _strings(json.loads(answer.read_text())) if "weights/" in path]
    return f"results/{match[1]}/{found[0]}" if found else match[0]


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _strings(part)


def _run(words: list[str] | tuple[str, ...], folder: Path) -> str:
    path = os.pathsep.join([str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    environment = {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep), "COLUMNS": "100"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, words, done.stdout, done.stderr)
    return done.stdout


def masked_folder(text: str, folder: Path) -> str:
    """Absolute paths below the page's folder, the checkout or the data begin with an ellipsis."""
    for place in (str(folder.resolve()), str(folder), str(DATA.resolve()), str(ROOT)):
        text = text.replace(place, "…")
    return text


def masked(text: str) -> str:
    """What has to agree on every machine: images per second and times of day are left out."""
    text = re.sub(r"^(images/s\s+).*$", r"\1#", text, flags=re.M)
    return re.sub(r"\b\d{4}-\d\d-\d\d \d\d:\d\d$", "#", text, flags=re.M)
