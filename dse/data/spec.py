"""What data a study asks for: `digits`, `folder:PATH`, `pack:FILE`, `cifar10` or `cifar10:PATH`."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dse.errors import DataError
from dse.weights.preprocessing import SIDE_MOST_PX, Preprocessing

SourceName = Literal["digits", "folder", "pack", "cifar10"]
SOURCES: tuple[SourceName, ...] = ("digits", "folder", "pack", "cifar10")
OWN: tuple[SourceName, ...] = ("folder", "pack")
"""Of a user's own images: of any size, and divided by the seed where they come undivided."""

Duplicates = Literal["warn", "drop", "error"]
DUPLICATES: tuple[Duplicates, ...] = ("warn", "drop", "error")

# Shares of all images of a class. Where the source comes with a test part, the test share is
# not used and the validation share is one of the training part (CIFAR-10: 45,000 and 5,000).
VALIDATION_SHARES: Mapping[SourceName, float] = {
    "digits": 0.2,
    "folder": 0.1,
    "pack": 0.1,
    "cifar10": 0.1,
}
TEST_SHARES: Mapping[SourceName, float] = {
    "digits": 0.2,
    "folder": 0.2,
    "pack": 0.2,
    "cifar10": 0.0,
}

ImageSize = int | str | tuple[int, int]
"""As it is asked for: a side in pixels, (height, width), or one of them as text: 64 or 48x64."""

CACHE_VARIABLE = "DSE_CACHE"


def bytes_limit(variable: str, default_gb: float) -> float:
    """Bytes of a limit that an environment variable may set in GB.

    Raises:
        DataError: it is set to something else.
    """
    text = os.environ.get(variable, "")
    try:
        return float(text or default_gb) * 1e9
    except ValueError as error:
        raise DataError(f"{variable} is {text!r}, but must be a number of GB") from error


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """Where images come from and how they are cut and split.

    Attributes:
        source: digits, folder, pack or cifar10.
        path: folder, pack or archive; None for digits and for a CIFAR-10 that is downloaded.
        image_size: side in pixels, or (height, width), that images are resized to cover and cut
            to (folders and packs); None keeps images that all have one size, and takes 64
            otherwise.
        train_limit: how many training images are kept, stratified; None keeps all.
        validation_share: share of each class (of its training part where a test part is given).
        test_share: share of each class; not used where a test part is given.
        split_seed: fixes who is in which split, whatever the machine.
        duplicates: what becomes of images that are in two splits or have two labels (folders
            and packs): `warn`, `drop` or `error`.
        preprocessing: how images become arrays and numbers, where a network's own rule says so;
            None for the shorter side at `image_size`, and the images' own mean and deviation.
    """

    source: SourceName
    path: Path | None = None
    image_size: int | tuple[int, int] | None = None
    train_limit: int | None = None
    validation_share: float
    test_share: float
    split_seed: int = 0
    duplicates: Duplicates = "warn"
    preprocessing: Preprocessing | None = None

    def __post_init__(self) -> None:
        if self.source in OWN and self.path is None:
            raise DataError(f"the data source {self.source} needs a path")


def parse_data(
    text: str,
    *,
    image_size: ImageSize | None = None,
    train_limit: int | None = None,
    split_seed: int = 0,
    duplicates: str = "warn",
) -> DataSpec:
    """Read `digits`, `folder:PATH`, `pack:FILE`, `cifar10` or `cifar10:PATH`.

    Raises:
        DataError: an unknown source, a path that is missing or not wanted, or a number
            that is out of bounds.
    """
    name, colon, rest = text.strip().partition(":")
    if name not in SOURCES:
        known = "known are digits, folder:PATH, pack:FILE, cifar10 and cifar10:PATH"
        if text and os.path.isdir(os.path.expanduser(text)):
            raise DataError(f"data {text!r} is a folder; did you mean folder:{text}? ({known})")
        if text.endswith(".pack") and os.path.isfile(os.path.expanduser(text)):
            raise DataError(f"data {text!r} is a file; did you mean pack:{text}? ({known})")
        close = difflib.get_close_matches(name.lower(), SOURCES, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]}? " if close else ""
        raise DataError(f"data {text!r} is not a source; {hint}{known}")
    source: SourceName = name
    if source == "digits" and colon:
        raise DataError(f"data {text!r}: digits is built in and takes no path; write `digits`")
    if source in OWN and not rest:
        path = "folder:PATH" if source == "folder" else "pack:FILE"
        raise DataError(f"data {text!r}: {source} needs a path; write `{path}`")
    if colon and not rest:
        raise DataError(f"data {text!r}: nothing stands behind the colon; write `{name}`")
    if image_size is not None and source not in OWN:
        raise DataError(
            f"{source} has one size; an image size ({image_size}) is for folder:PATH and pack:FILE"
        )
    if train_limit is not None and train_limit < 1:
        raise DataError(f"the training limit is {train_limit}, but must be at least 1 image")
    wanted = next((known for known in DUPLICATES if known == duplicates), None)
    if wanted is None:
        raise DataError(f"duplicates is {duplicates!r}, but must be one of {', '.join(DUPLICATES)}")
    return DataSpec(
        source=source,
        path=Path(os.path.abspath(os.path.expanduser(rest))) if rest else None,
        image_size=None if image_size is None else _read_size(image_size),
        train_limit=train_limit,
        validation_share=VALIDATION_SHARES[source],
        test_share=TEST_SHARES[source],
        split_seed=split_seed,
        duplicates=wanted,
    )


def _read_size(size: ImageSize) -> int | tuple[int, int]:
    """A side in pixels, or (height, width) of what is no square.

    Raises:
        DataError: it is something else, or out of bounds.
    """
    if isinstance(size, str):
        found = re.fullmatch(r"([0-9]{1,9})(?:[x×]([0-9]{1,9}))?", size.strip().lower())
        sides = tuple(int(side) for side in found.groups() if side) if found else ()
    else:
        sides = (size,) if isinstance(size, int) else tuple(size)
    if not 1 <= len(sides) <= 2 or not all(type(side) is int for side in sides):
        raise DataError(
            f"the image size is {size!r}, but must be a side in pixels (64) or HEIGHTxWIDTH (48x64)"
        )
    if not 1 <= min(sides) <= max(sides) <= SIDE_MOST_PX:
        raise DataError(
            f"the image size is {size}, but must be at least 1 pixel and at most {SIDE_MOST_PX:,}"
        )
    height, width = sides[0], sides[-1]
    return height if height == width else (height, width)


def cache_root(directory: Path | None = None) -> Path:
    """Where prepared data lies: `directory`, else DSE_CACHE, else the user's cache folder.

    Raises:
        DataError: there is no home folder for it.
    """
    if directory is not None:
        return Path(directory)
    if set_by_user := os.environ.get(CACHE_VARIABLE):
        return Path(os.path.expanduser(set_by_user))
    import platformdirs

    try:
        return Path(platformdirs.user_cache_dir("dse"))
    except RuntimeError as error:
        raise DataError(
            f"there is no home folder to keep prepared images in; name a folder: {CACHE_VARIABLE}=…"
        ) from error
