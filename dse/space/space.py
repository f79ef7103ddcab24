"""The search space: a family, what may vary in it, and exact limits."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

from dse.architecture import FAMILIES, OBJECTIVES, Candidate, Metaparameter, Value, make_candidate
from dse.errors import SpaceError
from dse.space.domains import Categorical, Domain, Fixed, FloatRange, IntRange, raise_all
from dse.text import nearest


@dataclass(frozen=True)
class Limit:
    """Least and most that an exact cost may be; both included, None is no bound."""

    min: int | None = None
    max: int | None = None

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise SpaceError("a limit needs min or max")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise SpaceError(f"`min <= max` must hold, but got (min={self.min}, max={self.max})")

    def problem(self, objective: str, value: int) -> str | None:
        """Why `value` breaks the limit, or None where it does not."""
        if self.max is not None and value > self.max:
            return f"{objective} is {value:,}, but must be at most {self.max:,}"
        if self.min is not None and value < self.min:
            return f"{objective} is {value:,}, but must be at least {self.min:,}"
        return None


def limits_problem(limits: Mapping[str, Limit], costs: Mapping[str, int]) -> str | None:
    """Which limits these costs break, in one line, or None where they break none."""
    problems = [limit.problem(name, costs[name]) for name, limit in limits.items()]
    return "; ".join(problem for problem in problems if problem) or None


@dataclass(frozen=True)
class SearchSpace:
    """What may vary.

    Attributes:
        name: of the study that is made from it unless that is given another.
        family: a name in `FAMILIES`.
        domains: by metaparameter, in the file's order; absent ones take the family's default.
        limits: by exact cost (`params_count`, `macs`, `weight_bytes`, `peak_activation_bytes`).
        description: one line.
        source: the file that it came from; takes no part in comparisons.

    Raises:
        SpaceError: a name that the family does not have, or a value that it refuses.
    """

    name: str
    family: str
    domains: dict[str, Domain]
    limits: dict[str, Limit] = field(default_factory=dict)
    description: str = ""
    source: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise SpaceError(f"family {self.family!r} not found{nearest(self.family, FAMILIES)}")
        known = FAMILIES[self.family].metaparameters
        problems = [
            f"unknown metaparameter {name} of {self.family}{nearest(name, known)}"
            for name in self.domains
            if name not in known
        ]
        problems += [
            problem
            for name, domain in self.domains.items()
            if name in known
            for problem in _domain_problems(known[name], domain)
        ]
        problems += [
            f"unknown cost {name}{nearest(name, list(OBJECTIVES))}"
            for name in self.limits
            if name not in OBJECTIVES
        ]
        raise_all(problems)

    @property
    def varying(self) -> tuple[str, ...]:
        """Metaparameters with more than one value, in order."""
        return tuple(name for name, domain in self.domains.items() if domain.size != 1)

    @property
    def fixed(self) -> dict[str, Value]:
        """Those with one value, and it."""
        domains = self.domains.items()
        return {name: domain.values()[0] for name, domain in domains if domain.size == 1}

    @property
    def infinite(self) -> tuple[str, ...]:
        """Metaparameters whose values cannot be counted, in order."""
        return tuple(name for name, domain in self.domains.items() if domain.size is None)

    @property
    def size(self) -> int | None:
        """Number of candidates before limits; None where they cannot be counted."""
        sizes = [domain.size for domain in self.domains.values()]
        return None if None in sizes else math.prod(size for size in sizes if size is not None)

    @cached_property
    def key(self) -> str:
        """Twelve hexadecimal digits that stand for what the space holds.

        Two files that allow the same values of the same family within the same limits
        have one key, whatever their names, comments, descriptions and order of keys.
        """
        known = FAMILIES[self.family].metaparameters
        domains = {
            name: _canonical(part, self.domains.get(name, Fixed(part.default)))
            for name, part in known.items()
        }
        limits = {name: [limit.min, limit.max] for name, limit in self.limits.items()}
        text = json.dumps([self.family, domains, limits], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def candidates(self) -> Iterator[Candidate]:
        """Every candidate, the last metaparameter varying fastest, limits not applied.

        Raises:
            SpaceError: the space is infinite.
        """
        self.require_finite()
        names = tuple(self.domains)
        rows = product(*(domain.values() for domain in self.domains.values()))
        return (make_candidate(self.family, dict(zip(names, row, strict=True))) for row in rows)

    def require_finite(self) -> None:
        """Raise where the candidates cannot be listed.

        Raises:
            SpaceError: names the metaparameters that have a range without a step.
        """
        if self.infinite:
            names = ", ".join(self.infinite)
            one = len(self.infinite) == 1
            raise SpaceError(
                f"{self.name} is an infinite space: {names} {'has' if one else 'have'} a range "
                f"without a step; give {'it' if one else 'each'} a step or list values, or let "
                "`dse search` draw from it"
            )


def _domain_problems(part: Metaparameter, domain: Domain) -> list[str]:
    if isinstance(domain, IntRange | FloatRange):
        kind = "int" if isinstance(domain, IntRange) else "float"
        if part.kind != kind:
            return [f"{part.name} is {part.allowed}, which is no {kind} range; list values"]
        ends: tuple[Any, ...] = (domain.low, domain.high)
    else:
        ends = domain.values()
    return list(dict.fromkeys(text for value in ends if (text := part.problem(value))))


def _canonical(part: Metaparameter, domain: Domain) -> list[Any]:
    """What a domain holds, as JSON: one way to write each."""
    if domain.size == 1 or isinstance(domain, Categorical):
        return ["values", [part.canonical(value) for value in domain.values()]]
    assert isinstance(domain, IntRange | FloatRange)
    numbers = [domain.low, domain.high, domain.step]
    if isinstance(domain, FloatRange):
        numbers = [None if number is None else float(number) for number in numbers]
    return ["range", *numbers, domain.log]
