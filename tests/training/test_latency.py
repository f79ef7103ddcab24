from __future__ import annotations

from pathlib import Path

import pytest

import dse
from dse.architecture import make_candidate
from dse.deployment import timing
from dse.deployment.timing import Latency, quantile, time_runs
from dse.errors import TrainingError
from dse.training.latency import measure_latency


def test_quantiles_are_the_nearest_rank() -> None:
    values = [float(n) for n in range(20, 0, -1)]
    assert quantile(values, 0.5) == 10  # half of the 20 are at most 10
    assert quantile(values, 0.95) == 19
    assert quantile([7.0], 0.95) == 7
    assert quantile([1.0, 2.0, 3.0], 0.5) == 2


class Clock:
    """Every run takes the next of these seconds; warm-up runs come first."""

    def __init__(self, seconds: list[float]) -> None:
        self.seconds, self.now, self.runs_count = seconds, 0.0, 0

    def run(self) -> None:
        self.now += self.seconds[min(self.runs_count, len(self.seconds) - 1)]
        self.runs_count += 1

    def __call__(self) -> float:
        return self.now


def test_the_first_runs_do_not_count_and_slow_networks_get_the_fewest() -> None:
    clock = Clock([1000, 100, 100, *[1.0] * 10, *[2.0] * 9, 50.0])
    assert time_runs(clock.run, clock=clock) == Latency(1.0, 2.0, timing.LEAST_RUNS)
    assert clock.runs_count == timing.WARM_UP_RUNS + timing.LEAST_RUNS


def test_fast_networks_get_the_most_runs_and_others_what_the_time_allows() -> None:
    fast = Clock([0.001])
    assert time_runs(fast.run, clock=fast).runs_count == timing.MOST_RUNS
    middle = Clock([0.0625])  # exact in binary: 48 runs are 3 seconds
    assert time_runs(middle.run, clock=middle) == Latency(0.0625, 0.0625, 48)


@pytest.fixture
def _this_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process runs the package that is tested, wherever another is installed."""
    monkeypatch.setenv("PYTHONPATH", str(Path(dse.__file__).parents[1]))


@pytest.mark.usefixtures("_this_package")
def test_a_real_network_in_a_process_of_one_thread() -> None:
    candidate = make_candidate("squeezenet", {"base_e": 8, "incr_e": 8})
    found = measure_latency(candidate, (8, 8, 1), 10)
    assert 0 < found.median_s <= found.p95_s < 1
    assert timing.LEAST_RUNS <= found.runs_count <= timing.MOST_RUNS


@pytest.mark.usefixtures("_this_package")
def test_a_process_that_fails_says_why() -> None:
    candidate = make_candidate("squeezenet", {"base_e": 8, "incr_e": 8})
    with pytest.raises(TrainingError, match=r"latency of .* cannot be measured: .*conv1"):
        measure_latency(candidate, (0, 8, 1), 10)
