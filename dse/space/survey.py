"""The survey: every candidate of a finite space, built and costed before any training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dse.architecture import Architecture, Candidate, Cost, Shape, build, cost
from dse.errors import ArchitectureError, SpaceError
from dse.space.space import Limit, SearchSpace
from dse.text import shape_text

MOST_SURVEYED = 100_000
"""Candidates that `survey` builds at most: half a minute of work on one core."""


@dataclass(frozen=True)
class Survey:
    """Every candidate of a finite space, for images of one shape.

    Attributes:
        feasible: those to train, each with its exact cost.
        refused: those that cannot be built or break a limit, each with the reason.
        duplicates: those whose layers are the same as those of an earlier feasible one,
            each with that one; training them would measure one network twice.
    """

    feasible: tuple[tuple[Candidate, Cost], ...]
    refused: tuple[tuple[Candidate, str], ...]
    duplicates: tuple[tuple[Candidate, Candidate], ...]


def survey(space: SearchSpace, input_shape: Shape, classes_count: int) -> Survey:
    """Build, cost and sort every candidate, without training any.

    Args:
        space: a finite space.
        input_shape: (height, width, channels) of one image.
        classes_count: number of classes.

    Raises:
        SpaceError: the space is infinite or too large to list, or nothing is left of it.
    """
    space.require_finite()
    if (space.size or 0) > MOST_SURVEYED:
        raise SpaceError(
            f"{space.name} has {space.size:,} candidates, but at most {MOST_SURVEYED:,} can be "
            "listed; fix some metaparameters or take larger steps, or let `dse search` choose "
            "from it"
        )
    feasible: list[tuple[Candidate, Cost]] = []
    refused: list[tuple[Candidate, str]] = []
    duplicates: list[tuple[Candidate, Candidate]] = []
    costs: list[Cost] = []
    # By the hash of their layers: to keep all layers would cost more time than to build twice.
    seen: dict[int, list[Candidate]] = {}
    for candidate in space.candidates():
        try:
            architecture = build(candidate, input_shape, classes_count)
        except ArchitectureError as error:
            refused.append((candidate, str(error)))
            continue
        alike = seen.setdefault(hash(architecture.layers), [])
        first = _first_with(architecture, alike)
        if first is not None:
            duplicates.append((candidate, first))
            continue
        alike.append(candidate)
        costs.append(cost(architecture))
        reason = limits_problem(space.limits, costs[-1])
        if reason is None:
            feasible.append((candidate, costs[-1]))
        else:
            refused.append((candidate, reason))
    if not feasible:
        smallest = {name: min(getattr(c, name) for c in costs) for name in space.limits if costs}
        whose = f"its {space.size:,} candidates"
        raise nothing_left(space, input_shape, whose, first=refused[0][1], smallest=smallest)
    reasons = dict(refused)  # the same layers break the same limits
    refused += [(same, reasons[first]) for same, first in duplicates if first in reasons]
    duplicates = [pair for pair in duplicates if pair[1] not in reasons]
    return Survey(tuple(feasible), tuple(refused), tuple(duplicates))


def _first_with(architecture: Architecture, candidates: list[Candidate]) -> Candidate | None:
    """The first of `candidates` that has these layers, or None."""
    shape, classes_count = architecture.input_shape, architecture.classes_count
    for candidate in candidates:
        if build(candidate, shape, classes_count).layers == architecture.layers:
            return candidate
    return None


def limits_problem(limits: Mapping[str, Limit], costs: Cost) -> str | None:
    """Which limits these costs break, in one line, or None where they break none."""
    problems = [limit.problem(name, getattr(costs, name)) for name, limit in limits.items()]
    return "; ".join(problem for problem in problems if problem) or None


def nothing_left(
    space: SearchSpace, input_shape: Shape, whose: str, *, first: str, smallest: Mapping[str, int]
) -> SpaceError:
    """The error that says why no candidate is left.

    Args:
        space: with the limits.
        input_shape: (height, width, channels) of one image.
        whose: which candidates were tried: `its 12 candidates`.
        first: why the first of them is refused.
        smallest: the least value of each limited cost; empty where none could be built.
    """
    shape = shape_text(input_shape)
    text = f"{space.name}: none of {whose} is left for images of {shape}; the first: {first}"
    if smallest:
        costs = ", ".join(f"{name} {least:,}" for name, least in smallest.items())
        text += f"; the smallest possible: {costs}"
    return SpaceError(text)
