"""A PostgreSQL server of the tests' own, on a port of this machine."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path


def programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`: of the system, or of the wheel `pgserver`."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if found:
        return found[-1].parent
    spec = find_spec("pgserver")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "pginstall" / "bin"


class Server:
    """A server with the user `tester`, whose password is `secret`."""

    def __init__(self, bin_folder: Path, folder: Path) -> None:
        self._bin, self._data = bin_folder, folder / "data"
        # The server refuses to run as root.
        self._user = {"user": "nobody", "extra_groups": []} if os.geteuid() == 0 else {}
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        password = folder / "password"
        password.write_text("secret")
        folder.chmod(0o777)
        auth = ["-A", "scram-sha-256", "-U", "tester", "--pwfile", str(password)]
        self._run("initdb", *auth, "--no-sync", "--no-locale", "-E", "utf8")
        self.start()

    def start(self) -> None:
        options = f"-h 127.0.0.1 -p {self.port} -k '' -F"
        self._run("pg_ctl", "-w", "-o", options, "-l", f"{self._data}/log", "start")

    def stop(self) -> None:
        """At once, with connections open."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    def url(
        self, database: str = "postgres", user: str = "tester", password: str = "secret"
    ) -> str:
        return f"postgresql+psycopg://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self, template: str = "template0") -> str:
        """The URL of an empty one, or of a copy."""
        name = f"d{secrets.token_hex(4)}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def execute(self, *statements: str, database: str = "postgres") -> None:
        import psycopg

        address = self.url(database).replace("+psycopg", "")
        with psycopg.connect(address, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._bin / program), "-D", str(self._data), *arguments]
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(command, stdout=said, stderr=said, cwd="/", **self._user)
            said.seek(0)
            assert done.returncode == 0, said.read().decode()


@contextmanager
def running() -> Iterator[Server]:
    """A new server, which is stopped and removed at the end."""
    bin_folder = programs()
    assert bin_folder is not None
    if os.geteuid() == 0:  # a virtual environment may lie in a folder that only root may enter
        for folder in bin_folder.parents:
            folder.chmod(folder.stat().st_mode | 0o011)
    folder = Path(tempfile.mkdtemp(prefix="dse-postgres-"))
    server = None
    try:
        server = Server(bin_folder, folder)
        yield server
    finally:
        if server:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
