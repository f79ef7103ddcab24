from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from dse.data import download as download_module
from dse.data.download import download
from dse.data.source import silent
from dse.errors import ChecksumError, DataError

CONTENT = bytes(range(256)) * 10_000
MD5 = hashlib.md5(CONTENT).hexdigest()


@contextmanager
def answering(
    content: bytes, *, status: int = 200, length: int | None = None, stall: bool = False
) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content) if length is None else length))
            self.end_headers()
            self.wfile.write(content)
            if stall:
                self.connection.settimeout(5)
                self.connection.recv(1)  # until the client gives up

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/a.bin"
        finally:
            server.shutdown()
            thread.join()


def test_the_file_arrives_with_progress(tmp_path: Path) -> None:
    steps: list[tuple[str, int, int]] = []
    with answering(CONTENT) as url:
        download(
            url,
            tmp_path / "new" / "a.bin",
            md5=MD5,
            otherwise="or name it",
            progress=lambda *s: steps.append(s),
        )
    assert (tmp_path / "new" / "a.bin").read_bytes() == CONTENT
    done = [step[1] for step in steps]
    assert done == sorted(done)
    assert steps[-1] == ("downloading bytes", len(CONTENT), len(CONTENT))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.bin"]


def test_a_wrong_checksum_keeps_nothing(tmp_path: Path) -> None:
    with answering(b"a login page") as url, pytest.raises(ChecksumError) as caught:
        download(url, tmp_path / "a.bin", md5=MD5, otherwise="or name it", progress=silent)
    assert hashlib.md5(b"a login page").hexdigest() in str(caught.value)
    assert f"the published one is {MD5}" in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 404}, "Not Found"),
        ({"length": len(CONTENT) + 5}, "ended after 2560000 of 2560005 bytes|IncompleteRead"),
        ({"length": len(CONTENT) + 5, "stall": True}, "timed out"),
    ],
)
def test_a_failed_download_says_why_and_keeps_nothing(
    answer: dict[str, int], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download_module, "TIMEOUT_S", 0.3)
    with (
        answering(CONTENT, **answer) as url,
        pytest.raises(DataError, match=rf"cannot download .*({reason}).*; fetch it by other means"),
    ):
        download(url, tmp_path / "a.bin", md5=MD5, otherwise="or name it", progress=silent)
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_stays_when_the_new_one_fails(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"old")
    with answering(b"new") as url, pytest.raises(ChecksumError):
        download(url, tmp_path / "a.bin", md5=MD5, otherwise="or name it", progress=silent)
    assert (tmp_path / "a.bin").read_bytes() == b"old"


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot download .*: .*file: (File exists|Not a dir)"):
        download(
            "http://127.0.0.1:9/",
            tmp_path / "file" / "a.bin",
            md5=MD5,
            otherwise="or name it",
            progress=silent,
        )
