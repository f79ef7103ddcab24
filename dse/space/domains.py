"""Domains: which values one metaparameter may take."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

from dse.architecture import Value
from dse.errors import SpaceError

MOST_STEPS = 1_000_000
"""Values of a range of fractions; those of whole numbers are never written out."""


def range_problems(
    low: float, high: float, *, step: float | None, log: bool
) -> list[tuple[str, str]]:
    """Why these numbers are no range: (`range`, `step` or `log`; one line) for each reason."""
    problems = []
    if not low <= high:
        problems.append(("range", f"`low <= high` must hold, but got (low={low}, high={high})"))
    if log and not low > 0:
        problems.append(("range", f"a log range must start above 0, but got low={low}"))
    if step is not None and not step > 0:
        problems.append(("step", f"step must be above 0, but got {step}"))
    if step is not None and log:
        problems.append(("log", "a range has a step or is log, not both"))
    is_whole = all(isinstance(number, int) for number in (low, high, step))
    if step is not None and step > 0 and not is_whole and (high - low) / step >= MOST_STEPS:
        text = f"step is {step}, but must be larger: at most {MOST_STEPS:,} values are listed"
        problems.append(("step", text))
    return problems


@dataclass(frozen=True)
class Fixed:
    """One value."""

    value: Value

    @property
    def size(self) -> int:
        """Number of values."""
        return 1

    def values(self) -> tuple[Value, ...]:
        """The one value."""
        return (self.value,)

    def contains(self, value: object) -> bool:
        """Whether `value` is the one."""
        return _same(value, self.value)


@dataclass(frozen=True)
class Categorical:
    """Any of some values, in the order in which they are written."""

    choices: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.choices:
            raise SpaceError("values is empty, but must name at least one value")
        if len(set(self.choices)) < len(self.choices):
            raise SpaceError(f"values names one value twice: {list(self.choices)}")

    @property
    def size(self) -> int:
        """Number of values."""
        return len(self.choices)

    def values(self) -> tuple[Value, ...]:
        """Every value, in order."""
        return self.choices

    def contains(self, value: object) -> bool:
        """Whether `value` is one of them."""
        return any(_same(value, choice) for choice in self.choices)


@dataclass(frozen=True)
class IntRange:
    """Whole numbers `low`, `low + step`, … up to `high`; `log` says how to draw from them."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    def __post_init__(self) -> None:
        step = None if self.log and self.step == 1 else self.step
        raise_all(
            [text for _, text in range_problems(self.low, self.high, step=step, log=self.log)]
        )

    @property
    def size(self) -> int:
        """Number of values."""
        return (self.high - self.low) // self.step + 1

    @property
    def last(self) -> int:
        """The largest value."""
        return self.low + (self.size - 1) * self.step

    def values(self) -> tuple[Value, ...]:
        """Every value, rising."""
        return tuple(range(self.low, self.high + 1, self.step))

    def contains(self, value: object) -> bool:
        """Whether `value` is one of them."""
        return (
            isinstance(value, int)
            and not isinstance(value, bool)
            and value in range(self.low, self.high + 1, self.step)
        )


@dataclass(frozen=True)
class FloatRange:
    """Numbers from `low` to `high`: every `step`, or all of them where there is none."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        problems = range_problems(self.low, self.high, step=self.step, log=self.log)
        raise_all([text for _, text in problems])

    @property
    def size(self) -> int | None:
        """Number of values; None where they cannot be counted."""
        if self.low == self.high:
            return 1
        if self.step is None:
            return None
        return math.floor((_exact(self.high) - _exact(self.low)) / _exact(self.step)) + 1

    def values(self) -> tuple[Value, ...]:
        """Every value, rising; exact in decimals (0.1, 0.2, 0.3 and not 0.30000000000000004).

        Raises:
            SpaceError: the range has no step.
        """
        return self._values

    @cached_property  # up to `MOST_STEPS` of them
    def _values(self) -> tuple[Value, ...]:
        if self.size is None:
            raise SpaceError(f"the range [{self.low}, {self.high}] has no step")
        low, step = _exact(self.low), _exact(self.step or 1.0)
        below = math.lcm(low.denominator, step.denominator)
        first, more = int(low * below), int(step * below)
        return tuple((first + index * more) / below for index in range(self.size))

    def contains(self, value: object) -> bool:
        """Whether `value` lies in the range, and on a step where there are steps."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        if not self.low <= value <= self.high:
            return False
        return self.step is None or (
            (_exact(float(value)) - _exact(self.low)) % _exact(self.step) == 0
        )


Domain = Fixed | Categorical | IntRange | FloatRange


def raise_all(problems: list[str]) -> None:
    """Raise one error with every problem, or nothing where there is none."""
    if problems:
        raise SpaceError("\n".join(problems))


def _exact(number: float) -> Fraction:
    """The decimal as it is written, not its nearest binary fraction."""
    return Fraction(repr(float(number)))


def _same(left: object, right: object) -> bool:
    """Equal, where true is not 1."""
    return isinstance(left, bool) == isinstance(right, bool) and left == right
