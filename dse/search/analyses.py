"""Confirmation images: what earlier runs of a search claimed, and what is left to test.

A search that resumes with a larger budget finds more candidates, but the images that confirm
them are the same. What was claimed stands, as the tests of a sequence do that came before (see
`dse.search.finals`): new finalists have to be smaller and are tested behind it. What was tested
with all its seeds and did not pass is not tested again on the same images. Each failure ends
a sequence, and resuming after it is a further analysis, whose claims are made at the stated
confidence once more; the analyses are counted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from dse.search.finals import Decision, Finalist, Verdict, nearest
from dse.stats.comparison import Comparison

_SETTLED = (Verdict.CLAIMED, Verdict.FAILED, Verdict.BROKEN)
"""These are not tested again; others may be, where the budget has grown."""

_UNKNOWN: Mapping[str, Any] = {"standard_error": math.inf, "lower": -math.inf, "upper": math.inf}
"""Of a comparison of single replicates; JSON has no word for it."""


@dataclass(frozen=True)
class Terms:
    """Of a claim; claims stand under the terms they were made on, and no others.

    Attributes:
        reference: its name; empty for a number.
        reference_accuracy: on the confirmation images, mean over its replicates.
        reference_seeds: its replicates; 0 for a number.
        margin: how much worse (a fraction) is still non-inferior.
        confidence: of the claim.
        seeds: fresh replicates of a finalist.
    """

    reference: str
    reference_accuracy: float
    reference_seeds: int
    margin: float
    confidence: float
    seeds: int


@dataclass(frozen=True)
class Outcome:
    """What became of a finalist, in a word, in a line and in numbers, as in `Decision`."""

    candidate_key: str
    verdict: Verdict
    reason: str
    comparison: Comparison | None

    @property
    def is_settled(self) -> bool:
        """Whether it is not tested again on these images."""
        return self.verdict in _SETTLED


@dataclass(frozen=True)
class Analysis:
    """The finals of one run.

    Attributes:
        terms: of its claims.
        full_count: candidates trained to full fidelity, among which its finalists were chosen.
        finalists: most that were to be chosen.
        outcomes: of its finalists, in the order of the tests.
    """

    terms: Terms
    full_count: int
    finalists: int
    outcomes: tuple[Outcome, ...]

    @property
    def has_failed(self) -> bool:
        """Whether a test did not pass."""
        return any(o.verdict in (Verdict.FAILED, Verdict.UNFINISHED) for o in self.outcomes)

    @property
    def is_over(self) -> bool:
        """Whether no larger budget would have changed it."""
        has_ended = any(o.verdict is Verdict.FAILED for o in self.outcomes)
        return has_ended or all(o.is_settled for o in self.outcomes)

    def to_dict(self) -> dict[str, Any]:
        """For the record; `analysis_from_dict` reads it."""
        plain = asdict(self)
        for outcome in plain["outcomes"]:
            outcome["verdict"] = outcome["verdict"].value
            if outcome["comparison"]:
                numbers = outcome["comparison"].items()
                outcome["comparison"] = {n: v if math.isfinite(v) else None for n, v in numbers}
        return plain


def analysis_from_dict(plain: Mapping[str, Any]) -> Analysis:
    """The analysis that `to_dict` wrote."""
    return Analysis(
        Terms(**plain["terms"]),
        plain["full_count"],
        plain["finalists"],
        tuple(
            Outcome(
                outcome["candidate_key"],
                Verdict(outcome["verdict"]),
                outcome["reason"],
                Comparison(**{n: _UNKNOWN[n] if v is None else v for n, v in numbers.items()})
                if (numbers := outcome["comparison"]) is not None
                else None,
            )
            for outcome in plain["outcomes"]
        ),
    )


@dataclass(frozen=True)
class PreviousAnalyses:
    """What earlier runs leave to one on some terms.

    Attributes:
        earlier: analyses on these terms.
        repeated: the analysis, after those, that this run repeats or resumes, because it was
            chosen from the same candidates; None where this run makes one of its own.
        others: analyses on other terms.
    """

    earlier: tuple[Analysis, ...] = ()
    repeated: Analysis | None = None
    others: tuple[Analysis, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether nothing is left to test."""
        return self.repeated is not None and self.repeated.is_over

    @property
    def before(self) -> dict[str, Outcome]:
        """By key, what the earlier analyses have settled, in the order of the tests."""
        settled = {}
        for outcome in (end for analysis in self.earlier for end in analysis.outcomes):
            if outcome.is_settled:
                said, colon, why = outcome.reason.partition(":")
                reason = f"{said} (an earlier run){colon}{why}"
                settled[outcome.candidate_key] = replace(outcome, reason=reason)
        return settled

    @property
    def kept(self) -> dict[str, Outcome]:
        """By key, all that this run takes from the record and does not test."""
        own = self.repeated.outcomes if self.repeated else ()
        return self.before | {o.candidate_key: o for o in own if self.is_over or o.is_settled}

    def with_analysis(self, analysis: Analysis) -> list[Analysis]:
        """All analyses for the record, that of this run last; one without any test is none.

        It takes the place of the analysis that it repeats, unless a test that had not passed there
        was made again with more seeds.
        """
        before = [*self.others, *self.earlier]
        if self.repeated is not None:
            own = [o for o in self.repeated.outcomes if o.candidate_key in self.kept]
            failed = [o for o in self.repeated.outcomes if o.verdict is Verdict.UNFINISHED]
            if any(outcome not in analysis.outcomes for outcome in failed):
                before.append(self.repeated)
            analysis = replace(analysis, outcomes=(*own, *analysis.outcomes))
        is_one = any(o.verdict is not Verdict.UNTESTED for o in analysis.outcomes)
        return [*before, *([analysis] if is_one else [])]


