"""The published file itself, where it lies beside the repository."""

from __future__ import annotations

import numpy as np
import pytest

from dse.architecture import PRESETS, build
from dse.errors import DseError
from dse.weights.deep_compression import (
    PUBLISHED_SHA256,
    decode_deep_compression,
    read_deep_compression,
)
from tests.weights.encoder import mutated
from tests.weights.published import FILE, slow_decode

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not FILE.is_file(), reason=f"needs {FILE}"),
]

ARCHITECTURE = build(PRESETS["squeezenet_v1.0"].candidate, (227, 227, 3), 1000)


def test_counts_and_every_value() -> None:
    decoded = read_deep_compression(FILE, ARCHITECTURE)
    assert decoded.params_count == 1_248_424
    assert decoded.nonzero_weights_count == 415_921
    assert (decoded.source_bytes, decoded.sha256) == (675_763, PUBLISHED_SHA256)
    layers = slow_decode(FILE.read_bytes())
    assert len(decoded.arrays) == 2 * len(layers)
    for name, (weights, biases) in layers.items():
        kernel = decoded.arrays[f"{name}/kernel"].transpose(3, 2, 0, 1)
        np.testing.assert_array_equal(kernel, weights, name)
        np.testing.assert_array_equal(decoded.arrays[f"{name}/bias"], biases, name)


def test_a_thousand_mutated_copies_are_decoded_or_refused() -> None:
    content = FILE.read_bytes()
    shapes = {p.path: p.shape for p in ARCHITECTURE.parameters}
    rng = np.random.default_rng(0)
    messages: list[str] = []
    for _ in range(1000):
        try:
            arrays = decode_deep_compression(mutated(content, rng), ARCHITECTURE).arrays
        except DseError as error:
            messages.append(str(error))
        else:
            assert {path: array.shape for path, array in arrays.items()} == shapes
    assert 500 < len(messages) < 1000
    assert [message for message in messages if "offset" not in message] == []
