"""Files read within limits, written whole or not at all, held by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
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


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """All bytes of an ordinary file of at most `most_bytes`.

    Raises:
        OSError: it cannot be read, is larger, or is a folder, a pipe or a device, which could
            be read without end.
    """
    # Without waiting: opening a pipe that nobody writes to would never return.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not an ordinary file")
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes, the most that is read")
    return content


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
