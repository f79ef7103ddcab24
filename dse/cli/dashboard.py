"""`dse dashboard`: optuna-dashboard on a copy of a study's record, for whoever has its address.

optuna-dashboard has no login, and its interface renames and deletes studies. So it is given a copy
of the record, and a `Viewer` stands before it: reading alone, for this machine's name alone (a web
page elsewhere may have another name point here), and with a token that only this terminal shows.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
import tempfile
import threading
from collections.abc import Callable, Iterable
from http.cookies import CookieError, SimpleCookie
from importlib.util import find_spec
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Annotated, Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import typer

from dse.cli.options import ResultsDirectory, StudyName
from dse.errors import DseError, StudyError

EXAMPLES = """
\b
Examples:
  dse dashboard squeezenet-digits
  dse dashboard squeezenet-digits --port 8081
"""

HOST = "127.0.0.1"

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def command(
    study_name: StudyName,
    results: ResultsDirectory = Path("results"),
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="N", min=1, max=65535, help="Port to serve on.", show_default=True
        ),
    ] = 8080,
) -> None:
    """Look at a study's record with optuna-dashboard, in a browser.

    Serves a copy of the record on 127.0.0.1 until Ctrl-C, to whoever has the address that it
    prints; nothing can be changed there. Needs the extra `dashboard`.
    """
    database = _database(results, study_name)
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
        copy = Copy(database, Path(folder, "study.db"))
        copy.refresh()
        viewer = Viewer(wsgi(f"sqlite:///{copy.path}"), copy.refresh, port=port)
        try:
            server = make_server(HOST, port, viewer, _Server, _Handler)
        except OSError as error:
            raise DseError(
                f"port {port} of {HOST} cannot be served on: {error.strerror}; "
                f"choose another: --port {port + 1 if port < 65535 else port - 1}"
            ) from error
        with server:
            typer.echo(f"http://{HOST}:{port}/?token={viewer.token}  {database} (Ctrl-C ends it)")
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


class Viewer:
    """Lets through what only reads, from a browser that was given the token.

    Args:
        app: what is looked at.
        refresh: called before data is asked for.
        port: that is served on.

    Attributes:
        token: of the address; the browser keeps it as a cookie.
    """

    def __init__(self, app: App, refresh: Callable[[], None], *, port: int) -> None:
        self._app, self._refresh = app, refresh
        self._hosts = (f"{HOST}:{port}", f"localhost:{port}")
        self._cookie = f"dse-{port}"
        self.token = secrets.token_urlsafe(24)

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""

        def answer(status: str, text: str, *headers: tuple[str, str]) -> list[bytes]:
            start(status, [("Content-Type", "text/plain; charset=utf-8"), *headers])
            return [f"{text}\n".encode()]

        if environ.get("HTTP_HOST", "") not in self._hosts:
            return answer("403 Forbidden", f"this is {self._hosts[0]}, under no other name")
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return answer("405 Method Not Allowed", "nothing can be changed here", ("Allow", "GET"))
        if self._is_token(*parse_qs(environ.get("QUERY_STRING", "")).get("token", ())):
            cookie = f"{self._cookie}={self.token}; Path=/; HttpOnly; SameSite=Strict"
            return answer("303 See Other", "", ("Location", "/dashboard"), ("Set-Cookie", cookie))
        try:
            held = SimpleCookie(environ.get("HTTP_COOKIE", "")).get(self._cookie)
        except CookieError:
            held = None
        if held is None or not self._is_token(held.value):
            return answer("403 Forbidden", "open the address that dse dashboard printed")
        if environ.get("PATH_INFO", "").startswith(("/api/", "/csv/")):
            try:
                self._refresh()
            except StudyError as error:
                return answer("503 Service Unavailable", str(error))
        return self._app(environ, start)

    def _is_token(self, *given: str) -> bool:
        return any(hmac.compare_digest(one.encode(), self.token.encode()) for one in given)


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a browser that holds a connection does not hold the end


class _Handler(WSGIRequestHandler):
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: the address holds the token."""


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
