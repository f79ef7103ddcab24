from __future__ import annotations

import importlib.machinery
import sys
import types
from pathlib import Path

import pytest


@pytest.fixture
def record() -> Path:
    folder = Path("results/a")
    folder.mkdir(parents=True)
    (folder / "study.db").touch()
    return (folder / "study.db").resolve()


@pytest.fixture
def serve(monkeypatch):
    """A stand-in for optuna-dashboard: what it was called with, and what it then raises."""
    calls: list[tuple[str, str, int]] = []
    raised: list[BaseException] = []

    def run_server(storage: str, *, host: str, port: int) -> None:
        calls.append((storage, host, port))
        if raised:
            raise raised[0]

    module = types.ModuleType("optuna_dashboard")
    module.__spec__ = importlib.machinery.ModuleSpec("optuna_dashboard", None)
    module.run_server = run_server  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "optuna_dashboard", module)
    return calls, raised


def test_serves_the_record_on_this_machine_alone(run, record, serve):
    result = run("dashboard", "a")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "http://127.0.0.1:8080  results/a/study.db (Ctrl-C ends it)\n"
    run("dashboard", "results/a", "--port", 9000)
    assert serve[0] == [
        (f"sqlite:///{record}", "127.0.0.1", 8080),
        (f"sqlite:///{record}", "127.0.0.1", 9000),
    ]


@pytest.mark.usefixtures("record")
def test_interrupt_ends_it_quietly(run, serve):
    serve[1].append(KeyboardInterrupt())
    result = run("dashboard", "a")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.usefixtures("record")
def test_port_in_use(run, serve):
    serve[1].append(OSError(98, "Address already in use"))
    result = run("dashboard", "a")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: port 8080 of 127.0.0.1 cannot be served on: Address already in use; choose "
        "another: --port 8081\n",
    )


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
