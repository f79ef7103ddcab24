"""The GPUs of this machine, found without importing JAX."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path


def gpu_count() -> int:
    """NVIDIA devices that JAX would use here, found without importing it.

    0 where JAX is installed for CPUs only, as it is by default, whatever devices there are.
    """
    if os.environ.get("JAX_PLATFORMS", "").split(",")[0] == "cpu" or not _jax_has_plugins():
        return 0
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([device for device in visible.split(",") if device.strip() not in ("", "-1")])
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def _jax_has_plugins() -> bool:
    return importlib.util.find_spec("jax_plugins") is not None
