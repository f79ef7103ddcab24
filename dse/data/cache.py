"""The folder of prepared images: whose they may be, how much of it is kept, and what is shared.

The folder is made for its user alone. Who lets others read it shares what is in it: they name it
by DSE_SHARED_CACHE and read there what its owner has prepared. Nothing is read from a folder that
a third person could have written.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from dse.data.dataset import RECORD_NAME
from dse.data.source import Progress
from dse.data.spec import CACHE_VARIABLE, bytes_limit
from dse.errors import DataError
from dse.files import check_held_by_user, check_own, make_private, open_ordinary

SHARED_VARIABLE, LIMIT_VARIABLE = "DSE_SHARED_CACHE", "DSE_CACHE_GB"
DEFAULT_LIMIT_GB = 50.0

_in_use: dict[Path, int] = {}
"""Descriptors of records that this process uses: open, and locked so that nobody removes them."""


def make_cache(cache: Path) -> None:
    """Make the folder, for this user alone, unless it is there.

    Raises:
        OSError: it cannot be made.
        DataError: it is another user's, or others can write it.
    """
    make_private(cache)
    try:
        check_held_by_user(cache.resolve())
    except PermissionError as error:
        raise DataError(
            f"the cache {error.filename} {error.strerror}; take that away (chmod go-w), or set "
            f"{CACHE_VARIABLE} to a folder of your own; what somebody else prepared is read by "
            f"{SHARED_VARIABLE}"
        ) from error


def found_in_cache(cache: Path, name: str) -> Iterator[Path]:
    """Where prepared images of this name lie, if they may be used: the user's own, then shared."""
    own = cache / name
    with contextlib.suppress(OSError):
        check_held_by_user(cache.resolve())
        check_own(own, own.lstat())
        yield own
    if shared := os.environ.get(SHARED_VARIABLE):
        root = Path(shared).expanduser().resolve()
        with contextlib.suppress(OSError):
            theirs, above = (root / name).lstat(), root.stat()
            if theirs.st_uid == above.st_uid and not (theirs.st_mode | above.st_mode) & 0o022:
                yield root / name


def use(directory: Path) -> None:
    """Note that prepared images are used now, and until the end of this process."""
    if directory in _in_use:
        os.close(_in_use.pop(directory))
    with contextlib.suppress(OSError):  # a cache that may only be read, or has no locks
        _in_use[directory] = os.open(directory / RECORD_NAME, os.O_RDONLY | os.O_NOFOLLOW)
        os.utime(directory)
        fcntl.flock(_in_use[directory], fcntl.LOCK_SH | fcntl.LOCK_NB)


def make_room(cache: Path, report: Progress) -> None:
    """Remove the prepared images that were used least recently, while there are too many.

    What a process uses stays, however much it is.

    Raises:
        DataError: the limit is no number.
    """
    most_bytes = bytes_limit(LIMIT_VARIABLE, DEFAULT_LIMIT_GB)
    found = prepared_images(cache)
    total_bytes = sum(one.size_bytes for one in found)
    for one in found:
        if total_bytes <= most_bytes:
            break
        if remove_prepared(one):
            report(f"removing {one.record.parent.name}, used least recently", 0, 0)
            total_bytes -= one.size_bytes


class Prepared(NamedTuple):
    """Prepared images: when they were used last, what they take, and their record."""

    used_s: float
    size_bytes: int
    record: Path


def prepared_images(cache: Path) -> list[Prepared]:
    """All in a cache, those used least recently first."""
    found = []
    for record in cache.glob(f"*-{'[0-9a-f]' * 16}/{RECORD_NAME}"):  # as `prepare` names them
        with contextlib.suppress(OSError):  # another process removes it
            used_s = record.parent.stat().st_mtime
            size_bytes = sum(path.stat().st_size for path in record.parent.iterdir())
            found.append(Prepared(used_s, size_bytes, record))
    return sorted(found)


def remove_prepared(one: Prepared) -> bool:
    """Remove prepared images unless a process uses them; whether they are gone."""
    with contextlib.suppress(OSError), open_ordinary(one.record) as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = one.record.parent
        away = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.tmp")
        folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)
        return True
    return False
