"""Decode once, keep the arrays: the second start maps what the first one wrote.

A prepared dataset is written into a temporary folder and renamed when it is whole; what is
found is checked, and made again when it is damaged. The folder's name comes from the spec and
from the signature of the files, so a changed file means another folder, never a stale one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from dse.data.cache import found_in_cache, make_cache, make_room, use
from dse.data.cifar10 import locate_cifar10
from dse.data.dataset import (
    FORMAT_VERSION,
    RECORD_NAME,
    Dataset,
    check_pixels,
    open_dataset,
    record_digest,
)
from dse.data.digits import locate_digits
from dse.data.folder import locate_folder
from dse.data.packed import locate_pack
from dse.data.source import DataDescription, Progress, Source, SourceHandle, silent
from dse.data.spec import DataSpec, SourceName, cache_root
from dse.data.splits import SPLITS
from dse.data.write import Writer, full, is_streamed, needed_bytes, writing
from dse.errors import DataError
from dse.files import open_itself

LOCATE: dict[SourceName, Callable[[DataSpec, Path], SourceHandle]] = {
    "digits": locate_digits,
    "cifar10": locate_cifar10,
    "folder": locate_folder,
    "pack": locate_pack,
}
"""Where a source is found, and its signature, from (spec, cache folder); nothing is decoded."""

_CHECKED_BYTES = 2**30  # up to this size every pixel is checked on each start (about 1 GB/s)


def prepare_data(
    spec: DataSpec,
    *,
    cache_directory: Path | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """Find data, decode it unless that was done before, and map it.

    Args:
        spec: what to prepare.
        cache_directory: where prepared data is kept; default DSE_CACHE or the user's cache.
        progress: called with (stage, done, total); total is 0 where it is not known.

    Returns:
        The dataset; `.directory` is what a worker passes to `open_dataset`.

    Raises:
        DataError: missing, broken or too few images, or a cache that cannot be written.
        ChecksumError: an archive is not the published one.
    """
    cache = cache_root(cache_directory)
    report = progress or silent
    located = LOCATE[spec.source](spec, cache)
    name = _directory_name(spec, located)
    if (dataset := _open_if_sound(cache, name)) is None:
        with _lock(cache, name, report):
            # Another process may have made it while this one waited.
            if (dataset := _open_if_sound(cache, name)) is None:
                _build(spec, located, cache / name, report)
                dataset = open_dataset(cache / name)
    use(dataset.directory)
    make_room(cache, report)
    if spec.duplicates == "error" and any(dataset.duplicates.values()):
        found = [warning for warning in dataset.warnings if "--duplicates" in warning]
        raise DataError(
            "\n".join([f"{dataset.name} holds duplicates (--duplicates error):", *found])
        )
    return dataset


def describe_data(
    spec: DataSpec,
    *,
    cache_directory: Path | None = None,
    progress: Progress | None = None,
) -> DataDescription:
    """Name, input shape and classes, without decoding; writes nothing.

    A folder that was not prepared yet has the headers of its images read, as far as needed.

    Raises:
        DataError: the data is not there, or not what it should be.
    """
    cache = cache_root(cache_directory)
    report = progress or silent
    located = LOCATE[spec.source](spec, cache)
    if located.description is not None:
        return located.description
    for directory in found_in_cache(cache, _directory_name(spec, located)):
        try:
            found = open_dataset(directory)
        except DataError:
            continue
        train_count = len(found.train)
        return DataDescription(
            found.name,
            found.input_shape,
            found.classes,
            train_count,
            found.warnings,
            found.class_counts,
        )
    source = located.open(report)
    train_count = source.counts["train"]
    return DataDescription(
        located.name,
        source.input_shape,
        source.classes,
        train_count,
        source.warnings,
        source.class_counts,
    )


def _directory_name(spec: DataSpec, located: SourceHandle) -> str:
    path = None if spec.path is None else os.fspath(spec.path.resolve())
    asked = {**asdict(spec), "path": path}
    if spec.duplicates != "drop":
        del asked["duplicates"]  # the same images, whatever is said of them
    if spec.preprocessing is None:
        del asked["preprocessing"]
    key = [FORMAT_VERSION, asked, located.signature]
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", located.name).strip("._") or spec.source
    return f"{name[:40]}-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"


def _open_if_sound(cache: Path, name: str) -> Dataset | None:
    """The prepared dataset, or None where there is none or it is damaged."""
    for directory in found_in_cache(cache, name):
        with contextlib.suppress(DataError):
            dataset = open_dataset(directory)
            size_bytes = sum(getattr(dataset, split).images.nbytes for split in SPLITS)
            if size_bytes <= _CHECKED_BYTES:
                check_pixels(dataset)
            return dataset
    return None


def _build(spec: DataSpec, located: SourceHandle, directory: Path, report: Progress) -> None:
    cache = directory.parent
    source = located.open(report)
    needed = 0 if is_streamed(source) else needed_bytes(source)
    free_bytes = shutil.disk_usage(cache).free
    if free_bytes < needed:
        raise DataError(full(cache, needed, free_bytes))
    with writing(cache, needed):
        for stale in cache.glob(f".{directory.name}.*.tmp"):  # of a process that was killed
            shutil.rmtree(stale, ignore_errors=True)
        temporary = cache / f".{directory.name}.{secrets.token_hex(6)}.tmp"
        temporary.mkdir(mode=0o755)  # for others to read, where folder and umask let them
    try:
        writer = _write(source, temporary, report)
        if (settled := source.settled()) is not None:  # copies show when all is decoded
            source = settled
            writer = _write(source, temporary, report)
        record = {**writer.record(located.name, spec), "duplicates": dict(source.duplicates)}
        with writing(cache, needed):
            with open(temporary / RECORD_NAME, "w", encoding="utf-8") as file:
                json.dump({**record, "digest": record_digest(record)}, file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            open_dataset(temporary)
            if directory.exists():  # damaged
                away = temporary.with_suffix(".old.tmp")
                os.rename(directory, away)
                shutil.rmtree(away, ignore_errors=True)
            os.rename(temporary, directory)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(source: Source, directory: Path, report: Progress) -> Writer:
    writer = Writer(source, directory, report)
    for split in SPLITS:
        writer.write_split(split)
    return writer


@contextlib.contextmanager
def _lock(cache: Path, name: str, report: Progress) -> Iterator[None]:
    """Let one process prepare while others wait.

    The lock saves work only: the rename alone keeps the data whole, also on systems that have
    no flock. It goes with the process, so nothing stale is left behind.
    """
    with contextlib.ExitStack() as stack:
        with writing(cache, 0):
            make_cache(cache)
            file = stack.enter_context(open_itself(cache / f".{name}.lock", os.O_WRONLY))
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("waiting for another process", 0, 0)
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:  # some network file systems have no locks
            if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
        yield
