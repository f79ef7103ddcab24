from __future__ import annotations

import math

import pytest

from dse.architecture import make_candidate
from dse.execution.job import Job
from dse.search.time_left import TimeLeft
from dse.study.measurement import Measurement

A, B, C = (make_candidate("squeezenet", {"base_e": 8 * k}) for k in (1, 2, 3))
EXPECTED_S = {A: 10.0, B: 20.0, C: 40.0}


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def left(clock: Clock, *jobs: Job, workers: int = 1) -> TimeLeft:
    found = TimeLeft(
        lambda job: EXPECTED_S[job.candidate], compile_s=5.0, workers_count=workers, clock=clock
    )
    found.begin(jobs)
    return found


def took(train_s: float, compile_s: float = 0.0) -> Measurement:
    return Measurement("finished", train_s=train_s, compile_s=compile_s)


def test_nothing_is_known_before_anything_took_its_time(clock):
    time_left = left(clock, Job(A, 0))
    assert math.isnan(time_left.seconds())
    time_left.started(Job(A, 0))
    assert math.isnan(time_left.seconds())


def test_two_epochs_of_the_first_training_tell_how_fast_the_machine_is(clock):
    time_left = left(clock, Job(A, 0), Job(B, 0))
    time_left.started(Job(A, 0))
    clock.now += 30  # compilation and the first epoch, whose parts nobody knows
    time_left.progressed(Job(A, 0), 0.25)
    assert math.isnan(time_left.seconds())
    clock.now += 5  # a quarter of 10 s took 5: twice as long as expected
    time_left.progressed(Job(A, 0), 0.5)
    assert time_left.seconds() == pytest.approx(2 * 10 * 0.5 + 2 * 20 + 5)
    clock.now += 3
    assert time_left.seconds() == pytest.approx(2 * 10 * 0.5 + 2 * 20 + 5 - 3)


def test_seeds_of_a_candidate_are_compiled_once(clock):
    jobs = [Job(A, seed) for seed in range(3)]
    time_left = left(clock, *jobs)
    time_left.started(jobs[0])
    time_left.ended(jobs[0], took(10.0, compile_s=8.0))
    assert time_left.seconds() == pytest.approx(20.0)


def test_a_measured_compilation_stands_for_those_to_come(clock):
    time_left = left(clock, Job(A, 0), Job(B, 0), Job(C, 0))
    for job in (Job(A, 0), Job(B, 0)):
        time_left.started(job)
    time_left.ended(Job(A, 0), took(10.0, compile_s=2.0))
    time_left.ended(Job(B, 0), took(20.0, compile_s=4.0))
    assert time_left.seconds() == pytest.approx(40.0 + 3.0)


def test_the_longest_training_ends_no_sooner_for_other_workers(clock):
    time_left = left(clock, Job(A, 0), Job(C, 0), workers=2)
    for job in (Job(A, 0), Job(C, 0)):
        time_left.started(job)
        time_left.progressed(job, 0.25)
    clock.now += 2.5
    time_left.progressed(Job(A, 0), 0.5)
    time_left.progressed(Job(C, 0), 0.3125)
    # The rate is one; 5 s of A and 27.5 s of C are left on two workers.
    assert time_left.seconds() == pytest.approx(27.5)


def test_workers_share_what_waits(clock):
    jobs = [Job(A, seed) for seed in range(5)]
    time_left = left(clock, *jobs, workers=2)
    time_left.started(jobs[0])
    time_left.ended(jobs[0], took(10.0, compile_s=1.0))
    assert time_left.seconds() == pytest.approx(40 / 2)
    time_left.started(jobs[1])
    time_left.ended(jobs[1], took(10.0))
    assert time_left.seconds() == pytest.approx(20), "three of ten seconds on two workers"


def test_a_job_that_starts_again_is_whole_again(clock):
    time_left = left(clock, Job(A, 0), Job(B, 0))
    time_left.started(Job(A, 0))
    time_left.ended(Job(A, 0), took(10.0, compile_s=5.0))
    time_left.started(Job(B, 0))
    time_left.progressed(Job(B, 0), 0.75)
    assert time_left.seconds() == pytest.approx(5.0)
    time_left.started(Job(B, 0))
    assert time_left.seconds() == pytest.approx(25.0)


def test_failures_tell_nothing_of_the_speed(clock):
    time_left = left(clock, Job(A, 0), Job(B, 0))
    time_left.started(Job(A, 0))
    time_left.ended(Job(A, 0), Measurement("failed", reason="the loss became nan at step 7"))
    assert math.isnan(time_left.seconds())
    time_left.started(Job(B, 0))
    time_left.ended(Job(B, 0), took(20.0))
    assert time_left.seconds() == 0.0
