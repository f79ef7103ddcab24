"""What a weights file says of its arrays: the network, its classes, how images are fed to it."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dse.architecture import Architecture, Candidate, Shape, Value, build, make_candidate
from dse.errors import ArchitectureError, ConfigError, WeightsError
from dse.weights.preprocessing import Preprocessing, preprocessing_from_dict

HEAD_MOST_BYTES = 2**22
"""Of what a file says before its arrays; JSON takes about 25 times that in memory at worst."""
FILE_MOST_BYTES = 2**30 + HEAD_MOST_BYTES
CLASSES_MOST = 2**17

_DAMAGES = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
    struct.error,
)
"""What the code raises that takes damaged metadata for sound."""
_SHOWN_MOST = 200


@dataclass(frozen=True, kw_only=True)
class WeightsMetadata:
    """What a weights file says about its arrays.

    Attributes:
        family: name of the family that builds the network.
        metaparameters: all of them, by name.
        input_shape: (height, width, channels) of one image.
        classes: their names, in the order of the scores.
        preprocessing: how an image becomes the network's input.
        class_ids: what else classes are called, such as WordNet ids; () for nothing.
        extra: anything else worth keeping with the weights.
    """

    family: str
    metaparameters: Mapping[str, Value]
    input_shape: Shape
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    class_ids: tuple[str, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse parts that contradict each other.

        Raises:
            ValueError: naming them.
        """
        if self.input_shape != self.preprocessing.input_shape:
            raise ValueError(
                f"input_shape is {self.input_shape}, but the preprocessing gives "
                f"{self.preprocessing.input_shape}"
            )
        if self.class_ids and len(self.class_ids) != len(self.classes):
            raise ValueError(f"{len(self.class_ids)} class ids for {len(self.classes)} classes")

    @property
    def candidate(self) -> Candidate:
        """The network's point in its family.

        Raises:
            ConfigError: there is no such family or metaparameter.
        """
        return make_candidate(self.family, self.metaparameters)

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "family": self.family,
            "metaparameters": dict(self.metaparameters),
            "input_shape": self.input_shape,
            "classes": self.classes,
            "preprocessing": self.preprocessing.to_dict(),
            "class_ids": self.class_ids,
            "extra": dict(self.extra),
        }


def metadata_from_dict(values: Mapping[str, Any]) -> WeightsMetadata:
    """The metadata that `to_dict` wrote.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it did not.
    """
    metaparameters = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in values["metaparameters"].items()
    }
    for name, value in metaparameters.items():
        if isinstance(value, int | float) and not abs(value) < 2**63:
            raise ValueError(f"{name} is a number of more than 64 bits")
    input_shape = tuple(values["input_shape"])
    if not all(type(side) is int for side in input_shape):  # 8.0 equals 8, but is no shape
        raise ValueError(f"input_shape is {input_shape}, but must be whole numbers")
    classes = values["classes"]
    if not isinstance(classes, list | tuple | range) or not classes:
        raise ValueError("classes must be a list of names")
    if len(classes) > CLASSES_MOST:
        raise ValueError(f"{len(classes):,} classes; at most {CLASSES_MOST:,}")
    return WeightsMetadata(
        family=str(values["family"]),
        metaparameters=metaparameters,
        input_shape=input_shape,
        classes=tuple(map(str, classes)),
        preprocessing=preprocessing_from_dict(values["preprocessing"]),
        class_ids=tuple(map(str, values.get("class_ids", ()))),
        extra={str(key): str(value) for key, value in values["extra"].items()},
    )


@contextlib.contextmanager
def refusing_damage(source: object, part: str) -> Iterator[None]:
    """Turn what reading damaged metadata raises into one error that names the file's part.

    Raises:
        WeightsError: in place of it.
    """
    try:
        yield
    except _DAMAGES as error:
        text = str(error)
        shown = text if len(text) <= _SHOWN_MOST else f"{text[:_SHOWN_MOST]}…"
        raise WeightsError(
            f"{source}: the {part} is damaged ({type(error).__name__}: {shown})"
        ) from error


def described_architecture(path: Path, metadata: WeightsMetadata) -> Architecture:
    """The network that a weights file says it belongs to.

    Args:
        path: the file, for messages.
        metadata: what it says.

    Raises:
        WeightsError: no family or network is like that.
    """
    try:
        return build(metadata.candidate, metadata.input_shape, len(metadata.classes))
    except (ConfigError, ArchitectureError) as error:
        raise WeightsError(f"{path}: it names a network that cannot be built: {error}") from error
