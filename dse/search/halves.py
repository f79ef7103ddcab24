"""The two halves of the validation pictures: one steers the search, the other judges its answer.

A candidate that was chosen because some pictures happened to suit it would be judged too well
by the same pictures.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SEED = 0x6A756467  # "judg": any fixed number would do

Mask = NDArray[np.bool_]


def judging_half(pictures_count: int) -> Mask:
    """Which validation pictures judge, bool (picture,): half of them, fixed by their number.

    The order of validation pictures is fixed by the data set, so the halves are too.
    """
    order = np.random.default_rng([_SEED, pictures_count]).permutation(pictures_count)
    mask = np.zeros(pictures_count, dtype=bool)
    mask[order[pictures_count // 2 :]] = True
    return mask
