from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from dse.data import parse_data, prepare_data
from tests.data.trees import write_classes


def test_four_devices_train_as_one_does_at_the_same_batch(tmp_path):
    """After 20 steps parameters and statistics agree to 1e-5; XLA counts devices at its start."""
    write_classes(tmp_path / "photos", {"ant": 24, "bee": 24}, shape=(12, 12, 3))
    data = prepare_data(parse_data(f"folder:{tmp_path / 'photos'}"), cache_directory=tmp_path)
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("data_parallel.py"), str(data.directory)],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.returncode, done.stderr
    exchanged, said, refused = map(json.loads, done.stdout.splitlines())
    assert exchanged["all-reduce"] > 0  # of gradients and of the norms' sums
    assert exchanged["all-gather"] == 0  # no device sees another's images
    assert said["steps"] == 20
    assert said["size"] > 0.1
    assert said["apart"] < 1e-5
    assert abs(said["losses"][0] - said["losses"][1]) < 1e-5
    assert refused == [
        "5 devices for each worker are asked for, but JAX finds 4 (cpu) here: "
        "--devices-per-worker 4",
        "a batch of 8 images cannot be shared by 3 devices evenly: --recipe batch_size=…",
    ]
