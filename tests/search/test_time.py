"""Budgets of time, by a clock that only training moves on."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest

from dse.errors import StudyError
from dse.execution.job import Ended, Started
from dse.search.engine import StageStarted
from dse.search.estimate import COMPILE_S, train_s
from dse.search.rungs import Ladder
from dse.search.stages import LEAST_CANDIDATES
from dse.study.fidelity import Fidelity
from dse.study.measurement import Measurement
from dse.study.table import read_trials
from tests.fakes.closed_form import answer
from tests.search import searching
from tests.search.searching import RECIPE, InProcess, document, ended, pool, run, search

FULL = Fidelity(RECIPE.epochs)


@dataclasses.dataclass
class World:
    """What time it is, and how many times slower than the estimate training is."""

    now_s: float = 0.0
    slowness: Callable[[float, int], float] = lambda ratio, epochs: 20.0

    def train_s(self, job, epochs: int) -> float:
        """Seconds for so many epochs of a job's candidate."""
        macs = float(pool().costs["macs"][pool().find(job.candidate)])
        ratio = job.candidate.metaparameters["squeeze_ratio"]
        return self.slowness(ratio, epochs) * train_s(macs, replace(RECIPE, epochs=epochs), 200)


@pytest.fixture
def world(monkeypatch) -> World:
    world = World()

    class Clock:
        def __init__(self, spent_s: float, started: float) -> None:
            self.spent_s, self.started = spent_s, started
            self.started_s = world.now_s

        def __call__(self) -> float:
            return self.spent_s + world.now_s - self.started_s

    class Timed(InProcess):
        trained: ClassVar[dict] = {}

        def serve(self, source, **_):
            while not source.is_over():
                job = source.next_job("", frozenset())
                if job is None:
                    return
                yield Started(job, 0)
                if job.task == "train":
                    until = (job.fidelity or FULL).epochs
                    done = self.trained.get(job.key, 0)
                    world.now_s += COMPILE_S + world.train_s(job, until - done)
                    if source.is_over():
                        return  # the worker is ended
                    self.trained[job.key] = until
                plain = answer(self.setup.to_dict(), job.to_dict())
                if job.task == "train":
                    plain["train_s"] = world.train_s(job, until)
                yield Ended(job, 0, Measurement(**plain))

    monkeypatch.setattr("dse.search.engine.Clock", Clock)
    monkeypatch.setattr(searching, "make_executor", Timed)
    return world


@pytest.mark.parametrize("seconds", [60, 120, 400])
def test_nothing_is_begun_that_does_not_fit(tmp_path, world, seconds):
    moments: dict[str, float] = {}

    def keep(event) -> None:
        events.append(event)
        if isinstance(event, StageStarted):
            moments[event.name] = world.now_s

    events = []
    result, _ = run(search(f"{seconds}s"), tmp_path, on_event=keep)
    started = [event.job for event in events if isinstance(event, Started)]
    assert started == [event.job for event in events if isinstance(event, Ended)]
    assert moments["finals"] <= 0.6 * seconds
    assert world.now_s <= seconds
    # The time is used: less is left than the longest candidate in full would take.
    longest_s = max(world.train_s(job, 9) for job in started) + 3 * COMPILE_S
    assert moments["finals"] > 0.6 * seconds - longest_s
    frame = read_trials(result.trials_path)
    assert frame["ended_s"].max() <= seconds
    assert document(result)["cost"]["wall_s"] == pytest.approx(frame["ended_s"].max())
    assert (frame[frame["stage"] == "search"]["epochs"] == 9).any()


def test_a_short_budget_samples_no_candidate_that_would_take_most_of_it(tmp_path, world):
    # All MACs alike would hide it: the largest of these takes twice the smallest.
    world.slowness = lambda ratio, epochs: 100.0
    result, events = run(search("700s", ladder=Ladder.of_epochs(RECIPE.epochs)), tmp_path)
    macs = pool().costs["macs"]
    seconds = COMPILE_S + np.array([100 * train_s(float(m), RECIPE, 200) for m in macs])
    longest_s = max(0.6 * 700 / LEAST_CANDIDATES, np.quantile(seconds, 0.1))
    left_out = int((seconds > longest_s).sum())
    assert 0 < left_out < len(macs), "else this tests nothing"
    searched = [e.job for e in events if isinstance(e, Started) and e.job.replicate == 0]
    taken = {pool().find(job.candidate) for job in searched}
    assert len(taken) > 2
    first = pool().find(searched[0].candidate)  # chosen before anything is measured
    assert max(seconds[list(taken - {first})]) <= longest_s
    assert document(result)["cost"]["left_out"] == left_out
    result, _ = run(search("10000s", ladder=Ladder.of_epochs(RECIPE.epochs)), tmp_path)
    assert document(result)["cost"]["left_out"] == 0


def test_too_little_time_says_so(tmp_path, world):
    with pytest.raises(StudyError, match=r"the budget of 10s is too small: .* 1 begun"):
        run(search("10s"), tmp_path)


def test_what_was_cut_off_is_taken_up_with_more_time(tmp_path, world):
    def slow_at_last(ratio: float, epochs: int) -> float:
        return 1e6 if world.now_s > 60 else 20.0

    world.slowness = slow_at_last
    first = []
    with contextlib.suppress(StudyError):  # where nothing was in full by then
        run(search("300s"), tmp_path, on_event=first.append)
    lost = {e.job for e in first if isinstance(e, Started)} - {
        e.job for e in first if isinstance(e, Ended)
    }
    (lost_job,) = [job for job in lost if job.replicate == 0]
    frame = read_trials(tmp_path / "results" / "ratios" / "trials.csv")
    world.now_s, world.slowness = 0.0, lambda ratio, epochs: 20.0
    spent_s = frame["ended_s"].max()
    _, events = run(search("10000s"), tmp_path)
    again = [job for job in ended(events) if job[3] == "train"]
    assert (
        lost_job.candidate.metaparameters["squeeze_ratio"],
        0,
        lost_job.fidelity.epochs,
        "train",
    ) in again
    after = read_trials(tmp_path / "results" / "ratios" / "trials.csv")
    assert after["ended_s"].max() > spent_s
    assert len(after) > len(frame)


def test_a_pause_between_two_runs_does_not_count(tmp_path, world):
    seen = []

    def stop(event) -> None:
        seen.append(event)
        if len(seen) > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(search("400s"), tmp_path, on_event=stop)
    trained_s = world.now_s
    world.now_s += 86_400  # a day
    result, _ = run(search("400s"), tmp_path)
    assert trained_s < document(result)["cost"]["wall_s"] <= 400
