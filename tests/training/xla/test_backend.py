from __future__ import annotations

import os
import subprocess

import pytest

from dse.errors import MachineError
from dse.training.xla import backend, check_backend


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("JAX_PLATFORMS", "nonsense", "Unable to initialize backend 'nonsense'"),
        ("XLA_FLAGS", "--xla_nonsense=1", "Unknown flag in XLA_FLAGS: --xla_nonsense=1"),
    ],
)
def test_what_jax_cannot_start_with_is_one_error(monkeypatch, name, value, said):
    for other in backend._VARIABLES:
        monkeypatch.delenv(other, raising=False)
    monkeypatch.setenv(name, value)
    with pytest.raises(MachineError) as error:
        check_backend(os.environ)
    assert str(error.value).startswith(f"JAX cannot start with {name}={value} in the environment: ")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_environment_that_asks_for_nothing_is_not_tried(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "run", refuse)
    for name in backend._VARIABLES:
        monkeypatch.delenv(name, raising=False)
    check_backend()
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    check_backend()
