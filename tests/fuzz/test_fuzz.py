"""Whatever a file holds, reading it gives a value or a `DseError` within a second and 300 MB.

Run `pytest tests/fuzz -m slow -n 0` for 100,000 inputs and 33,000 images, with counts of each kind.
"""

from __future__ import annotations

from random import Random

import pytest

from dse.errors import DataError
from tests.fuzz import images, spaces, studies, weights
from tests.fuzz.data import kinds
from tests.fuzz.harness import Kind, fuzz
from tests.fuzz.mutate import mutate_bytes

pytestmark = pytest.mark.usefixtures("fast_records")

KINDS = (*spaces.KINDS, *studies.KINDS, *weights.KINDS, *kinds(), *images.KINDS)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_value_or_an_error(kind, tmp_path):
    fuzz(kind, tmp_path, kind.count)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_value_or_an_error_many_times(kind, tmp_path, capsys):
    outcome = fuzz(kind, tmp_path, kind.long_count, seed=1, is_shared=False)
    with capsys.disabled():
        print(f"\n{kind}: {outcome}")


def _kind(read) -> Kind:
    return Kind("x.bin", (bytes(100),), mutate_bytes, read)


def _refuse_changed(path):
    if path.read_bytes() != bytes(100):
        raise DataError("changed")


def test_the_same_inputs_every_time():
    kind = _kind(lambda path: None)
    assert [kind.content(n) for n in range(20)] == [kind.content(n) for n in range(20)]
    assert kind.content(3, seed=1) != kind.content(3, seed=2)
    assert mutate_bytes(Random(5), b"abc") == mutate_bytes(Random(5), b"abc")


def test_errors_of_ours_are_counted(tmp_path):
    outcome = fuzz(_kind(_refuse_changed), tmp_path, 50)
    assert outcome.read_count + outcome.refused_count == 50
    assert outcome.refused_count > 40


def _fail(error):
    def read(path):
        if path.read_bytes() != bytes(100):
            error()

    return read


def _spin():
    while True:
        pass


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (lambda: [][0], "IndexError"),
        (lambda: bytearray(4 * 10**9), "MemoryError"),
        (lambda: b"x" * (4 * 10**8), "took [0-9,]+ MB"),
        (_spin, "HangError"),
    ],
)
def test_what_is_neither_fails_with_its_input(tmp_path, monkeypatch, error, told):
    if error is _spin:
        monkeypatch.setattr("tests.fuzz.harness._HANGS_S", 0.6)
    with pytest.raises(AssertionError, match=rf"(?s)failed in 1 places.*kept as .*{told}"):
        fuzz(_kind(_fail(error)), tmp_path, 2)
    assert list(tmp_path.glob("*-x.bin"))
