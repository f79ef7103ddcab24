"""`study.yaml`: what was studied, by which command, with which versions."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from dse.config import load_yaml_dict, yaml_text
from dse.errors import ConfigError, StudyError
from dse.study.fields import Count, Rule, Seed, Side, formerly, from_dict
from dse.study.paths import DESCRIPTION_NAME, write_file
from dse.text import inert

TEST_SEEN = (
    "whoever trained the weights that this started from may have seen some of the test images, "
    "which would make the test accuracy too high"
)


@dataclass(frozen=True, kw_only=True)
class DescribedData:
    """The images; what a file does not say is None or empty.

    Attributes:
        name: digits, cifar10, or the name that the folder had.
        fingerprint: of pixels, labels, class names and split.
        input_shape: height, width, channels.
        classes: their names.
        images: how many are in each split.
        class_counts: and of each class.
        duplicates: how many are in two splits, or in several classes, or were left out for that.
    """

    name: str | None = None
    fingerprint: str | None = None
    input_shape: tuple[Side, ...] = ()
    classes: tuple[str, ...] = ()
    images: Mapping[str, Any] = field(default_factory=dict, metadata=formerly("pictures"))
    class_counts: Mapping[str, Any] = field(default_factory=dict)
    duplicates: Mapping[str, Any] = field(default_factory=dict)


Versions = Annotated[
    Mapping[str, Any],
    Rule("an object of words", lambda vs: all(isinstance(v, str) for v in vs.values())),
]


@dataclass(frozen=True, kw_only=True)
class Description:
    """What was studied; what a file does not say is None or empty.

    Attributes:
        study: its name when it was made; its folder may have been renamed.
        study_seed: with the replicate, the source of all noise.
        space, recipe: resolved, as plain data.
        data: the images.
        kind: sweep or search.
        search: how a search goes about it.
        init, teacher: the weights that candidates start from, and those whose scores they learn
            from, as file and digest.
        seeds, trials_count: of a sweep: replicates of each candidate, and all trials of it.
        reference, budget: of a search, as the user gave them.
        space_size: candidates of its space before limits; None where they cannot be counted.
        feasible_count: those within the limits; None where they are too many to be known.
        command: that made it.
        versions: of Python and the packages that results depend on.
        earlier_versions: those of earlier runs with another dse or jax.
        machine: architecture and number of cores.
    """

    study: str = ""
    study_seed: Seed = 0
    space: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    data: DescribedData = field(default_factory=DescribedData)
    kind: str = "sweep"
    search: Mapping[str, Any] = field(default_factory=dict)
    init: Mapping[str, Any] = field(default_factory=dict)
    teacher: Mapping[str, Any] = field(default_factory=dict)
    seeds: Count | None = None
    trials_count: Count | None = None
    reference: str | None = None
    budget: str | None = None
    space_size: Count | None = None
    feasible_count: Count | None = None
    command: str = ""
    versions: Mapping[str, Any] = field(default_factory=dict)
    earlier_versions: tuple[Versions, ...] = ()
    machine: str = ""

    @property
    def mixed_versions(self) -> str:
        """`dse 0.1.0 with jax 0.6.0 and dse 0.1.0 with jax 0.7.1`; empty where it is one."""
        texts = list(map(versions_text, (*self.earlier_versions, self.versions)))
        return " and ".join(texts) if len(texts) > 1 else ""


def versions_text(versions: Mapping[str, str]) -> str:
    """Those that decide what a training gives."""
    return f"dse {versions.get('dse', '?')} with jax {versions.get('jax', '?')}"


def current_versions() -> dict[str, str]:
    """Of Python and the packages that results depend on."""
    names = ("dse", "jax", "flax", "optax", "optuna", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}


def write_description(directory: Path, facts: Mapping[str, Any], *, command: str) -> Path:
    """Write `study.yaml`.

    Args:
        directory: of the study.
        facts: fields of `Description`, but for those that follow from command and machine.
        command: that makes the study.

    Raises:
        StudyError: the folder cannot be written.
    """
    path = directory / DESCRIPTION_NAME
    versions = current_versions()
    ours: dict[str, Any] = {
        "command": command,
        "versions": versions,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }
    earlier = Description()
    with contextlib.suppress(StudyError, ConfigError):  # a damaged one is replaced
        earlier = find_description(directory)
    of_others = {versions_text(v): v for v in (*earlier.earlier_versions, earlier.versions) if v}
    of_others.pop(versions_text(versions), None)
    if of_others:
        ours["earlier_versions"] = list(of_others.values())
    description = asdict(from_dict(Description, {**facts, **ours}, path))
    told = {
        f.name: description[f.name]
        for f in fields(Description)
        if f.name in facts or f.name in ours
    }
    return write_file(path, yaml_text(told).encode())


def read_description(path: Path) -> Description:
    """What was studied, from its `study.yaml`.

    Raises:
        StudyError: fields do not hold what they should; all of them are named with the file.
        ConfigError: the file cannot be read or is no YAML.
    """
    document = load_yaml_dict(path)
    if not isinstance(document, dict):
        raise StudyError(f"{path}: must hold a mapping with the study's space and data")
    return from_dict(Description, _inert(document), path)


def _inert(value: Any) -> Any:
    """What a description says is shown, and may come from other people."""
    if isinstance(value, dict):
        return {inert(name): _inert(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_inert(part) for part in value]
    return inert(value) if isinstance(value, str) else value


def find_description(directory: Path) -> Description:
    """The description in a study's folder; an empty one where there is none.

    Raises:
        StudyError, ConfigError: as of `read_description`.
    """
    path = directory / DESCRIPTION_NAME
    return read_description(path) if path.is_file() else Description()
