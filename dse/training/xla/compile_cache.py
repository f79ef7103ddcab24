"""Compiled programs that outlive their process.

JAX's own cache names a program by its text, so it has to be traced and lowered before it is
found: 0.6 to 2 s for a fire network. The programs of a training are therefore kept by what
they follow from, and found without being built; all else is left to JAX's.

What is kept is code of the machine and nothing else: no description of objects is read from a
file, and only files that belong to this user and that nobody else can write are read at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import zlib
from collections.abc import Callable
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax.experimental.compilation_cache.compilation_cache import reset_cache

import dse
from dse.files import private_folder, read_own, replacing
from dse.networks.ops import use_cpu_forms
from dse.training.xla.threads import threads_count

_PROGRAMS = "programs"
_LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")
_ROWS = ("architecture", "data", "networks", "weights", "training")
"""Packages of `dse` whose sources a program of a training follows from."""

_used: list[Path] = []
"""The folder in use, if there is one."""


MOST_BYTES = 2 * 10**9
"""Of all compiled programs; those that were used least recently make room for others."""


def use_compile_cache(folder: Path) -> None:
    """Keep every compiled program in a folder, and look there before compiling.

    Programs are kept apart by processor: those of another one may not run on this. Whoever can
    write a compiled program can run anything, so a folder that is not this user's alone, or that
    cannot be written, is passed over.

    Args:
        folder: of all programs; made where it is missing.
    """
    try:
        used = private_folder(_of_this_processor(private_folder(folder)))
        programs = private_folder(used / _PROGRAMS)
        _tidy(used.parent)
    except OSError:
        return
    jax.config.update("jax_compilation_cache_dir", str(used))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    _used[:] = [programs]


def load_or_compile(
    function: Any, arguments: tuple[Any, ...], *, result: Any, key: str
) -> Callable[..., Any]:
    """The compiled program of a jitted function: one that was kept, or made now and kept.

    Kept is the machine's code alone; what goes in and comes out is known here.

    Args:
        function: what `jax.jit` gives with `keep_unused`.
        arguments: shapes and types, or arrays.
        result: a tree like the one that the function gives; its leaves do not matter.
        key: everything the program follows from, but for the sources of `dse`, the versions
            of its libraries, the flags of XLA, its threads and the kind of device, which are added.
    """
    if not _used or jax.process_count() > 1:  # what is kept is of a process that is alone
        return function.lower(*arguments).compile()
    device, flags = jax.devices()[0], os.environ.get("XLA_FLAGS", "")
    made_by = [_build(), flags, str(threads_count()), device.platform, device.device_kind]
    made_by += [] if use_cpu_forms() else ["accelerator"]
    path = _used[0] / hashlib.sha256("\n".join([key, *made_by]).encode()).hexdigest()
    # Whatever a damaged file, one of another build or somebody else's raises, it is compiled again.
    with contextlib.suppress(Exception):
        code = zlib.decompress(read_own(path))
        executable = device.client.deserialize_executable(code, [device])
        os.utime(path)
        return partial(_run, executable, jax.tree.structure(result))
    # Past JAX's cache: XLA cannot write down again a program that it loaded.
    jax.config.update("jax_compilation_cache_dir", None)
    reset_cache()
    try:
        compiled = function.lower(*arguments).compile()
    finally:
        jax.config.update("jax_compilation_cache_dir", str(_used[0].parent))
        reset_cache()
    if compiled.out_tree != jax.tree.structure(result):
        raise TypeError(f"the program gives {compiled.out_tree}, but was said to give {result}")
    with contextlib.suppress(Exception), replacing(path) as file:  # a full disk costs speed alone
        os.fchmod(file.fileno(), 0o600)
        file.write(zlib.compress(compiled.runtime_executable().serialize(), level=1))
    made: Callable[..., Any] = compiled
    return made


def _run(executable: Any, result: Any, *arguments: Any) -> Any:
    """Call a loaded program with trees, as JAX calls one that it compiled."""
    leaves = [
        jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf
        for leaf in map(jnp.asarray, jax.tree.leaves(arguments))
    ]
    arrays = executable.execute_sharded(leaves).disassemble_into_single_device_arrays()
    return jax.tree.unflatten(result, [array for (array,) in arrays])


def _tidy(folder: Path) -> None:
    """Remove what is not this user's or others can write, and what is too much."""
    kept = []
    for root, _, names in os.walk(folder):
        for path in (os.path.join(root, name) for name in names):
            found = os.lstat(path)
            if found.st_uid != os.geteuid() or found.st_mode & 0o002:
                os.unlink(path)
            else:
                kept.append((max(found.st_atime, found.st_mtime), found.st_size, path))
    total_bytes = sum(size for _, size, _ in kept)
    for _, size, path in sorted(kept):
        if total_bytes <= MOST_BYTES:
            break
        with contextlib.suppress(FileNotFoundError):  # another process tidies too
            os.unlink(path)
        total_bytes -= size


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
