"""Files read within limits, written whole or not at all, held by one process at a time.

What may hold programs has to be this user's alone, as ssh asks of keys: folder and files belong to
the user and nobody else can write them, and nobody else can move the folders around them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import grp
import os
import pwd
import secrets
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO


def open_itself(path: Path, flags: int) -> IO[bytes]:
    """Open a file for writing, made where it is missing with the rights that the umask leaves.

    A link is not followed: somebody else might have laid it there to have his file's place taken
    by another's. What is there already stays as it is.

    Args:
        path: the file.
        flags: of `os.open`: how to write, and whether the file has to be new.

    Raises:
        OSError: it is a link, or the folder is missing or not to be written.
    """
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        said = "is a symbolic link, which is not written through; remove it"
        raise OSError(errno.ELOOP, said, str(path)) from error
    return os.fdopen(descriptor, "ab" if flags & os.O_APPEND else "wb")


@contextlib.contextmanager
def locked(path: Path, held: Exception | Callable[[], None]) -> Iterator[None]:
    """Hold a lock file; whatever ends the process gives it back.

    Args:
        path: the file; made if need be, and never written.
        held: raised where another process holds it; or called before that is waited for.

    Raises:
        OSError: the path is a link, or the folder is missing or not to be written.
    """
    with open_itself(path, os.O_WRONLY) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if isinstance(held, Exception):
                raise held from error
            held()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def open_ordinary(path: str | Path) -> IO[bytes]:
    """Open an ordinary file for reading, whatever is put in its place meanwhile.

    Raises:
        OSError: it cannot be read, or is a folder, a pipe or a device: those could be waited for
            or read without end, and some devices do something when they are opened.
    """
    if stat.S_ISREG(os.stat(path).st_mode):
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        file = os.fdopen(descriptor, "rb")
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return file
        file.close()
    raise OSError(errno.EINVAL, "not an ordinary file")


def read_bounded(path: Path, most_bytes: int) -> bytes:
    """All bytes of an ordinary file of at most `most_bytes`.

    Raises:
        OSError: it cannot be read, is larger, or is not what `open_ordinary` opens.
    """
    with open_ordinary(path) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise OSError(errno.EFBIG, f"larger than {most_bytes:,} bytes, the most that is read")
    return content


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that takes the place of `path` when all of it is on the disk.

    A reader sees the old file or the whole new one. Whatever goes wrong, the old file is as
    it was and nothing is left beside it. A link in its place is replaced, not followed.

    Raises:
        OSError: the folder is missing, full or not to be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    file = open_itself(temporary, os.O_WRONLY | os.O_EXCL)
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def private_folder(path: Path) -> Path:
    """A folder in which nobody else can put or change anything; made where it is missing.

    Returns:
        Its path without links: what one in the way points to later does not matter.

    Raises:
        OSError: it, or a folder around it, is somebody else's or can be written by others, or it
            cannot be made; `strerror` says it of `filename`.
    """
    path = path.resolve()
    make_private(path)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, "is not a folder", str(path))
    check_own(path, found)
    for folder in path.parents:
        check_held_by_user(folder)
    return path


def make_private(path: Path) -> None:
    """Make what is missing of a folder and those around it, for this user alone.

    Raises:
        OSError: one cannot be made.
    """
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            with contextlib.suppress(FileExistsError):
                folder.mkdir(mode=0o700)


def check_held_by_user(folder: Path) -> None:
    """Refuse a folder in which others could move what is this user's.

    Raises:
        OSError: it belongs to neither this user nor root, or others can write it; `strerror`
            says it of `filename`.
    """
    found = folder.lstat()
    if found.st_uid not in (0, os.geteuid()):
        raise PermissionError(errno.EPERM, "belongs to another user", str(folder))
    # In a folder with the sticky bit, such as /tmp, others cannot move what is not theirs.
    is_sticky = found.st_mode & stat.S_ISVTX
    if found.st_mode & 0o022 and not is_sticky and not _is_group_of_one(found):
        raise PermissionError(errno.EPERM, "can be written by others", str(folder))


def read_own(path: Path) -> bytes:
    """A file that belongs to this user and that nobody else can write.

    Raises:
        OSError: it is not so, is no ordinary file or a link, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is not an ordinary file", str(path))
        check_own(path, found)
        return file.read()


def check_own(path: Path, found: os.stat_result) -> None:
    """Refuse what is another user's or can be written by others.

    Args:
        path: for the error.
        found: what the system says of it.

    Raises:
        OSError: it is so; `strerror` says it of `filename`.
    """
    if found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "belongs to another user", str(path))
    if found.st_mode & 0o022:
        raise PermissionError(errno.EPERM, "can be written by others", str(path))


def _is_group_of_one(found: os.stat_result) -> bool:
    """Whether only a group can write that is this user's alone, as many systems give each."""
    if found.st_mode & 0o002 or not os.geteuid():
        return False
    try:
        group, user = grp.getgrgid(found.st_gid), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return group.gr_name == user and set(group.gr_mem) <= {user}
