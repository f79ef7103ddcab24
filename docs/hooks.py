"""Hook of mkdocs: pages and plots of the repository outside `docs/` are part of the site.

README.md becomes the start page; `benchmarks/`, `results/paper/`, CONTRIBUTING.md and
CHANGELOG.md keep their paths. Links are written for a reader of the repository; here they are
turned to where the site has the page. Links to what the site does not hold (source files,
folders) become plain text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {
    "README.md": "index.md",
    **{
        path.relative_to(ROOT).as_posix(): path.relative_to(ROOT).as_posix()
        for pattern in ("C*.md", "benchmarks/**/*.md", "results/paper/*.md")
        for path in ROOT.glob(pattern)
    },
}
"""Path in the repository to path in the site, of pages outside `docs/`."""

_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s#]*)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and plots outside `docs/`."""
    for source, place in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, place, content=text))
    for plot in sorted((ROOT / "plots").rglob("*.*")):
        place = plot.relative_to(ROOT).as_posix()
        files.append(File.generated(config, place, abs_src_path=str(plot)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Turn each relative link to the place of its target in the site."""
    place = page.file.src_uri
    source = {site: repository for repository, site in PAGES.items()}.get(place, f"docs/{place}")

    def turned(match: re.Match[str]) -> str:
        image, text, link, anchor = match.groups()
        if not link or "://" in link:
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
        found = PAGES.get(target, target.removeprefix("docs/"))
        if files.get_file_from_path(found) is None:
            return text
        relative = posixpath.relpath(found, posixpath.dirname(place) or ".")
        return f"{image}[{text}]({relative}{anchor or ''})"

    return _LINK.sub(turned, markdown)
