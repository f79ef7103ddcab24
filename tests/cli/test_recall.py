from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from dse.architecture import make_candidate
from dse.cli.recall import ClassScores, validation_scores
from dse.study.fidelity import Fidelity
from dse.study.measurement import Measurement, pack_bits
from dse.study.trial import SEARCH, Trial

CANDIDATE = make_candidate("squeezenet", {})


def trial(correct: list[bool] | None, replicate: int = 0) -> Trial:
    packed = "" if correct is None else pack_bits(np.array(correct))
    measured = Measurement("finished", epochs=1, validation_correct=packed)
    return Trial(CANDIDATE, replicate, {}, SEARCH, rungs={Fidelity(1): measured})


def test_95_percent_that_find_no_ill_one() -> None:
    scores = ClassScores(("healthy", "ill"), (190, 10), (190, 0))
    assert scores.largest == ("healthy", 0.95)
    assert scores.recall == {"ill": 0.0, "healthy": 1.0}
    # Wilson, by hand: (0.95 + z²/400 ± z √(0.0475/200 + z²/160,000)) / (1 + z²/200).
    assert scores.interval == "95% interval 91.04 to 97.26 over 200 images"
    twice = ClassScores(("healthy", "ill"), (380, 20), (380, 0), seeds=2)
    assert twice.interval == scores.interval, "a second seed adds no image"
    assert str(scores) == (
        "largest class healthy, 95.00% of the images; recall ill 0.00%, healthy 100.00%"
    )


def test_of_many_classes_the_lowest_are_named() -> None:
    scores = ClassScores("abcdefgh", (4,) * 7 + (0,), (4, 3, 2, 1, 0, 4, 4, 0))
    assert str(scores).endswith(
        "; lowest recall e 0.00%, d 25.00%, c 50.00%, b 75.00%, a 100.00% and 2 more"
    )
    assert "h" not in scores.recall  # none of it was scored


def test_seeds_are_taken_together() -> None:
    split = SimpleNamespace(labels=np.array([0, 0, 0, 1]))
    dataset = SimpleNamespace(validation=split, classes=("cat", "dog"))
    trials = [
        trial([True, True, False, False]),
        trial([True, False, False, True], 1),
        trial(None, 2),
    ]
    scores = validation_scores(trials, CANDIDATE.key, dataset)
    assert scores == ClassScores(("cat", "dog"), [6, 2], [3, 1], seeds=2)
    assert validation_scores(trials[2:], CANDIDATE.key, dataset) is None
    assert validation_scores(trials, "another", dataset) is None


@pytest.mark.parametrize("as_json", [False, True])
def test_a_sweep_says_them(run, fake_worker, monkeypatch, tmp_path, as_json) -> None:
    monkeypatch.setenv("DSE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DSE_FAKE_CLOSED_FORM", "1")
    monkeypatch.setenv("DSE_FAKE_IMAGES", "359,359")
    monkeypatch.setenv("DSE_FAKE_CEILINGS", '{"0.25": 1.0}')
    sets = ["--set", "squeeze_ratio=0.25", "--epochs", "20"]
    result = run("sweep", "squeeze_ratio.yaml", *sets, *(["--json"] if as_json else []))
    assert result.exit_code == 0, result.output
    if as_json:
        assert f'"largest_class_share": {37 / 359}' in result.stdout
        assert f'"recall": {{\n    "0": {1.0}' in result.stdout
    else:
        assert (
            "accuracy 100.00%: 95% interval 98.94 to 100.00 over 359 images; largest class 3, "
            "10.31% of the images; lowest recall 0 100.00%" in (result.stderr)
        )
