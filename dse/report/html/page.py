"""The page as a whole: one file that fetches nothing and runs no script but its own."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from dse.errors import UsageError
from dse.report.html.contents import Contents
from dse.report.html.front import COLOURS_COUNT, front_section
from dse.report.html.lines import curves_section, parallel_section
from dse.report.html.markup import Html, Part, join, table, tag
from dse.report.html.sheets import deployment_section, sheets
from dse.report.html.words import (
    claim_section,
    headline,
    importance_section,
    provenance_section,
    summary,
)
from dse.study.description import current_versions, versions_text
from dse.study.paths import write_file
from dse.text import percent

_FOLDER = Path(__file__).parent

_COMPLETE = " This file is complete: it fetches nothing and sends nothing."

_SECTIONS: tuple[tuple[str, str, Callable[[Contents], Html | None]], ...] = (
    ("claim", "The claim", claim_section),
    ("curves", "Learning curves", curves_section),
    ("importance", "What matters at equal size", importance_section),
    ("parallel", "What the candidates are", parallel_section),
    ("deployment", "Deployment", deployment_section),
    ("provenance", "Where this comes from", provenance_section),
)


def report_page(
    studies: Sequence[Contents],
    *,
    errors: Mapping[str, Html] | None = None,
    made: str = "",
    live: Html | None = None,
) -> str:
    """The page of one study or several.

    Args:
        studies: what it shows.
        errors: by study, what its network gets wrong, as `errors_section` says it.
        made: when and by what it was made; now and by this version unless given.
        live: of a page that is served while its study is trained, what stands on top.

    Returns:
        A whole HTML document, UTF-8. The same studies and `made` give the same text.

    Raises:
        UsageError: no studies, or more than the colours tell apart.
    """
    if not 1 <= len(studies) <= COLOURS_COUNT:
        raise UsageError(
            f"a page shows 1 to {COLOURS_COUNT} studies, but {len(studies)} were named"
        )
    title, is_one = headline(studies), len(studies) == 1
    made = made or f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC by {versions_text(current_versions())}"
    bodies = [
        _study(study, at, (errors or {}).get(study.name), is_one)
        for at, study in enumerate(studies)
    ]
    contents: list[tuple[str, str]] = [("front", "Accuracy against size")]
    contents += (
        bodies[0][0] if is_one else [(f"study-{at}", s.name) for at, s in enumerate(studies)]
    )
    names = ", ".join(study.name for study in studies)
    body = [
        live,
        tag(
            "header",
            tag("p", names, class_="eyebrow"),
            tag("h1", title),
            summary(studies[0]) if is_one else _overview(studies),
            class_="top",
        ),
        tag("nav", *(tag("a", words, href=f"#{anchor}") for anchor, words in contents)),
        tag(
            "section",
            tag("h2", "Accuracy against size"),
            front_section(studies),
            sheets(studies),
            _candidates(studies),
            id="front",
        ),
        *(section for _, section in bodies),
        tag("footer", f"Made {made}." + ("" if live else _COMPLETE)),
    ]
    return document(title, join(body), is_live=live is not None)


def write_report(path: Path, page: str) -> Path:
    """Write the page, whole or not at all.

    Raises:
        StudyError: the folder cannot be written.
    """
    return write_file(path, page.encode())


def document(title: str, body: Html, *, is_live: bool = False) -> str:
    """A whole HTML document that runs no script but its own.

    Args:
        title: of the page.
        body: its contents.
        is_live: it is served by `dse watch`, and fetches from there what is new.
    """
    style = _read("page.css")
    script = _read("page.js") + (_read("live.js") if is_live else "")
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_digest(style)}'; "
        f"script-src '{_digest(script)}'; base-uri 'none'; form-action 'none'"
        + ("; connect-src 'self'" if is_live else "")
    )
    again = tag("noscript", tag("meta", http_equiv="refresh", content="10"))
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Html(style)),
        again if is_live else None,
    ]
    page = tag(
        "html",
        tag("head", *head),
        tag("body", tag("main", body), tag("script", Html(script))),
        lang="en",
    )
    return f"<!doctype html>\n{page}\n"


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return f"sha256-{b64encode(sha256(text.encode()).digest()).decode()}"


def _study(
    study: Contents, at: int, errors: Html | None, is_one: bool
) -> tuple[list[tuple[str, str]], Html]:
    """Its sections, with (anchor, title) of each."""
    made = [(name, title, make(study)) for name, title, make in _SECTIONS]
    made.insert(4, ("errors", "What it gets wrong", errors))
    level, before = ("h2", "") if is_one else ("h3", f"s{at}-")
    held = [(f"{before}{name}", title, body) for name, title, body in made if body]
    sections = [tag("section", tag(level, title), body, id=anchor) for anchor, title, body in held]
    whole = join(sections)
    if not is_one:
        heading = tag("h2", tag("i", class_=f"sw dot s{at}"), study.name)
        whole = tag("section", heading, summary(study), *sections, id=f"study-{at}", class_="study")
    return [(anchor, title) for anchor, title, _ in held], whole


def _overview(studies: Sequence[Contents]) -> Html:
    rows: list[list[Part]] = []
    for at, study in enumerate(studies):
        best, told = study.shown, study.table.description
        verdict = ""
        if study.answer:
            verdict = "non-inferior" if study.answer.found else "non-inferiority not shown"
        rows.append(
            [
                tag("a", tag("i", class_=f"sw dot s{at}"), study.name, href=f"#study-{at}"),
                told.data.name,
                "search" if study.is_search else "sweep",
                len(study.finished),
                f"{best.sizes['params_count']:,.0f}" if best else None,
                percent(best.accuracy) if best else None,
                verdict,
            ]
        )
    titles = ["study", "data", "kind", "finished", "parameters", "validation accuracy", "verdict"]
    parts: list[Part] = [
        tag("p", "Of each study its answer, or its most accurate candidate.", class_="lead"),
        table(titles, rows),
    ]
    data = {study.table.description.data.fingerprint for study in studies}
    if len(data) > 1:
        parts.append(
            tag(
                "p",
                "These studies have different images: their accuracies cannot be compared.",
                class_="no",
            )
        )
    return join(parts)


def _candidates(studies: Sequence[Contents]) -> Html:
    """Every candidate in a table."""
    is_one = len(studies) == 1
    names = list(dict.fromkeys(name for s in studies for p in s.points for name in p.values))
    rows: list[list[Part]] = []
    for study in studies:
        for point in study.points:
            rows.append(
                [
                    *([] if is_one else [study.name]),
                    tag("a", tag("code", point.key), href=f"#{point.anchor}"),
                    *(point.values.get(name) for name in names),
                    f"{point.sizes['params_count']:,.0f}",
                    f"{point.sizes['macs']:,.0f}",
                    percent(point.accuracy),
                    percent(point.test_accuracy),
                    point.epochs,
                    point.seeds_count,
                    point.kind + (" *" if "params_count" in point.fronts else ""),
                ]
            )
    titles = [*([] if is_one else ["study"]), "candidate", *names, "parameters", "MACs"]
    titles += ["validation", "test", "epochs", "seeds", "state (* front)"]
    return tag(
        "details",
        tag("summary", f"All {len(rows):,} candidates as a table"),
        table(titles, rows, numbers=len(titles) - 7, class_="sortable"),
    )
