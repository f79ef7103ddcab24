"""`reference.json`: what was measured of a reference network, for every later search."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dse.errors import StudyError
from dse.study.fields import (
    Count,
    Name,
    Seconds,
    Seed,
    Share,
    check_schema,
    from_dict,
    read_object,
    repeated,
)
from dse.study.measurement import Bits
from dse.study.paths import REFERENCE_NAME, write_file

SCHEMA = 1


@dataclass(frozen=True, kw_only=True)
class MeasuredReplicate:
    """One training; accuracies are fractions, `…_correct` says which images, as `pack_bits`."""

    replicate: Count
    epochs: Count
    train_s: Seconds
    validation_accuracy: Share
    test_accuracy: Share
    validation_correct: Bits
    test_correct: Bits


@dataclass(frozen=True, kw_only=True)
class ReferenceData:
    """The images that it was trained on."""

    name: str
    fingerprint: Name


@dataclass(frozen=True, kw_only=True)
class MeasuredReference:
    """A reference network as it was trained.

    Attributes:
        name: as the user gave it.
        family, metaparameters: the network; lists stand for tuples.
        params_count: and the other exact costs.
        data: the images.
        recipe: as plain data.
        study_seed: with the replicate, the source of all noise.
        validation_accuracy, test_accuracy: mean over the replicates, fractions.
        replicates: its trainings.
    """

    name: Name
    family: Name
    metaparameters: Mapping[str, Any]
    params_count: Count
    macs: Count
    weight_bytes: Count
    peak_activation_bytes: Count
    data: ReferenceData
    recipe: Mapping[str, Any]
    study_seed: Seed
    validation_accuracy: Share
    test_accuracy: Share
    replicates: tuple[MeasuredReplicate, ...]

    def __post_init__(self) -> None:
        if problem := repeated([one.replicate for one in self.replicates]):
            raise ValueError(f"replicates: {problem}")
        for name in ("validation_accuracy", "test_accuracy"):
            measured = [getattr(one, name) for one in self.replicates]
            mean = sum(measured) / max(len(measured), 1)
            if abs(getattr(self, name) - mean) > 1e-9:
                raise ValueError(f"{name} is {getattr(self, name)}, but its replicates have {mean}")


def write_reference(directory: Path, reference: MeasuredReference) -> Path:
    """Write `reference.json` in the folder of a reference.

    Raises:
        StudyError: the folder cannot be written.
    """
    document = {"schema": SCHEMA, **asdict(reference)}
    text = json.dumps(document, indent=1, allow_nan=False)
    return write_file(directory / REFERENCE_NAME, f"{text}\n".encode())


def read_reference(path: Path) -> MeasuredReference:
    """What was measured of a reference, from its `reference.json`.

    Raises:
        StudyError: the file cannot be read, or fields do not hold what they should; all of
            them are named with the file.
    """
    try:
        document = read_object(path, "a measured reference")
        check_schema(document, path, (SCHEMA,))
        return from_dict(MeasuredReference, document, path)
    except StudyError as error:
        problems = [line.removeprefix(f"{path}: ") for line in str(error).splitlines()]
        raise damaged(path, "; ".join(problems)) from error


def damaged(path: Path, problem: object) -> StudyError:
    """What to say of a file that does not hold what it should."""
    return StudyError(
        f"{path} is damaged ({problem}); remove it to measure the reference again, or put a sound "
        "copy in its place"
    )
