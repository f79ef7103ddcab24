"""Intervals: how far to trust a mean of replicates, or an accuracy counted on images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from dse.errors import ObjectiveError


@dataclass(frozen=True)
class Interval:
    """An estimate with the interval around it, all in the unit of the values."""

    estimate: float
    low: float
    high: float


def mean_interval(
    values: Sequence[float] | NDArray[np.float64], *, confidence: float = 0.95
) -> Interval:
    """Mean of independent replicates with Student's t interval.

    Args:
        values: one value a replicate.
        confidence: chance that such an interval covers the true mean, for normal values.

    Returns:
        The mean and its interval; `low` and `high` are NaN for one value, which says nothing
        about the spread.

    Raises:
        ObjectiveError: no values, a value that is not finite, or a confidence outside (0, 1).
    """
    _check_confidence(confidence)
    replicates = np.asarray(values, dtype=np.float64)
    if replicates.ndim != 1 or not replicates.size:
        raise ObjectiveError(f"a mean needs a list of values, but the shape is {replicates.shape}")
    if not np.isfinite(replicates).all():
        found = replicates[~np.isfinite(replicates)][0]
        raise ObjectiveError(f"a mean needs finite values, but one is {found}")
    mean = float(replicates.mean())
    if replicates.size == 1:
        return Interval(mean, math.nan, math.nan)
    quantile = student_t_quantile((1 + confidence) / 2, degrees_of_freedom=replicates.size - 1)
    half_width = quantile * float(replicates.std(ddof=1)) / math.sqrt(replicates.size)
    return Interval(mean, mean - half_width, mean + half_width)


def wilson_interval(correct_count: int, total_count: int, *, confidence: float = 0.95) -> Interval:
    """Accuracy: `correct_count` of `total_count` images, with Wilson's score interval.

    Never leaves [0, 1], and has a width even where all or none are correct.

    Returns:
        The accuracy (a fraction) and its interval.

    Raises:
        ObjectiveError: counts that do not fit each other, or a confidence outside (0, 1).

    Source: Wilson 1927, "Probable inference, the law of succession, and statistical inference".
    """
    _check_confidence(confidence)
    if total_count < 1 or not 0 <= correct_count <= total_count:
        raise ObjectiveError(
            "0 <= correct_count <= total_count and total_count >= 1 must hold, "
            f"but got (correct_count={correct_count}, total_count={total_count})"
        )
    share = correct_count / total_count
    z_squared = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    shrink = 1 + z_squared / total_count
    centre = (share + z_squared / (2 * total_count)) / shrink
    variance = (share * (1 - share) + z_squared / (4 * total_count)) / total_count
    half_width = math.sqrt(z_squared * variance) / shrink
    # At the ends the bound is exactly 0 or 1; rounding must not put the share outside.
    low = 0.0 if correct_count == 0 else max(0.0, centre - half_width)
    high = 1.0 if correct_count == total_count else min(1.0, centre + half_width)
    return Interval(share, low, high)


def paired_lower_bound(
    before: NDArray[np.bool_], after: NDArray[np.bool_], *, confidence: float = 0.95
) -> float:
    """Lower bound of the accuracy of one set of weights minus that of another.

    Both on the same images; over images alone, not over seeds (`dse.stats.comparison` counts
    both). Normal, with half an image added on which only the one is correct and half an image
    on which only the other is, so that equal answers are not taken for certainty.

    Args:
        before: bool array (image,), on which images the one is correct.
        after: bool array (image,), on which the other is.
        confidence: of the bound, one-sided.

    Returns:
        A fraction, at most the difference that was measured.

    Raises:
        ObjectiveError: fewer than two images, other shapes, or a confidence outside (0, 1).

    Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched
        proportions".
    """
    _check_confidence(confidence)
    if before.shape != after.shape or before.ndim != 1 or len(before) < 2:
        raise ObjectiveError(
            f"the same two or more images are needed, but got {before.shape} and {after.shape}"
        )
    count = len(before)
    differences = after.astype(np.float64) - before
    spread = (float(differences.var()) * count + 1) / (count - 1)
    width = NormalDist().inv_cdf(confidence) * math.sqrt(spread / count)
    return float(differences.mean()) - width


@lru_cache(maxsize=4096)
def student_t_quantile(probability: float, *, degrees_of_freedom: int) -> float:
    """Value that Student's t stays below with `probability`.

    Inverts the exact distribution for whole degrees of freedom by bisection over the angle
    atan(t / sqrt(degrees of freedom)); good to about 1e-12 for probabilities up to 0.9999.

    Raises:
        ObjectiveError: a probability outside (0, 1), or no degree of freedom.

    Source: Abramowitz and Stegun 1964, equations 26.7.3 and 26.7.4.
    """
    if not 0 < probability < 1 or degrees_of_freedom < 1:
        raise ObjectiveError(
            "0 < probability < 1 and degrees_of_freedom >= 1 must hold, but got "
            f"(probability={probability}, degrees_of_freedom={degrees_of_freedom})"
        )
    inside = abs(2 * probability - 1)
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if _t_probability_inside(middle, degrees_of_freedom) < inside:
            low = middle
        else:
            high = middle
    value = math.tan(high) * math.sqrt(degrees_of_freedom) if inside else 0.0
    return math.copysign(value, probability - 0.5)


def student_t_probability(value: float, *, degrees_of_freedom: int) -> float:
    """Chance that Student's t stays below `value`: the inverse of `student_t_quantile`.

    The exact finite series for whole degrees of freedom; `value` may be infinite.

    Raises:
        ObjectiveError: a value that is NaN, or no degree of freedom.

    Source: Abramowitz and Stegun 1964, equations 26.7.3 and 26.7.4.
    """
    if math.isnan(value) or degrees_of_freedom < 1:
        raise ObjectiveError(
            "a value that is not NaN and degrees_of_freedom >= 1 are needed, but got "
            f"(value={value}, degrees_of_freedom={degrees_of_freedom})"
        )
    angle = math.atan(abs(value) / math.sqrt(degrees_of_freedom))
    inside = min(1.0, _t_probability_inside(angle, degrees_of_freedom))
    return 0.5 + math.copysign(inside / 2, value)


def _t_probability_inside(angle: float, degrees_of_freedom: int) -> float:
    """P(|T| < t) with angle = atan(t / sqrt(degrees of freedom)): a finite cosine series."""
    is_odd = degrees_of_freedom % 2 == 1
    square = math.cos(angle) ** 2
    term = math.cos(angle) if is_odd else 1.0
    total = 0.0
    # Odd: cos, 2/3 cos^3, (2*4)/(3*5) cos^5 ...; even: 1, 1/2 cos^2, (1*3)/(2*4) cos^4 ...
    for power in range(int(is_odd), degrees_of_freedom - 1, 2):
        total += term
        term *= square * (power + 1) / (power + 2)
    series = math.sin(angle) * total
    return (angle + series) * 2 / math.pi if is_odd else series


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ObjectiveError(f"a confidence must be in (0, 1), but it is {confidence}; try 0.95")
