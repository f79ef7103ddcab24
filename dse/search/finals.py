"""The finals: which finalists get more replicates, and which of them is the answer.

Everything here is a function of what was measured, so a race that was interrupted resumes as
it would have. The images and the replicates that judge are others than those that chose the
finalists. The order of the tests is fixed before any confirmation measurement: most accurate in the
search first. Each finalist is tested at the full confidence, and the first that fails ends the
tests, so that the chance of any false claim is that of one test.

Source of fixed-sequence testing: Maurer, Hothorn and Lehmacher 1995, "Multiple comparisons in
drug clinical trials and preclinical assays: a-priori ordered hypotheses".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from dse.errors import ObjectiveError
from dse.stats.comparison import Comparison, Correctness, SeedVariance, compare, pool_seed_variance

MOST_FINALISTS = 5
SEEDS = 5
"""Fresh replicates of a finalist that is not a clear loser."""

LEAST_SEEDS = 3
"""Fresh replicates without which nothing is claimed, where the budget ends early."""

SURE = 4.0
"""Standard errors above the reference in the search at which a finalist is a safe one."""

LOST = 0.01
"""A finalist with less than this chance of passing in the end is a clear loser."""


@dataclass(frozen=True)
class Finalist:
    """A candidate in the finals.

    Attributes:
        candidate_key: its key.
        sizes: its cost objectives, the most important one first.
        selection_accuracy: what the search measured (a fraction), at full fidelity.
        correct: bool array (seed, image) on the confirmation half of the validation images, for
            its fresh replicates; no rows before the first is measured.
        replicates: numbers of these replicates, row by row; 1, 2, … unless given.
        is_failed: a training of it failed; it gets no further seeds and is not the answer.
    """

    candidate_key: str
    sizes: tuple[float, ...]
    selection_accuracy: float
    correct: Correctness
    replicates: tuple[int, ...] | None = None
    is_failed: bool = False

    def missing(self, seeds: int) -> list[int]:
        """Numbers of the replicates, of 1 to `seeds`, that are not measured."""
        have = self.replicates
        if have is None:
            have = tuple(range(1, len(self.correct) + 1))
        return [number for number in range(1, seeds + 1) if number not in have]


class Verdict(Enum):
    """What became of a finalist."""

    CLAIMED = "claimed"
    FAILED = "failed"
    """Tested and not shown to be non-inferior, with all its seeds or as a clear loser."""
    UNFINISHED = "unfinished"
    """Tested and not shown to be non-inferior with the seeds that the budget allowed."""
    UNTESTED = "untested"
    """Behind one that did not pass, or with fewer seeds than a test needs."""
    BROKEN = "broken"
    """A training of it failed."""


@dataclass(frozen=True)
class Decision:
    """The outcome of the finals.

    Attributes:
        answer: index of the smallest finalist that is claimed to be non-inferior to the reference;
            None if there is none.
        nearest: without an answer, the index of the finalist that came closest to one.
        order: indices in the order of the tests.
        comparisons: of each finalist with the reference; None for one without a replicate.
        verdicts: for each finalist, what became of it.
        reasons: the same, in one line.
    """

    answer: int | None
    nearest: int | None
    order: tuple[int, ...]
    comparisons: tuple[Comparison | None, ...]
    verdicts: tuple[Verdict, ...]
    reasons: tuple[str, ...]


def choose_finalists(
    sizes: NDArray[np.float64],
    accuracies: NDArray[np.float64],
    reference_accuracy: float,
    *,
    noise: float,
    margin: float = 0.0,
    most: int = MOST_FINALISTS,
    is_best: bool = False,
) -> list[int]:
    """Candidates for the finals: the smallest that may be non-inferior to the smallest safe one.

    The advantage over the reference, in units of `noise`, has `most` steps from 0 to `SURE`;
    each step sends the smallest candidate that reaches it and that no lower step has sent. The
    most accurate candidate goes too where the last step has none, so that there is one to
    begin the tests with, however far it may be from the reference.

    Args:
        sizes: float array (candidate, cost objective), the most important objective first.
        accuracies: float array (candidate,) at full fidelity on the selection images; NaN for
            candidates without.
        reference_accuracy: on the same images (or the number that is the reference).
        noise: standard error of an accuracy on the selection images, see `selection_noise`.
        margin: how much worse (a fraction) is still non-inferior.
        most: finalists.
        is_best: the reference is the most accurate of the same search, so that none reaches far
            above it: the steps end where the most accurate of these stands.

    Returns:
        Indices in ascending order of size; none where no accuracy is known.

    Raises:
        ObjectiveError: shapes that do not match, no noise, or less than one finalist.
    """
    if sizes.ndim != 2 or accuracies.shape != sizes.shape[:1] or noise <= 0 or most < 1:
        raise ObjectiveError(
            "sizes (candidate, objective), accuracies (candidate,), noise > 0 and most >= 1 are "
            f"needed, but got (sizes={sizes.shape}, accuracies={accuracies.shape}, "
            f"noise={noise}, most={most})"
        )
    # Equally small ones: the more accurate first. NaN reaches no step.
    by_size = np.lexsort((-accuracies, *sizes.T[::-1]))
    advantages = (accuracies - reference_accuracy + margin) / noise
    chosen: list[int] = []
    sure = SURE
    if is_best and not np.isnan(advantages).all():
        sure = min(SURE, max(0.0, float(np.nanmax(advantages))))
    for step in np.linspace(0, sure, most) if most > 1 else [sure / 2]:
        for index in by_size:
            if advantages[index] >= step and index not in chosen:
                chosen.append(int(index))
                break
        else:
            known = [int(i) for i in by_size if not np.isnan(accuracies[i])]
            best = max(known, key=lambda i: accuracies[i], default=None)
            if best is not None and best not in chosen:
                chosen.append(best)
            break
    places = {int(index): place for place, index in enumerate(by_size)}
    return sorted(chosen, key=places.__getitem__)


def selection_noise(accuracy: float, images_count: int) -> float:
    """Standard error of an accuracy measured once on `images_count` images.

    The binomial one, of one image at least. It sets how far apart the finalists are, not
    what is claimed; pairing and seeds make about the same of a difference to the reference.
    """
    return math.sqrt(max(accuracy * (1 - accuracy), 1 / images_count) / images_count)


def next_seeds(
    finalists: Sequence[Finalist],
    reference: Correctness | float,
    *,
    margin: float = 0.0,
    confidence: float = 0.95,
    seeds: int = SEEDS,
    others: Sequence[Correctness] = (),
) -> list[tuple[int, int]]:
    """What may be trained now: (index of the finalist, replicate), most wanted first.

    All replicates of the first finalist in the order of the tests, then those of the next. A
    clear loser gets no further seeds, nor do those after it, which could not be claimed any
    more. Several workers take from the front; what is being trained is for the caller to skip.

    Args:
        finalists: with what is measured so far.
        reference: bool array (seed, image) on the confirmation images, or a number.
        margin: how much worse (a fraction) is still non-inferior.
        confidence: of the claim.
        seeds: fresh replicates of each finalist.
        others: bool arrays (seed, image) of more networks, from earlier finals, which tell
            more of the variance between seeds.

    Returns:
        An empty list when the race is over.

    Raises:
        ObjectiveError: fewer seeds than `LEAST_SEEDS`, or what `compare` refuses.
    """
    _check_seeds(seeds)
    pooled = _pooled(finalists, reference, others)
    wanted: list[tuple[int, int]] = []
    for index in order_of_tests(finalists):
        finalist = finalists[index]
        if finalist.is_failed:
            continue
        missing = finalist.missing(seeds)
        comparison = _compare(finalist, reference, margin, confidence, pooled)
        if missing and comparison and _is_lost(comparison, finalist, pooled, seeds):
            break
        wanted += [(index, replicate) for replicate in missing]
        if not missing and comparison and not comparison.is_non_inferior:
            break
    return wanted


def decide(
    finalists: Sequence[Finalist],
    reference: Correctness | float,
    *,
    margin: float = 0.0,
    confidence: float = 0.95,
    seeds: int = SEEDS,
    others: Sequence[Correctness] = (),
) -> Decision:
    """The answer, from what is measured.

    To be called when `next_seeds` has nothing left, or when the budget is spent; a race that is
    stopped at a moment chosen by looking at the comparisons would claim too much.

    Args:
        finalists: with what is measured.
        reference: bool array (seed, image) on the confirmation images, or a number.
        margin: how much worse (a fraction) is still non-inferior.
        confidence: of the claim, for all finalists together.
        seeds: fresh replicates that each finalist was to have.
        others: as of `next_seeds`.

    Raises:
        ObjectiveError: fewer seeds than `LEAST_SEEDS`, or what `compare` refuses.
    """
    _check_seeds(seeds)
    pooled = _pooled(finalists, reference, others)
    comparisons = [_compare(f, reference, margin, confidence, pooled) for f in finalists]
    reasons, verdicts = [""] * len(finalists), [Verdict.UNTESTED] * len(finalists)
    passed: list[int] = []
    failed_at: int | None = None
    order = order_of_tests(finalists)
    for index in order:
        finalist, comparison = finalists[index], comparisons[index]
        if finalist.is_failed:
            verdicts[index] = Verdict.BROKEN
            reasons[index] = "left out: a training of it failed"
        elif failed_at is not None:
            key = finalists[failed_at].candidate_key
            reasons[index] = f"not tested, as {key} did not pass: that is tested before it"
        elif comparison and len(finalist.correct) >= LEAST_SEEDS and comparison.is_non_inferior:
            verdicts[index] = Verdict.CLAIMED
            reasons[index] = f"non-inferior: {comparison.in_words}"
            passed.append(index)
        else:
            what = comparison.in_words if comparison else "nothing measured"
            verdicts[index], ended = _how_it_ended(finalist, pooled, comparison, seeds)
            reasons[index] = f"non-inferiority not shown: {what}; {ended}"
            failed_at = index
    answer = min(passed, key=lambda i: (finalists[i].sizes, order.index(i)), default=None)
    closest = nearest(finalists, comparisons) if answer is None else None
    return Decision(answer, closest, order, tuple(comparisons), tuple(verdicts), tuple(reasons))


def undecided(finalists: Sequence[Finalist], reason: str) -> Decision:
    """The decision where nothing could be compared, for this reason."""
    count = len(finalists)
    able = [index for index, finalist in enumerate(finalists) if not finalist.is_failed]
    return Decision(
        answer=None,
        nearest=max(able, key=lambda i: finalists[i].selection_accuracy, default=None),
        order=order_of_tests(finalists),
        comparisons=(None,) * count,
        verdicts=(Verdict.UNTESTED,) * count,
        reasons=(reason,) * count,
    )


def order_of_tests(finalists: Sequence[Finalist]) -> tuple[int, ...]:
    """Indices in the order of the tests: most accurate in the search first, then largest."""

    def rank(index: int) -> tuple[float, tuple[float, ...], str]:
        finalist = finalists[index]
        sizes = tuple(-size for size in finalist.sizes)
        return -finalist.selection_accuracy, sizes, finalist.candidate_key

    return tuple(sorted(range(len(finalists)), key=rank))


def _check_seeds(seeds: int) -> None:
    if seeds < LEAST_SEEDS:
        raise ObjectiveError(
            f"the finals need {LEAST_SEEDS} seeds or more for each finalist, but got {seeds}"
        )


def _pooled(
    finalists: Sequence[Finalist],
    reference: Correctness | float,
    others: Sequence[Correctness],
) -> SeedVariance:
    networks = [*others, *(finalist.correct for finalist in finalists)]
    if not isinstance(reference, float | int):
        networks.append(reference)
    return pool_seed_variance(networks)


def _compare(
    finalist: Finalist,
    reference: Correctness | float,
    margin: float,
    confidence: float,
    pooled: SeedVariance,
) -> Comparison | None:
    if not len(finalist.correct):
        return None
    return compare(
        finalist.correct, reference, margin=margin, confidence=confidence, seed_variance=pooled
    )


def _is_lost(comparison: Comparison, finalist: Finalist, pooled: SeedVariance, seeds: int) -> bool:
    """Whether the seeds that are missing have less than the chance `LOST` to make it pass.

    The images stay the same, so only the seeds' part of the difference can still change:
    by a normal deviate with the variance that the further seeds take out of the error.
    """
    if not math.isfinite(comparison.standard_error):
        return False
    still = pooled.variance * (1 / len(finalist.correct) - 1 / seeds)
    final_error = math.sqrt(max(0.0, comparison.standard_error**2 - still))
    normal = NormalDist()
    needed = normal.inv_cdf(comparison.confidence) * final_error - comparison.margin
    likely = comparison.difference + normal.inv_cdf(1 - LOST) * math.sqrt(still)
    return likely < needed


def nearest(finalists: Sequence[Finalist], comparisons: Sequence[Comparison | None]) -> int | None:
    """Index of the finalist that came closest to a claim; None where all trainings failed."""

    def rank(index: int) -> tuple[float, float, float]:
        comparison = comparisons[index]
        if comparison is None:
            return -2.0, 0.0, finalists[index].selection_accuracy
        return -comparison.p_value, comparison.difference, finalists[index].selection_accuracy

    able = [index for index, finalist in enumerate(finalists) if not finalist.is_failed]
    return max(able, key=rank, default=None)


def _how_it_ended(
    finalist: Finalist, pooled: SeedVariance, comparison: Comparison | None, seeds: int
) -> tuple[Verdict, str]:
    count = len(finalist.correct)
    if count >= seeds:
        return Verdict.FAILED, f"all {seeds} seeds measured"
    if comparison and _is_lost(comparison, finalist, pooled, seeds):
        return Verdict.FAILED, f"a clear loser after {count} of {seeds} seeds"
    verdict = Verdict.UNTESTED if count < LEAST_SEEDS else Verdict.UNFINISHED
    return verdict, f"the budget ended after {count} of {seeds} seeds"
