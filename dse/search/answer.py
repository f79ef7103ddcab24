"""The answer of a search: what was found, and what it rests on."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dse.architecture import Candidate
from dse.compress.quantize import compressed_bytes
from dse.errors import WeightsError
from dse.execution.job import Job
from dse.inference.accuracy import int8_accuracy
from dse.search.analyses import analyses_count
from dse.search.finals import Decision
from dse.search.state import LEFT_OUT, SearchState
from dse.search.verdicts import passed_over, what_is_missing
from dse.space import scalar
from dse.stats.comparison import Comparison, Correctness, accuracy_ends, compare
from dse.study.answer import (
    Answer,
    Finalist,
    Found,
    FoundSeed,
    OtherClaim,
    ReferenceSummary,
    SearchCost,
)
from dse.study.measurement import unpack_bits
from dse.study.trial import FINALS, REUSED, Trial

_NO_ENDS: dict[str, float | None] = {"validation_low": None, "validation_high": None}

INT8_MACS = 2 * 10**9
"""For the accuracy in int8: about 5 s of the 10 that the end of a search is given."""


def make_answer(
    state: SearchState, finalists: list[Trial], decision: Decision, *, workers_count: int = 1
) -> Answer:
    """What was decided.

    `difference` and `difference_low` are the claim's: on the confirmation split of the validation
    images, with fresh replicates. Accuracies are over all validation images.

    Args:
        state: what is measured.
        finalists: trials of the search that went to the finals.
        decision: of the race between them.
        workers_count: trainings side by side, for what a larger budget would do.
    """
    search = state.search

    def of(index: int | None) -> Found | None:
        if index is None:
            return None
        return _found(state, finalists[index], decision.comparisons[index])

    return Answer(
        study=search.name,
        found=decision.answer is not None,
        reference=_reference(state),
        margin=search.margin,
        confidence=search.confidence,
        objectives=tuple(search.objectives),
        confirmation_images=int(state.confirmation.sum()),
        answer=of(decision.answer),
        nearest=of(decision.nearest),
        finalists=tuple(
            Finalist(
                candidate=trial.candidate.key,
                params_count=trial.costs["params_count"],
                selection_accuracy=state.full_accuracy(trial),
                **_difference(comparison),
                seeds_count=len(state.finished(state.fresh(trial))),
                verdict=reason,
            )
            for trial, comparison, reason in zip(
                finalists, decision.comparisons, decision.reasons, strict=True
            )
        ),
        cost=_cost(state),
        other_claims=_other_claims(state),
        analyses_count=analyses_count(state.analyses),
        tested_count=state.tested_count,
        missing=what_is_missing(state, finalists, decision, workers_count=workers_count),
        passed_over=passed_over(state, finalists),
        selection=state.selection_words,
    )


def _other_claims(state: SearchState) -> tuple[OtherClaim, ...]:
    """The smallest claim on each other set of terms, the smallest first."""
    claims = []
    for terms in dict.fromkeys(analysis.terms for analysis in state.analyses):
        smallest = state.smallest_claim(terms)
        if terms != state.terms and smallest is not None:
            params_count = smallest.costs["params_count"]
            key = smallest.candidate.key
            claims.append(OtherClaim(candidate=key, params_count=params_count, **asdict(terms)))
    return tuple(sorted(claims, key=lambda claim: claim.params_count))


def _found(state: SearchState, trial: Trial, comparison: Comparison | None) -> Found:
    fresh = state.finished(state.fresh(trial))
    full, folds = state.ladder.full, state.search.folds
    costs = state.reference.costs
    scored = [state.correct(t.rungs[full]) for t in fresh or [trial] if t.replicate or not folds]
    ends = _ends("validation_", np.stack(scored)) if scored else _NO_ENDS
    accuracy = float(np.mean(scored)) if scored else state.full_accuracy(trial)
    params_count = trial.costs["params_count"]
    files = [
        state.record.directory / "weights" / Job(t.candidate, t.replicate).weights_name
        for t in fresh or [trial]
    ]
    test = _test(state, trial)
    return Found(
        candidate=trial.candidate.key,
        metaparameters=_metaparameters(trial.candidate),
        **trial.costs,
        times_fewer=costs["params_count"] / params_count if costs is not None else None,
        **_difference(comparison),
        p_value=comparison.p_value if comparison else None,
        validation_accuracy=accuracy,
        **ends,
        **test,
        seeds_count=len(fresh),
        compressed_bytes=compressed_bytes(files),
        **_int8(state, files[0], is_tested=test["test_accuracy"] is not None),
        seeds=tuple(
            FoundSeed(
                replicate=t.replicate,
                validation_accuracy=t.rungs[full].validation_accuracy or 0.0,
                weights=_weights(state, t),
            )
            for t in fresh
        ),
    )


def _int8(state: SearchState, weights: Path, *, is_tested: bool) -> dict[str, Any]:
    """What the network is worth in int8; nothing where its weights are not here."""
    split = state.dataset.test if is_tested else state.dataset.validation
    try:
        found = int8_accuracy(
            weights,
            state.dataset.train.images,
            split.images,
            split.labels,
            most_macs=INT8_MACS,
        )
    except WeightsError:
        found = None
    if found is None:
        return {}
    return {
        "int8_accuracy": found.int8,
        "int8_difference": found.difference,
        "int8_images_count": found.images_count,
    }


def _weights(state: SearchState, trial: Trial) -> str | None:
    """Where the weights of a trial are; None where it came from another study without them."""
    name = f"weights/{Job(trial.candidate, trial.replicate).weights_name}"
    is_here = trial.stage != REUSED or (state.record.directory / name).is_file()
    return name if is_here else None


def _test(state: SearchState, trial: Trial) -> dict[str, Any]:
    """Accuracy on the test images and how it stands to the reference's; None where untouched."""
    count = len(state.dataset.test)
    by_replicate = state.tested(trial.candidate.key)
    tested = {n: text for n, text in by_replicate.items() if int(n) <= state.search.seeds}
    if not tested:
        return dict.fromkeys(("test_accuracy", "test_low", "test_high"))
    correct = np.stack([unpack_bits(text, count) for text in tested.values()])
    plain: dict[str, Any] = {"test_accuracy": float(correct.mean()), **_ends("test_", correct)}
    reference = state.reference.on_test()
    if reference is not None:
        search = state.search
        held = compare(correct, reference, margin=search.margin, confidence=search.confidence)
        plain |= {
            "test_difference": held.difference,
            "test_difference_low": _number(held.lower),
            "test_p_value": held.p_value,
        }
    return plain


