"""Fetch one file: under a temporary name, checked, then renamed."""

from __future__ import annotations

import hashlib
import http.client
import urllib.request
from pathlib import Path
from typing import IO

from dse.data.source import Progress
from dse.errors import ChecksumError, DataError
from dse.files import make_private, replacing

TIMEOUT_S = 30.0  # without a byte
_CHUNK_BYTES = 2**20


def download(url: str, path: Path, *, md5: str, otherwise: str, progress: Progress) -> None:
    """Fetch `url` into `path`, which is there afterwards whole and checked, or not at all.

    Args:
        url: of the file.
        path: where it goes.
        md5: of the published file, hexadecimal.
        otherwise: how else the file can be named, for messages.
        progress: told of the bytes.

    Raises:
        DataError: no network, or the folder cannot be written; says where to put the file.
        ChecksumError: what came is not the published file.
    """
    try:
        make_private(path.parent)
        with replacing(path) as file:
            found = _fetch(url, file, progress)
            if found != md5:
                raise ChecksumError(
                    f"{url} gave a file whose MD5 is {found}, but the published one is {md5}; "
                    f"nothing was kept: try again, or put the right file at {path}"
                )
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, OSError) and error.filename and error.strerror:  # no network's
            reason = f"{path.parent}: {error.strerror}"
        raise DataError(
            f"cannot download {url}: {str(reason) or type(error).__name__}; fetch it by other "
            f"means and put it at {path}, {otherwise}"
        ) from error


def file_md5(path: Path, progress: Progress) -> str:
    """Hex MD5 of a file (a check against damage, not against forgery)."""
    hashed = hashlib.md5(usedforsecurity=False)
    size = path.stat().st_size
    done = 0
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            hashed.update(chunk)
            done += len(chunk)
            progress("checking bytes", done, size)
    return hashed.hexdigest()


def _fetch(url: str, file: IO[bytes], progress: Progress) -> str:
    """Copy the answer into an open file; return its MD5."""
    hashed = hashlib.md5(usedforsecurity=False)
    request = urllib.request.Request(url, headers={"User-Agent": "dse"})
    done = 0
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
        total = int(answer.headers.get("Content-Length") or 0)
        while chunk := answer.read(_CHUNK_BYTES):
            file.write(chunk)
            hashed.update(chunk)
            done += len(chunk)
            progress("downloading bytes", done, total)
    if total and done != total:
        raise OSError(f"the connection ended after {done} of {total} bytes")
    return hashed.hexdigest()
