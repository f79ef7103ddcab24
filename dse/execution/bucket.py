"""Artifacts in a bucket (`s3://`, `gs://`, `az://`) or in a folder that every machine sees.

An object is named by its artifact's key; a folder (prepared images) is a tar file there. What a
machine has fetched it keeps in folders of its own.
"""

from __future__ import annotations

import contextlib
import os
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dse.errors import MachineError, StudyError
from dse.execution.artifacts import FolderStore
from dse.files import replacing

CHUNK_BYTES = 8 << 20


def check_bucket(url: str) -> None:
    """Write and remove a small object.

    Raises:
        StudyError: the library for buckets is not installed.
        MachineError: no such kind of address, or no right to write there.
    """
    with _told(url):
        import obstore

        _opened(url).put(".dse", b"")
        obstore.delete(_opened(url), ".dse")


@dataclass(frozen=True)
class BucketStore:
    """Artifacts at an address, with copies in folders of this machine.

    Attributes:
        url: `s3://BUCKET/PREFIX`, `gs://…`, `az://…`, `file:///FOLDER` or a path.
        here: the copies.

    All methods raise MachineError where the address cannot be reached.
    """

    url: str
    here: FolderStore

    def fetch(self, key: str) -> Path | None:
        """A copy of what is there now; without one what this machine has, if anything."""
        path, name = self.here.path(key), self._object(key)
        if path.is_dir():  # its key says what is in it
            return path
        with _told(self.url):
            try:
                found = _opened(self.url).get(name)
            except FileNotFoundError:
                return self.here.fetch(key)
            if name == key:
                with replacing(path) as file:
                    file.writelines(found.stream(min_chunk_size=CHUNK_BYTES))
                return path
            with tempfile.TemporaryDirectory(dir=path.parent) as folder:
                packed, content = Path(folder, "packed"), Path(folder, "content")
                with packed.open("wb") as file:
                    file.writelines(found.stream(min_chunk_size=CHUNK_BYTES))
                with tarfile.open(packed) as archive:
                    archive.extractall(content, filter="data")
                content.rename(path)
            return path

    @contextlib.contextmanager
    def writing(self, key: str) -> Iterator[Path]:
        """Its copy's path; what is there at the end goes to the address."""
        path = self.here.path(key)
        yield path
        if path.exists():
            self._put(key)

    def drop(self, key: str) -> None:
        """Remove it and its copy; what cannot be removed is left."""
        import obstore

        self.here.drop(key)
        with contextlib.suppress(OSError, obstore.exceptions.BaseError):
            obstore.delete(_opened(self.url), self._object(key))

    def offer(self, key: str) -> None:
        """Put what this machine has of it there, unless something is."""
        import obstore

        if self.here.fetch(key) is None:
            return
        with _told(self.url):
            try:
                obstore.head(_opened(self.url), self._object(key))
            except FileNotFoundError:
                self._put(key)

    def _put(self, key: str) -> None:
        path = self.here.path(key)
        with _told(self.url):
            if path.is_file():
                _opened(self.url).put(key, path)
                return
            with tempfile.TemporaryDirectory(prefix="dse-") as folder:
                packed = Path(folder, "packed.tar")
                with tarfile.open(packed, "w") as archive:
                    archive.add(path.resolve(), arcname=".")
                _opened(self.url).put(self._object(key), packed)

    @staticmethod
    def _object(key: str) -> str:
        return f"{key}.tar" if key.startswith("data/") else key


@cache
def _opened(url: str) -> Any:
    from obstore.store import LocalStore, from_url

    scheme, mark, path = url.partition("://")
    if not mark or scheme == "file":
        return LocalStore(Path(path if mark else url).absolute(), mkdir=True)
    # Options of ours keep the library from reading this one, which servers in tests need.
    is_open = os.environ.get("AWS_ALLOW_HTTP", "").lower() in ("1", "true")
    options: dict[str, Any] = {
        "client_options": {"connect_timeout": "10s", "timeout": "10m", "allow_http": is_open},
        "retry_config": {"max_retries": 5},
    }
    return from_url(url, **options)


@contextlib.contextmanager
def _told(url: str) -> Iterator[None]:
    """Raise what goes wrong at an address as a fault of the machine."""
    try:
        from obstore.exceptions import BaseError
    except ImportError as error:
        raise StudyError(
            "obstore, which reads and writes --artifacts, is not installed; install it on every "
            "machine: pip install 'dse[ray]', or from a checkout pip install '.[ray]'"
        ) from error
    try:
        yield
    except (BaseError, OSError, ValueError, tarfile.TarError) as error:
        said = " ".join(str(error).partition("Debug source")[0].split())
        raise MachineError(
            f"the artifacts at {url} cannot be read or written: {said}; give --artifacts a folder "
            "that every machine sees, or s3://BUCKET/PREFIX, gs://… or az://… with the rights to "
            "it (AWS_ACCESS_KEY_ID and so on) in the environment of every node"
        ) from error
