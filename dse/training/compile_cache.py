"""Compiled programs that outlive their process."""

from __future__ import annotations

import hashlib
import platform
from pathlib import Path

import jax


def use_compile_cache(folder: Path) -> None:
    """Keep every compiled program in a folder, and look there before compiling.

    Programs are kept apart by processor: those of another one may not run on this.

    Args:
        folder: of all programs; made where it is missing. Unwritable, it is passed over.
    """
    jax.config.update("jax_compilation_cache_dir", str(_of_this_processor(folder)))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


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
