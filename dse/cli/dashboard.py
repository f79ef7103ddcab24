"""`dse dashboard`: optuna-dashboard on a copy of a study's record, for whoever has its address.

optuna-dashboard has no login, and its interface renames and deletes studies. So it is given a copy
of the record, and a `Gate` stands before it.
"""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import typer

from dse.cli.options import Port, ResultsDirectory, StorageUrl, StudyName
from dse.cli.running import studies_in
from dse.cli.serving import App, Gate, answer, open_server
from dse.errors import DseError, StudyError

EXAMPLES = """
\b
Examples:
  dse dashboard squeezenet-digits
  dse dashboard squeezenet-digits --port 8081
"""


def command(
    study_name: StudyName,
    results: ResultsDirectory = Path("results"),
    storage_url: StorageUrl = "",
    port: Port = 8080,
) -> None:
    """Look at a study's record with optuna-dashboard, in a browser.

    Serves a copy of the record on 127.0.0.1 until Ctrl-C, to whoever has the address that it
    prints; nothing can be changed there. Of a database server it shows all studies, as they are.
    Needs the extra `dashboard`.
    """
    database = "" if storage_url else _database(results, study_name)
    if storage_url:
        with studies_in(storage_url, results, [study_name]):  # it is there, and can be read
            pass
    if find_spec("optuna_dashboard") is None:
        raise DseError(
            "optuna-dashboard is not installed; install it beside dse: "
            "pip install 'dse[dashboard]', or from a checkout pip install '.[dashboard]'"
        )
    from optuna_dashboard import wsgi

    with (
        tempfile.TemporaryDirectory(prefix="dse-") as folder,
        contextlib.suppress(KeyboardInterrupt),
    ):
        if isinstance(database, Path):
            copy = Copy(database, Path(folder, "study.db"))
            copy.refresh()
            app = refreshing(wsgi(f"sqlite:///{copy.path}"), copy.refresh)
        else:
            app = wsgi(storage_url)
        gate = Gate(app, command="dse dashboard", home="/dashboard", port=port)
        server = open_server(gate, port)
        with server:
            typer.echo(f"{gate.address}  {database or study_name} (Ctrl-C ends it)")
            server.serve_forever()


class Copy:
    """A copy of a record that follows it, for as long as it is looked at.

    Args:
        source: the record.
        path: of the copy.
    """

    def __init__(self, source: Path, path: Path) -> None:
        self.source, self.path = source, path
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] = ()

    def refresh(self) -> None:
        """Copy the record where it has changed.

        Raises:
            StudyError: it cannot be read.
        """
        from dse.study.snapshot import copy_record, log_of
        from dse.study.storage import storage_errors

        with self._lock, storage_errors(self.source.parent):
            files = (self.source, log_of(self.source))
            seen = tuple(file.stat().st_mtime_ns for file in files if file.exists())
            if seen != self._seen:
                copy_record(self.source, self.path)
                self._seen = seen


def refreshing(app: App, refresh: Callable[[], None]) -> App:
    """The application, with `refresh` called before data is asked for."""

    def refreshed(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        if environ.get("PATH_INFO", "").startswith(("/api/", "/csv/")):
            try:
                refresh()
            except StudyError as error:
                return answer(start, "503 Service Unavailable", str(error))
        return app(environ, start)

    return refreshed


def _database(results: Path, name: str) -> Path:
    """The study's `study.db`.

    Raises:
        StudyError: there is no such study, or only what somebody published of it.
    """
    from dse.report.tables.studies import study_directory

    for directory in (results / name, Path(name)):
        if name.strip() and (directory / "study.db").is_file():
            return directory / "study.db"
    directory = study_directory(results, name)
    raise StudyError(
        f"{directory} holds no study.db, which the dashboard reads: published results are tables "
        f"alone; `dse plot {name}` draws them, and the command in {directory / 'study.yaml'} "
        "makes the record again"
    )
