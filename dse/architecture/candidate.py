"""The explicit table of families and presets, and the candidate: a point of a family.

To add a family: one file with `METAPARAMETERS` and `build`, one line in `FAMILIES`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from dse.architecture.architecture import Architecture, Value
from dse.architecture.families import alexnet, squeezenet
from dse.architecture.metaparameters import Metaparameter
from dse.architecture.primitives import Shape
from dse.errors import ConfigError
from dse.text import nearest

Builder = Callable[[Mapping[str, Value], Shape, int], Architecture]


@dataclass(frozen=True)
class Family:
    """Networks that differ in their metaparameters alone."""

    name: str
    description: str
    metaparameters: dict[str, Metaparameter]
    build: Builder


@dataclass(frozen=True)
class Candidate:
    """One network to be: a family and a value for each of its metaparameters, hashable.

    Made by `make_candidate`, which fills in the defaults, so that equal networks are
    equal candidates.
    """

    family: str
    values: tuple[tuple[str, Value], ...]

    @cached_property
    def metaparameters(self) -> dict[str, Value]:
        """The values by name."""
        return dict(self.values)

    @cached_property
    def key(self) -> str:
        """Twelve hexadecimal digits that stand for family and values, on every machine."""
        text = json.dumps([self.family, dict(self.values)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Preset:
    """A published network: its candidate and the input it was published with."""

    name: str
    description: str
    candidate: Candidate
    input_shape: Shape
    classes_count: int = 1000


def _family(
    name: str, description: str, parts: tuple[Metaparameter, ...], build: Builder
) -> Family:
    return Family(name, description, {part.name: part for part in parts}, build)


FAMILIES: dict[str, Family] = {
    "squeezenet": _family(
        "squeezenet",
        "fire modules (Iandola et al. 2016)",
        squeezenet.METAPARAMETERS,
        squeezenet.build,
    ),
    "alexnet": _family(
        "alexnet",
        "AlexNet, the reference (Krizhevsky et al. 2012)",
        alexnet.METAPARAMETERS,
        alexnet.build,
    ),
}


def make_candidate(family: str, values: Mapping[str, object]) -> Candidate:
    """A candidate with the defaults filled in.

    Args:
        family: a name in `FAMILIES`.
        values: metaparameters by name; absent ones take the family's default.

    Raises:
        ConfigError: every unknown name and every bad value, one line each.
    """
    if family not in FAMILIES:
        raise ConfigError(f"family {family!r} not found{nearest(family, FAMILIES)}")
    known = FAMILIES[family].metaparameters
    problems = [
        f"unknown metaparameter {name} of {family}{nearest(name, known)}"
        for name in values
        if name not in known
    ]
    problems += [
        problem
        for name, value in values.items()
        if name in known and (problem := known[name].problem(value))
    ]
    if problems:
        raise ConfigError(problems)
    complete = {name: part.default for name, part in known.items()} | dict(values)
    return Candidate(
        family,
        tuple((name, part.canonical(complete[name])) for name, part in known.items()),  # type: ignore[arg-type]
    )


def build(candidate: Candidate, input_shape: Shape, classes_count: int) -> Architecture:
    """The candidate's layers for images of this shape.

    Args:
        candidate: made by `make_candidate`.
        input_shape: (height, width, channels) of one image.
        classes_count: number of classes.

    Raises:
        ArchitectureError: it cannot be built, with the layer and the reason.
    """
    return FAMILIES[candidate.family].build(candidate.metaparameters, input_shape, classes_count)


_PUBLISHED = {
    "final_activation": "relu",
    "dropout": 0.5,
    "base_e": 128,
    "incr_e": 128,
    "freq": 2,
    "pct_3x3": 0.5,
    "squeeze_ratio": 0.125,
}

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "squeezenet_v1.0",
            "SqueezeNet as in the paper",
            make_candidate(
                "squeezenet",
                _PUBLISHED
                | {
                    "stem_filters": 96,
                    "stem_kernel": 7,
                    "stem_stride": 2,
                    "pools": ("conv1", "fire4", "fire8"),
                },
            ),
            (227, 227, 3),
        ),
        Preset(
            "squeezenet_v1.1",
            "its authors' second release: smaller stem, earlier pools",
            make_candidate(
                "squeezenet",
                _PUBLISHED
                | {
                    "stem_filters": 64,
                    "stem_kernel": 3,
                    "stem_stride": 2,
                    "pools": ("conv1", "fire3", "fire5"),
                },
            ),
            (227, 227, 3),
        ),
        Preset(
            "alexnet",
            "the original: grouped convolutions, local response norm",
            make_candidate("alexnet", {"variant": "original"}),
            (227, 227, 3),
        ),
        Preset(
            "alexnet_torchvision",
            "one column, as in torchvision",
            make_candidate("alexnet", {"variant": "torchvision"}),
            (224, 224, 3),
        ),
        Preset(
            "alexnet_small",
            "for 32 to 127 pixels",
            make_candidate("alexnet", {"variant": "small"}),
            (32, 32, 3),
            10,
        ),
        Preset(
            "alexnet_tiny",
            "for less than 32 pixels",
            make_candidate("alexnet", {"variant": "tiny"}),
            (8, 8, 1),
            10,
        ),
    )
}
