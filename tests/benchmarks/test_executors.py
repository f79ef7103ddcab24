"""The benchmark of executors, reduced to what shows that it runs and counts right."""

from __future__ import annotations

from benchmarks.executors import measured
from dse.execution.local import LocalExecutor


def test_jobs_that_do_nothing_are_counted_and_timed(fake_worker):
    found = measured(LocalExecutor(2), 200)
    assert found["jobs_count"] == 200
    assert 0 < found["per_job_ms"] < 500
    assert found["memory_growth_bytes"] < 20e6
