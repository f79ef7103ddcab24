"""A family that is one file and one line in the table: everything else works without knowing it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

from dse.architecture import (
    FAMILIES,
    PRESETS,
    Family,
    Metaparameter,
    Shape,
    build,
    cost,
    make_candidate,
)
from dse.architecture.blocks import Concat, Module, Residual, Sequential
from dse.architecture.primitives import Conv, Dense, GlobalAveragePool, Primitive
from dse.cli.main import app
from dse.networks import build_network
from dse.space import Categorical, IntRange, SearchSpace
from dse.space.enumerate import make_pool

METAPARAMETERS = {
    known.name: known
    for known in (
        Metaparameter("width", "int", 4, "filters of every branch", low=1),
        Metaparameter("depth", "int", 1, "blocks", low=0, high=8),
        Metaparameter("norm", "choice", "batch", "norm", choices=("none", "batch")),
    )
}


def toy(
    metaparameters: Mapping[str, Any], input_shape: Shape, classes_count: int
) -> Iterator[Primitive | Module]:
    """Blocks of two branches of unlike depth, each with a shortcut from all that was before."""
    width, norm = metaparameters["width"], metaparameters["norm"]
    assert type(width) is int  # never a batch: the family does not say that it takes them

    def conv(name: str, filters: int, kernel_size: int, groups: int = 1) -> Conv:
        padding = kernel_size // 2
        return Conv(
            name,
            filters=filters,
            kernel_size=kernel_size,
            padding=padding,
            groups=groups,
            norm=norm,
        )

    yield conv("stem", 2 * width, 3)
    for name in (f"block{i + 1}" for i in range(metaparameters["depth"])):
        deep = Sequential(
            conv(f"{name}/reduce", width, 1), conv(f"{name}/depthwise", width, 3, groups=width)
        )
        both = Concat(f"{name}/both", deep, conv(f"{name}/flat", width, 1))
        yield Module(name, "Toy", Residual(f"{name}/sum", both))
    yield GlobalAveragePool("pool")
    yield Dense("scores", features=classes_count, activation="none")


FAMILY = Family(
    "toy",
    "two branches",
    METAPARAMETERS,
    toy,
    {"toy_small": ("the smallest", {"width": 1}, (8, 8, 1), 10)},
)
# Stem 9·3·4 and two values a channel; reduce 4·2, depthwise 9·2, flat 4·2; scores 4·5 + 5.
PARAMS = (108 + 8) + (8 + 4) + (18 + 4) + (8 + 4) + 25


@pytest.fixture(autouse=True)
def in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FAMILIES, "toy", FAMILY)
    for preset in FAMILY.presets:
        monkeypatch.setitem(PRESETS, preset.name, preset)


def test_it_is_counted() -> None:
    total = cost(build(make_candidate("toy", {"width": 2}), (6, 6, 3), 5))
    assert total.params_count == PARAMS
    assert total.weight_bytes == 4 * (PARAMS + 2 * (4 + 2 + 2 + 2))
    assert total.macs == 36 * (108 + 8 + 18 + 8) + 20
    # reduce holds the map (4) and its own (2); depthwise the map, reduce and the joined one (4).
    block = total.layers[1]
    assert (block.name, block.kind) == ("block1", "Toy")
    assert block.activation_bytes == 4 * 36 * (4 + 2 + 4) == total.peak_activation_bytes


def test_its_network_learns_and_normalises_where_maps_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = build_network(build(make_candidate("toy", {"width": 3, "depth": 2}), (8, 8, 1), 2))
    params, statistics = network.init(jax.random.key(0))
    assert params["block2"]["depthwise"]["kernel"].shape == (3, 3, 1, 3)
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.standard_normal((8, 8, 8, 1)), jnp.float32)
    labels = jnp.arange(8) % 2

    def loss(params: Any) -> jax.Array:
        scores, _ = network.apply(params, statistics, images, train=True)
        return -jnp.take_along_axis(jax.nn.log_softmax(scores), labels[:, None], 1).mean()

    before, gradient = jax.jit(jax.value_and_grad(loss))(params)
    after = loss(jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient))
    assert float(after) < float(before)
    monkeypatch.setattr("dse.networks.ops.fused_norm.LEAST_BYTES", 0)
    fused, other = jax.jit(jax.value_and_grad(lambda p: loss(p) + 0.0))(params)
    assert float(fused) == pytest.approx(float(before), rel=1e-5)
    for found, wanted in zip(jax.tree.leaves(other), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-5)


def test_it_is_described() -> None:
    def run(*arguments: str) -> str:
        return CliRunner().invoke(app, ["describe", *arguments], prog_name="dse").stdout

    assert json.loads(run("toy", "--set", "width=2", "--json"))["family"] == "toy"
    lines = run("toy_small").splitlines()
    assert lines[0].startswith("toy_small: toy, candidate ")
    rows = {line.split()[0]: line.split() for line in lines if line}
    assert rows["block1"][1:5] == ["toy", "1→1+1", "simple", "8x8x2"]


def test_its_candidates_are_counted_one_by_one() -> None:
    norms = Categorical(("none", "batch"))
    space = SearchSpace(
        "toys", "toy", {"width": IntRange(1, 6), "depth": IntRange(0, 2), "norm": norms}
    )
    pool = make_pool(space, (8, 8, 1), 10)
    assert len(pool) == 36
    for index in range(len(pool)):
        total = cost(build(pool.candidate(index), (8, 8, 1), 10))
        assert pool.costs_of(index) == {name: getattr(total, name) for name in pool.costs}
