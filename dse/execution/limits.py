"""What control groups and memory leave to this process, for the number of workers.

A container or a batch system may give less than the machine has: `cpu.max` and `memory.max`
(version 2), `cpu.cfs_quota_us` and `memory.limit_in_bytes` (version 1), of the group of this
process or of any around it. Importing this module imports no JAX.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dse.training.xla import cores_count

DRIVER_BYTES, WORKER_BYTES = 200_000_000, 500_000_000
"""What a driver and a worker take, rounded: 170 and 270 MB with small networks and images."""


def cores_and_memory(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> int:
    """How many workers there are cores and memory for, at least 1.

    Args:
        membership: says which control groups this process is in.
        root: where control groups are mounted.
    """
    given = limits(membership, root)
    return max(1, int(min(given.cores, (given.memory_bytes - DRIVER_BYTES) / WORKER_BYTES)))


@dataclass(frozen=True)
class Limits:
    """What this process may use: cores, perhaps not whole ones, and bytes of memory."""

    cores: float
    memory_bytes: float


def limits(
    membership: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> Limits:
    """The least of what the machine has and every control group leaves; as `cores_and_memory`."""
    counts: list[float] = [cores_count()]
    memory_bytes = [float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))]
    for group in _groups(membership, root, "cpu"):
        quota, period = [*_numbers(group / "cpu.max"), 0.0, 0.0][:2]
        if not quota:
            (quota,) = _numbers(group / "cpu.cfs_quota_us") or [0.0]
            (period,) = _numbers(group / "cpu.cfs_period_us") or [0.0]
        if quota > 0 and period > 0:
            counts.append(quota / period)
    for group in _groups(membership, root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            memory_bytes += _numbers(group / name)
    return Limits(min(counts), min(memory_bytes))


def _groups(membership: Path, root: Path, controller: str) -> Iterator[Path]:
    """Folders of the groups that a controller holds this process to, the innermost first."""
    try:
        lines = membership.read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return
    for line in lines:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        top = root / controller if controllers else root
        # In a container the path may be that of outside, of which only the top is there.
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for count in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:count])


def _numbers(path: Path) -> list[float]:
    """The numbers in a file; none where it says `max` or is not there."""
    try:
        return [float(word) for word in path.read_text(encoding="ascii").split()]
    except (OSError, ValueError):
        return []
