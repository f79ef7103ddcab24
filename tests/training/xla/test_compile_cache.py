from __future__ import annotations

import dataclasses
import os
import pickle
import subprocess
import sys
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.compilation_cache.compilation_cache import reset_cache

from dse.training import trainer as loop
from dse.training.trainer import Seed, Trainer
from dse.training.xla import compile_cache
from dse.training.xla.compile_cache import (
    _of_this_processor,
    load_or_compile,
    use_compile_cache,
)
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
    (tmp_path / "programs").mkdir()
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

        return load_or_compile(jax.jit(double), (jnp.zeros(3),), result={"twice": 0}, key=key)


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


class Poison:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


def test_an_entry_that_would_run_something_when_unpickled_does_not(programs, tmp_path):
    Doubler().program()
    (path,) = programs.iterdir()
    ran = tmp_path / "ran"
    pickle.loads(pickle.dumps(Poison(ran)))
    ran.rmdir()
    for content in (pickle.dumps(Poison(ran)), zlib.compress(pickle.dumps(Poison(ran)))):
        path.write_bytes(content)
        doubler = Doubler()
        np.testing.assert_array_equal(doubler.program()(jnp.ones(3))["twice"], [2, 2, 2])
        assert doubler.traces == 1
    assert not ran.exists()


def kept_triple(programs: Path) -> None:
    """Have the entry of `Doubler` hold another program: it shows whether it is used."""
    Doubler(3.0).program()
    np.testing.assert_array_equal(Doubler().program()(jnp.ones(3))["twice"], [3, 3, 3])


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_program_that_others_can_write_is_not_used(programs, mode):
    kept_triple(programs)
    (path,) = programs.iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(mode)
    np.testing.assert_array_equal(Doubler().program()(jnp.ones(3))["twice"], [2, 2, 2])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_a_program_of_another_user_or_behind_a_link_is_not_used(programs, tmp_path):
    kept_triple(programs)
    (path,) = programs.iterdir()
    os.chown(path, 65534, 65534)
    np.testing.assert_array_equal(Doubler().program()(jnp.ones(3))["twice"], [2, 2, 2])
    path.unlink()
    kept_triple(programs)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    np.testing.assert_array_equal(Doubler().program()(jnp.ones(3))["twice"], [2, 2, 2])


@pytest.mark.parametrize("place", [".", "compiled", "compiled/{cpu}", "compiled/{cpu}/programs"])
def test_a_folder_that_others_can_write_is_not_used(tmp_path, monkeypatch, place):
    monkeypatch.setattr(compile_cache, "_used", [])
    folder = tmp_path / "cache" / "compiled"
    use_compile_cache(folder)
    (programs,) = compile_cache._used
    kept_triple(programs)
    assert {p.stat().st_mode & 0o777 for p in (programs, programs.parent, folder)} == {0o700}
    cpu = _of_this_processor(folder).name
    (tmp_path / "cache" / place.format(cpu=cpu)).chmod(0o777)
    compile_cache._used.clear()
    jax.config.update("jax_compilation_cache_dir", None)
    use_compile_cache(folder)
    assert compile_cache._used == []
    assert jax.config.jax_compilation_cache_dir is None
    np.testing.assert_array_equal(Doubler().program()(jnp.ones(3))["twice"], [2, 2, 2])


def test_what_was_used_least_recently_makes_room(tmp_path, monkeypatch):
    monkeypatch.setattr(compile_cache, "_used", [])
    folder = tmp_path / "compiled"
    use_compile_cache(folder)
    (programs,) = compile_cache._used
    for age, name in enumerate("abcd"):
        for path in (programs / name, programs.parent / f"{name}-cache"):
            path.write_bytes(bytes(1000))
            os.utime(path, (1e9 - age, 1e9 - age))
    (programs / "open").write_bytes(b"")
    (programs / "open").chmod(0o666)
    monkeypatch.setattr(compile_cache, "MOST_BYTES", 4500)
    use_compile_cache(folder)
    assert sorted(path.name for path in programs.iterdir()) == ["a", "b"]
    left = sorted(path.name for path in programs.parent.iterdir())
    assert left == ["a-cache", "b-cache", "programs"]


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
    compiled = compile_cache.load_or_compile(jax.jit(program), arguments, result=0, key="a")
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
    # Messages, files, the measurement's format and what is made of scores change no program.
    assert packages - {"errors", "text", "files", "study", "stats"} == set(compile_cache._ROWS)
