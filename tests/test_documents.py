"""What the documents say exists: files, tests, commands, decisions."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DECISIONS = ROOT / "docs" / "decisions"


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands() -> list[tuple[str, str]]:
    """Name and module of each line in `COMMANDS`, without importing the command line."""
    table = re.search(r"^COMMANDS = \{(.*?)^\}", read("dse/cli/main.py"), re.M | re.S)
    assert table
    return re.findall(r'"([a-z-]+)": (\w+),', table[1])


@pytest.mark.parametrize(("name", "module"), commands())
def test_every_command_is_documented(name: str, module: str) -> None:
    source = read(f"dse/cli/{module}.py")
    assert f"\n  dse {name}" in source, "EXAMPLES show no call of it"
    assert f"dse {name}" in read("README.md")
    assert f"dse {name}" in read("CHANGELOG.md")


def test_contributing_names_files_and_tests_that_exist() -> None:
    text = read("CONTRIBUTING.md")
    paths = re.findall(r"`((?:dse|tests|docs|\.ci)/[\w./-]+)`", text)
    tests = re.findall(r"`(test_\w+)`", text)
    assert len(paths) > 10
    assert len(tests) > 3
    assert [path for path in paths if not (ROOT / path).exists()] == []
    sources = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name in tests if f"def {name}(" not in sources] == []


def test_every_decision_is_in_the_index_and_has_its_three_parts() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\d{4})\]\(([\w-]+\.md)\)", index, re.M)
    records = sorted(p.name for p in DECISIONS.glob("[0-9]*.md"))
    assert [name for _, name in listed] == records
    assert [int(number) for number, _ in listed] == list(range(1, len(records) + 1))
    for number, name in listed:
        assert name.startswith(number)
        text = (DECISIONS / name).read_text(encoding="utf-8")
        assert text.startswith(f"# {number} ")
        parts = re.findall(r"^## (.*)$", text, re.M)
        assert parts == ["Context", "Decision", "Consequences"]


def test_the_readme_has_one_test_command_for_ci() -> None:
    assert read("README.md").count("<!-- test command -->") == 1


def test_the_gallery_shows_what_is_there_and_what_the_tool_counts() -> None:
    from dse.report.paper import swept_sizes

    text = read("docs/gallery.md")
    images = re.findall(r"\]\((\.\./plots/[\w/.-]+)\)", text)
    assert images == ["../plots/paper/figure3.png", "../plots/paper/figure3.svg"]
    assert all((ROOT / "docs" / path).is_file() for path in images)
    assert "```bash\ndse plot --paper\n```" in text
    counted = []
    for size in (*swept_sizes("squeeze_ratio"), *swept_sizes("pct_3x3")):
        printed, top5 = "–", "–"
        if size.published:
            printed, top5 = f"{size.published.size_mb:g}", f"{size.published.top5_accuracy:.1%}"
        size_cells = f"{size.value:g} | {size.params_count:,} | {size.weight_mib:.2f}"
        counted.append(f"| {size_cells} | {printed} | {top5} |")
    assert re.findall(r"^\| \d.*$", text, re.M) == counted


def test_the_comparison_in_the_readme_is_what_is_printed() -> None:
    from typer.testing import CliRunner

    from dse.cli.main import app

    (command,) = re.findall(
        r"^\$ dse (describe alexnet squeezenet_v1.0 .*)$", read("README.md"), re.M
    )
    printed = CliRunner().invoke(app, command.split()).stdout
    assert f"$ dse {command}\n{printed}```" in read("README.md")
