from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.architecture import build, make_candidate
from dse.networks import build_network
from dse.training.xla import microbatching
from dse.training.xla.microbatching import MICROBATCH_SIZE, in_microbatches, microbatches_count


def network(family: str = "squeezenet", **metaparameters):
    candidate = make_candidate(family, metaparameters)
    return build_network(build(candidate, (32, 32, 3), 10))


def test_which_batches_are_divided(monkeypatch):
    # The network without norms has 0.73 M parameters and 47 M multiply-adds an image.
    assert microbatches_count(network(), 128) == 128 // MICROBATCH_SIZE
    assert microbatches_count(network(), MICROBATCH_SIZE + 1) == 1
    assert microbatches_count(network(norm="batch"), 128) == 1
    assert microbatches_count(network("alexnet"), 128) == 1  # 23 M parameters, 63 M multiply-adds
    monkeypatch.setattr(microbatching, "use_cpu_forms", lambda: False)
    assert microbatches_count(network(), 128) == 1


@pytest.mark.parametrize("count", [1, 2, 4])
def test_the_mean_over_microbatches_is_the_gradient_of_the_batch(count):
    net = network(base_e=8, incr_e=4, squeeze_ratio=0.5)
    params, statistics = jax.tree.map(jnp.asarray, net.init(jax.random.key(0)))
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(8, 32, 32, 3)), jnp.float32)
    labels = jnp.asarray(rng.integers(0, 10, 8))

    def gradients_of(params, images, labels, key):
        def loss_of(params):
            logits, _ = net.apply(params, statistics, images, train=True, dropout_key=key)
            return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1).mean()

        return jax.value_and_grad(loss_of)(params)

    key = jax.random.key(1)
    loss, whole = jax.jit(gradients_of)(params, images, labels, key)
    mean_loss, mean = jax.jit(in_microbatches(gradients_of, count))(params, images, labels, key)
    assert float(mean_loss) == pytest.approx(float(loss), rel=1e-5)
    for one, other in zip(jax.tree.leaves(mean), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * float(jnp.abs(other).max()) + 1e-7)


def test_every_microbatch_has_its_own_key():
    def drawn(params, images, labels, key):
        return jnp.float32(0), {"draw": jax.random.uniform(key) + 0 * params["draw"]}

    found = in_microbatches(drawn, 4)(
        {"draw": jnp.float32(0)}, jnp.ones(8), jnp.ones(8), jax.random.key(0)
    )
    draws = [jax.random.uniform(key) for key in jax.random.split(jax.random.key(0), 4)]
    assert float(found[1]["draw"]) == pytest.approx(float(np.mean(draws)), rel=1e-6)
