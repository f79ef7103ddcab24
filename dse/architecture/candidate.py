"""Candidates, the families whose points they are, and presets: published candidates."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dse.architecture.blocks import Module
from dse.architecture.metaparameters import Metaparameter, Value
from dse.architecture.primitives import Primitive, Shape
from dse.errors import ConfigError
from dse.text import nearest

Builder = Callable[[Mapping[str, Value], Shape, int], Iterable[Primitive | Module]]
"""From metaparameters, input shape and number of classes to blocks, one behind the other."""
PlaceBuilder = Callable[[Mapping[str, Value], int, Shape, int], Sequence[Primitive | Module] | None]
"""From metaparameters, a place from 0, input shape and number of classes to the blocks there."""


@dataclass(frozen=True)
class Candidate:
    """One network to be: a family and a value for each of its metaparameters, hashable.

    Made by `make_candidate`, which fills in the defaults, so that equal networks are
    equal candidates.
    """

    family: str
    values: tuple[tuple[str, Value], ...]

    @cached_property
    def metaparameters(self) -> dict[str, Value]:
        """The values by name."""
        return dict(self.values)

    @cached_property
    def key(self) -> str:
        """Twelve hexadecimal digits that stand for family and values, on every machine."""
        text = json.dumps([self.family, dict(self.values)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Preset:
    """A published network: its candidate and the input it was published with."""

    name: str
    description: str
    candidate: Candidate
    input_shape: Shape
    classes_count: int = 1000


Published = tuple[str, Mapping[str, Value], Shape, int]
"""Description, metaparameters, input shape and number of classes of a preset."""


@dataclass(frozen=True)
class Family:
    """Networks that differ in their metaparameters alone.

    Attributes:
        name, description: in messages and lists.
        metaparameters: what varies, by name.
        build: gives the blocks of a network, each when the one before has found its place;
            called with one valid value for each metaparameter. It raises an
            `ArchitectureError` where there is no such network.
        published: networks that are presets, by name.
        blocks_at: gives what `build` does place by place, and None behind the last one; it may
            be called with batches of numbers too (`dse.space.batch`), by which many
            candidates are counted at once. Without it they are counted one by one.
    """

    name: str
    description: str
    metaparameters: dict[str, Metaparameter]
    build: Builder
    published: Mapping[str, Published]
    blocks_at: PlaceBuilder | None = None

    @property
    def presets(self) -> tuple[Preset, ...]:
        """Its published networks."""
        return tuple(
            Preset(name, description, self.candidate(values), shape, classes_count)
            for name, (description, values, shape, classes_count) in self.published.items()
        )

    def candidate(self, values: Mapping[str, object]) -> Candidate:
        """The candidate with these values, and the default of every other metaparameter.

        Raises:
            ConfigError: every unknown name and every bad value, one line each.
        """
        known = self.metaparameters
        problems = [
            f"unknown metaparameter {name} of {self.name}{nearest(name, known)}"
            for name in values
            if name not in known
        ]
        problems += [
            problem
            for name, value in values.items()
            if name in known and (problem := known[name].problem(value))
        ]
        if problems:
            raise ConfigError(problems)
        complete = {name: one.default for name, one in known.items()} | dict(values)
        canonical = ((name, one.canonical(complete[name])) for name, one in known.items())  # type: ignore[arg-type]
        return Candidate(self.name, tuple(canonical))
