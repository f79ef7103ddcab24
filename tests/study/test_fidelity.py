from __future__ import annotations

import pytest

from dse.errors import LadderError
from dse.study.fidelity import Fidelity, parse_fidelity


def test_it_is_ordered_by_what_it_costs():
    assert Fidelity(3) < Fidelity(9)
    assert Fidelity(9, train_share=0.25) < Fidelity(3)
    assert Fidelity(8, image_size=16) < Fidelity(3, image_size=32), "2,048 pixels against 3,072"
    assert Fidelity(1, image_size=32) < Fidelity(4, image_size=16), "of equal cost"
    assert max(Fidelity(1), Fidelity(27), Fidelity(3)) == Fidelity(27)
    assert (Fidelity(3).cost, Fidelity(2, 10, 0.5).cost) == (3.0, 100.0)


def test_one_with_an_image_size_and_one_without_have_no_order():
    with pytest.raises(LadderError, match="3@32px and 9 cannot be ordered"):
        assert Fidelity(3, 32) < Fidelity(9)


@pytest.mark.parametrize(
    ("fidelity", "text"),
    [
        (Fidelity(27), "27"),
        (Fidelity(9, 48), "9@48px"),
        (Fidelity(9, train_share=0.5), "9@0.5"),
        (Fidelity(9, 48, 0.25), "9@48px@0.25"),
    ],
)
def test_it_is_written_and_read(fidelity, text):
    assert str(fidelity) == text
    assert parse_fidelity(text) == fidelity


@pytest.mark.parametrize("values", [(0,), (-1,), (1, 0), (1, None, 0.0), (1, None, 1.5)])
def test_what_is_no_effort_is_refused(values):
    with pytest.raises(LadderError, match=r"must hold, but got \(epochs="):
        Fidelity(*values)


@pytest.mark.parametrize("text", ["", "px", "3@", "3@x", "@32px"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        parse_fidelity(text)
