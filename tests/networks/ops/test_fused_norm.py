"""Networks whose maps are normalised in microbatches, against the same ones layer by layer."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dse.architecture import Architecture, build, make_candidate
from dse.networks import build_network
from dse.networks.ops import fused_norm as deferred
from dse.networks.ops.fused_norm import Deferred, Geometry, Pool, Term, convolve, is_worthwhile

SHAPE = (16, 16, 3)


def architecture_of(shape: tuple[int, int, int] = SHAPE, **metaparameters: Any) -> Architecture:
    small = {"base_e": 8, "incr_e": 4, "freq": 2, "pct_3x3": 0.5, "norm": "batch", "dropout": 0}
    return build(make_candidate("squeezenet", small | metaparameters), shape, 5)


def in_float64(tree: Any) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.float64), tree)


def gradients(architecture: Architecture, batch_size: int) -> Any:
    """Of random targets: with respect to parameters and images; then logits and statistics."""
    network = build_network(architecture)
    rng = np.random.default_rng(3)
    images = jnp.asarray(rng.standard_normal((batch_size, *architecture.input_shape)))
    params, statistics = in_float64(network.init(jax.random.key(1)))
    # First norms are the identity, which hides what they do.
    params = jax.tree.map(lambda x: x + 0.2 * rng.standard_normal(x.shape), params)
    targets = jnp.asarray(rng.standard_normal((batch_size, 5)))

    def loss(params: Any, images: jax.Array) -> Any:
        logits, moved = network.apply(params, statistics, images, train=True)
        return jnp.sum(logits * targets), (logits, moved)

    gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
    return jax.jit(gradient)(params, images)


@pytest.mark.long
@pytest.mark.parametrize(
    "metaparameters",
    [
        {"bypass": "none", "fire_modules": 2, "pools": ("conv1", "fire2")},
        # Sums of sums, read by a module and by a pool.
        pytest.param({"bypass": "simple", "freq": 4, "fire_modules": 4}, marks=pytest.mark.slow),
        {"bypass": "simple", "freq": 4, "pools": ("fire2", "fire3")},
        # conv1 differs from fire2 and fire3 in width, which differ from fire4.
        {"bypass": "complex"},
        pytest.param({"bypass": "complex", "pools": ("conv1", "fire2")}, marks=pytest.mark.slow),
        {"norm": "none"},
    ],
    ids=str,
)
def test_a_network_is_the_same_layer_by_layer_and_in_microbatches(
    metaparameters: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = architecture_of(**{"fire_modules": 3} | metaparameters)
    with jax.enable_x64(True):
        monkeypatch.setattr(deferred, "LEAST_BYTES", np.inf)
        wanted = gradients(architecture, 6)
        monkeypatch.setattr(deferred, "LEAST_BYTES", 0)
        for most_bytes in (2**30, 2**16, 1):  # one microbatch, several sizes of them, an image each
            monkeypatch.setattr(deferred, "MICROBATCH_BYTES", most_bytes)
            found = gradients(architecture, 6)
            for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_a_convolution_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two images of two pixels and a channel; a kernel of 2, then the same map and its triple."""
    raw = jnp.array([1.0, 2.0, 3.0, -1.0]).reshape(2, 1, 2, 1)
    affine = deferred.Affine(jnp.array([2.0]), jnp.array([-3.0]))  # -1, 1, 3, -5: relu 0, 1, 3, 0
    x = Deferred((Term(raw, affine, "relu"),))
    kernels = [jnp.full((1, 1, 1, 1), value) for value in (2.0, 1.0, 3.0)]
    groups = [[(kernels[0], Geometry(1, 0, 1))], [(k, Geometry(1, 0, 1)) for k in kernels[1:]]]
    for most_bytes in (2**20, 1):
        monkeypatch.setattr(deferred, "MICROBATCH_BYTES", most_bytes)
        (first, of_first), (second, of_second) = convolve(x, groups)
        assert first.ravel().tolist() == [0, 2, 6, 0]
        assert (of_first.mean.tolist(), of_first.variance.tolist()) == ([2], [6])  # 40 / 4 - 2²
        assert second[..., 1].ravel().tolist() == [0, 3, 9, 0]
        assert of_second.mean.tolist() == [1, 3]
        assert of_second.variance.tolist() == [1.5, 13.5]


def test_pools_and_sums_wait_for_their_reader() -> None:
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    pool = Pool(2, 2, "floor")
    pooled = Deferred((Term(x),)).pooled(pool)
    assert pooled.value().ravel().tolist() == [5, 7, 13, 15]
    assert pooled.pooled(pool).value().ravel().tolist() == [15]
    assert (pooled + Deferred((Term(x[:, :2, :2]),))).value().ravel().tolist() == [5, 8, 17, 20]
    many = sum([Deferred((Term(x),))] * 4, Deferred((Term(x),)))
    assert many.value().ravel().tolist() == (5 * x).ravel().tolist()
    assert len(many.terms) <= 2


def test_microbatches_divide_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve images of 4x4x1 read and of 4x4x2 written are 12 · 192 bytes."""
    x = jnp.ones((12, 4, 4, 1))
    kernel = jnp.ones((1, 1, 1, 2))
    plan = deferred._Plan(("none",), None, ((Geometry(1, 0, 1),),))
    counts = []
    for pictures in (20, 12, 6, 5, 1, 0.5):
        monkeypatch.setattr(deferred, "MICROBATCH_BYTES", 192 * pictures)
        counts.append(deferred._microbatches_count(plan, (x,), ((None,), ((kernel,),))))
    assert counts == [1, 1, 2, 3, 12, 12]


def test_only_large_batches_with_norms_are_worthwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    large = architecture_of((32, 32, 3), base_e=32, incr_e=32)
    assert is_worthwhile(large, 128)
    assert not is_worthwhile(large, 16)
    assert not is_worthwhile(architecture_of((32, 32, 3), base_e=32, incr_e=32, norm="none"), 128)
    assert not is_worthwhile(architecture_of((8, 8, 1)), 32)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not is_worthwhile(large, 128)
