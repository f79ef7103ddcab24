from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from dse.cli.watch import LivePage
from dse.study.events import EventLog, LogEvent

SEARCH = Path(__file__).parents[2] / "results" / "squeezenet-cifar10-jpeg-search"
EVIL = "<script>alert(1)</script>"


@pytest.fixture
def study() -> Path:
    """A search with results and no log."""
    folder = Path("results/a")
    folder.mkdir(parents=True)
    for name in ("trials.csv", "study.yaml", "answer.json"):
        shutil.copy(SEARCH / name, folder)
    return folder


def write(folder: Path, *events: dict) -> None:
    log = EventLog(folder)
    for event in events:
        log.write(LogEvent(time_s=time.time(), **event))


def begun(pid: int = os.getpid()) -> dict:
    return {"kind": "run", "pid": pid, "host": socket.gethostname()}


def ask(page: LivePage, path: str) -> str:
    status: list[str] = []
    text = b"".join(page({"PATH_INFO": path}, lambda code, headers: status.append(code)))
    assert status == ["200 OK"]
    return text.decode()


def strip(page: LivePage) -> str:
    return re.sub("<[^>]+>", "|", json.loads(ask(page, "/now"))["strip"])


def test_says_what_the_workers_do_and_what_was_measured(study):
    job = {"candidate": "a1", "values": {"bypass": EVIL}, "worker": 1, "full_epochs": 8}
    write(
        study,
        begun(),
        {"kind": "stage", "text": "finals"},
        {"kind": "started", **job},
        {"kind": "epoch", **job, "epochs": 3, "loss": 0.125, "status": "4 done"},
    )
    page = LivePage(study)
    text = strip(page)
    assert "|running| finals: more seeds for the candidates around the reference" in text
    assert "4 done; last event 0 s ago" in text
    assert "| 3 of 8|" in text
    assert "|0.125|" in text
    assert EVIL not in ask(page, "/now") + ask(page, "/")
    assert "&lt;script&gt;" in ask(page, "/now")
    measured = {"accuracy": 0.75, "params_count": 1234, "epochs": 8}
    write(study, {"kind": "ended", **job, **measured, "status": "5 done"})
    text = strip(page)
    assert "training now" not in text
    assert "|1,234||75.00%||8 epochs|" in text
    assert "5 done" in text


def test_a_killed_run_is_waited_for_until_it_has_resumed_and_finished(study):
    gone = subprocess.Popen(["true"])
    gone.wait()
    started = {"kind": "started", "candidate": "a1", "worker": 0}
    write(study, begun(gone.pid), started)
    page = LivePage(study)
    assert "|stopped| its process is gone; the same command resumes" in strip(page)
    assert not page.is_finished
    write(study, begun(), {"kind": "over", "text": "interrupted"})
    assert "|stopped| interrupted; the same command resumes" in strip(page)
    assert not page.is_finished
    write(study, begun())
    assert "|running|" in strip(page)
    assert "training now" not in strip(page)
    write(study, {"kind": "over", "text": "finished"})
    assert "|finished|" in strip(page)
    assert page.is_finished


def test_the_page_changes_with_the_results(study):
    write(study, begun())
    page = LivePage(study)
    results = {name: (study / name).read_bytes() for name in ("trials.csv", "answer.json")}
    for name in results:
        (study / name).unlink()
    first = json.loads(ask(page, "/now"))["version"]
    assert "No candidate has ended yet" in ask(page, "/")
    for name, content in results.items():
        (study / name).write_bytes(content)
    assert json.loads(ask(page, "/now"))["version"] != first
    whole = ask(page, "/")
    assert "connect-src &#x27;self&#x27;" in whole
    assert "Accuracy against size" in whole
    assert "fetches nothing" not in whole
    (study / "trials.csv").write_text("candidate\n\x00")
    assert "The study cannot be shown: " in ask(page, "/")


