"""The two validation splits: one selects candidates, the other confirms the answer.

On the images that a candidate was chosen by, its accuracy is biased upwards.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SEED = 0x6A756467  # "judg": any fixed number would do

Mask = NDArray[np.bool_]


def confirmation_split(images_count: int) -> Mask:
    """Which validation images confirm, bool (image,): half of them, fixed by their number.

    The order of validation images is fixed by the data set, so the splits are too.
    """
    order = np.random.default_rng([_SEED, images_count]).permutation(images_count)
    mask = np.zeros(images_count, dtype=bool)
    mask[order[images_count // 2 :]] = True
    return mask
