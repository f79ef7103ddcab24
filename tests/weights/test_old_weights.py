"""Weights that commit abe660b wrote decode to the same arrays."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from dse.weights.dsz import unpack
from dse.weights.safetensors import flat, load_weights, read_network

FIXTURES = Path(__file__).parents[1] / "fixtures"
EXPECTED = json.loads((FIXTURES / "weights" / "expected.json").read_text())


def test_every_file_is_expected():
    names = {
        path.relative_to(FIXTURES).as_posix()
        for folder in ("weights", "front")
        for suffix in ("safetensors", "dsz")
        for path in (FIXTURES / folder).glob(f"*.{suffix}")
    }
    assert names == set(EXPECTED)
    assert len(names) == 7


@pytest.mark.parametrize("name", EXPECTED)
def test_the_arrays_of_a_file(name):
    path, expected = FIXTURES / name, EXPECTED[name]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == expected["file_sha256"]
    params, statistics, metadata = load_weights(path)
    arrays = flat(params, statistics)
    assert {key: list(array.shape) for key, array in arrays.items()} == expected["shapes"]
    digest = hashlib.sha256()
    for key in sorted(arrays):
        assert arrays[key].dtype == np.float32
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(arrays[key]).tobytes())
    assert digest.hexdigest() == expected["arrays_sha256"]
    kernels = [array for key, array in arrays.items() if key.endswith("kernel")]
    assert sum(np.count_nonzero(kernel) for kernel in kernels) == expected["nonzero"]
    assert json.loads(json.dumps(metadata.to_dict())) == expected["metadata"]
    assert read_network(path)[0] == metadata


def test_a_lossless_file_holds_the_arrays_of_its_source():
    source = flat(*load_weights(FIXTURES / "weights" / "batch-norm.safetensors")[:2])
    content = (FIXTURES / "weights" / "batch-norm-lossless.dsz").read_bytes()
    _, arrays = unpack(content)
    assert set(arrays) == set(source)
    for name, array in source.items():
        assert np.array_equal(np.asarray(arrays[name]), array), name
