"""`shrink.json`: what `dse shrink` measured and chose, written and read here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dse.study.fields import (
    Bound,
    Count,
    InsidePath,
    Seconds,
    Share,
    Words,
    check_schema,
    from_dict,
    read_object,
)
from dse.study.paths import write_file

NAME = "shrink.json"
FOLDER = "shrink"
SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class ShrinkPoint:
    """One file of the front of size against accuracy.

    Attributes:
        file: the `.dsz`, beside the record.
        network: the stage whose network it holds: `parent`, `narrow-1`, ….
        candidate: key of that network.
        params_count: of it.
        peak_activation_bytes: float32, of one image.
        nonzero_count: weights of all kernels that are not zero.
        file_bytes: of the `.dsz`.
        values_trained: whether the values that weights share were trained.
        validation_accuracy: a fraction, of what the file holds.
        low, high: its 95% interval over images.
        smoothed_accuracy: what is held at 95% confidence, by probabilities, if the parent's
            validation accuracy is the true one, in a least-squares fit that rises with the bytes
            (isotonic regression). Files are chosen by it: the smallest of many is often one that
            was lucky.
        on_front: no other is both smaller and as accurate.
    """

    file: InsidePath
    network: str
    candidate: str
    params_count: Count
    peak_activation_bytes: Count
    nonzero_count: Count
    file_bytes: Count
    values_trained: bool
    validation_accuracy: Share
    low: Share
    high: Share
    smoothed_accuracy: Share
    on_front: bool


@dataclass(frozen=True, kw_only=True)
class ShrunkNetwork:
    """A network on the way to fewer parameters, before it is compressed.

    Attributes:
        name: `parent`, `narrow-1`, …; its weights lie beside the record under that name.
        changed: the metaparameter that was lowered and its value; empty for the parent.
        params_count: parameters.
        macs: multiply-accumulates.
        validation_accuracy: a fraction, after it was trained.
        low, high: its 95% interval over images.
    """

    name: str
    changed: str
    params_count: Count
    macs: Count
    validation_accuracy: Share
    low: Share
    high: Share


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """The chosen file on the test images, which were used for this alone.

    Attributes:
        file: of the chosen point.
        sha256: of its bytes.
        images_count: test images.
        accuracy, low, high: of what the file holds, with its 95% interval over images.
        parent_accuracy: of the network before it was made small, on the same images.
        difference_low: 95% lower bound of accuracy less parent's.
    """

    file: InsidePath
    sha256: str
    images_count: Count
    accuracy: Share
    low: Share
    high: Share
    parent_accuracy: Share
    difference_low: Bound


@dataclass(frozen=True, kw_only=True)
class ShrinkRecord:
    """All that `dse shrink` measured of a parent.

    Attributes:
        parent: SHA-256 of its weights file.
        plan: what was planned: budget, epochs of a stage, recipe of the stages.
        networks: the parent and those with fewer parameters.
        points: files, by rising bytes.
        confirmed: one for each file that was chosen so far.
        spent_s: seconds.
        stopped_by: why no more was tried.
    """

    parent: str
    plan: Words
    networks: tuple[ShrunkNetwork, ...]
    points: tuple[ShrinkPoint, ...]
    confirmed: tuple[Confirmed, ...] = ()
    spent_s: Seconds = 0.0
    stopped_by: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {"schema": SCHEMA, **asdict(self)}


def write_shrink(path: Path, record: ShrinkRecord) -> None:
    """Write the record whole or not at all.

    Raises:
        StudyError: it cannot be written.
    """
    write_file(path, (json.dumps(record.to_dict(), indent=1) + "\n").encode())


def find_shrink(path: Path, parent: str, plan: Mapping[str, Any]) -> ShrinkRecord | None:
    """The record of the same parent and plan; None for none.

    Raises:
        StudyError: it cannot be read, or fields do not hold what they should; all are named.
    """
    if not path.exists():
        return None
    document = read_object(path, "what `dse shrink` measured")
    check_schema(document, path, (SCHEMA,))
    record = from_dict(ShrinkRecord, document, path)
    return record if (record.parent, dict(record.plan)) == (parent, dict(plan)) else None
