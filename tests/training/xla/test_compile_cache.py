from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from dse.training import trainer as loop
from dse.training.trainer import Seed, Trainer
from dse.training.xla import compile_cache
from dse.training.xla.compile_cache import _of_this_processor, load_or_compile
from tests.training.test_trainer import RECIPE, leaves, small_architecture


@pytest.fixture(autouse=True)
def _alone():
    """What is compiled here is found in none of JAX's caches; theirs is back afterwards."""
    before = jax.config.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", None)
    reset_cache()
    yield
    jax.config.update("jax_compilation_cache_dir", before)
    reset_cache()


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A folder of kept programs in use, for this test alone."""
    monkeypatch.setattr(compile_cache, "_used", [tmp_path / "programs"])
    return tmp_path / "programs"


class Doubler:
    """A jitted function that knows how often it was traced."""

    def __init__(self, factor=2.0):
        self.traces = 0
        self.factor = factor

    def program(self, key="double"):
        def double(x):
            self.traces += 1
            return {"twice": x * self.factor}

        return load_or_compile(jax.jit(double), (jnp.zeros(3),), key=key)


def test_a_kept_program_is_not_traced_again_and_says_the_same(programs):
    doubler = Doubler()
    x = jnp.arange(3.0)
    for _ in range(2):
        np.testing.assert_array_equal(doubler.program()(x)["twice"], [0, 2, 4])
    assert doubler.traces == 1
    assert len(list(programs.iterdir())) == 1


def test_without_a_folder_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(compile_cache, "_used", [])
    doubler = Doubler()
    doubler.program()
    doubler.program()
    assert doubler.traces == 2


@pytest.mark.parametrize("damage", [b"", b"not a program", None])
def test_a_damaged_program_is_made_again(programs, damage):
    doubler = Doubler()
    doubler.program()
    (path,) = programs.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    np.testing.assert_array_equal(doubler.program()(jnp.ones(3))["twice"], [2, 2, 2])
    assert doubler.traces == 2
    doubler.program()
    assert doubler.traces == 2


def test_a_folder_that_cannot_be_written_costs_speed_alone(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(compile_cache, "_used", [tmp_path / "file" / "programs"])
    np.testing.assert_array_equal(Doubler().program()(jnp.ones(3))["twice"], [2, 2, 2])


@pytest.mark.parametrize("change", ["key", "flags", "build"])
def test_a_program_is_found_for_all_it_follows_from_and_nothing_else(programs, monkeypatch, change):
    Doubler().program()
    key = "double"
    if change == "key":
        key = "triple"
    elif change == "flags":
        monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    else:
        monkeypatch.setattr(compile_cache, "_build", lambda: "another build")
    other = Doubler(3.0)
    np.testing.assert_array_equal(other.program(key)(jnp.ones(3))["twice"], [3, 3, 3])
    assert other.traces == 1


def test_a_training_by_kept_programs_is_the_same_to_the_bit(programs, quarters, monkeypatch):
    def train():
        return Trainer(small_architecture(norm="batch"), quarters, RECIPE).train(Seed())

    first = train()

    def refuse(*arguments):
        raise AssertionError("the program should have been found")

    monkeypatch.setattr(loop, "make_train_program", lambda *arguments: jax.jit(refuse))
    again = train()
    for one, other in zip(leaves(first.params), leaves(again.params), strict=True):
        np.testing.assert_array_equal(one, other)
    assert again.measurement.validation_accuracy == first.measurement.validation_accuracy


def test_another_recipe_is_another_program(programs, quarters):
    Trainer(small_architecture(norm="batch"), quarters, RECIPE)
    for changes in ({"learning_rate": 0.1}, {"epochs": 2}, {"optimizer": "adamw"}):
        before = len(list(programs.iterdir()))
        Trainer(small_architecture(norm="batch"), quarters, dataclasses.replace(RECIPE, **changes))
        assert len(list(programs.iterdir())) > before, changes


def test_the_cache_has_a_part_for_each_kind_of_processor(monkeypatch):
    here = _of_this_processor(Path("cache"))
    assert here == _of_this_processor(Path("cache"))
    assert here.parent == Path("cache")
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    assert _of_this_processor(Path("cache")) != here


def test_programs_are_kept_whole_beside_jax_own_cache(tmp_path):
    """In processes of their own: JAX's cache has the program first, then ours is filled."""
    code = """
import sys, jax, jax.numpy as jnp
from pathlib import Path
from dse.training.xla import compile_cache
compile_cache.use_compile_cache(Path("cache"))
def program(x):
    return jnp.tanh(x @ x).sum(0) + jnp.sin(x).mean()
if sys.argv[1] == "jax":
    compiled = jax.jit(program).lower(jnp.ones((64, 64))).compile()
else:
    arguments = (jnp.ones((64, 64)),)
    compiled = compile_cache.load_or_compile(jax.jit(program), arguments, key="a")
print(float(compiled(jnp.ones((64, 64))).sum()))
"""
    said = [
        subprocess.run(
            [sys.executable, "-c", code, way],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for way in ("jax", "ours", "ours")
    ]
    assert len(list(tmp_path.glob("cache/*/programs/*"))) == 1
    assert said[0] == said[1] == said[2] != ""


def test_programs_follow_from_all_packages_that_they_are_traced_by():
    code = "import sys, dse.training.trainer; print(*(m for m in sys.modules if m[:4] == 'dse.'))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    packages = {name.split(".")[1] for name in said.stdout.split()}
    # Messages, files and the measurement's format change no program.
    assert packages - {"errors", "text", "files", "study"} == set(compile_cache._ROWS)
