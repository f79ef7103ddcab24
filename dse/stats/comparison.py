"""Whether one network is as accurate as another, on the same images and over training seeds.

Two things are drawn by chance: the images that measure an accuracy, and the seeds of the
trainings. A claim about the networks, not about these weights on these images, has to count
both. Source of the model (crossed random effects): Searle, Casella and McCulloch 1992,
"Variance components", chapter 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dse.errors import ObjectiveError
from dse.stats.intervals import student_t_probability, student_t_quantile
from dse.text import points

_SPREAD, _OF_SEEDS, _POWER = 0.08, 2 * 0.005**2 / 3, 0.8
"""Of `resolvable_difference`, in the order of its docstring."""

Correctness = NDArray[np.bool_]
"""On which images each replicate of one network is correct: bool array (seed, image)."""


@dataclass(frozen=True)
class SeedVariance:
    """How much the accuracy of one network varies between trainings, on fixed images.

    Attributes:
        variance: of the accuracy (a fraction) of a single training.
        degrees_of_freedom: of that estimate; 0 says that nothing is known.
    """

    variance: float
    degrees_of_freedom: int


@dataclass(frozen=True)
class Comparison:
    """A candidate's accuracy minus the reference's, as far as the measurements tell.

    Attributes:
        difference: candidate minus reference, as a fraction.
        standard_error: of the difference, over images and seeds; infinite where no network
            has two replicates, so that nothing is known about the seeds.
        degrees_of_freedom: of the standard error, rounded down; 0 where it is infinite.
        lower: one-sided lower bound of the true difference at `confidence`.
        upper: one-sided upper bound of the true difference at `confidence`.
        p_value: chance of such a difference or a higher one if the candidate were truly worse
            by just `margin`; 1.0 where nothing is known.
        margin: how much worse (a fraction) is still non-inferior.
        confidence: one minus the accepted chance of a false claim.
    """

    difference: float
    standard_error: float
    degrees_of_freedom: int
    lower: float
    upper: float
    p_value: float
    margin: float
    confidence: float

    @property
    def is_non_inferior(self) -> bool:
        """Whether `lower` is above minus the margin: the claim holds at this confidence."""
        return self.lower > -self.margin

    @property
    def in_words(self) -> str:
        """The difference in points, and what is known of it."""
        if not math.isfinite(self.standard_error):
            return f"{points(self.difference)} points, with no second seed of any network"
        return (
            f"{points(self.difference)} points, at {self.confidence:.0%} confidence "
            f"a lower bound of {points(self.lower)} (p = {self.p_value:.3f})"
        )


def compare(
    candidate: Correctness,
    reference: Correctness | float,
    *,
    margin: float = 0.0,
    confidence: float = 0.95,
    seed_variance: SeedVariance | None = None,
) -> Comparison:
    """Tests that a candidate is not less accurate than a reference by more than a margin.

    The variance of the difference is the sum of two estimates:

    - images: the variance over the images of (candidate's minus reference's share of
      correct replicates), divided by their number, which pairs the two networks on each image.
      Half an image on which only the one and half an image on which only the other is correct
      are added to it (Agresti and Min 2005), so it is never zero. Against a number it is at
      least what an accuracy of just `reference - margin` would give, as in a score test.
    - seeds: for either network the variance of its replicates' accuracies or that of
      `seed_variance`, whichever is higher, divided by its replicates. What its images'
      changes from seed to seed contribute is subtracted, since the first estimate holds it.

    The degrees of freedom are Satterthwaite's, with what was subtracted left in. Replicates
    with the same number may have shared their draws; what that makes the networks agree is not
    subtracted.

    Args:
        candidate: bool array (seed, image).
        reference: bool array (seed, image) on the same images, of any number of seeds, or
            an accuracy (a fraction) that is known without error.
        margin: how much worse (a fraction) is still non-inferior.
        confidence: of the one-sided bounds.
        seed_variance: from `pool_seed_variance` of more networks, which makes few seeds go
            much further; by default that of these two. It must not be chosen by looking at these.

    Raises:
        ObjectiveError: shapes that do not match, fewer than two images, a reference or
            margin outside [0, 1], or a confidence outside (0, 1).

    Sources: Satterthwaite 1946, "An approximate distribution of estimates of variance
        components"; Agresti and Min 2005, "Simple improved confidence intervals for comparing
        matched proportions".
    """
    _check(candidate, reference, margin, confidence)
    networks = [candidate] if isinstance(reference, float | int) else [candidate, reference]
    if seed_variance is None:
        seed_variance = pool_seed_variance(networks)
    against = reference if isinstance(reference, float | int) else reference.mean(axis=0)
    differences = candidate.mean(axis=0) - against
    difference = float(differences.mean())
    if not seed_variance.degrees_of_freedom:
        return Comparison(
            difference, math.inf, 0, -math.inf, math.inf, 1.0, float(margin), confidence
        )
    images_count = len(differences)
    spread = (float(differences.var()) * images_count + 1) / (images_count - 1)
    if isinstance(reference, float | int):
        # The variance of the share of correct replicates, were the accuracy just at the margin.
        edge, seeds_count = max(0.0, reference - margin), len(candidate)
        at_edge = edge * (1 - edge) - churn(candidate) * (1 - 1 / seeds_count)
        spread = max(spread, at_edge)
    of_images = spread / images_count
    of_churn, of_seeds = np.sum([_of_seeds(n, seed_variance) for n in networks], axis=0)
    variance = of_images + of_seeds - of_churn
    squares = of_images**2 / (images_count - 1)
    squares += of_seeds**2 / seed_variance.degrees_of_freedom
    degrees = max(1, math.floor(variance**2 / squares))
    error = math.sqrt(variance)
    half_width = student_t_quantile(confidence, degrees_of_freedom=degrees) * error
    at_margin = (difference + margin) / error
    return Comparison(
        difference=difference,
        standard_error=error,
        degrees_of_freedom=degrees,
        lower=difference - half_width,
        upper=difference + half_width,
        p_value=student_t_probability(-at_margin, degrees_of_freedom=degrees),
        margin=float(margin),
        confidence=confidence,
    )


def accuracy_ends(network: Correctness) -> tuple[float | None, float | None]:
    """The ends of an accuracy's 95% interval, over images and seeds.

    Args:
        network: bool (seed, image).

    Returns:
        (low, high) in [0, 1]; None where one seed tells nothing of it.
    """
    held = compare(network, 0.0, confidence=0.975)  # of either end
    return (
        max(0.0, held.lower) if math.isfinite(held.lower) else None,
        min(1.0, held.upper) if math.isfinite(held.upper) else None,
    )


def resolvable_difference(images_count: int, *, confidence: float = 0.95) -> float:
    """The margin at which a network that is truly as accurate passes in four of five cases.

    For networks of three seeds each that, seed against seed, disagree on 17% of the images, and
    that vary by 0.5 points between seeds: the variance over images is 0.08 (two networks less
    what the seeds average out), with the half images of `compare` added.

    Args:
        images_count: that both are scored on; at least two.
        confidence: of the claim.

    Returns:
        A fraction.
    """
    of_images = (_SPREAD * images_count + 1) / (images_count - 1) / images_count
    error = math.sqrt(of_images + _OF_SEEDS)
    degrees = max(1, images_count - 1)
    quantiles = (student_t_quantile(p, degrees_of_freedom=degrees) for p in (confidence, _POWER))
    return min(1.0, sum(quantiles) * error)


def images_to_resolve(margin: float, *, confidence: float = 0.95) -> int:
    """The fewest images on which `resolvable_difference` is at most a margin above 0.

    A million where even those are too few, because the seeds vary by more.
    """
    low, high = 2, 1_000_000
    while low < high:
        middle = (low + high) // 2
        if resolvable_difference(middle, confidence=confidence) <= margin:
            high = middle
        else:
            low = middle + 1
    return low


def pool_seed_variance(networks: Sequence[Correctness]) -> SeedVariance:
    """Variance of a training's accuracy between seeds, from all networks with two or more.

    Networks of one recipe on the same data vary about alike, while the variance of three
    replicates alone is below a tenth of the truth in a tenth of the cases.

    Args:
        networks: bool arrays (seed, image); those with one seed add nothing.

    Returns:
        The pooled variance; no degrees of freedom where no network has two replicates.
    """
    several = [network for network in networks if len(network) > 1]
    degrees = sum(len(network) - 1 for network in several)
    # Exactly, whatever the order of the networks.
    squares = math.fsum(float(n.mean(axis=1).var()) * len(n) for n in several)
    return SeedVariance(squares / degrees if degrees else 0.0, degrees)


def churn(network: Correctness) -> float:
    """Variance of an image's correctness from seed to seed, beyond the accuracy's.

    The mean square of the residuals of the two-way layout; 0.0 for one seed.

    Args:
        network: bool array (seed, image).
    """
    seeds_count, images_count = network.shape
    if seeds_count < 2:
        return 0.0
    rows, columns = network.mean(axis=1), network.mean(axis=0)
    mean = float(rows.mean())
    squares = (
        network.sum()
        - images_count * float((rows**2).sum())
        - seeds_count * float((columns**2).sum())
        + network.size * mean**2
    )
    return max(0.0, float(squares)) / ((seeds_count - 1) * (images_count - 1))


def _of_seeds(network: Correctness, pooled: SeedVariance) -> tuple[float, float]:
    """Variance of a network's mean accuracy over its seeds: that from churn alone, and all."""
    seeds_count, images_count = network.shape
    own = float(network.mean(axis=1).var(ddof=1)) if seeds_count > 1 else 0.0
    of_churn = churn(network) / images_count
    return of_churn / seeds_count, max(own, pooled.variance, of_churn) / seeds_count


def _check(
    candidate: Correctness, reference: Correctness | float, margin: float, confidence: float
) -> None:
    shapes = [candidate.shape]
    if isinstance(reference, float | int):
        if not 0 <= reference <= 1:
            raise ObjectiveError(
                f"an accuracy must be in [0, 1], but the reference is {reference}; "
                "80.3% is written 0.803"
            )
    else:
        shapes.append(reference.shape)
    for shape in shapes:
        if len(shape) != 2 or shape[0] < 1 or shape[1] < 2 or shape[1] != shapes[0][1]:
            raise ObjectiveError(
                "networks are compared by arrays (seed, image) over the same two or more "
                f"images, but the shapes are {' and '.join(map(str, shapes))}"
            )
    if not (0 <= margin <= 1 and 0 < confidence < 1):
        raise ObjectiveError(
            "0 <= margin <= 1 and 0 < confidence < 1 must hold, but got "
            f"(margin={margin}, confidence={confidence}); one point is 0.01"
        )
