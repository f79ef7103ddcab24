from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import rungs
from benchmarks.methods import Judge, Trace, run_ours
from benchmarks.surface import EASY, make_surface
from dse.search.rungs import Ladder
from dse.search.samplers import SAMPLERS


@pytest.fixture(scope="module")
def surface():
    return make_surface(EASY)


def test_noise_is_what_the_docstring_says(surface):
    epochs = (1, 3, 9, 27)
    noise = surface.measured(epochs, 1) - surface.expected(epochs)
    expected_sd = [0.005 * (27 / e) ** 0.25 for e in epochs]
    assert noise.std(axis=0) == pytest.approx(expected_sd, rel=0.05)
    assert np.corrcoef(noise.T)[3] == pytest.approx([0.7**3, 0.7**2, 0.7, 1], abs=0.05)
    assert (surface.measured([27], 1)[:, 0] == surface.measured(epochs, 1)[:, 3]).all()


def test_all_candidates_with_true_accuracies_are_the_exhaustive_front(surface):
    true = surface.expected([27])[:, 0]
    assert Judge(surface).share(np.arange(len(surface)), true) == 1.0


def test_without_rungs_every_candidate_costs_its_epochs_in_full_until_asking_ends(surface):
    trace = run_ours(surface, 0, 540, ladder=Ladder.of_epochs(27), sampler=SAMPLERS["tpe"])
    # The last is asked at 405 epochs: with its own it is at 432, four fifths of 540.
    assert trace.epochs.tolist() == list(range(27, 433, 27))
    assert trace.counts == (16,)


def test_with_rungs_no_more_than_the_budget_is_spent_and_all_of_it_is_counted(surface):
    trace = run_ours(surface, 0, 300, ladder=Ladder.of_epochs(1, 3, 9, 27), sampler=SAMPLERS["tpe"])
    one, three, nine, full = trace.counts
    assert trace.spent == one + 2 * three + 6 * nine + 18 * full <= 300
    assert one > three > nine > full > 0


def test_a_share_counts_as_reached_once_it_stays():
    epochs, shares = np.array([27, 54, 81, 108]), np.array([0.5, 0.99, 0.97, 0.98])
    assert Trace(epochs, shares, 200, (4,)).reached(0.98) == 108
    assert Trace(epochs, shares, 200, (4,)).reached(0.5) == 27
    assert Trace(epochs[:3], shares[:3], 200, (3,)).reached(0.98) is None


def test_ratios_by_hand():
    def row(reached, spent):
        return {"reached": reached, "spent": spent}

    mine = [row(100, 500), row(100, 500), row(None, 500), row(300, 500)]
    other = [row(400, 900), row(None, 390), row(None, 9000), row(600, 900)]
    found = rungs.compared(mine, other)
    assert found["ratios"] == [0.25, 0.256, 0.056, 0.5]
    assert found["is_bound"] == [False, True, True, False]
    assert found["median_ratio"] == 0.253
    # The third does not count: ours did not get there.
    assert found["at_most_a_quarter"] == 1


@pytest.mark.slow
def test_the_command_writes_what_it_measured(tmp_path, capsys):
    path = tmp_path / "rungs.json"
    few = ["--seeds", "2", "--budget", "200", "--optuna-budget", "540", "--json", str(path)]
    rungs.main(few)
    result = json.loads(path.read_text(encoding="utf-8"))
    assert set(result["surfaces"]) == {"easy", "hard"}
    for methods in result["surfaces"].values():
        paid = methods["optuna tpe, every trial paid"]
        assert [(row["reached"], row["spent"]) for row in paid] == [(None, 540)] * 2
    assert "540+" in capsys.readouterr().out
    rungs.main([*few, "--only", "ours"])
    assert json.loads(path.read_text(encoding="utf-8")) == result
    with pytest.raises(SystemExit, match="other seeds or versions"):
        rungs.main([*few, "--only", "ours", "--first-seed", "1"])
