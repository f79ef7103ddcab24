"""What the documents say exists: files, tests, commands, decisions."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import pytest

from docs.blocks import committed

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
    assert f"\n## dse {name}\n" in read("docs/reference/commands.md")
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
    from dse.report.figures.paper import swept_sizes

    text = read("docs/gallery.md")
    images = re.findall(r"\]\((\.\./plots/[\w/.-]+)\)", text)
    assert images[:2] == ["../plots/paper/figure3.png", "../plots/paper/figure3.svg"]
    drawn = [path for place in committed("plots") for path in (place, *place.rglob("*"))]
    assert {path.stem for path in drawn if path.suffix == ".png"} == {
        Path(path).stem for path in images
    }
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


def test_the_comparison_in_the_documents_is_what_is_printed() -> None:
    from typer.testing import CliRunner

    from dse.cli.main import app

    text = read("docs/how-to/deploy.md")
    (command,) = re.findall(r"^\$ dse (describe alexnet squeezenet_v1.0 .*)$", text, re.M)
    printed = CliRunner().invoke(app, command.split()).stdout
    assert f"$ dse {command}\n{printed}```" in text


def documents() -> list[Path]:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return sorted([*pages, *(ROOT / "benchmarks").rglob("*.md"), ROOT / "results/paper/README.md"])


def anchors(page: Path) -> set[str]:
    """Anchors of the headings, as the site and the usual forges make them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).strip().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", documents(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_resolve(page: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for link, anchor in re.findall(r"\]\(([^)\s#]*)(?:#([^)\s]*))?\)", text):
        if "://" in link:
            continue
        target = (page.parent / link).resolve() if link else page
        assert target.exists(), f"{page.name}: {link}"
        assert not anchor or anchor in anchors(target), f"{page.name}: {link}#{anchor}"


def test_the_readme_and_the_decisions_are_short() -> None:
    assert len(read("README.md").split()) <= 950
    for path in DECISIONS.glob("0*.md"):
        text = path.read_text(encoding="utf-8")
        prose = [line for line in text.splitlines() if not line.startswith("|")]
        assert len(" ".join(prose).split()) <= 360, path.name


def _percent(text: str) -> str:
    return f"{float(text):.2%}"


@pytest.mark.parametrize("name", ["squeeze_ratio", "pct_3x3"])
def test_the_tables_of_sweeps_are_what_was_measured(name: str) -> None:
    with (ROOT / "results" / f"{name}-cifar10-jpeg" / "trials.csv").open(encoding="utf-8") as file:
        rows = [
            f"| {float(row[name]):g} | {int(row['params_count']):,} "
            f"| {_percent(row['validation_accuracy'])} | {_percent(row['test_accuracy'])} |"
            for row in csv.DictReader(file)
        ]
    text = read("docs/results.md")
    table = text[text.index(f"| {name} | parameters") :].split("\n\n", 1)[0].splitlines()[2:]
    assert table == rows


def test_the_compression_front_is_what_was_measured() -> None:
    study = ROOT / "results" / "squeezenet-cifar10-jpeg-search"
    front = json.loads((study / "answer-front.json").read_text(encoding="utf-8"))
    text = read("docs/results.md")
    table = text[text.index("| density | lambda") :].split("\n\n", 1)[0].splitlines()[2:]
    sizes = {setting["file_bytes"] for setting in front["settings"]}
    shown = [int(row.split(" | ")[4].replace(",", "")) for row in table]
    assert len(shown) == 15
    assert set(shown) <= sizes


def test_the_package_does_not_unpickle():
    files = (ROOT / "dse").rglob("*.py")
    assert [path for path in files if "pickle" in path.read_text(encoding="utf-8")] == []
