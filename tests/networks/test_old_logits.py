"""Networks that commit abe660b trained still give the same logits."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jax
import numpy as np
import pytest

from dse.architecture import build
from dse.networks import build_network, load_network

FIXTURES = Path(__file__).parents[1] / "fixtures"

with np.load(FIXTURES / "weights" / "logits.npz") as _file:
    STORED = dict(_file)

NAMES = [name.removeprefix("logits/") for name in STORED if name.startswith("logits/")]


@cache
def compiled(candidate):
    network = build_network(build(candidate, (8, 8, 1), 10))
    return jax.jit(lambda *arguments: network.apply(*arguments, train=False)[0])


@pytest.mark.parametrize("name", NAMES)
def test_logits(name):
    loaded = load_network(FIXTURES / name)
    rule = loaded.metadata.preprocessing
    inputs = (STORED["images"].astype(np.float32) / 255 - rule.mean) / rule.std
    np.testing.assert_allclose(inputs, STORED["inputs"], rtol=0, atol=1e-6)

    apply = compiled(loaded.metadata.candidate)
    logits = np.asarray(apply(loaded.params, loaded.statistics, STORED["inputs"]))
    np.testing.assert_allclose(logits, STORED[f"logits/{name}"], rtol=0, atol=1e-5)
    if name == "weights/batch-norm.safetensors":
        assert list(logits.argmax(axis=1)) == list(STORED["labels"])


def test_there_are_seven():
    assert len(NAMES) == 7
