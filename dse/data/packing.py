"""Making a pack of an image folder: in parallel, in order, and from where it was interrupted.

While it is made, the images lie in `OUT.part` and what is known of them in `OUT.journal`: a line
that says what is packed, then a record for each image. Records are written when the images before
them are on the disk, so that what the journal names is there, whatever ended the process.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import struct
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from dse.data.decode import decode_shorter, shown
from dse.data.folder import FolderSource, locate_folder
from dse.data.library_warnings import library_warnings
from dse.data.packfile import HEADER_BYTES, Format, header, index_and_footer, names_of
from dse.data.source import Progress, silent
from dse.data.spec import DataSpec, cache_root
from dse.data.splits import SPLITS
from dse.data.stream import in_order
from dse.data.write import BROKEN_SHARE
from dse.errors import DataError, ImageError
from dse.files import locked
from dse.text import counted, some_of

JPEG_QUALITY = 90
_BLOCK_COUNT = 32
_SYNC_BYTES = 8 * 2**20
_RECORD = struct.Struct("<QIHHI")  # offset, size, height, width, checksum


@dataclass(frozen=True)
class Packed:
    """What was packed.

    Attributes:
        path: the pack.
        images_count: images in it.
        resumed_count: of those, found from an earlier attempt.
        broken: `path (reason)` of those that were left out.
        warnings: what the user should know of the folder.
        classes: class names.
        counts: images of each part of the folder, broken ones included.
        file_bytes: of the pack.
        wall_s: seconds of this attempt.
    """

    path: Path
    images_count: int
    resumed_count: int
    broken: tuple[str, ...]
    warnings: tuple[str, ...]
    classes: tuple[str, ...]
    counts: dict[str, int]
    file_bytes: int
    wall_s: float


def pack_folder(
    spec: DataSpec,
    out: Path,
    *,
    short_side: int,
    format: Format = "jpeg",
    force: bool = False,
    progress: Progress = silent,
) -> Packed:
    """Write all images of a folder into one file; interrupted, the same call resumes.

    Args:
        spec: `folder:PATH`; how it is split is decided where the pack is read.
        out: the file.
        short_side: pixels that the shorter side of larger images gets.
        format: `jpeg` (quality 90) or `raw` pixels.
        force: replace a file that is there.
        progress: called with (stage, images done, images in all).

    Raises:
        DataError: no image folder, too many broken images, `out` exists, lies in the folder or
            cannot be written, or another process packs into it.
    """
    if spec.source != "folder" or spec.path is None:
        raise DataError(f"only folders are packed (folder:PATH), not {spec.source}")
    out = Path(os.path.abspath(out))
    if out.resolve().is_relative_to(spec.path.resolve()):
        raise DataError(
            f"--out {out} lies in the folder that is packed; name a file outside of {spec.path}"
        )
    if out.exists() and not force:
        raise DataError(f"--out {out} exists; --force replaces it, or choose another")
    started = time.perf_counter()
    located = locate_folder(spec, cache_root())
    source = located.open(progress)
    assert isinstance(source, FolderSource)
    channels = source.shape[2]
    parts = [split for split in SPLITS if split in source.listed]
    counts: dict[str, int] = {split: len(source.listed[split][0]) for split in parts}
    about = {
        "name": located.name,
        "classes": list(source.classes),
        "counts": counts,
        "channels": channels,
        "format": format,
        "short_side": short_side,
    }
    paths = source.origin.files
    part, journal = out.with_name(f"{out.name}.part"), out.with_name(f"{out.name}.journal")
    busy = DataError(f"another process packs into {out}; wait for it, or choose another --out")
    try:
        with locked(journal, busy), open(journal, "r+b") as notes, open(part, "a+b") as file:
            first = json.dumps([located.signature, about], sort_keys=True).encode() + b"\n"
            records = _resumed(notes, file, first)
            resumed_count = len(records)
            broken = _pack_rest(paths, records, notes, file, about, source.root, progress)
            _check_broken(broken, len(paths))
            file.seek(0, os.SEEK_END)
            file.write(_end(source, records, about, file.tell()))
            file.flush()
            os.fsync(file.fileno())
            file_bytes = file.tell()
            os.replace(part, out)
            journal.unlink()
    except OSError as error:
        raise DataError(
            f"--out {out}: cannot be written: {error.strerror or error}; once this is fixed, the "
            "same command resumes"
        ) from error
    return Packed(
        path=out,
        images_count=sum(size > 0 for _, size, *_ in records),
        resumed_count=resumed_count,
        broken=tuple(broken),
        warnings=source.notes,
        classes=source.classes,
        counts=counts,
        file_bytes=file_bytes,
        wall_s=time.perf_counter() - started,
    )


_Record = tuple[int, int, int, int, int]


def _resumed(notes: IO[bytes], file: IO[bytes], first: bytes) -> list[_Record]:
    """What an earlier attempt at the same pack left; anything else is written over."""
    records: list[_Record] = []
    notes.seek(0)
    if notes.read(len(first)) == first:
        data = notes.read()
        records = list(_RECORD.iter_unpack(data[: len(data) // _RECORD.size * _RECORD.size]))
    file.seek(0, os.SEEK_END)
    end = max([HEADER_BYTES, *(offset + size for offset, size, *_ in records)])
    if file.tell() < end:  # somebody cut it
        records, end = [], HEADER_BYTES
    if not records:
        file.truncate(0)
        file.write(header())
        notes.seek(0)
        notes.truncate()
        notes.write(first)
    file.truncate(end)
    file.seek(end)
    notes.truncate(len(first) + _RECORD.size * len(records))
    notes.seek(0, os.SEEK_END)
    return records


def _pack_rest(
    paths: Sequence[str],
    records: list[_Record],
    notes: IO[bytes],
    file: IO[bytes],
    about: dict[str, object],
    root: Path,
    progress: Progress,
) -> list[str]:
    """Append the images that are missing to file, records and notes; the broken ones, named."""
    channels, side = int(str(about["channels"])), int(str(about["short_side"]))
    name_of = {i: shown(os.path.relpath(paths[i], root)) for i, r in enumerate(records) if not r[1]}
    broken = [f"{name} (seen before)" for name in name_of.values()]
    starts = range(len(records), len(paths), _BLOCK_COUNT)
    blocks = (paths[start : start + _BLOCK_COUNT] for start in starts)

    def encode_block(block: Sequence[str]) -> list[tuple[bytes, int, int] | ImageError]:
        return [_encoded(path, channels, side, str(about["format"])) for path in block]

    offset, waiting = file.tell(), 0
    with contextlib.ExitStack() as stack:
        stack.callback(_sync, file, notes, records)
        for block in in_order(encode_block, blocks):
            for encoded in block:
                if isinstance(encoded, ImageError):
                    name = shown(os.path.relpath(paths[len(records)], root))
                    broken.append(f"{name} ({encoded.reason})")
                    records.append((offset, 0, 0, 0, 0))
                    continue
                data, height, width = encoded
                file.write(data)
                records.append((offset, len(data), height, width, zlib.crc32(data)))
                offset += len(data)
                waiting += len(data)
            if waiting > _SYNC_BYTES:
                _sync(file, notes, records)
                waiting = 0
            progress("packing", len(records), len(paths))
    return broken


def _sync(file: IO[bytes], notes: IO[bytes], records: Sequence[_Record]) -> None:
    """Images first, then the records of those that are not in the journal yet."""
    file.flush()
    os.fsync(file.fileno())
    notes.seek(0)
    start = len(notes.readline())
    noted = (notes.seek(0, os.SEEK_END) - start) // _RECORD.size
    notes.write(b"".join(_RECORD.pack(*record) for record in records[noted:]))
    notes.flush()


def _encoded(
    path: str, channels: int, side: int, format: str
) -> tuple[bytes, int, int] | ImageError:
    """An image as it is stored, its height and its width."""
    with library_warnings():
        try:
            image = decode_shorter(path, channels, side)
        except ImageError as error:
            return error
    if format == "raw":
        return image.tobytes(), image.height, image.width
    data = io.BytesIO()
    image.save(data, "JPEG", quality=JPEG_QUALITY)
    return data.getvalue(), image.height, image.width


def _check_broken(broken: Sequence[str], total: int) -> None:
    if len(broken) > BROKEN_SHARE * total:
        raise DataError(
            f"{len(broken)} of {counted(total, 'image')} cannot be decoded: {some_of(broken)}; up "
            f"to {BROKEN_SHARE:.0%} are left out, but not more: fix or remove them"
        )


def _end(
    source: FolderSource, records: Sequence[_Record], about: dict[str, object], offset: int
) -> bytes:
    found = np.array(records, np.uint64).reshape(-1, 5)
    columns = dict(zip(("offset", "size", "height", "width", "checksum"), found.T, strict=True))
    parts = [split for split in SPLITS if split in source.listed]
    columns["label"] = np.concatenate([source.listed[split][1] for split in parts])
    # Below the folder of their part, as `divide` knows them, so that the splits agree.
    names, columns["name_end"] = names_of(
        [
            path[len(source.directories[split]) + 1 :]
            for split in parts
            for path in source.listed[split][0]
        ]
    )
    return index_and_footer(about, columns, names, offset)
