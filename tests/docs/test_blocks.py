"""Every block of the documents is run by a test, or made by a command."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from docs.blocks import FETCHED, OUTPUTS, PAGES, ROOT, Block, blocks, masked, prepare, run_block

ALL = [block for page in PAGES for block in blocks(page)]
CI_MARKS = ("sweep command", "test command")
TASKS = "docs/how-to/tasks.md"


def run_blocks(page: str) -> list[Block]:
    return [block for block in blocks(page) if block.mark == "run"]


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"


def generated() -> list[Block]:
    return [block for block in ALL if block.name]


@pytest.mark.parametrize("block", ALL, ids=named)
def test_every_block_says_how_it_is_kept_true(block: Block) -> None:
    assert block.mark in ("run", "slow", "parsed", *CI_MARKS) or block.name, (
        f"{named(block)}: no mark above the fence; docs/blocks.py lists them"
    )


@pytest.mark.parametrize(
    "block", [block for block in ALL if block.language in ("console", "bash")], ids=named
)
def test_every_command_has_the_options_that_are_shown(block: Block) -> None:
    import typer

    from dse.cli.main import app

    group = typer.main.get_command(app)
    calls = [call for line in block.commands for call in re.split(r"\s&&\s", line)]
    assert calls
    for call in calls:
        program, *words = shlex.split(call)
        if program.removeprefix(".venv/bin/") != "dse":
            assert block.mark in CI_MARKS, call
            continue
        group.commands[words[0]].make_context(words[0], words[1:])  # raises on what is unknown


@pytest.mark.parametrize("block", generated(), ids=named)
def test_generated_blocks_are_what_was_generated(block: Block) -> None:
    assert block.body == (OUTPUTS / f"{block.name}.txt").read_text(encoding="utf-8"), (
        "not what the command printed: run python docs/regenerate.py"
    )


def test_every_output_is_shown_somewhere() -> None:
    assert {path.stem for path in OUTPUTS.glob("*.txt")} == {block.name for block in generated()}


def _needs_data(page: str) -> bool:
    text = "\n".join(block.body for block in run_blocks(page))
    return any(name in text for name in FETCHED)


def _pages() -> list[object]:
    found: list[object] = []
    for page in PAGES:
        if run_blocks(page):
            marks = [pytest.mark.data] if _needs_data(page) else []
            found.append(pytest.param(page, marks=marks))
    return found


@pytest.mark.parametrize("page", _pages())
def test_blocks_print_what_is_shown(page: str, tmp_path: Path) -> None:
    missing = [str(place) for place in FETCHED.values() if not place.exists()]
    if _needs_data(page) and missing:
        pytest.skip(f"{missing[0]} is not there")
    prepare(page, tmp_path)
    for block in run_blocks(page):
        assert masked(run_block(block, tmp_path)) == masked(block.body), named(block)


@pytest.mark.parametrize("block", [block for block in ALL if block.language == "python"], ids=named)
def test_calls_of_the_library_have_the_arguments_that_are_shown(block: Block) -> None:
    import dse

    calls = [node for node in ast.walk(ast.parse(block.body)) if isinstance(node, ast.Call)]
    for call in calls:
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "dse":
            # dse.search and dse.compress are rooms that can be called, as the functions here.
            function = getattr(import_module(dse._MODULES[call.func.attr]), call.func.attr)
            keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg}
            inspect.signature(function).bind(*call.args, **keywords)  # raises where they differ


def _pages_that_train() -> list[object]:
    """The ten tasks, of few images, are run each time; others take many minutes."""
    pages = sorted({block.page for block in ALL if block.mark == "slow"})
    marks = {True: pytest.mark.long, False: pytest.mark.slow}
    return [pytest.param(page, marks=marks[page == TASKS]) for page in pages]


@pytest.mark.parametrize("page", _pages_that_train())
def test_slow_blocks_run(page: str, tmp_path: Path) -> None:
    prepare(page, tmp_path)
    for block in blocks(page):
        if block.mark == "slow":
            run_block(block, tmp_path)


def test_ten_tasks_take_two_commands_at_most() -> None:
    tasks = blocks(TASKS)
    text = (ROOT / TASKS).read_text(encoding="utf-8")
    assert len(tasks) == text.count("\n## ") == 10
    assert all(1 <= len(block.commands) <= 2 for block in tasks)
    assert all(block.mark in ("run", "slow") for block in tasks)


@pytest.mark.slow
def test_the_tour_runs(tmp_path: Path) -> None:
    page = "docs/tutorial.md"
    prepare(page, tmp_path)
    for block in blocks(page):
        if block.name:
            shown, printed = block.body.splitlines(), run_block(block, tmp_path).splitlines()
            assert shown[1].split()[:1] == printed[1].split()[:1], named(block)


@pytest.mark.parametrize("name", ["commands", "python"])
def test_the_reference_is_what_the_package_says(name: str) -> None:
    from docs.references import command_reference, python_reference

    made = {"commands": command_reference, "python": python_reference}[name]()
    page = ROOT / "docs" / "reference" / f"{name}.md"
    assert page.read_text(encoding="utf-8") == made, (
        "the package has changed: run python docs/regenerate.py --quick"
    )


def test_the_python_reference_has_every_public_name() -> None:
    import dse

    text = (ROOT / "docs" / "reference" / "python.md").read_text(encoding="utf-8")
    entries = re.findall(r"^::: ([\w.]+)\.(\w+)$", text, re.M)
    assert sorted(name for _, name in entries) == sorted({*dse.__all__} - {"__version__"})
    for module, name in entries:
        assert dse._MODULES[name] == module
        assert hasattr(import_module(module), name)
