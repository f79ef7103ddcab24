"""How many threads XLA uses in a process, and how one is held to a single thread.

XLA reads this once, when it starts, so it is told by the environment of a new process.
`--xla_cpu_multi_thread_eigen=false` alone leaves a pool of one thread a core behind the
library that does its convolutions and products (YNNPACK): two such processes on two cores
trained a third slower than two of one thread. Importing this module imports no JAX.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

# In this order XLA asks for the size of its pools; the cores that it may run on are the default.
_POOL_SIZES = ("PJRT_NPROC", "NPROC")

_LIBRARIES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def one_thread(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment in which a new process computes with one thread on the CPU."""
    flags = f"{environment.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    ones = dict.fromkeys((*_POOL_SIZES, *_LIBRARIES), "1")
    return {**environment, **ones, "XLA_FLAGS": flags}


def threads_count() -> int:
    """How many threads XLA uses in this process, which it compiles for."""
    for name in _POOL_SIZES:
        value = os.environ.get(name, "")
        if value.isdecimal() and int(value):
            return int(value)
    return cores_count()


def cores_count() -> int:
    """Cores that this process may run on, where the system says so."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
