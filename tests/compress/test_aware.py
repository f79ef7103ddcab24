"""Quantization-aware fine-tuning: what it trains is what int8 computes, and it pays."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner

import dse
from dse.architecture import build, make_candidate
from dse.cli.main import app
from dse.compress.aware import map_scales
from dse.errors import UsageError
from dse.inference import forward, int8
from dse.inference.calibrate import calibrate
from dse.inference.graph import scaled
from dse.networks import build_network
from dse.networks.fake import fake_int8_kernel, fake_int8_map
from dse.training.parametrization import AllParameters, Int8Kernels
from dse.weights.safetensors import flat, load_weights, nested, read_network, save_weights
from tests.export.networks import random_arrays, random_graph, random_images


def test_gradients_pass_but_where_a_map_is_clipped() -> None:
    values = jnp.array([-3.0, -1.01, 0.2, 0.9, 3.0])
    found = fake_int8_map(values, 1 / 64, 0)  # -2 to 127 / 64
    assert found.tolist() == [-2, -65 / 64, 13 / 64, 58 / 64, 127 / 64]
    slopes = jax.grad(lambda x: fake_int8_map(x, 1 / 64, 0).sum())(values)
    assert slopes.tolist() == [0, 1, 1, 1, 0]


def test_kernels_are_rounded_by_filter() -> None:
    kernel = jnp.array([[127.0, 0.254], [-63.4, 0.101]])
    assert np.allclose(fake_int8_kernel(kernel), [[127, 0.254], [-63, 0.1]])
    slopes = jax.grad(lambda x: (fake_int8_kernel(x) * kernel).sum())(kernel)
    assert np.array_equal(slopes, kernel)


def test_it_trains_what_the_integer_reference_computes() -> None:
    """Scores are about as it rounds them, much nearer than those of the float32 network."""
    settings = {"base_e": 8, "incr_e": 4, "fire_modules": 2, "bypass": "simple", "norm": "batch"}
    candidate, shape = make_candidate("squeezenet", settings), (16, 16, 3)
    architecture = build(candidate, shape, 10)
    graph = random_graph(candidate, shape, with_preprocessing=True)
    images = random_images(shape, 16)
    network = int8.quantize(graph, calibrate(graph, images, "minmax"))
    trained = build_network(architecture, map_scales(architecture, network))
    params, statistics = nested(random_arrays(candidate, shape, 10))
    given = scaled(images, graph.metadata.preprocessing)

    @jax.jit
    def fake(params, given):
        params = Int8Kernels(AllParameters()).expand(params, ())
        return trained.apply(params, statistics, given, train=False)[0]

    last = network.scales[-1]
    expected = last.value(int8.scores(network, images))
    fakes, floats = fake(params, given), forward.scores(graph, images)
    away, plain = (np.abs(np.asarray(x) - expected) / last.scale for x in (fakes, floats))
    assert away.max() < 2.5  # steps of int8
    assert away.mean() < 0.3 * plain.mean()


@pytest.mark.slow
def test_a_network_that_loses_much_gets_it_back(tmp_path: Path, monkeypatch) -> None:
    """Channels of unequal ranges, the same function in float32, are too coarse for one scale."""
    monkeypatch.chdir(tmp_path)
    settings = {"base_e": 16, "incr_e": 16, "squeeze_ratio": 0.5}
    trained = dse.train("squeezenet", settings=settings, epochs=8)
    assert trained.weights is not None
    metadata, architecture = read_network(trained.weights)
    params, statistics, _ = load_weights(trained.weights, architecture)
    arrays = {path: np.array(array) for path, array in flat(params, statistics).items()}
    draw = np.random.default_rng(0)
    for path in [path for path in arrays if path.endswith("squeeze/kernel")]:
        fire = path.removesuffix("/squeeze/kernel")
        factors = 30 ** draw.uniform(-1, 1, arrays[path].shape[-1]).astype(np.float32)
        arrays[path] *= factors
        arrays[f"{fire}/squeeze/bias"] *= factors
        for expand in ("expand1x1", "expand3x3"):
            arrays[f"{fire}/{expand}/kernel"] /= factors[:, None]
    save_weights(tmp_path / "unequal.safetensors", *nested(arrays), metadata)
    options = ["--calibrate", "digits", "--finetune", "5"]
    command = ["export", "unequal.safetensors", "--out", "tuned.c", *options]
    run = CliRunner().invoke(app, command)
    assert run.exit_code == 0, run.output
    said = re.search(
        r"5 epochs: int8 accuracy ([\d.]+)%, ([\d.]+)% before, on 359 validation images "
        r"\(float32 ([\d.]+)%\); written as fine-tuned",
        " ".join(run.output.split()),
    )
    assert said, run.output
    after, before, exact = map(float, said.groups())
    assert before < exact - 20
    assert after > exact - 10
    others = replace(metadata, extra={**metadata.extra, "data_fingerprint": "others"})
    save_weights(tmp_path / "others.safetensors", *nested(arrays), others)
    with pytest.raises(UsageError, match="not those that the weights were trained on"):
        dse.export("others.safetensors", "c.c", calibrate="digits", finetune_epochs=1)
