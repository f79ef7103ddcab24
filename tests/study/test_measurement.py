from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dse.study.measurement import pack_bits, unpack_bits
from tests.fakes.closed_form import packed


@given(st.lists(st.booleans(), max_size=200))
def test_bits_come_back(values):
    bits = np.array(values, dtype=bool)
    back = unpack_bits(pack_bits(bits), len(bits))
    assert back.dtype == bool
    assert back.tolist() == values
    assert pack_bits(bits) == packed(values), "the slow obvious version"


def test_bits_are_written_as_they_always_were():
    # 1010 0000 1 and seven to fill: bytes A0 80, which are base64 "oIA=".
    bits = np.array([1, 0, 1, 0, 0, 0, 0, 0, 1], dtype=bool)
    assert pack_bits(bits) == "oIA="
    assert unpack_bits("", 0).shape == (0,)


@pytest.mark.parametrize(
    ("text", "count", "problem"),
    [
        ("oIA=", 8, "2 bytes, but 8 values take 1"),
        ("oIA=", 17, "2 bytes, but 17 values take 3"),
        ("", 1, "0 bytes, but 1 values take 1"),
        ("oIA", 9, "not base64"),
        ("oI A=", 9, "not base64"),
        ("öÖ==", 9, "ASCII"),
    ],
)
def test_text_that_does_not_hold_so_many_bits_is_refused(text, count, problem):
    with pytest.raises(ValueError, match=problem):
        unpack_bits(text, count)
