from __future__ import annotations

from pathlib import Path

import pytest

from dse.execution import limits
from dse.execution.limits import cores_and_memory

GB = 1_000_000_000


@pytest.fixture(autouse=True)
def _many_cores(monkeypatch):
    """Sixteen cores, and memory for more than as many workers."""
    monkeypatch.setattr(limits, "cores_count", lambda: 16)
    sizes = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 100 * GB}
    monkeypatch.setattr(limits.os, "sysconf", sizes.__getitem__)


def count(tmp_path: Path, membership: str, files: dict[str, str]) -> int:
    (tmp_path / "cgroup").write_text(membership)
    for name, content in files.items():
        path = tmp_path / "fs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return cores_and_memory(tmp_path / "cgroup", tmp_path / "fs")


@pytest.mark.parametrize(
    ("membership", "files", "wanted"),
    [
        ("0::/a/b\n", {}, 16),
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/b/memory.max": "max\n"}, 16),
        ("0::/a/b\n", {"a/b/cpu.max": "350000 100000\n"}, 3),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000\n"}, 1),
        # A group around it holds too; in a container only the top of the path is there.
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "200000 100000\n"}, 2),
        ("0::/../../docker/x\n", {"cpu.max": "400000 100000\n"}, 4),
        # 2.7 GB are a driver of 0.2 and five workers of 0.5.
        ("0::/a\n", {"a/memory.max": "2700000000\n"}, 5),
        ("0::/a\n", {"a/memory.max": "260000000\n"}, 1),
        (
            "4:memory:/m\n3:cpu,cpuacct:/c\n0::/\n",
            {
                "cpu/c/cpu.cfs_quota_us": "700000\n",
                "cpu/c/cpu.cfs_period_us": "100000\n",
                "memory/m/memory.limit_in_bytes": "9223372036854771712\n",
            },
            7,
        ),
        ("4:memory:/m\n", {"memory/memory.limit_in_bytes": "1700000000\n"}, 3),
        ("2:cpu:/c\n", {"cpu/c/cpu.cfs_quota_us": "-1", "cpu/c/cpu.cfs_period_us": "100000"}, 16),
        ("nonsense", {"cpu.max": "a b"}, 16),
    ],
)
def test_quotas_of_control_groups_count(tmp_path, membership, files, wanted):
    assert count(tmp_path, membership, files) == wanted


def test_without_control_groups_cores_and_memory_count(tmp_path, monkeypatch):
    assert cores_and_memory(tmp_path / "none", tmp_path) == 16
    sizes = {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 4 * GB // 4096}
    monkeypatch.setattr(limits.os, "sysconf", sizes.__getitem__)
    assert cores_and_memory(tmp_path / "none", tmp_path) == 7
