from __future__ import annotations

import pytest

from dse.search.sweep import Sweep
from dse.space import Categorical, Fixed, SearchSpace, survey
from dse.training import Recipe
from tests.search.searching import InProcess

RATIOS = (0.25, 0.5, 1.0)


@pytest.fixture(autouse=True)
def _fast(fast_records: None) -> None:
    pass


@pytest.fixture
def space() -> SearchSpace:
    """Three candidates: squeeze_ratio 0.25, 0.5 and 1."""
    return SearchSpace(
        "ratios",
        "squeezenet",
        {"base_e": Fixed(8), "incr_e": Fixed(8), "squeeze_ratio": Categorical(RATIOS)},
    )


@pytest.fixture
def sweep(space: SearchSpace) -> Sweep:
    """The three candidates with two seeds each, on pictures of 8x8x1 in ten classes."""
    recipe = Recipe(epochs=1, batch_size=10, crop_px=0, flip=False)
    return Sweep("ratios", space, survey(space, (8, 8, 1), 10), recipe, seeds=2)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches train by the closed form in this process."""
    monkeypatch.setattr("dse.search.search.Executor", InProcess)
