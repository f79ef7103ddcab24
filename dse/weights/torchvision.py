"""State dicts of torchvision's networks, as safetensors: by explicit tables of names.

Kernels are (filter, channel, height, width) there and (height, width, channel, filter) here; a
dense layer reads a map channel by channel there and pixel by pixel here.

Source: torchvision/models/squeezenet.py and alexnet.py, version 0.20.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from dse.architecture import PRESETS, Architecture, build
from dse.architecture.primitives import Dense
from dse.errors import WeightsError
from dse.text import shape_text, some_of
from dse.weights.metadata import FILE_MOST_BYTES

INPUT_SHAPE = (224, 224, 3)


def _squeezenet(*fires: int) -> dict[str, str]:
    """Their names by ours; `fires` are the places of fire2 to fire9 in their list."""
    parts = ("squeeze", "expand1x1", "expand3x3")
    table = {"conv1": "features.0"}
    for number, place in enumerate(fires, start=2):
        table |= {f"fire{number}/{part}": f"features.{place}.{part}" for part in parts}
    return table | {"conv10": "classifier.1"}


TABLES: Mapping[str, Mapping[str, str]] = {
    "squeezenet_v1.0": _squeezenet(3, 4, 5, 7, 8, 9, 10, 12),
    "squeezenet_v1.1": _squeezenet(3, 4, 6, 7, 9, 10, 11, 12),
    "alexnet_torchvision": {
        **{f"conv{n}": f"features.{place}" for n, place in enumerate((0, 3, 6, 8, 10), start=1)},
        **{f"fc{n}": f"classifier.{place}" for n, place in zip((6, 7, 8), (1, 4, 6), strict=True)},
    },
}
"""Of each preset, the layers' names there by their names here."""


@dataclass(frozen=True, eq=False)
class StateDict:
    """What a file holds: a preset's network, with any number of classes.

    Attributes:
        preset: its name.
        architecture: of the network.
        arrays: float32 by parameter path.
    """

    preset: str
    architecture: Architecture
    arrays: dict[str, np.ndarray]


def read_torchvision(path: Path) -> StateDict:
    """Read a state dict; which network it is of follows from its names.

    Raises:
        WeightsError: no such file, not safetensors, names of no known network (says which are
            missing), other shapes, or values that are not finite.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    if path.suffix.lower() in (".pth", ".pt", ".bin"):
        raise WeightsError(
            f"{path}: reading a file of torch.save may run any code, so none is read; save it as "
            "safetensors where you trust it: safetensors.torch.save_file(model.state_dict(), "
            f"'{path.stem}.safetensors')"
        )
    if path.stat().st_size > FILE_MOST_BYTES:
        raise WeightsError(f"{path}: more than {FILE_MOST_BYTES:,} bytes")
    try:
        found = load_file(path)
    except (SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
        raise WeightsError(
            f"{path}: not a safetensors file of float32 arrays ({error}); torchvision's own .pth "
            "has to be saved as one: safetensors.torch.save_file(model.state_dict(), …)"
        ) from error
    known = {name: _names(table) for name, table in TABLES.items()}
    preset = min(known, key=lambda name: len(known[name] ^ found.keys()))
    missing, unknown = known[preset] - found.keys(), found.keys() - known[preset]
    if missing or unknown:
        several = " and ".join(
            f"{some_of(sorted(names))} {word}"
            for names, word in ((missing, "missing"), (unknown, "unknown"))
            if names
        )
        raise WeightsError(
            f"{path}: no state dict of {', '.join(TABLES)}: the nearest is {preset}, but {several}"
        )
    return _converted(path, preset, found)


def _names(table: Mapping[str, str]) -> set[str]:
    return {f"{name}.{kind}" for name in table.values() for kind in ("weight", "bias")}


def _converted(path: Path, preset: str, found: Mapping[str, np.ndarray]) -> StateDict:
    table = TABLES[preset]
    head = list(table.values())[-1]
    architecture = build(PRESETS[preset].candidate, INPUT_SHAPE, len(found[f"{head}.bias"]))
    arrays = {}
    for node in architecture.kernel_nodes:
        for parameter in node.parameters:
            name = f"{table[node.name]}.{'weight' if parameter.kind == 'kernel' else 'bias'}"
            array = found[name]
            shape = parameter.shape
            if parameter.kind == "kernel":
                height, width, channels = node.input_shape
                if isinstance(node.primitive, Dense):
                    array = _as_maps(path, name, array, (channels, height, width))
                if array.ndim == 4:
                    array = array.transpose(2, 3, 1, 0)
                if isinstance(node.primitive, Dense):
                    array = array.reshape(-1, array.shape[-1])
            if array.shape != shape:
                raise WeightsError(
                    f"{path}: {name} is {shape_text(found[name].shape)}, which as "
                    f"{parameter.path} gives {shape_text(array.shape)}, but {preset} has "
                    f"{shape_text(shape)}"
                )
            if not np.isfinite(array).all():
                raise WeightsError(f"{path}: {name} has values that are not finite")
            arrays[parameter.path] = np.ascontiguousarray(array, np.float32)
    return StateDict(preset, architecture, arrays)


def _as_maps(path: Path, name: str, array: np.ndarray, given: tuple[int, int, int]) -> np.ndarray:
    """A dense kernel as one of a convolution over the whole map."""
    if array.ndim != 2 or array.shape[1] != math.prod(given):
        raise WeightsError(
            f"{path}: {name} is {shape_text(array.shape)}, but must take "
            f"{math.prod(given):,} inputs"
        )
    return array.reshape(-1, *given)
