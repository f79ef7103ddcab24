"""`…-front.json`: every setting that `dse compress --front` tried, written and read here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from dse.errors import StudyError
from dse.files import replacing
from dse.study.fields import (
    Bound,
    Count,
    Positive,
    Rule,
    Share,
    check_schema,
    formerly,
    from_dict,
    read_object,
)

SUFFIX = "-front.json"
SCHEMA = 1

FileBytes = Annotated[int, Rule("a whole number above 0", lambda value: 0 < value < 2**63)]
Baselines = Annotated[
    Mapping[str, Any],
    Rule(
        "an object of whole numbers above 0",
        lambda values: all(type(v) is int and 0 < v < 2**63 for v in values.values()),
    ),
]


@dataclass(frozen=True)
class Stage:
    """A network after one stage of compression, as its file holds it.

    Attributes:
        name: `given`, `density 0.4`, `64 values`, ….
        nonzero_count: weights of all kernels that are not zero.
        file_bytes: of a `.dsz` file that holds it.
        validation_accuracy: where there are images; a fraction.
        test_accuracy: of the first and the last, where there are images.
        kept: False for a step that lost too much and was taken back.
    """

    name: str
    nonzero_count: Count
    file_bytes: FileBytes
    validation_accuracy: Share | None = None
    test_accuracy: Share | None = None
    kept: bool = True


@dataclass(frozen=True, kw_only=True)
class FrontSetting:
    """One way to compress the network, and what came of it.

    Attributes:
        density: share of the kernels' weights that are not zero.
        rate_lambda: rate-distortion lambda; a larger one gives fewer values and coarser ones.
        values_trained: whether the values were trained after they were shared.
        nonzero_count: weights of all kernels that are not zero.
        file_bytes: of the `.dsz` file.
        validation_accuracy: a fraction.
        difference_low: 95% lower bound of its validation accuracy less the given one.
        test_accuracy: of the chosen setting.
        on_front: no other is both smaller and as accurate.
        chosen: the file that was written.
    """

    density: Share
    rate_lambda: Positive = field(metadata=formerly("price"))
    values_trained: bool
    nonzero_count: Count
    file_bytes: FileBytes
    validation_accuracy: Share
    difference_low: Bound
    test_accuracy: Share | None
    on_front: bool
    chosen: bool


@dataclass(frozen=True, kw_only=True)
class CompressionTable:
    """What `dse compress --front` found.

    Attributes:
        weights: the file that was compressed.
        out: the file that was to be written.
        candidate: key of the network.
        params_count: of the network.
        float32_bytes: of its arrays.
        baselines_bytes: what other methods take, by name.
        alexnet_bytes: float32 bytes of the AlexNet for such images; None where there is none.
        data: the images.
        epochs: of each training.
        seed: of all random draws.
        max_loss: most validation accuracy that the chosen setting may lose, a fraction.
        command: that made it.
        given: the network as it came.
        densities: the network at each density, before values are shared.
        settings: all of them, by rising bytes.
        int8_flash_bytes: what the given network takes as the C program of `dse export`; with
            the other two None where it has no int8 form, or scoring takes too long.
        int8_accuracy: on evenly spaced validation images, a fraction.
        int8_difference: that less its accuracy in float32 on the same images.
    """

    weights: str
    out: str
    candidate: str
    params_count: Count
    float32_bytes: FileBytes
    baselines_bytes: Baselines
    alexnet_bytes: FileBytes | None
    data: str
    epochs: Count
    seed: Count
    max_loss: Share
    command: str
    given: Stage
    densities: tuple[Stage, ...]
    settings: tuple[FrontSetting, ...]
    int8_flash_bytes: FileBytes | None = None
    int8_accuracy: Share | None = None
    int8_difference: Bound | None = None

    def __post_init__(self) -> None:
        """Refuse a table without settings or without accuracy.

        Raises:
            ValueError: naming what is missing.
        """
        if not self.settings or self.given.validation_accuracy is None:
            raise ValueError("settings and given.validation_accuracy must not be empty")

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"schema": SCHEMA, **asdict(self)}

    @property
    def given_accuracy(self) -> float:
        """Validation accuracy of the network as it came."""
        assert self.given.validation_accuracy is not None
        return self.given.validation_accuracy

    @property
    def chosen(self) -> FrontSetting | None:
        """The setting whose file was written; None where none was."""
        return next((setting for setting in self.settings if setting.chosen), None)


def write_compression_table(path: Path, table: CompressionTable) -> None:
    """Write the table whole or not at all.

    Raises:
        StudyError: it cannot be written.
    """
    try:
        with replacing(path) as file:
            file.write((json.dumps(table.to_dict(), indent=1) + "\n").encode())
    except OSError as error:
        raise StudyError(f"{path}: cannot be written: {error.strerror or error}") from error


def read_compression_table(path: Path) -> CompressionTable:
    """Read the table of a front.

    Raises:
        StudyError: it cannot be read, or fields do not hold what they should; all are named.
    """
    document = read_object(path, "the table of `dse compress --front`")
    check_schema(document, path, (SCHEMA,))
    return from_dict(CompressionTable, document, path)
