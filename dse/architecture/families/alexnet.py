"""AlexNet in four forms, the reference that SqueezeNet is measured against.

* `original`: two groups in conv2, conv4 and conv5, local response norm; 227 pixels.
  Source: Krizhevsky, Sutskever and Hinton 2012, as in Caffe's bvlc_alexnet.
* `torchvision`: one column without norm; 224 pixels.
  Source: Krizhevsky 2014 (arXiv 1404.5997), as in torchvision.
* `small`: for 32 to 127 pixels: a 3x3/2 stem and 2x2 pools.
* `tiny`: below that: a 3x3/1 stem, two 2x2 pools and a quarter of the small form's widths.

`variant: auto` takes the original from 128 pixels, small from 32, else tiny.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dse.architecture.blocks import Module
from dse.architecture.candidate import Family
from dse.architecture.metaparameters import AUTO, Metaparameter, Value
from dse.architecture.primitives import (
    Conv,
    Dense,
    Dropout,
    LocalResponseNorm,
    MaxPool,
    Primitive,
    Shape,
)

METAPARAMETERS: tuple[Metaparameter, ...] = (
    Metaparameter(
        "variant",
        "choice",
        AUTO,
        "which AlexNet; auto goes by the size of the images",
        choices=(AUTO, "original", "torchvision", "small", "tiny"),
    ),
    Metaparameter(
        "dropout",
        "float",
        0.5,
        "share of values dropped before each of the two large dense layers",
        low=0,
        high=1,
        open_high=True,
        example="AlexNet uses 0.5",
    ),
)


@dataclass(frozen=True)
class _Variant:
    filters: tuple[int, int, int, int, int]
    kernels: tuple[int, int, int, int, int]
    paddings: tuple[int, int, int, int, int]
    stem_stride: int
    pool: tuple[int, int]  # window, stride
    pooled: tuple[int, ...]  # convolutions with a pool behind them
    dense: int
    grouped: tuple[int, ...] = ()
    normed: tuple[int, ...] = ()
    dropout: Literal["before", "behind"] = "before"  # each large dense layer


VARIANTS = {
    "original": _Variant(
        (96, 256, 384, 384, 256),
        (11, 5, 3, 3, 3),
        (0, 2, 1, 1, 1),
        stem_stride=4,
        pool=(3, 2),
        pooled=(1, 2, 5),
        dense=4096,
        grouped=(2, 4, 5),
        normed=(1, 2),
        dropout="behind",
    ),
    "torchvision": _Variant(
        (64, 192, 384, 256, 256),
        (11, 5, 3, 3, 3),
        (2, 2, 1, 1, 1),
        stem_stride=4,
        pool=(3, 2),
        pooled=(1, 2, 5),
        dense=4096,
    ),
    "small": _Variant(
        (64, 192, 384, 256, 256),
        (3, 3, 3, 3, 3),
        (1, 1, 1, 1, 1),
        stem_stride=2,
        pool=(2, 2),
        pooled=(1, 2, 5),
        dense=4096,
    ),
    "tiny": _Variant(
        (16, 48, 96, 64, 64),
        (3, 3, 3, 3, 3),
        (1, 1, 1, 1, 1),
        stem_stride=1,
        pool=(2, 2),
        pooled=(1, 5),
        dense=1024,
    ),
}


def variant_for(input_shape: Shape) -> str:
    """The variant that suits images of this size."""
    side = min(input_shape[:2])
    return "original" if side >= 128 else "small" if side >= 32 else "tiny"


def build(
    metaparameters: Mapping[str, Value], input_shape: Shape, classes_count: int
) -> Iterator[Primitive | Module]:
    """Turn a complete set of metaparameters into blocks.

    Args:
        metaparameters: one valid value for each of `METAPARAMETERS`.
        input_shape: (height, width, channels) of one image.
        classes_count: number of classes.
    """
    m: dict[str, Any] = dict(metaparameters)
    form = VARIANTS[variant_for(input_shape) if m["variant"] == AUTO else m["variant"]]
    for number, filters in enumerate(form.filters, start=1):
        yield Conv(
            f"conv{number}",
            filters=filters,
            kernel_size=form.kernels[number - 1],
            stride=form.stem_stride if number == 1 else 1,
            padding=form.paddings[number - 1],
            groups=2 if number in form.grouped else 1,
        )
        if number in form.normed:
            yield LocalResponseNorm(f"norm{number}")
        if number in form.pooled:
            window, stride = form.pool
            yield MaxPool(f"pool{number}", window=window, stride=stride, rounding="floor")
    for number in (6, 7):
        dense = Dense(f"fc{number}", features=form.dense)
        if not m["dropout"]:
            yield dense
            continue
        dropout = Dropout(f"drop{number}", rate=m["dropout"])
        yield from (dropout, dense) if form.dropout == "before" else (dense, dropout)
    yield Dense("fc8", features=classes_count, activation="none")


FAMILY = Family(
    "alexnet",
    "AlexNet, the reference (Krizhevsky et al. 2012)",
    {known.name: known for known in METAPARAMETERS},
    build,
    {
        "alexnet": (
            "the original: grouped convolutions, local response norm",
            {"variant": "original"},
            (227, 227, 3),
            1000,
        ),
        "alexnet_torchvision": (
            "one column, as in torchvision",
            {"variant": "torchvision"},
            (224, 224, 3),
            1000,
        ),
        "alexnet_small": ("for 32 to 127 pixels", {"variant": "small"}, (32, 32, 3), 10),
        "alexnet_tiny": ("for less than 32 pixels", {"variant": "tiny"}, (8, 8, 1), 10),
    },
    blocks_at=lambda m, place, *given: None if place else tuple(build(m, *given)),
)
