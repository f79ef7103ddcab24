"""One domain as arrays: draws from it, and where in it its values lie.

A value of a finite domain is an index into its values; one of a range without steps is
the number itself.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dse.architecture import Value
from dse.space.domains import Categorical, Domain, FloatRange, IntRange

DRAWN_DIGITS = 6
"""Significant digits of a number that is drawn from a range without steps."""
POWERS = np.array([float(10**places) for places in range(19)])
"""Of ten: exact, as numbers of 64 bits too."""


def choices_of(domain: Domain) -> Sequence[Value]:
    """The values of a finite domain, not written out where they are a range of whole numbers."""
    if isinstance(domain, IntRange):
        return range(domain.low, domain.high + 1, domain.step)
    return domain.values()


def is_ordered(domain: Domain) -> bool:
    """Whether its values are numbers, all of them."""
    return not isinstance(domain, Categorical) or not any(
        isinstance(value, str | tuple) for value in domain.values()
    )


def draw(domain: Domain, count: int, rng: np.random.Generator) -> NDArray[Any]:
    """Values drawn evenly from a domain; over the logarithm from a log range.

    Whole numbers from a log range are rounded from [low - 1/2, high + 1/2), as Optuna does.

    Returns:
        array (count,): int64 indices of a finite domain's values; float64 numbers of
        `DRAWN_DIGITS` significant digits from a range without steps.
    """
    if domain.size is not None:
        if isinstance(domain, IntRange) and domain.log:
            low, high = math.log(domain.low - 0.5), math.log(domain.high + 0.5)
            numbers = np.floor(np.exp(rng.uniform(low, high, count)) + 0.5)
            return np.clip(numbers.astype(np.int64) - domain.low, 0, domain.size - 1)
        return rng.integers(domain.size, size=count, dtype=np.int64)
    assert isinstance(domain, FloatRange)
    if domain.log:
        numbers = np.exp(rng.uniform(math.log(domain.low), math.log(domain.high), count))
    else:
        numbers = rng.uniform(domain.low, domain.high, count)
    return np.clip(_shortened(numbers), domain.low, domain.high)


def _shortened(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """`float(f"{number:.6g}")` of each, most of them at once."""
    places = decimal_places(numbers)
    scaled = numbers * POWERS[places]
    # A whole number below 2⁵³ divided by an exact power of ten is the nearest float to the decimal.
    short = np.rint(scaled) / POWERS[places]
    is_sure = (abs(scaled % 1 - 0.5) > 1e-6) & (scaled >= 10 ** (DRAWN_DIGITS - 1))
    is_sure &= scaled < 10**DRAWN_DIGITS
    unsure = np.flatnonzero(~is_sure)
    short[unsure] = [float(f"{number:.{DRAWN_DIGITS}g}") for number in numbers[unsure].tolist()]
    return short


def decimal_places(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """The places behind the point that `DRAWN_DIGITS` digits have; as many as `POWERS` knows."""
    logs = np.log10(np.maximum(numbers, 1e-300))
    places = DRAWN_DIGITS - 1 - np.floor(logs).astype(np.int64)
    return np.clip(places, 0, len(POWERS) - 1)


def units_of(domain: Domain, values: NDArray[Any]) -> NDArray[np.float64]:
    """Where values lie in their domain: 0 the first, 1 the last.

    Linear, over the logarithm in a log range, by rank in a list of numbers, by place in a
    list of words.

    Args:
        domain: with more than one value.
        values: array (value,), as `draw` gives them.
    """
    if isinstance(domain, IntRange | FloatRange) and (domain.log or domain.size is None):
        low, high = float(domain.low), float(domain.high)
        numbers = values + low if isinstance(domain, IntRange) else values
        if domain.log:
            low, high, numbers = math.log(low), math.log(high), np.log(numbers)
        return np.clip((numbers - low) / (high - low), 0.0, 1.0)
    assert domain.size is not None
    if isinstance(domain, Categorical) and is_ordered(domain):
        values = np.argsort(np.argsort(np.array(domain.choices, dtype=float)))[values]
    return values / (domain.size - 1)
