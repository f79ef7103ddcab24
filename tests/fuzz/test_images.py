"""Whatever an image file holds, it is pixels or an `ImageError` within a second and 300 MB.

pytest tests/fuzz/test_images.py -m slow -n 0 -s      33,000 inputs, with counts of each format
"""

from __future__ import annotations

import pytest

from tests.fuzz.harness import fuzz
from tests.fuzz.images import KINDS


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_pixels_or_an_error(kind, tmp_path):
    fuzz(kind, tmp_path, kind.count)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_pixels_or_an_error_33_000_times(kind, tmp_path, capsys):
    outcome = fuzz(kind, tmp_path, kind.long_count, seed=1, is_shared=False)
    with capsys.disabled():
        print(f"\n{kind}: {outcome}")
