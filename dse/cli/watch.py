"""`dse watch`: the page of `dse report`, live in a browser while a study is trained."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import typer

from dse.cli.options import Port, ResultsDirectory, StudyName
from dse.cli.serving import Gate, answer, open_server
from dse.cli.tables import note
from dse.errors import DseError

EXAMPLES = """
\b
Examples:
  dse watch squeezenet-photos-search
  dse watch squeezenet-photos-search --port 8081
"""

LOOK_EVERY_S = 0.5
LINGER_S = 10.0
"""At the end, for a browser that has not asked for the last page yet."""


def command(
    study_name: StudyName, results: ResultsDirectory = Path("results"), port: Port = 8080
) -> None:
    """Follow a study in a browser while it is trained.

    Serves the page of `dse report` on 127.0.0.1, to whoever has the address that it prints, and
    keeps it up to date. Ends with the study; where the study is interrupted or killed, waits
    for it to resume.
    """
    folder = _folder(results, study_name)
    live = LivePage(folder)
    if live.is_finished:
        note(f"nothing trains {folder}: its last run has finished")
        note(f"dse report {study_name} writes its page")
        return
    gate = Gate(live, command="dse watch", home="/", port=port)
    server = open_server(gate, port)
    with server, contextlib.suppress(KeyboardInterrupt):
        typer.echo(f"{gate.address}  {folder} (Ctrl-C ends it)")
        threading.Thread(target=server.serve_forever, args=(LOOK_EVERY_S,), daemon=True).start()
        live.wait_for_the_end()
        note(f"{folder} has finished; dse report {study_name} writes its page")


class LivePage:
    """Answers the requests of the page, from the files of a study.

    Args:
        folder: of the study.
    """

    def __init__(self, folder: Path) -> None:
        from dse.report.html.live import Now
        from dse.study.events import EventReader

        self._folder, self._events, self._now = folder, EventReader(folder), Now()
        self._lock = threading.Lock()
        self._asked_s, self._shown, self._is_told = -LINGER_S, "", False
        self._now.follow(self._events.read())

    @property
    def is_finished(self) -> bool:
        """Whether the study has come to its end, or was trained before there was a log."""
        has_results = (self._folder / "trials.csv").exists()
        return self._now.is_finished or (self._now.run is None and has_results)

    def wait_for_the_end(self) -> None:
        """Return when the study has finished and whoever looks at it has been told."""
        ended_s = float("inf")
        while time.monotonic() < ended_s:
            time.sleep(LOOK_EVERY_S)
            with self._lock:
                self._now.follow(self._events.read())
                if self._now.is_finished:
                    is_watched = time.monotonic() - self._asked_s < LINGER_S
                    last_s = time.monotonic() + LINGER_S if is_watched else 0.0
                    ended_s = 0.0 if self._is_told else min(ended_s, last_s)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request: `/`, the page, or `/now`, what stands on top of it."""
        path = environ.get("PATH_INFO", "")
        with self._lock:
            self._asked_s = time.monotonic()
            self._now.follow(self._events.read())
            if path == "/":
                return answer(start, "200 OK", self._whole(), kind="text/html")
            if path == "/now":
                told = {
                    "strip": self._strip(),
                    "version": self._version(),
                    "over": self._now.is_finished,
                }
                text = json.dumps(told)
                self._is_told = self._now.is_finished and self._shown == told["version"]
                return answer(start, "200 OK", text, kind="application/json")
        return answer(start, "404 Not Found", "nothing is here")

    def _version(self) -> str:
        """Another word whenever the results on the disk are others."""
        found = []
        for name in ("trials.csv", "study.yaml", "answer.json"):
            with contextlib.suppress(OSError):
                found.append(f"{(self._folder / name).stat().st_mtime_ns:x}")
        return "-".join(found)

    def _strip(self) -> str:
        from dse.report.html.live import live_strip

        return live_strip(self._now, moment_s=time.time())

    def _whole(self) -> str:
        from dse.report.html.contents import read_contents
        from dse.report.html.markup import Html, join, tag
        from dse.report.html.page import document, report_page

        self._shown = self._version()
        strip = tag("section", Html(self._strip()), id="live", data_version=self._shown)
        name = self._folder.resolve().name
        body = tag("p", "No candidate has ended yet; what is measured appears here.")
        try:
            if (self._folder / "trials.csv").exists():
                contents = read_contents(self._folder.parent, self._folder.name)
                return report_page([contents], live=strip)
        except DseError as error:
            body = tag("p", f"The study cannot be shown: {error}", class_="no")
        return document(name, join([strip, tag("h1", name), body]), is_live=True)


def _folder(results: Path, name: str) -> Path:
    """The folder of a study that has begun.

    Raises:
        StudyError: there is none; says which there are.
    """
    from dse.report.tables.studies import study_directory
    from dse.study.events import EVENTS_NAME
    from dse.study.paths import STUDY_FILES

    for folder in (results / name, Path(name)):
        if name.strip() and any((folder / file).is_file() for file in (*STUDY_FILES, EVENTS_NAME)):
            return folder
    return study_directory(results, name)
