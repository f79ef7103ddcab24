"""The SqueezeNet family: metaparameters to blocks.

Source: Iandola et al. 2016 (arXiv 1602.07360), section 5: fire module i (from 0) has
e_i = base_e + incr_e · floor(i / freq) expand filters, of which pct_3x3 · e_i are 3x3,
and squeeze_ratio · e_i squeeze filters.

Three rules are ours:

* Widths are rounded to the nearest whole number, halves up, from the decimal value as
  written; the 1x1 part of an expand is what the 3x3 part leaves.
* `stem_*: auto`, by the shorter side of the images: 7x7/2 from 128 pixels, 3x3/2 from
  48, else 3x3/1; 0.75 · base_e filters (v1.0: 96 at base_e 128). From 128 pixels the stem
  is not padded, as published; below, half the kernel is.
* `pools: auto` (the same as `late`) and `early` place up to three pools, as many as leave
  a map of at least 4 pixels; where fewer fit, the first places are given up (the paper's
  strategy 3: downsample late). A list of layer names is taken as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fractions import Fraction
from functools import lru_cache
from itertools import count
from typing import Any

from dse.architecture.blocks import Block, Concat, Module, Residual, Sequential
from dse.architecture.candidate import Family
from dse.architecture.metaparameters import AUTO, Metaparameter, Value
from dse.architecture.primitives import (
    Activation,
    Conv,
    Dropout,
    GlobalAveragePool,
    MaxPool,
    Norm,
    Primitive,
    Shape,
)
from dse.errors import ArchitectureError

POOL_WINDOW, POOL_STRIDE = 3, 2
SMALLEST_MAP_PX = 4

_uses = "SqueezeNet v1.0 uses {}".format

METAPARAMETERS: tuple[Metaparameter, ...] = (
    Metaparameter(
        "base_e", "int", 128, "expand filters of the first fire module", low=1, example=_uses(128)
    ),
    Metaparameter(
        "incr_e",
        "int",
        128,
        "expand filters added every `freq` fire modules",
        low=0,
        example=_uses(128),
    ),
    Metaparameter("freq", "int", 2, "fire modules between two increments", low=1, example=_uses(2)),
    Metaparameter(
        "pct_3x3",
        "float",
        0.5,
        "share of the expand filters that are 3x3",
        low=0,
        high=1,
        open_low=True,
        open_high=True,
        example=_uses(0.5),
    ),
    Metaparameter(
        "squeeze_ratio",
        "float",
        0.125,
        "squeeze filters per expand filter",
        low=0,
        high=1,
        open_low=True,
        example=_uses(0.125),
    ),
    Metaparameter(
        "fire_modules",
        "int",
        8,
        "number of fire modules",
        low=1,
        high=64,
        example="SqueezeNet v1.0 has 8",
    ),
    Metaparameter(
        "stem_filters", "int", AUTO, "filters of conv1", low=1, choices=(AUTO,), example=_uses(96)
    ),
    Metaparameter(
        "stem_kernel",
        "int",
        AUTO,
        "kernel of conv1, pixels",
        low=1,
        high=15,
        choices=(AUTO,),
        example=_uses(7),
    ),
    Metaparameter(
        "stem_stride",
        "int",
        AUTO,
        "stride of conv1, pixels",
        low=1,
        high=8,
        choices=(AUTO,),
        example=_uses(2),
    ),
    Metaparameter(
        "pools",
        "layers",
        AUTO,
        "behind which layers a 3x3/2 max pool stands",
        choices=(AUTO, "late", "early"),
        example=_uses("[conv1, fire4, fire8]"),
    ),
    Metaparameter(
        "bypass",
        "choice",
        "none",
        "connections around fire modules",
        choices=("none", "simple", "complex"),
    ),
    Metaparameter(
        "norm",
        "choice",
        "none",
        "normalisation behind every convolution but the last",
        choices=("none", "batch"),
    ),
    Metaparameter(
        "dropout",
        "float",
        0.0,
        "share of values dropped before the last convolution",
        low=0,
        high=1,
        open_high=True,
        example=_uses(0.5),
    ),
    Metaparameter(
        "final_activation",
        "choice",
        "none",
        "activation of the last convolution (the published weights have a ReLU there)",
        choices=("none", "relu"),
        of_head=True,
    ),
)


def round_half_up(share: Any, of: Any) -> Any:
    """`share` · `of` to the nearest whole number, halves up, without binary rounding.

    Args:
        share: a float, which stands for the decimal as it is written, or an exact fraction;
            or a batch of fractions.
        of: a whole number, or a batch of them.

    >>> round_half_up(0.35, 10), round_half_up(0.125, 12), round_half_up(0.01, 32)
    (4, 2, 0)
    """
    exact = _as_written(share) if isinstance(share, float) else share
    return (2 * exact.numerator * of + exact.denominator) // (2 * exact.denominator)


@lru_cache(maxsize=2**16)  # exact fractions are slow, and the candidates of a space share them
def _as_written(share: float) -> Fraction:
    return Fraction(repr(share))


def fire(
    name: str,
    *,
    squeeze: int,
    expand1x1: int,
    expand3x3: int,
    bypass: str = "none",
    norm: Norm = "none",
) -> Module:
    """A fire module: squeeze (1x1), then expand1x1 and expand3x3 side by side.

    A simple bypass adds the input to the output and needs as many input as output
    channels; a complex one sends the input through a 1x1 convolution (no activation)
    first. The addition follows the expand activations, as in the authors' network.

    Args:
        name: `fire2`; its convolutions are `fire2/squeeze`, `fire2/expand1x1`, ….
        squeeze: filters of the first convolution.
        expand1x1: filters of the 1x1 convolution behind it.
        expand3x3: filters of the 3x3 convolution beside that.
        bypass: `none`, `simple` or `complex`.
        norm: of every convolution.

    Source: Iandola et al. 2016 (arXiv 1602.07360), sections 3.2 and 6.
    """

    def conv(
        part: str, filters: int, kernel_size: int = 1, activation: Activation = "relu"
    ) -> Conv:
        return Conv(
            f"{name}/{part}",
            filters=filters,
            kernel_size=kernel_size,
            padding=kernel_size // 2,
            norm=norm,
            activation=activation,
        )

    expand = Concat(f"{name}/expand", conv("expand1x1", expand1x1), conv("expand3x3", expand3x3, 3))
    body: Block = Sequential(conv("squeeze", squeeze), expand)
    if bypass == "simple":
        body = Residual(f"{name}/sum", body)
    elif bypass == "complex":
        shortcut = conv("bypass", expand1x1 + expand3x3, activation="none")
        body = Residual(f"{name}/sum", body, shortcut)
    return Module(name, "Fire", body)


def build(
    metaparameters: Mapping[str, Value], input_shape: Shape, classes_count: int
) -> Iterator[Primitive | Module]:
    """The blocks of a network: those of each place, one behind the other; see `blocks_at`."""
    for place in count():
        blocks = blocks_at(metaparameters, place, input_shape, classes_count)
        if blocks is None:
            return
        yield from blocks


def blocks_at(
    m: Mapping[str, Any], place: int, input_shape: Shape, classes_count: int
) -> tuple[Primitive | Module, ...] | None:
    """The blocks at one place; None behind the last one.

    Layer n stands at place 2n - 2, and the pool behind it, if any, at the place behind that.

    Args:
        m: one valid value for each of `METAPARAMETERS`; numbers may be batches.
        place: from 0.
        input_shape: (height, width, channels) of one image.
        classes_count: number of classes.

    Raises:
        ArchitectureError: rounding leaves a part empty, or `pools` names a layer that is
            not there.
    """
    index, is_behind = divmod(place, 2)
    if is_behind:
        pool = MaxPool(f"pool{index + 1}", window=POOL_WINDOW, stride=POOL_STRIDE)
        return (pool,) if _is_pooled(m, index, input_shape) else ()
    if index == 0:
        window = _stem_window(m, input_shape)
        return (Conv("conv1", filters=_filters(m, 0), norm=m["norm"], **window),)
    if index <= m["fire_modules"]:
        return (_fire_module(m, index),)
    if index > m["fire_modules"] + 1:
        return None
    activation = m["final_activation"]
    conv = Conv(f"conv{index + 1}", filters=classes_count, kernel_size=1, activation=activation)
    last = conv, GlobalAveragePool(f"pool{index + 1}")
    return (Dropout(f"drop{index}", rate=m["dropout"]), *last) if m["dropout"] > 0 else last


def _filters(m: Mapping[str, Any], index: int) -> Any:
    """Filters of conv1 (0) or of a fire module (from 1)."""
    if index:
        return m["base_e"] + m["incr_e"] * ((index - 1) // m["freq"])
    if m["stem_filters"] == AUTO:
        return max(1, round_half_up(0.75, m["base_e"]))
    return m["stem_filters"]


def _stem_window(m: Mapping[str, Any], input_shape: Shape) -> dict[str, Any]:
    """Kernel, stride and padding of conv1."""
    side = min(input_shape[:2])
    kernel, stride = (7, 2) if side >= 128 else (3, 2) if side >= 48 else (3, 1)
    kernel = kernel if m["stem_kernel"] == AUTO else m["stem_kernel"]
    stride = stride if m["stem_stride"] == AUTO else m["stem_stride"]
    padding = 0 if side >= 128 else kernel // 2
    return {"kernel_size": kernel, "stride": stride, "padding": padding}


def _is_pooled(m: Mapping[str, Any], index: int, input_shape: Shape) -> Any:
    """Whether a pool stands behind conv1 (0) or a fire module (from 1)."""
    pools, modules_count = m["pools"], m["fire_modules"]
    if not isinstance(pools, str):
        if index == 0:
            _check_pools(pools, modules_count)
        return (f"fire{index + 1}" if index else "conv1") in pools
    stem = Conv("conv1", filters=1, **_stem_window(m, input_shape))
    side, fitting = min(stem.output_shape(input_shape)[:2]), 0
    while fitting < 3:
        side = -(-(side - POOL_WINDOW) // POOL_STRIDE) + 1
        if side < SMALLEST_MAP_PX:
            break
        fitting += 1
    # v1.0 (late): behind fire modules 3 and 7 of 8; v1.1 (early): behind 2 and 4 of 8.
    eighths = (2, 4) if pools == "early" else (3, 7)
    first, second = (max(round_half_up(n / 8, modules_count), 1) for n in eighths)
    if fitting < 2:
        return fitting and index == second
    if index == 0:
        return fitting == 3 or first == second
    return (index == first) | (index == second)


def _check_pools(pools: tuple[str, ...], modules_count: Any) -> None:
    """Raise where a pool is to stand behind a layer that so many fire modules do not have."""
    for name in pools:
        digits = name.removeprefix("fire")
        number = int(digits) if digits.isdecimal() else 0
        is_fire = name == f"fire{number}" and number >= 2 and modules_count + 1 >= number
        if name != "conv1" and not is_fire:
            raise ArchitectureError(
                f"pools names {name}, but a pool can stand behind conv1 and fire2 to "
                f"fire{modules_count + 1} only"
            )


def _fire_module(m: Mapping[str, Any], index: int) -> Module:
    """A fire module, from 1."""
    name, bypass, norm = f"fire{index + 1}", m["bypass"], m["norm"]
    expand = _filters(m, index)
    if bypass != "none" and _filters(m, index - 1) == expand:
        bypass = "simple"
    elif bypass == "simple":
        bypass = "none"
    squeeze = round_half_up(m["squeeze_ratio"], expand)
    expand3x3 = round_half_up(m["pct_3x3"], expand)
    parts = {
        "squeeze": (squeeze, f"squeeze_ratio {m['squeeze_ratio']:g}"),
        "expand3x3": (expand3x3, f"pct_3x3 {m['pct_3x3']:g}"),
        "expand1x1": (expand - expand3x3, f"1 - pct_3x3 {1 - m['pct_3x3']:g}"),
    }
    for part, (filters, share) in parts.items():
        if filters < 1:
            raise ArchitectureError(
                f"{name}: {share} of {expand} expand filters rounds to an empty {part}; "
                "a larger base_e or a share nearer the middle would help"
            )
    return fire(
        name,
        squeeze=squeeze,
        expand1x1=expand - expand3x3,
        expand3x3=expand3x3,
        bypass=bypass,
        norm=norm,
    )


_V1: dict[str, Value] = {
    "final_activation": "relu",
    "dropout": 0.5,
    "base_e": 128,
    "incr_e": 128,
    "freq": 2,
    "pct_3x3": 0.5,
    "squeeze_ratio": 0.125,
    "stem_stride": 2,
}
_V1_0: dict[str, Value] = {
    "stem_filters": 96,
    "stem_kernel": 7,
    "pools": ("conv1", "fire4", "fire8"),
}
_V1_1: dict[str, Value] = {
    "stem_filters": 64,
    "stem_kernel": 3,
    "pools": ("conv1", "fire3", "fire5"),
}

FAMILY = Family(
    "squeezenet",
    "fire modules (Iandola et al. 2016)",
    {known.name: known for known in METAPARAMETERS},
    build,
    {
        "squeezenet_v1.0": ("SqueezeNet as in the paper", _V1 | _V1_0, (227, 227, 3), 1000),
        "squeezenet_v1.1": (
            "its authors' second release: smaller stem, earlier pools",
            _V1 | _V1_1,
            (227, 227, 3),
            1000,
        ),
    },
    blocks_at=blocks_at,
)