def test_nothing_to_follow(run, study):
    result = run("watch", "a")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == (
        "nothing trains results/a: its last run has finished\ndse report a writes its page\n"
    )
    assert run("watch", "b").stderr == "error: study 'b' not found in results; there is a\n"


def test_port_in_use(run, study):
    write(study, begun())
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = run("watch", "a", "--port", port)
    assert result.exit_code == 1
    assert f"error: port {port} of 127.0.0.1 cannot be served on: Address" in result.stderr
    assert "choose another: --port" in result.stderr


class Watched:
    """`dse watch` as a process of its own."""

    def __init__(self, name: str) -> None:
        with closing(socket.socket()) as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = start("watch", name, "--port", self.port)
        assert self.process.stdout is not None
        self.token = self.process.stdout.readline().split()[0].partition("?token=")[2]
        self.cookie = ""

    def ask(self, path: str, **headers: str) -> tuple[int, str, str | None]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as connection:
            connection.request("GET", path, headers=headers)
            found = connection.getresponse()
            return found.status, found.read().decode(), found.headers["Set-Cookie"]

    def enter(self) -> None:
        status, _, cookie = self.ask(f"/?token={self.token}")
        assert status == 303
        assert cookie is not None
        self.cookie = cookie.partition(";")[0]

    def wait_for(self, state: str) -> None:
        for _ in range(600):
            strip = json.loads(self.ask("/now", Cookie=self.cookie)[1])["strip"]
            if f"|{state}|" in re.sub("<[^>]+>", "|", strip):
                return
            time.sleep(0.2)
        raise AssertionError(f"never {state}: {strip}")

    def assert_small(self) -> None:
        memory = Path(f"/proc/{self.process.pid}/status")
        if memory.exists():
            found = re.search(r"VmHWM:\s+(\d+) kB", memory.read_text())
            assert found is not None
            assert 20_000 < int(found[1]) < 100_000


def start(*words: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dse.cli.main", *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.long
def test_a_process_of_its_own_refuses_strangers_stays_small_and_ends_with_the_study(study):
    write(study, begun())
    watched = Watched("a")
    with watched.process as it:
        try:
            for path in ("/", "/now", "/?token=x"):
                assert watched.ask(path)[0] == 403
            watched.enter()
            mine = watched.cookie
            assert watched.ask("/", Cookie=mine, Host="rebound.example")[0] == 403
            assert watched.ask("/secret", Cookie=mine)[0] == 404
            status, whole, _ = watched.ask("/", Cookie=mine)
            assert (status, "The smallest network" in whole) == (200, True)
            watched.assert_small()
            write(study, {"kind": "over", "text": "finished"})
            assert json.loads(watched.ask("/now", Cookie=mine)[1])["over"]
            assert it.wait(20) == 0
            assert it.stderr is not None
            assert it.stderr.read() == ("results/a has finished; dse report a writes its page\n")
        finally:
            it.kill()


@pytest.mark.slow
def test_a_search_is_killed_and_resumed_under_it():
    shutil.copy(Path(__file__).parents[1] / "fixtures" / "spaces" / "tiny_search.yaml", ".")
    effort = ("--reference", "0.5", "--margin", "20%", "--budget", "4trials", "--epochs", "2")
    words = ("search", "tiny_search.yaml", *effort, "--workers", "1", "--study", "a")
    log = Path("results/a/events.jsonl")
    first = start(*words)
    for _ in range(600):
        if log.exists() and '"started"' in log.read_text():
            break
        time.sleep(0.2)
    watched = Watched("a")
    with watched.process as it:
        try:
            watched.enter()
            watched.wait_for("running")
            first.kill()
            first.communicate()
            watched.wait_for("stopped")
            assert it.poll() is None
            second = start(*words)
            watched.wait_for("running")
            watched.assert_small()
            assert second.communicate(timeout=300)[0]
            assert second.returncode == 0
            assert it.wait(30) == 0
            assert it.stderr is not None
            assert it.stderr.read() == ("results/a has finished; dse report a writes its page\n")
        finally:
            it.kill()
