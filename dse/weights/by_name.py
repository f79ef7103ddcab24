"""A network by the name that a user gives: a preset, a family, a study's candidate, a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dse.architecture import FAMILIES, PRESETS, Preset, make_candidate
from dse.errors import ConfigError
from dse.text import nearest

FAMILY_INPUT_SHAPE, FAMILY_CLASSES_COUNT = (224, 224, 3), 1000


def find_network(name: str, studied: Callable[[str, str], Preset]) -> Preset:
    """The preset, the family at its defaults, the candidate of a study, or a file's network.

    Args:
        name: `squeezenet_v1.0`, `squeezenet`, `STUDY/CANDIDATE`, or the path of a weights file.
        studied: gives the candidate of a study, from the names of both.

    Raises:
        ConfigError: nothing has this name.
        StudyError, WeightsError: study or file cannot be read.
    """
    if name in PRESETS:
        return PRESETS[name]
    if name in FAMILIES:
        candidate = make_candidate(name, {})
        return Preset(
            name, FAMILIES[name].description, candidate, FAMILY_INPUT_SHAPE, FAMILY_CLASSES_COUNT
        )
    if name.lower().endswith((".safetensors", ".dsz")):
        from dse.weights.safetensors import read_network  # takes numpy along

        found, _ = read_network(Path(name))
        return Preset(Path(name).name, "", found.candidate, found.input_shape, len(found.classes))
    study, slash, key = name.rpartition("/")
    if slash:
        return studied(study, key)
    names = list(dict.fromkeys([*PRESETS, *FAMILIES]))
    raise ConfigError(f"preset or family {name!r} not found{nearest(name, names)}")
