"""Records in a real PostgreSQL server, which these tests start and stop."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from dse.cli.main import app
from dse.errors import StudyError, StudyMismatchError
from dse.study.record import open_record, read_study
from dse.study.server import driving
from dse.study.shared import SharedStudy, parse_url
from tests import postgres
from tests.search import searching
from tests.search.processes import rows

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(
        postgres.programs() is None,
        reason="no PostgreSQL server here: apt install postgresql, or pip install pgserver",
    ),
]


@pytest.fixture(scope="module")
def server():
    pytest.importorskip("psycopg", reason="the driver is missing: pip install 'dse[postgresql]'")
    with postgres.running() as server:
        yield server


@pytest.fixture
def url(server) -> str:
    return parse_url(server.new_database())


@pytest.fixture(autouse=True)
def _in_process(monkeypatch) -> None:
    monkeypatch.setattr(searching, "make_executor", searching.InProcess)


def searched(folder: Path, url: str = "", **options):
    result, _ = searching.run(searching.search(), folder, storage_url=url, **options)
    told = [replace(trial, trial_id=-1, ended_s=[]) for trial in result.trials.values()]
    return told, rows(result.trials_path)


@pytest.fixture(scope="module")
def in_a_file(tmp_path_factory):
    """What the search gives with its record in SQLite."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "make_executor", searching.InProcess)
        return searched(tmp_path_factory.mktemp("file"))


@pytest.fixture(scope="module")
def study(server, tmp_path_factory):
    """The same in a database, and the folder of the study."""
    folder = tmp_path_factory.mktemp("server")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "make_executor", searching.InProcess)
        url = server.new_database()
        searched(folder, url)
    return folder, url.rsplit("/", 1)[1]


@pytest.fixture
def filled(server, study) -> str:
    """A copy of that database."""
    return server.new_database(study[1])


DRIVER = """
import sys, time
from pathlib import Path
from tests.search import searching
searching.make_executor = searching.InProcess
searching.run(
    searching.search(), Path(sys.argv[1]), storage_url=sys.argv[2],
    on_event=lambda event: time.sleep(float(sys.argv[3])),
)
"""


@contextlib.contextmanager
def driver(folder: Path, url: str, pause_s: float):
    """Another process that searches; killed at the end."""
    command = [sys.executable, "-c", DRIVER, str(folder), url, str(pause_s)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for_trials(url: str, count: int) -> None:
    end = time.monotonic() + 60
    while len(read_study(SharedStudy(url, "ratios"))[1]) < count:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_second_driver_is_refused_and_a_killed_one_is_resumed(server, url, tmp_path, in_a_file):
    with driver(tmp_path, url, 0.05) as process:
        wait_for_trials(url, 3)
        with pytest.raises(StudyError) as refused:
            searched(tmp_path / "elsewhere", url)
        assert f"study ratios in {url.replace('secret', '***')} is in use by the dse process" in (
            said := str(refused.value)
        )
        assert f" {process.pid} on {os.uname().nodename} since 20" in said
        process.send_signal(signal.SIGKILL)
        process.wait()
    done = read_study(SharedStudy(url, "ratios"))[1]
    assert 3 <= len(done) < len(in_a_file[0])
    assert searched(tmp_path, url) == in_a_file
    # From another machine, whose folder is empty: nothing is trained again.
    result, events = searching.run(searching.search(), tmp_path / "new", storage_url=url)
    assert (result.trained_count, searching.ended(events)) == (0, [])


def test_server_that_stops_ends_the_run_and_nothing_is_lost(server, url, tmp_path, in_a_file):
    seen = []

    def stop_at(event) -> None:
        seen.append(event)
        if len(seen) == 20:
            server.stop()

    with pytest.raises(StudyError, match=r"cannot be read or written: .*the same command resumes"):
        searched(tmp_path, url, on_event=stop_at)
    folder = tmp_path / "results" / "ratios"
    with pytest.raises(
        StudyError, match=r"\*\*\*@127.0.0.1.* cannot be read or written: .*refused"
    ):
        read_study(SharedStudy(url, "ratios"))
    server.start()
    # What was saved is a record of its own, as good as the database.
    lost = tmp_path / "lost" / "results" / "ratios"
    lost.mkdir(parents=True)
    saved = folder / "study-saved-1.db"
    assert saved.exists()
    saved.rename(lost / "study.db")
    assert searched(tmp_path / "lost") == in_a_file
    assert searched(tmp_path, url) == in_a_file


def test_cut_off_driver_writes_no_more_once_another_has_the_study(server, url, tmp_path):
    """Its connection is gone, and with it its lock."""
    definition = searching.search().definition(searching.dataset(tmp_path))
    pool = searching.pool()
    with open_record(tmp_path / "a", definition, searching.SPACE, url) as record:
        record.begin(pool.candidate(0), pool.costs_of(0))
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name LIKE 'dse %'"
        )
        with driving(SharedStudy(url, "ratios")):
            for _ in range(2):
                with pytest.raises(StudyError, match="is in use by the dse process"):
                    record.begin(pool.candidate(1), pool.costs_of(1))
    assert len(read_study(SharedStudy(url, "ratios"))[1]) == 1


