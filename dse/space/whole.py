"""The whole space of a family for images of one size: what a search takes where none is named."""

from __future__ import annotations

from dse.space.domains import Categorical, Fixed
from dse.space.space import Limit, SearchSpace

NAME = "whole"
"""Of the space, and thus the first part of the study's name."""

_WIDE_FROM_PX, _NARROW_FROM_PX = 24, 128
MOST_MACS = 200_000_000
"""Of a candidate: about a second of a core for a hundred images, forward and backward."""


def whole_space(input_shape: tuple[int, int, int]) -> SearchSpace:
    """SqueezeNets of all widths that suit such images: more than 10,000 feasible candidates.

    Few pixels hold little to tell apart and want no wide networks; from 24 pixels on widths
    double, and from 128 pixels on, where each filter costs the MACs of a large map, they are the
    lower ones again. Stem and pools follow the image size (docs/decisions/0002).

    Args:
        input_shape: (height, width, channels) of one image.
    """
    side = min(input_shape[:2])
    stems: tuple[int, ...]
    if _WIDE_FROM_PX <= side < _NARROW_FROM_PX:
        widths, increments, stems = (16, 24, 32, 48, 64, 96), (8, 16, 32, 48), (16, 32, 64)
    else:
        widths, increments, stems = (8, 16, 24, 32, 48, 64), (4, 8, 16, 32), (8, 16, 32, 64)
    return SearchSpace(
        NAME,
        "squeezenet",
        {
            "base_e": Categorical(widths),
            "incr_e": Categorical(increments),
            "freq": Categorical((2, 4)),
            "pct_3x3": Categorical((0.25, 0.5, 0.75)),
            "squeeze_ratio": Categorical((0.125, 0.25, 0.5, 0.75, 1.0)),
            "stem_filters": Categorical(stems),
            "pools": Categorical(("late", "early")),
            "bypass": Categorical(("none", "simple", "complex")),
            "norm": Fixed("batch"),
        },
        {"macs": Limit(max=MOST_MACS)},
        f"all that varies in a SqueezeNet, with widths for images of {side} pixels",
    )
