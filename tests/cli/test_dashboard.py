from __future__ import annotations

import contextlib
import http.client
import importlib.machinery
import os
import shutil
import sqlite3
import sys
import threading
import types
from contextlib import closing
from pathlib import Path
from wsgiref.simple_server import make_server

import pytest

from dse.cli.dashboard import Copy, refreshing
from dse.cli.serving import Gate

FIXTURE = Path(__file__).parents[1] / "fixtures" / "sweep" / "tiny-digits"
TITLE = "SELECT study_name FROM studies"


@pytest.fixture
def record() -> Path:
    folder = Path("results/a")
    folder.mkdir(parents=True)
    shutil.copy(FIXTURE / "study.db", folder)
    return folder / "study.db"


@pytest.fixture
def serve(monkeypatch):
    """A stand-in for optuna-dashboard, and for the server: its address, and what it then raises."""
    served: list[tuple[str, int, str]] = []
    raised: list[BaseException] = []

    class Server(contextlib.nullcontext):
        def __init__(self, host: str, port: int, gate: Gate, *kinds: type) -> None:
            super().__init__()
            if raised:
                raise raised[0]
            served.append((host, port, gate.token))

        def serve_forever(self) -> None:
            raise KeyboardInterrupt

    module = types.ModuleType("optuna_dashboard")
    module.__spec__ = importlib.machinery.ModuleSpec("optuna_dashboard", None)
    module.wsgi = _name_of_study  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "optuna_dashboard", module)
    monkeypatch.setattr("dse.cli.serving.make_server", Server)
    return served, raised


def _name_of_study(url: str):
    """An application that says which study the database of an address holds."""

    def app(environ, start):
        with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            (name,) = database.execute(TITLE).fetchone()
        start("200 OK", [("Content-Type", "text/plain")])
        return [name.encode()]

    return app


def test_serves_this_machine_alone_until_ctrl_c(run, record, serve):
    for arguments in (("a",), ("results/a", "--port", 9000)):
        result = run("dashboard", *arguments)
        assert (result.exit_code, result.stderr) == (0, "")
        host, port, token = serve[0][-1]
        assert result.stdout == f"http://{host}:{port}/?token={token}  {record} (Ctrl-C ends it)\n"
    assert [entry[:2] for entry in serve[0]] == [("127.0.0.1", 8080), ("127.0.0.1", 9000)]
    assert serve[0][0][2] != serve[0][1][2], "a token of its own"
    assert os.listdir("results/a") == ["study.db"]


@pytest.mark.usefixtures("record")
def test_port_in_use(run, serve):
    serve[1].append(OSError(98, "Address already in use"))
    result = run("dashboard", "a")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: port 8080 of 127.0.0.1 cannot be served on: Address already in use; choose "
        "another: --port 8081\n",
    )


@pytest.fixture
def site(record, tmp_path):
    """The gate before a record on a port of its own: (ask, token)."""
    copy = Copy(record, tmp_path / "copy.db")
    copy.refresh()
    with make_server("127.0.0.1", 0, None) as server:  # type: ignore[arg-type]
        port = server.server_port
        app = refreshing(_name_of_study(f"sqlite:///{copy.path}"), copy.refresh)
        gate = Gate(app, command="dse dashboard", home="/dashboard", port=port)
        server.set_app(gate)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()

        def ask(path, method="GET", **headers) -> tuple[int, str, http.client.HTTPMessage]:
            with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
                connection.request(method, path, headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.read().decode(), answer.headers

        yield ask, gate.token
        server.shutdown()
        thread.join()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_only_reading_with_the_token_under_the_machines_name(site, capsys):
    ask, token = site
    assert ask("/api/studies")[0] == 403
    assert ask("/?token=guessed")[0] == 403
    assert ask("/api/studies", Cookie="dse=x; \xff")[0] == 403
    status, _, headers = ask(f"/?token={token}")
    cookie = headers["Set-Cookie"].partition(";")[0]
    assert (status, headers["Location"]) == (303, "/dashboard")
    assert "HttpOnly; SameSite=Strict" in headers["Set-Cookie"]
    assert ask("/api/studies", Cookie=cookie)[:2] == (200, "tiny-digits")
    assert ask("/api/studies", Cookie=cookie, Host="rebound.example")[0] == 403
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        assert ask("/api/studies/1", method, Cookie=cookie)[0] == 405
    capsys.readouterr()


def test_what_is_looked_at_is_a_copy_that_follows_the_record(record, tmp_path):
    copy = Copy(record, tmp_path / "copy.db")
    copy.refresh()
    content = record.read_bytes()
    with closing(sqlite3.connect(copy.path)) as database:
        database.execute("DELETE FROM studies")
        database.commit()
    assert record.read_bytes() == content
    with closing(sqlite3.connect(record)) as driver:  # holds it open: what is new is in its log
        driver.execute("UPDATE studies SET study_name = 'renamed'")
        driver.commit()
        assert record.read_bytes() == content
        copy.refresh()
        with closing(sqlite3.connect(copy.path)) as database:
            assert database.execute(TITLE).fetchall() == [("renamed",)]


@pytest.mark.usefixtures("record")
def test_not_installed_says_how_to_install_it(run, monkeypatch):
    monkeypatch.setattr("dse.cli.dashboard.find_spec", lambda name: None)
    result = run("dashboard", "a")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "error: optuna-dashboard is not installed; install it beside dse: "
        "pip install 'dse[dashboard]', or from a checkout pip install '.[dashboard]'\n"
    )


@pytest.mark.usefixtures("toy_keys", "serve")
def test_published_results_have_no_record(run):
    result = run("dashboard", "toy")
    assert result.exit_code == 1
    assert result.stderr == (
        "error: results/toy holds no study.db, which the dashboard reads: published results are "
        "tables alone; `dse plot toy` draws them, and the command in results/toy/study.yaml "
        "makes the record again\n"
    )


@pytest.mark.usefixtures("toy_keys")
def test_unknown_study_and_port(run):
    assert run("dashboard", "toi").stderr == (
        "error: study 'toi' not found in results; there is toy\n"
    )
    assert run("dashboard", "toy", "--port", 0).exit_code == 2
