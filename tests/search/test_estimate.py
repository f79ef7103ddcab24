"""Which rungs are worth their time, by hand-computed times."""

from __future__ import annotations

from dse.search.estimate import COMPILE_S, TRAIN_S_PER_IMAGE, worthwhile
from dse.search.rungs import Ladder
from dse.training import Recipe

RECIPE = Recipe(epochs=10)
PER_EPOCH = 1 / TRAIN_S_PER_IMAGE  # so many images take a second an epoch, without MACs: 6,667


def test_a_rung_goes_where_it_takes_more_than_two_fifths_of_all_with_compilation():
    # Ten epochs take 5 + 10.2 s, two fifths of which are 6.08: one epoch (6.02 s) is worth it.
    assert COMPILE_S == 5
    assert worthwhile(Ladder.of_epochs(1, 2, 10), 0.0, RECIPE, 6_800) == Ladder.of_epochs(1, 10)
    assert worthwhile(Ladder.of_epochs(2, 4, 10), 0.0, RECIPE, 6_800) == Ladder.of_epochs(10)


def test_long_trainings_keep_their_rungs_and_short_ones_have_none():
    ladder = Ladder.of_epochs(1, 3, 10)
    assert worthwhile(ladder, 0.0, RECIPE, int(100 * PER_EPOCH)) == ladder
    assert worthwhile(ladder, 0.0, RECIPE, 100) == Ladder.of_epochs(10)
    assert worthwhile(Ladder.of_epochs(10), 0.0, RECIPE, 100) == Ladder.of_epochs(10)
