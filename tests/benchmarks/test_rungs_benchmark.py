from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import rungs
from benchmarks.methods import Judge, run_rungs, uniform
from benchmarks.surface import EASY, make_surface
from dse.search.rungs import Ladder


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


def test_without_rungs_every_candidate_costs_its_epochs_in_full(surface):
    trace = run_rungs(surface, 0, 270, ladder=Ladder((27,)), sampler=uniform)
    assert trace.epochs.tolist() == list(range(27, 271, 27))
    assert trace.counts == (10,)


@pytest.mark.slow
def test_the_command_writes_what_it_measured(tmp_path, capsys):
    rungs.main(["--seeds", "2", "--budget", "540", "--json", str(tmp_path / "rungs.json")])
    result = json.loads((tmp_path / "rungs.json").read_text(encoding="utf-8"))
    assert set(result["surfaces"]) == {"easy", "hard"}
    for methods in result["surfaces"].values():
        assert methods["optuna tpe"]["epochs"] == [540, 540]
        assert methods["optuna tpe"]["reached_count"] == 0
    assert "540+" in capsys.readouterr().out
