"""What runs on accelerators, run on a CPU by the one switch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.architecture import build, make_candidate
from dse.networks import build_network
from dse.networks.ops import compute_dtype, use_cpu_forms
from dse.networks.ops.fused_norm import is_worthwhile
from dse.training import Recipe
from dse.training.optimizers import make_optimizer
from dse.training.parametrization import AllParameters
from dse.training.scaling import InputScaling
from dse.training.step import TrainState, make_packings, make_train_program
from dse.training.xla import compiler_options, microbatches_count

SHAPE = (16, 16, 3)


def network(**metaparameters):
    small = {"base_e": 8, "incr_e": 8, "fire_modules": 2, "pools": "early", "norm": "batch"}
    return build_network(build(make_candidate("squeezenet", small | metaparameters), SHAPE, 4))


def trained(recipe: Recipe, steps: int = 3):
    """(program, arguments) of a small training."""
    net = network()
    params, statistics = net.init(jax.random.key(0))
    packings = make_packings(recipe, params, statistics)
    optimizer = make_optimizer(recipe, steps)
    scaling = InputScaling((0.5,) * 3, (0.25,) * 3)
    program = make_train_program(net, recipe, optimizer, scaling, AllParameters(), packings, steps)
    packed = jax.tree.map(jnp.asarray, packings.trained.pack(params))
    state = TrainState(
        packed,
        jax.tree.map(jnp.asarray, packings.statistics.pack(statistics)),
        optimizer.init(packed),
        jnp.int32(0),
    )
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (steps, 16, *SHAPE), dtype=np.uint8)
    labels = rng.integers(0, 4, (steps, 16), dtype=np.int32)
    return program, (state, images, labels, jax.random.key(1))


RECIPE = Recipe(optimizer="muon", keeps_norms=True, batch_size=16, learning_rate=0.01, crop_px=1)


@pytest.fixture
def accelerator(monkeypatch):
    """Turns the switch."""

    def turn() -> None:
        monkeypatch.setenv("DSE_FORMS", "accelerator")
        compiler_options.cache_clear()

    yield turn
    compiler_options.cache_clear()


def test_one_switch_turns_off_what_is_for_cpus_alone(accelerator):
    large = build(make_candidate("squeezenet", {"norm": "batch"}), (32, 32, 3), 10)
    plain = network(norm="none", base_e=64)

    def facts():
        packed = make_packings(RECIPE, plain.abstract_params(), {}).trained
        names = packed.abstract(plain.abstract_params()).keys()
        deferred, microbatches = is_worthwhile(large, 128), microbatches_count(plain, 128) > 1
        return deferred, microbatches, "other" in names, bool(compiler_options())

    assert use_cpu_forms()
    assert compute_dtype() == jnp.float32
    assert facts() == (True,) * 4
    accelerator()
    assert not use_cpu_forms()
    assert compute_dtype() == jnp.bfloat16
    assert facts() == (False,) * 4


def test_an_accelerator_computes_in_bfloat16_with_parameters_in_float32(accelerator, monkeypatch):
    """In float32 its forms train as those of a CPU but for rounding."""
    program, arguments = trained(RECIPE)
    _, expected = program(*arguments)
    accelerator()
    program, arguments = trained(RECIPE)
    text = program.lower(*arguments).as_text()
    convolutions = [line for line in text.splitlines() if "stablehlo.convolution" in line]
    assert len(convolutions) >= 20  # forward, and both gradients
    assert all("bf16" in line and "f32" not in line for line in convolutions)
    state, losses = program(*arguments)
    kept = jax.tree.leaves((state.params, state.statistics, losses))
    assert {leaf.dtype for leaf in kept} == {jnp.dtype(jnp.float32)}
    np.testing.assert_allclose(losses, expected, rtol=0.03)  # bfloat16 has eight bits
    monkeypatch.setattr("dse.training.step.compute_dtype", lambda: jnp.dtype(jnp.float32))
    program, arguments = trained(RECIPE)
    np.testing.assert_allclose(program(*arguments)[1], expected, rtol=1e-4)
