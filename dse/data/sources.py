"""The table of data sources, and what can be said about one without decoding it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dse.data import cifar10, digits
from dse.data.folder import locate_folder
from dse.data.source import SourceHandle
from dse.data.spec import DataSpec


@dataclass(frozen=True)
class DataDescription:
    """What an architecture needs to know about data.

    Attributes:
        name: digits, cifar10, or the name of the folder.
        input_shape: height, width, channels.
        classes: class names.
        train_count: images to train on, those that may turn out broken included.
        warnings: what the user should know.
    """

    name: str
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    train_count: int
    warnings: tuple[str, ...] = ()


def locate(spec: DataSpec, cache: Path) -> SourceHandle:
    """Find a source and its signature; nothing is decoded.

    Raises:
        DataError: it is not there, or not what it should be.
    """
    if spec.source == "digits":
        return digits.locate_digits(spec)
    if spec.source == "cifar10":
        return cifar10.locate_cifar10(spec, cache)
    return locate_folder(spec)


def known_shape(spec: DataSpec, located: SourceHandle) -> DataDescription | None:
    """The description of a source whose shape is known beforehand, else None."""
    known = {
        "digits": (digits.INPUT_SHAPE, digits.CLASSES, digits.TRAIN_COUNT),
        "cifar10": (cifar10.INPUT_SHAPE, cifar10.CLASSES, cifar10.TRAIN_COUNT),
    }
    if spec.source not in known:
        return None
    shape, classes, train_count = known[spec.source]
    train_count = min(train_count, spec.train_limit or train_count)
    return DataDescription(located.name, shape, classes, train_count)
