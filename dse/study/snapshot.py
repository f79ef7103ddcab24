"""Reading a record without writing: no lock, no file beside it, whoever else has it open."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path


def copy_record(path: Path, copy: Path) -> None:
    """Copy a record as it is at this moment, also while a process writes to it.

    The folder of a closed study may be one that cannot be written: nothing is made beside it.

    Args:
        path: of the record.
        copy: where it goes; a copy that was made before and is open shows the new content.

    Raises:
        OSError, sqlite3.Error: it cannot be read, or is damaged.
    """
    log = log_of(path)
    if log.exists() and not os.access(path.parent, os.W_OK):
        # SQLite reads a log by a file of its own that it makes beside it: it gets both elsewhere.
        shutil.copyfile(log, log_of(copy))
        shutil.copyfile(path, copy)
        return
    with (
        contextlib.closing(connect_read_only(path)) as source,
        contextlib.closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def connect_read_only(path: Path) -> sqlite3.Connection:
    """A connection that writes nothing; without a log beside the file it takes no lock either."""
    mode = "mode=ro" if log_of(path).exists() else "immutable=1"
    return sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True)


def log_of(path: Path) -> Path:
    """The write-ahead log of a database, which is there while it is open or after a crash."""
    return path.with_name(f"{path.name}-wal")