def _reference(state: SearchState) -> ReferenceSummary:
    reference, trial = state.reference, state.reference_trial
    ends: dict[str, float | None] = {"low": None, "high": None}
    if reference.replicates:
        ends = _ends("", np.stack([replicate.validation for replicate in reference.replicates]))
    return ReferenceSummary(
        name=reference.name,
        params_count=reference.costs["params_count"] if reference.costs else None,
        # Before its fresh seeds are measured, what the search knows of the best.
        validation_accuracy=state.full_accuracy(trial)
        if trial and not reference.replicates
        else reference.validation_accuracy,
        seeds_count=len(reference.replicates),
        **ends,
        test_accuracy=reference.test_accuracy,
        seeds=tuple(float(replicate.validation.mean()) for replicate in reference.replicates),
        epochs=reference.recipe.epochs if reference.recipe else None,
        train_s=sum(replicate.train_s for replicate in reference.replicates),
        candidate=reference.candidate.key if reference.candidate else None,
        metaparameters=_metaparameters(reference.candidate) if reference.candidate else None,
        recipe=reference.recipe.to_dict() if reference.recipe else None,
        chosen=reference.chosen,
    )


def _metaparameters(candidate: Candidate) -> dict[str, Any]:
    return {name: scalar(value) for name, value in candidate.metaparameters.items()}


def _cost(state: SearchState) -> SearchCost:
    record = state.record
    own = [trial for trial in record.trials.values() if trial.stage != REUSED]
    full = record.full.epochs
    stopped = [t for t in own if t.rungs and not t.is_failed and t.epochs < full]
    return SearchCost(
        wall_s=record.spent_s,
        epochs=record.spent_epochs,
        trained_epochs_stopped=sum(trial.epochs for trial in stopped),
        trials=len(own),
        finished=sum(t.epochs >= full and not t.is_failed for t in own),
        stopped=len(stopped),
        failed=sum(trial.is_failed for trial in own),
        finals=sum(trial.stage == FINALS for trial in own),
        reused=len(record.trials) - len(own),
        left_out=record.note(LEFT_OUT) or 0,
    )


def _difference(comparison: Comparison | None) -> dict[str, Any]:
    return {
        "difference": comparison.difference if comparison else None,
        "difference_low": _number(comparison.lower) if comparison else None,
    }


def _ends(prefix: str, correct: Correctness) -> dict[str, Any]:
    return dict(zip((f"{prefix}low", f"{prefix}high"), accuracy_ends(correct), strict=True))


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
