from __future__ import annotations

import os
import subprocess
import sys

import pytest

from dse.training.xla.threads import cores_count, one_thread, threads_count

# A convolution that XLA hands to a library with a pool of its own; prints that pool's threads.
CONVOLVE = """
import os
import jax, jax.numpy as jnp
x, kernel = jnp.ones((64, 32, 32, 32)), jnp.ones((3, 3, 32, 64))
run = jax.jit(lambda x, k: jax.lax.conv_general_dilated(
    x, k, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")).sum())
jax.block_until_ready(run(x, kernel))
tasks = "/proc/self/task"
names = [open(f"{tasks}/{task}/comm").read() for task in os.listdir(tasks)]
print(sum(name.startswith("tf_XLAEigen") for name in names))
"""


def pool_threads(environment: dict[str, str]) -> int:
    done = subprocess.run(
        [sys.executable, "-c", CONVOLVE],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="needs /proc to see threads")
@pytest.mark.skipif(cores_count() < 2, reason="one core has one thread anyway")
def test_xla_computes_with_one_thread_where_it_is_told_to():
    plain = {k: v for k, v in os.environ.items() if k not in ("PJRT_NPROC", "NPROC")}
    plain["JAX_PLATFORMS"] = "cpu"
    assert pool_threads(plain) == cores_count()
    assert pool_threads(one_thread(plain)) == 1


def test_the_environment_keeps_what_it_held():
    environment = one_thread({"HOME": "/home/me", "XLA_FLAGS": "--mine=1"})
    assert environment["HOME"] == "/home/me"
    assert environment["XLA_FLAGS"] == "--mine=1 --xla_cpu_multi_thread_eigen=false"


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({"PJRT_NPROC": "3"}, 3),
        ({"NPROC": "2"}, 2),
        ({"PJRT_NPROC": "3", "NPROC": "2"}, 3),
        ({"PJRT_NPROC": "many"}, cores_count()),
        ({}, cores_count()),
    ],
)
def test_threads_are_as_xla_counts_them(settings, count, monkeypatch):
    for name in ("PJRT_NPROC", "NPROC"):
        monkeypatch.delenv(name, raising=False)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert threads_count() == count
