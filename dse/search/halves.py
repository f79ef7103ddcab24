"""The two halves of the validation images: one steers the search, the other judges its answer.

A candidate that was chosen because some images happened to suit it would be judged too well
by the same images.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_SEED = 0x6A756467  # "judg": any fixed number would do

Mask = NDArray[np.bool_]


def confirmation_half(images_count: int) -> Mask:
    """Which validation images judge, bool (image,): half of them, fixed by their number.

    The order of validation images is fixed by the data set, so the halves are too.
    """
    order = np.random.default_rng([_SEED, images_count]).permutation(images_count)
    mask = np.zeros(images_count, dtype=bool)
    mask[order[images_count // 2 :]] = True
    return mask