def previous_analyses(
    analyses: Sequence[Analysis], terms: Terms, full_count: int, finalists: int
) -> PreviousAnalyses:
    """What earlier analyses leave to a run on these terms, with so many full trainings."""
    same = [analysis for analysis in analyses if analysis.terms == terms]
    others = [analysis for analysis in analyses if analysis.terms != terms]
    repeated = None
    if same and (same[-1].full_count, same[-1].finalists) == (full_count, finalists):
        repeated = same.pop()
    return PreviousAnalyses(tuple(same), repeated, tuple(others))


def claimed_keys(analyses: Sequence[Analysis], terms: Terms) -> set[str]:
    """Of the candidates that were claimed on these terms, by any analysis."""
    same = (analysis for analysis in analyses if analysis.terms == terms)
    outcomes = (outcome for analysis in same for outcome in analysis.outcomes)
    return {o.candidate_key for o in outcomes if o.verdict is Verdict.CLAIMED}


def analyses_count(analyses: Sequence[Analysis]) -> int:
    """Sequences of tests on the confirmation images: one for each set of terms and each failure.

    Runs that resume while all tests have passed are one sequence.
    """
    count = 0
    for terms in {analysis.terms for analysis in analyses}:
        same = [analysis for analysis in analyses if analysis.terms == terms]
        count += 1 + sum(analysis.has_failed for analysis in same[:-1])
    return count


def open_candidates(
    past: PreviousAnalyses,
    keys: Sequence[str],
    sizes: Sequence[tuple[float, ...]],
    accuracies: Sequence[float],
    level: float,
) -> list[int]:
    """Among which a run may choose its finalists.

    All, in a first analysis, whose most accurate is tested however far below it may be. Later
    those that are not settled, are smaller than what was claimed, and level in the search.

    Args:
        past: what earlier runs leave.
        keys: of the candidates, which hold all that are settled.
        sizes: of each, the most important first.
        accuracies: of each, as the search measured them.
        level: the least of these that is level with the reference.

    Returns:
        Indices of candidates, in their order.
    """
    before = past.before
    if not before:
        return list(range(len(keys)))
    claimed = (
        size
        for key, size in zip(keys, sizes, strict=True)
        if key in before and before[key].verdict is Verdict.CLAIMED
    )
    smallest = min(claimed, default=(math.inf,))
    return [
        index
        for index, key in enumerate(keys)
        if key not in before and sizes[index] < smallest and accuracies[index] >= level
    ]


def outcomes_of(finalists: Sequence[Finalist], decision: Decision) -> tuple[Outcome, ...]:
    """What the record says of the decision."""
    return tuple(
        Outcome(
            finalists[index].candidate_key,
            decision.verdicts[index],
            decision.reasons[index],
            decision.comparisons[index],
        )
        for index in decision.order
    )


def decision_of(finalists: Sequence[Finalist], outcomes: Mapping[str, Outcome]) -> Decision:
    """The decision over all analyses: the smallest claim of any of them is the answer.

    Args:
        finalists: of all analyses.
        outcomes: what became of each, by its key, in the order of the tests.
    """
    ends = [outcomes[finalist.candidate_key] for finalist in finalists]
    places = {finalist.candidate_key: index for index, finalist in enumerate(finalists)}
    claimed = [index for index, end in enumerate(ends) if end.verdict is Verdict.CLAIMED]
    answer = min(claimed, key=lambda index: finalists[index].sizes, default=None)
    comparisons = tuple(end.comparison for end in ends)
    return Decision(
        answer=answer,
        nearest=nearest(finalists, comparisons) if answer is None else None,
        order=tuple(places[key] for key in outcomes),
        comparisons=comparisons,
        verdicts=tuple(end.verdict for end in ends),
        reasons=tuple(end.reason for end in ends),
    )
