"""The networks and the schedule that benchmarks train in PyTorch are ours."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from dse.architecture import build, make_candidate
from dse.networks import build_network
from dse.training import Recipe
from dse.training.optimizers import learning_rates
from dse.weights.safetensors import flat

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install -e '.[bench]'")

NETWORKS = {
    "biases": {"base_e": 16, "incr_e": 8, "fire_modules": 3},
    "norms and bypasses": {"base_e": 16, "incr_e": 8, "norm": "batch", "bypass": "complex"},
    "simple bypass": {"base_e": 16, "incr_e": 8, "freq": 4, "bypass": "simple"},
}


def with_our_weights(network, architecture, params):
    """The PyTorch network with our parameters, in the order in which both are made."""
    ours = flat(params)
    kernels = iter([p for p in architecture.parameters if p.kind == "kernel"])
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.Conv2d):
                path = next(kernels).path
                name = path.removesuffix("/kernel")
                module.weight.copy_(torch.from_numpy(np.array(ours[path])).permute(3, 2, 0, 1))
                if module.bias is not None:
                    module.bias.copy_(torch.from_numpy(np.array(ours[f"{name}/bias"])))
            elif isinstance(module, torch.nn.BatchNorm2d):
                module.weight.copy_(torch.from_numpy(np.array(ours[f"{name}/scale"])))
                module.bias.copy_(torch.from_numpy(np.array(ours[f"{name}/bias"])))
    return network


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_weights_give_the_same_scores(name) -> None:
    from benchmarks.torch_networks import params_count, torch_network
    from dse.architecture import cost

    shape = (17, 17, 3)
    candidate = make_candidate("squeezenet", NETWORKS[name] | {"dropout": 0.0, "pools": "late"})
    architecture = build(candidate, shape, 10)
    network = build_network(architecture)
    params, statistics = network.init(jax.random.key(0))
    images = np.random.default_rng(0).normal(size=(8, *shape)).astype(np.float32)
    wanted, _ = network.apply(params, statistics, images, train=True)
    theirs = with_our_weights(torch_network(architecture), architecture, params)
    assert params_count(theirs) == cost(architecture).params_count
    theirs.train()
    found = theirs(torch.from_numpy(images).permute(0, 3, 1, 2)).detach().numpy()
    np.testing.assert_allclose(found, wanted, rtol=2e-3, atol=2e-4)


def test_the_schedule_is_ours() -> None:
    from benchmarks.torch_training import one_cycle

    recipe, steps = Recipe(learning_rate=0.3, epochs=4), 400
    ours, theirs = learning_rates(recipe, steps), one_cycle(recipe, steps)
    for step in range(0, steps, 7):
        assert theirs(step) == pytest.approx(float(ours(step)), rel=0.02, abs=1e-6)


def test_crops_are_reflected_and_flips_mirror() -> None:
    from benchmarks.torch_training import augmented

    images = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(augmented(images, 0, False, generator), images)
    padded = torch.nn.functional.pad(images.float(), (2, 2, 2, 2), mode="reflect").long()
    for _ in range(20):
        found = augmented(images, 2, True, generator)
        for image in range(2):
            windows = [padded[image, :, y : y + 5, x : x + 5] for y in range(5) for x in range(5)]
            windows += [window.flip(2) for window in windows]
            assert any(torch.equal(found[image], window) for window in windows)
