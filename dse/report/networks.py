"""A network by the name that a user gives: a preset, a family, a study's candidate, a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dse.architecture import FAMILIES, PRESETS, Preset, make_candidate
from dse.errors import ConfigError, UsageError
from dse.text import nearest

if TYPE_CHECKING:
    from dse.space import SearchSpace
    from dse.weights.given import GivenWeights

FAMILY_INPUT_SHAPE, FAMILY_CLASSES_COUNT = (224, 224, 3), 1000


def find_network(name: str, results: Path) -> Preset:
    """The preset, the family at its defaults, the candidate of a study, or a file's network.

    Args:
        name: `squeezenet_v1.0`, `squeezenet`, `STUDY/CANDIDATE`, or the path of a weights file.
        results: folder of all studies.

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
        from dse.report.tables.studies import open_study, studied_candidate

        at = studied_candidate(open_study(results, study), key)
        return Preset(f"{study}/{key}", "", at.candidate, at.input_shape, at.classes_count)
    names = list(dict.fromkeys([*PRESETS, *FAMILIES]))
    raise ConfigError(f"preset or family {name!r} not found{nearest(name, names)}")


def network_space(
    name: str, given: GivenWeights | None, settings: Sequence[str], results: Path
) -> SearchSpace:
    """The space that holds one network and nothing else.

    Args:
        name: as for `find_network`, or a space with one candidate; empty for that of `given`.
        given: weights to start from: what is of the head alone takes the family's default.
        settings: changes, `KEY=VALUE`.
        results: folder of all studies.

    Raises:
        UsageError: no network is named, or a space holds several.
        ConfigError: nothing has this name, or a setting is not possible.
        WeightsError: the weights are of another family.
    """
    from dse.config import apply_settings, find_space, load_space, parse_settings
    from dse.space import Fixed, SearchSpace
    from dse.weights.given import with_new_head

    if not name and given is None:
        raise UsageError(
            "no network is named: give a NETWORK, such as squeezenet_v1.1, or weights to start "
            "from with --init"
        )
    if name.lower().endswith((".yaml", ".yml")):
        space = apply_settings(load_space(find_space(name)), settings)
        if space.size != 1:
            some = "infinitely many" if space.size is None else f"{space.size:,}"
            raise UsageError(
                f"{name} holds {some} candidates, but one network is trained; fix the others with "
                f"--set ({', '.join(space.varying)}), or train them all: dse sweep {name}"
            )
        return space
    if name:
        preset = find_network(name, results)
        candidate, label = preset.candidate, Path(preset.name).stem if "/" in name else preset.name
    else:
        assert given is not None
        candidate, label = given.candidate, given.path.stem
    if given is not None:
        given.check_suits(candidate)
        candidate = with_new_head(candidate)
    if settings:
        values = candidate.metaparameters | parse_settings(settings, candidate.family)
        candidate = make_candidate(candidate.family, values)
    domains = {key: Fixed(value) for key, value in candidate.values}
    return replace(SearchSpace(label, candidate.family, dict(domains)))
