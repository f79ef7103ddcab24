"""Jobs, the worker that evaluates them, and the executors that hand them out."""

from dse.execution.executor import Executor, JobList, JobSource, Session
from dse.execution.job import Job, Setup
from dse.execution.local import LocalExecutor

__all__ = ["Executor", "Job", "JobList", "JobSource", "LocalExecutor", "Session", "Setup"]
