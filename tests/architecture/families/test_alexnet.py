"""The four AlexNets: shapes as published, and which one a size of image gets."""

from __future__ import annotations

import pytest

from dse.architecture import PRESETS, Architecture, build, cost, make_candidate
from dse.architecture.primitives import Conv, LocalResponseNorm
from dse.errors import ArchitectureError


def preset(name: str) -> Architecture:
    chosen = PRESETS[name]
    return build(chosen.candidate, chosen.input_shape, chosen.classes_count)


def shapes(architecture: Architecture) -> dict[str, tuple[int, int, int]]:
    return {layer.name: layer.output_shape for layer in architecture.layers}


def test_shapes_of_the_original() -> None:
    # Layer by layer in Caffe's order: convolution, norm, pool; dropout behind the dense layers.
    assert list(shapes(preset("alexnet")).items()) == [
        ("conv1", (55, 55, 96)),
        ("norm1", (55, 55, 96)),
        ("pool1", (27, 27, 96)),
        ("conv2", (27, 27, 256)),
        ("norm2", (27, 27, 256)),
        ("pool2", (13, 13, 256)),
        ("conv3", (13, 13, 384)),
        ("conv4", (13, 13, 384)),
        ("conv5", (13, 13, 256)),
        ("pool5", (6, 6, 256)),
        ("fc6", (1, 1, 4096)),
        ("drop6", (1, 1, 4096)),
        ("fc7", (1, 1, 4096)),
        ("drop7", (1, 1, 4096)),
        ("fc8", (1, 1, 1000)),
    ]


def test_the_original_has_two_groups_and_caffes_norm() -> None:
    layers = [node.primitive for node in preset("alexnet").graph]
    assert {layer.name: layer.groups for layer in layers if isinstance(layer, Conv)} == {
        "conv1": 1,
        "conv2": 2,
        "conv3": 1,
        "conv4": 2,
        "conv5": 2,
    }
    norms = [layer for layer in layers if isinstance(layer, LocalResponseNorm)]
    assert [(norm.size, norm.alpha, norm.beta, norm.k) for norm in norms] == [
        (5, 1e-4, 0.75, 1.0)
    ] * 2


def test_shapes_of_torchvisions() -> None:
    assert list(shapes(preset("alexnet_torchvision")).items()) == [
        ("conv1", (55, 55, 64)),
        ("pool1", (27, 27, 64)),
        ("conv2", (27, 27, 192)),
        ("pool2", (13, 13, 192)),
        ("conv3", (13, 13, 384)),
        ("conv4", (13, 13, 256)),
        ("conv5", (13, 13, 256)),
        ("pool5", (6, 6, 256)),
        ("drop6", (6, 6, 256)),
        ("fc6", (1, 1, 4096)),
        ("drop7", (1, 1, 4096)),
        ("fc7", (1, 1, 4096)),
        ("fc8", (1, 1, 1000)),
    ]


def test_shapes_of_the_small_one() -> None:
    found = shapes(preset("alexnet_small"))
    assert [found[name] for name in ("conv1", "pool1", "pool2", "pool5", "fc6", "fc8")] == [
        (16, 16, 64),
        (8, 8, 64),
        (4, 4, 192),
        (2, 2, 256),
        (1, 1, 4096),
        (1, 1, 10),
    ]


def test_params_of_the_small_one_layer_by_layer() -> None:
    rows = cost(preset("alexnet_small")).layers
    assert {row.name: row.params_count for row in rows if row.params_count} == {
        "conv1": 9 * 3 * 64 + 64,
        "conv2": 9 * 64 * 192 + 192,
        "conv3": 9 * 192 * 384 + 384,
        "conv4": 9 * 384 * 256 + 256,
        "conv5": 9 * 256 * 256 + 256,
        "fc6": 1024 * 4096 + 4096,
        "fc7": 4096 * 4096 + 4096,
        "fc8": 4096 * 10 + 10,
    }


@pytest.mark.parametrize(
    ("side", "same_as"),
    [
        (8, "tiny"),
        (31, "tiny"),
        (32, "small"),
        (127, "small"),
        (128, "original"),
        (227, "original"),
    ],
)
def test_auto_goes_by_the_shorter_side(side: int, same_as: str) -> None:
    for input_shape in ((side, side, 3), (side, side + 200, 3)):
        automatic = build(make_candidate("alexnet", {}), input_shape, 10)
        named = build(make_candidate("alexnet", {"variant": same_as}), input_shape, 10)
        assert automatic.layers == named.layers


def test_no_dropout_layers_without_dropout() -> None:
    candidate = make_candidate("alexnet", {"variant": "tiny", "dropout": 0})
    names = [layer.name for layer in build(candidate, (8, 8, 1), 10).layers]
    assert not [name for name in names if name.startswith("drop")]


def test_images_too_small_for_a_variant_are_refused_by_layer() -> None:
    candidate = make_candidate("alexnet", {"variant": "original"})
    with pytest.raises(ArchitectureError) as caught:
        build(candidate, (64, 64, 3), 10)
    assert str(caught.value) == (
        "pool5: a 3x3 pool does not fit the 2x2 map that reaches it; there are too many pools "
        "for images of this size"
    )