def test_damaged_rows_and_other_definitions_are_named(server, filled, tmp_path):
    url = filled
    with pytest.raises(StudyMismatchError, match=r"study ratios in \S+ holds another study"):
        searching.run(searching.search(study_seed=1), tmp_path, storage_url=url)
    database = url.rsplit("/", 1)[1]
    server.execute(
        "UPDATE trial_user_attributes SET value_json = replace(value_json, '0.', '0.0')"
        " WHERE key LIKE 'dse:rung:%'",
        database=database,
    )
    with pytest.raises(StudyError, match=r"study ratios in .* is damaged: .*checksum differs"):
        read_study(SharedStudy(url, "ratios"))


def run(*arguments: object):
    return CliRunner().invoke(app, [str(a) for a in arguments], prog_name="dse")


def test_commands_read_the_database_alone(study, filled, tmp_path, monkeypatch):
    """From an empty folder they print what they print of the study's own folder."""
    url, folder = filled, study[0] / "results"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for command in (["front", "ratios", "--json"], ["front", "ratios"], ["studies"]):
        of_folder = run(*command, "--results", folder)
        of_database = run(*command, "--results", "empty", "--storage", url)
        assert of_database.exit_code == 0
        told = [text.stdout.split("20", 1)[0] for text in (of_folder, of_database)]
        assert told[0] == told[1]
    monkeypatch.setenv("DSE_STORAGE", url)
    reported = run("report", "ratios", "--results", "empty", "--out", "page.html", "--no-errors")
    assert reported.exit_code == 0
    assert "secret" not in Path("page.html").read_text()
    missing = run("front", "ration")
    assert (missing.exit_code, "study 'ration' not found in postgresql" in missing.stderr) == (
        1,
        True,
    )
    assert "it holds ratios" in missing.stderr


def test_addresses_that_lead_nowhere(server, url, filled, tmp_path):
    def said(bad: str) -> str:
        with pytest.raises(StudyError) as raised:
            read_study(SharedStudy(parse_url(bad), "s"))
        assert "secret" not in str(raised.value)
        assert "the same command resumes" in str(raised.value)
        return str(raised.value)

    assert "password authentication failed" in said(server.url(password="wrong"))
    assert "nowhere.invalid" in said("postgresql://tester:secret@nowhere.invalid/x")
    assert 'database "nothing" does not exist' in said(server.url("nothing"))
    server.execute("CREATE USER guest PASSWORD 'secret'")
    guest = url.replace("tester", "guest")
    with pytest.raises(StudyError, match="permission denied for schema public"):
        searched(tmp_path, guest)
    grant = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest"
    server.execute(grant, database=filled.rsplit("/", 1)[1])
    reader = SharedStudy(filled.replace("tester", "guest"), "ratios")
    assert len(read_study(reader)[1]) > 3, "reading takes no more than that"
