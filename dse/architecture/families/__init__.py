"""The explicit table of families, and what is made from a family's name.

To add a family: one file here with a `FAMILY`, one line in `FAMILIES`, its tests.
"""

from __future__ import annotations

from collections.abc import Mapping

from dse.architecture.architecture import Architecture, assemble
from dse.architecture.candidate import Candidate, Family, Preset
from dse.architecture.families import alexnet, squeezenet
from dse.architecture.primitives import Shape
from dse.errors import ConfigError
from dse.text import nearest

FAMILIES: dict[str, Family] = {
    "squeezenet": squeezenet.FAMILY,
    "alexnet": alexnet.FAMILY,
}

PRESETS: dict[str, Preset] = {
    preset.name: preset for family in FAMILIES.values() for preset in family.presets
}


def make_candidate(family: str, values: Mapping[str, object]) -> Candidate:
    """A candidate with the defaults filled in.

    Args:
        family: a name in `FAMILIES`.
        values: metaparameters by name; absent ones take the family's default.

    Raises:
        ConfigError: an unknown family, or every unknown name and every bad value, one line each.
    """
    if family not in FAMILIES:
        raise ConfigError(f"family {family!r} not found{nearest(family, FAMILIES)}")
    return FAMILIES[family].candidate(values)


def build(candidate: Candidate, input_shape: Shape, classes_count: int) -> Architecture:
    """The candidate's network for images of this shape.

    Args:
        candidate: made by `make_candidate`.
        input_shape: (height, width, channels) of one image.
        classes_count: number of classes.

    Raises:
        ArchitectureError: it cannot be built, with the layer and the reason.
    """
    blocks = FAMILIES[candidate.family].build(candidate.metaparameters, input_shape, classes_count)
    return assemble(candidate.family, candidate.values, input_shape, classes_count, blocks)
