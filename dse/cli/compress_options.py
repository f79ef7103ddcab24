"""The options of `dse compress`: what they ask for, and which do not go together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from dse.errors import UsageError
from dse.text import listed, nearest

if TYPE_CHECKING:
    from dse.compress.stages import CompressionPlan

MAX_LOSS = 0.2
"""Of all images; whoever writes more has most likely forgotten a %."""

_UNITS = {"kb": 10**3, "mb": 10**6, "kib": 2**10, "mib": 2**20, "b": 1, "": 1}


def check_options(
    plan: CompressionPlan,
    data: str | None,
    training: Mapping[str, object],
    fronts: Mapping[str, object],
    *,
    front: bool,
) -> None:
    """Refuse options that would do nothing, and a measure without images.

    Args:
        plan: what the other options ask for.
        data: the images, if any.
        training: options of training by name; None where one was not given.
        fronts: options of a front, likewise.
        front: whether a front is searched, which decides densities and values itself.

    Raises:
        UsageError: naming them.
    """
    if plan.lossless and data is not None:
        raise UsageError("--lossless changes nothing, so it goes without --data and --front")
    idle = [name for name, value in training.items() if value is not None]
    if data is None and idle:
        raise UsageError(f"{listed(idle)}: of training, which takes images: give --data")
    if not front and (idle := [name for name, value in fronts.items() if value is not None]):
        raise UsageError(f"{listed(idle)}: of --front, which was not given")
    for name, is_given in (("--max-loss", plan.max_loss is not None), ("--front", front)):
        if data is None and is_given:
            raise UsageError(f"{name} has to measure accuracy, so it takes --data")
    decided = {
        "--lossless": plan.lossless,
        "--target": plan.target_bytes is not None,
        "--bits": plan.bits is not None,
        "--density": plan.density is not None or bool(plan.densities),
    }
    named = [name for name, is_given in decided.items() if is_given]
    if front and named:
        raise UsageError(f"--front decides itself, so it goes without {listed(named)}")


def make_plan(
    lossless: bool,
    target: str | None,
    bits: float | None,
    max_loss: str | None,
    density_texts: Sequence[str],
    coder: Literal["ans", "huffman"],
    floats: Literal["16", "32"] | None,
    *,
    front: bool,
) -> CompressionPlan:
    """What the options ask for.

    Raises:
        UsageError: a value that an option cannot have, or options that do not go together.
    """
    from dse.compress.stages import CompressionPlan

    given = {
        "--max-loss": max_loss,
        "--target": target,
        "--bits": bits,
        "--density": density_texts or None,
        "--floats": floats if lossless else None,
    }
    named = [name for name, value in given.items() if value is not None]
    if lossless and named:
        raise UsageError(f"--lossless changes nothing, so it goes without {listed(named)}")
    if max_loss is not None and len(named) > 1:
        raise UsageError(f"--max-loss decides itself, so it goes without {listed(named[1:])}")
    if target is not None and bits is not None:
        raise UsageError("--target finds the values itself, so it goes without --bits")
    if bits is not None and not 0 < bits <= 14:
        raise UsageError(f"--bits {bits:g}: must be above 0 and at most 14")
    density, densities = _densities(density_texts)
    loss = None if max_loss is None else share_of("--max-loss", max_loss)
    if loss is not None and loss > MAX_LOSS:
        raise UsageError(
            f"--max-loss {max_loss} is {loss:.0%} of all images; must be at most {MAX_LOSS:.0%}: "
            "half a point is 0.5% or 0.005"
        )
    return CompressionPlan(
        lossless=lossless,
        density=density,
        densities=densities,
        bits=bits if bits is not None else None if target or max_loss or front else 6.0,
        target_bytes=None if target is None else bytes_of("--target", target),
        max_loss=loss,
        float_bits=32 if floats == "32" else 16,
        coder=coder,
    )


def _densities(texts: Sequence[str]) -> tuple[float | None, dict[str, float]]:
    """The share of all weights, and those of single kernels by path."""
    density, densities = None, {}
    for text in texts:
        layer, equals, share_text = text.rpartition("=")
        share = share_of("--density", share_text, text)
        if equals:
            densities[f"{layer}/kernel"] = share
        elif density is None:
            density = share
        else:
            raise UsageError(f"--density {text}: one share of all weights was given already")
    return density, densities


def share_of(option: str, text: str, whole: str = "") -> float:
    """A share as an option gives it: 0.33 or 33%.

    Args:
        option: for the message.
        text: the share.
        whole: all that the option was given, where that is more.

    Raises:
        UsageError: it is none.
    """
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(
            f"{option} {whole or text}: must be a share from 0 to 1 or percent: 0.33 or 33%"
        )
    return share


def bytes_of(option: str, text: str) -> int:
    """A size as an option gives it: 470kB, 0.5MB, 470000.

    Raises:
        UsageError: it is none.
    """
    number = text.rstrip("kKmMiIbB ")
    unit = text[len(number) :].strip().lower()
    try:
        size = round(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        size = 0
    if size < 1:
        raise UsageError(
            f"{option} {text}: must be a size such as 470kB, 0.5MB or 470000 (1 kB = 1,000 bytes)"
        )
    return size


def check_layers(plan: CompressionPlan, arrays: dict[str, Any]) -> None:
    """Refuse densities of layers that the network does not have."""
    from dse.compress.prune import kernels_of

    layers = [path.removesuffix("/kernel") for path in kernels_of(arrays)]
    for path in plan.densities:
        layer = path.removesuffix("/kernel")
        if layer not in layers:
            raise UsageError(f"--density {layer}=…: no such layer{nearest(layer, layers)}")
