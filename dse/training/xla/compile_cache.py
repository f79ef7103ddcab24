"""Compiled programs that outlive their process.

JAX's own cache names a program by its text, so it has to be traced and lowered before it is
found: 0.6 to 2 s for a fire network. The programs of a training are therefore kept by what
they follow from, and found without being built; all else is left to JAX's.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import platform
import zlib
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from jax.experimental.serialize_executable import deserialize_and_load, serialize

import dse
from dse.files import replacing
from dse.training.xla.threads import threads_count

_PROGRAMS = "programs"
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")
_ROWS = ("architecture", "data", "networks", "weights", "training")
"""Packages of `dse` whose sources a program of a training follows from."""

_used: list[Path] = []
"""The folder in use, if there is one."""


def use_compile_cache(folder: Path) -> None:
    """Keep every compiled program in a folder, and look there before compiling.

    Programs are kept apart by processor: those of another one may not run on this.

    Args:
        folder: of all programs; made where it is missing. Unwritable, it is passed over.
    """
    jax.config.update("jax_compilation_cache_dir", str(_of_this_processor(folder)))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    _used[:] = [_of_this_processor(folder) / _PROGRAMS]


def load_or_compile(function: Any, arguments: tuple[Any, ...], *, key: str) -> Callable[..., Any]:
    """The compiled program of a jitted function: one that was kept, or made now and kept.

    Args:
        function: what `jax.jit` gives.
        arguments: shapes and types, or arrays.
        key: everything the program follows from, but for the sources of `dse`, the versions
            of its libraries, the flags of XLA, its threads and the kind of device, which are added.
    """
    if not _used:
        return function.lower(*arguments).compile()
    device, flags = jax.devices()[0], os.environ.get("XLA_FLAGS", "")
    made_by = [_build(), flags, str(threads_count()), device.platform, device.device_kind]
    path = _used[0] / hashlib.sha256("\n".join([key, *made_by]).encode()).hexdigest()
    # Whatever a damaged file or one of another build raises, it is compiled again.
    with contextlib.suppress(Exception):
        return deserialize_and_load(*pickle.loads(zlib.decompress(path.read_bytes())))
    # Past JAX's cache: XLA cannot write down again a program that it loaded.
    jax.config.update("jax_compilation_cache_dir", None)
    reset_cache()
    try:
        compiled = function.lower(*arguments).compile()
    finally:
        jax.config.update("jax_compilation_cache_dir", str(_used[0].parent))
        reset_cache()
    with contextlib.suppress(Exception):  # a full disk costs speed alone
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(zlib.compress(pickle.dumps(serialize(compiled)), level=1))
    made: Callable[..., Any] = compiled
    return made


@cache
def _build() -> str:
    """What the programs of this process are made by: sources and libraries."""
    digest = hashlib.sha256(" ".join(map(version, _LIBRARIES)).encode())
    root = Path(dse.__file__).parent
    for row in _ROWS:
        for source in sorted((root / row).rglob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _of_this_processor(folder: Path) -> Path:
    """The part of a compile cache that is for this kind of processor.

    JAX names a program by its source and options alone, so machines that share a home
    directory would hand each other programs with instructions that the other lacks.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    features = [line for line in lines if line.lower().startswith(("flags", "features"))]
    text = "\n".join([platform.machine(), platform.processor(), *features[:1]])
    return folder / hashlib.sha256(text.encode()).hexdigest()[:12]
