"""`Session.serve`: sources that decide by what came before."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from dse.execution.job import Ended, EpochDone, GivenUp, Job, Setup, Started, WorkerLost
from dse.execution.local import ATTEMPTS, LocalExecutor, LocalSession
from dse.study.fidelity import Fidelity
from tests.search.searching import RECIPE, pool

CHILDREN = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")


def job(number: int, replicate: int = 0, epochs: int | None = 1) -> Job:
    return Job(pool().candidate(number), replicate, Fidelity(epochs) if epochs else None)


class Source:
    """Gives what `decide` says, by what was started and what ended so far."""

    def __init__(self, decide: Callable[[Source], Job | None]) -> None:
        self.decide, self.started, self.ended, self.asked = decide, [], [], []
        self.over: Callable[[], bool] = lambda: False

    def next_job(self, compiled: str, elsewhere) -> Job | None:
        self.asked.append((compiled, frozenset(elsewhere)))
        return self.decide(self)

    def is_over(self) -> bool:
        return self.over()


def serve(executor: LocalSession, source: Source) -> list:
    events = []
    for event in executor.serve(source):
        events.append(event)
        if isinstance(event, Started):
            source.started.append(event.job)
        if isinstance(event, Ended):
            source.ended.append(event)
    return events


@pytest.fixture
def executor(tmp_path, fake_worker):
    setup = Setup("f" * 32, RECIPE, scores_test=False)
    with LocalExecutor(2).session(setup, {}, tmp_path / "logs") as session:
        yield session


@pytest.fixture
def deaths(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "deaths"
    folder.mkdir()
    monkeypatch.setenv("DSE_FAKE_DEATHS", str(folder))
    return folder


def given(jobs: list[Job]) -> Callable[[Source], Job | None]:
    waiting = list(jobs)
    return lambda source: waiting.pop(0) if waiting else None


def test_a_source_decides_by_what_ended(executor):
    """Each rung is asked for when the one below has ended well."""

    def climb(source: Source) -> Job | None:
        reached = [0, *(event.measurement.epochs for event in source.ended)]
        is_busy = len(source.started) > len(source.ended)
        return None if is_busy or max(reached) == 9 else job(15, epochs=3 * max(reached) or 1)

    source = Source(climb)
    serve(executor, source)
    assert [event.measurement.epochs for event in source.ended] == [1, 3, 9]
    accuracies = [event.measurement.validation_accuracy for event in source.ended]
    # The closed form: 0.9 * (1 - 2**-epochs / 2) of 200 images.
    assert accuracies == [0.675, 0.845, 0.9]
    assert {event.measurement.test_accuracy for event in source.ended} == {None}


def test_a_worker_with_nothing_to_do_is_asked_again_when_another_ended(executor, monkeypatch):
    monkeypatch.setenv("DSE_FAKE_WAIT_S", "0.2")

    def after_the_first(source: Source) -> Job | None:
        if not source.started and len(source.asked) == 1:
            return job(0)
        return job(len(source.started)) if source.ended and len(source.started) < 3 else None

    source = Source(after_the_first)
    events = serve(executor, source)
    assert [j.candidate for j in source.started] == [pool().candidate(n) for n in (0, 1, 2)]
    second = events.index(next(e for e in events if isinstance(e, Started) and e.job == job(1)))
    assert any(isinstance(e, Ended) for e in events[:second])
    assert {e.worker for e in events[second:] if isinstance(e, Started)} == {0, 1}


def test_with_nothing_at_all_no_worker_is_started(executor):
    before = CHILDREN.read_text()
    assert serve(executor, Source(lambda source: None)) == []
    over = Source(lambda source: job(0))
    over.over = lambda: True
    assert serve(executor, over) == []
    assert over.asked == [], "a source that is over is not asked"
    assert CHILDREN.read_text() == before


def test_a_job_is_handed_out_again_when_its_worker_dies_in_the_middle(executor, deaths):
    (deaths / f"{1 / 16}-0-a").touch()
    source = Source(given([job(0), job(1), job(2)]))
    events = serve(executor, source)
    lost = [event for event in events if isinstance(event, WorkerLost)]
    assert [(event.job, event.status) for event in lost] == [(job(0), "signal SIGKILL")]
    assert source.started.count(job(0)) == 2
    assert sorted(e.job.candidate.key for e in source.ended) == sorted(
        job(n).candidate.key for n in range(3)
    )
    assert {event.measurement.status for event in source.ended} == {"finished"}


def test_a_job_that_kills_every_worker_is_given_up(executor, deaths):
    for number in range(ATTEMPTS + 1):
        (deaths / f"{1 / 16}-0-{number}").touch()
    source = Source(given([job(0), job(1)]))
    events = serve(executor, source)
    by_job = {event.job: event.measurement for event in source.ended}
    assert by_job.keys() == {job(1)}
    assert by_job[job(1)].status == "finished"
    (given_up,) = [event for event in events if isinstance(event, GivenUp)]
    assert given_up.job == job(0)
    assert given_up.reason.startswith("the worker died 3 times (signal SIGKILL)")
    assert len(list(deaths.iterdir())) == 1, "it was tried a fourth time"


def test_a_source_that_is_over_ends_what_is_trained_and_the_next_goes_on(executor, monkeypatch):
    monkeypatch.setenv("DSE_FAKE_WAIT_S", "60")
    source = Source(given([job(0)]))
    epochs = []
    source.over = lambda: bool(epochs)
    for event in executor.serve(source):
        if isinstance(event, EpochDone):
            epochs.append(event)
    pids = [worker.process.pid for worker in executor._workers.values()]
    assert len(pids) == 1, "the worker that trained is not ended"
    monkeypatch.setenv("DSE_FAKE_WAIT_S", "0")
    # The worker that had nothing to do has the old environment: both get a job, it would hang.
    for number in list(executor._workers):
        executor._workers[number].process.kill()
    again = Source(given([job(0), job(1), job(2)]))
    serve(executor, again)
    assert [event.measurement.status for event in again.ended] == ["finished"] * 3
    assert {event.job for event in again.ended} == {job(0), job(1), job(2)}


def test_workers_live_on_from_one_source_to_the_next(executor):
    serve(executor, Source(given([job(0), job(1)])))
    before = {number: w.process.pid for number, w in executor._workers.items()}
    source = Source(given([job(1, replicate) for replicate in (1, 2)]))
    serve(executor, source)
    assert {number: w.process.pid for number, w in executor._workers.items()} == before
    assert len(source.ended) == 2
