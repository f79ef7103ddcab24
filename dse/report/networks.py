"""One network of many places as a search space: what `dse train` trains."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dse.architecture import Preset, make_candidate
from dse.errors import UsageError
from dse.weights.by_name import find_network

if TYPE_CHECKING:
    from dse.space import SearchSpace
    from dse.weights.given import GivenWeights


def studied_network(results: Path, study: str, key: str) -> Preset:
    """The candidate of a study.

    Raises:
        StudyError: no such study or candidate.
    """
    from dse.report.tables.studies import open_study, studied_candidate

    at = studied_candidate(open_study(results, study), key)
    return Preset(f"{study}/{key}", "", at.candidate, at.input_shape, at.classes_count)


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
        preset = find_network(name, partial(studied_network, results))
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
    return SearchSpace(label, candidate.family, dict(domains))
