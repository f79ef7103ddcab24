"""What is particular to XLA, by one door; the rest of `training` knows nothing of it.

    backend         whether JAX can start as the environment asks
    compile_cache   compiled programs that outlive their process, found by key
    compiler        options that halve the time of compiling for a CPU
    microbatching   a batch's gradient as the mean over microbatches that a CPU's cache holds
    packing         many small arrays end to end in few long ones
    threads         how many threads XLA uses, and how a process is held to one

JAX is imported with the first name that needs it: `backend` and `threads` are for processes that
have none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dse.training.xla.backend import check_backend
from dse.training.xla.threads import cores_count, one_thread, threads_count

if TYPE_CHECKING:
    from dse.training.xla.compile_cache import load_or_compile, use_compile_cache
    from dse.training.xla.compiler import compiler_options
    from dse.training.xla.microbatching import in_microbatches, microbatches_count
    from dse.training.xla.packing import Packing

_NEED_JAX = {
    "load_or_compile": "compile_cache",
    "use_compile_cache": "compile_cache",
    "compiler_options": "compiler",
    "in_microbatches": "microbatching",
    "microbatches_count": "microbatching",
    "Packing": "packing",
}

__all__ = [
    "Packing",
    "check_backend",
    "compiler_options",
    "cores_count",
    "in_microbatches",
    "load_or_compile",
    "microbatches_count",
    "one_thread",
    "threads_count",
    "use_compile_cache",
]


def __getattr__(name: str) -> Any:
    if name not in _NEED_JAX:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NEED_JAX[name]}"), name)
