"""Writing files whole or not at all, and one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def locked(path: Path, held: Exception) -> Iterator[None]:
    """Hold a lock file; whatever ends the process gives it back.

    Args:
        path: the file; made if need be.
        held: raised where another process holds it.

    Raises:
        OSError: the folder is missing or not to be written.
    """
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise held from error
        yield


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when all of it is on the disk.

    A reader sees the old file or the whole new one. Whatever goes wrong, the old file is as
    it was and nothing is left beside it.

    Raises:
        OSError: the folder is missing, full or not to be written.
    """
    descriptor, temporary = tempfile.mkstemp(
        dir=path.parent, prefix=f".{path.name}.", suffix=".tmp"
    )
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)  # a temporary file is readable by its owner only
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
