"""What a search says of itself: why a candidate was no finalist, what is missing for a claim."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dse.search.budget import SEARCH_SHARE, Budget
from dse.search.finals import Decision, Verdict
from dse.search.forecast import END_S
from dse.search.pace import SLACK, Pace
from dse.search.state import SearchState
from dse.stats.comparison import images_to_resolve, resolvable_difference
from dse.study.answer import PassedOver
from dse.study.trial import Trial
from dse.text import counted, percent, points


def passed_over(state: SearchState, finalists: Sequence[Trial]) -> tuple[PassedOver, ...]:
    """Candidates that the selection images put at the level, and why they were no finalists.

    Args:
        state: what is measured.
        finalists: of the finals, all analyses together.
    """
    level = state.reference_selection_accuracy() - state.search.margin
    size, reference = state.objectives[0], state.reference_trial
    sent = {trial.candidate.key for trial in finalists}
    found = []
    for trial in state.full():
        accuracy = state.full_accuracy(trial)
        if trial.candidate.key in sent or not accuracy >= level:
            continue
        smaller = [one for one in finalists if one.costs[size] <= trial.costs[size]]
        if reference is not None and trial.key == reference.key:
            reason = "it is the reference"
        elif reference is not None and trial.costs[size] >= reference.costs[size]:
            reason = "not smaller than the reference"
        elif smaller:
            best = max(smaller, key=state.full_accuracy)
            reason = f"{best.candidate.key}, smaller and at the level too, went in its place"
        else:
            reason = "it would not be tested behind what an earlier run has settled"
        found.append(
            PassedOver(
                candidate=trial.candidate.key,
                params_count=trial.costs["params_count"],
                selection_accuracy=accuracy,
                reason=reason,
            )
        )
    return tuple(sorted(found, key=lambda one: (one.params_count, one.candidate)))


def what_is_missing(
    state: SearchState, finalists: Sequence[Trial], decision: Decision, *, workers_count: int
) -> str:
    """What would give a claim where there is none; empty where there is one.

    Args:
        state: what is measured.
        finalists: of the finals.
        decision: over them.
        workers_count: trainings side by side.
    """
    search = state.search
    if decision.answer is not None:
        return ""
    if not finalists:
        trial, fresh = state.reference_trial, search.seeds + len(state.reference_missing)
        larger = "a larger --budget"
        if trial is not None:
            larger = f"--budget {enough_budget(state, trial, 2, fresh, workers_count)}"
        return (
            f"a network smaller than the reference that is trained to full fidelity: {larger} "
            "would train two more and the seeds"
        )
    first = next((i for i in decision.order if decision.verdicts[i] is not Verdict.BROKEN), None)
    if first is None:
        return "a finalist that trains: every one failed; a larger --budget finds others"
    trial, of_reference = finalists[first], len(state.reference_missing)
    have = len(state.finished(state.fresh(trial)))
    unfinished = decision.verdicts[first] in (Verdict.UNTESTED, Verdict.UNFINISHED)
    missing = search.seeds - have if unfinished else 0
    if missing + of_reference:
        parts = []
        if of_reference:
            held = state.reference_seeds - of_reference
            parts.append(f"{held} of {state.reference_seeds} seeds of the reference")
        parts.append(f"{have} of {search.seeds} seeds of {trial.candidate.key}")
        budget = enough_budget(state, trial, 0, missing + of_reference, workers_count)
        return f"{' and '.join(parts)} are trained; --budget {budget} would finish them"
    return _statistics_missing(state, decision, first)


def enough_budget(
    state: SearchState, trial: Trial, candidates: int, trainings: int, workers_count: int
) -> Budget:
    """A budget that is enough for so many more candidates and fresh trainings like this one."""
    epochs = state.search.recipe.epochs
    if state.search.budget.kind != "time":
        count = candidates + trainings
        return Budget("epochs", float(state.record.spent_epochs + count * epochs))
    reference = state.reference_trial
    macs = max(t.costs["macs"] for t in (trial, *([reference] if reference else [])))
    pace = Pace(state)
    seconds = math.ceil(candidates / workers_count) * pace.searched_s(macs, epochs)
    seconds += math.ceil(trainings / workers_count) * pace.epochs_s(macs, epochs)
    # The search has its share of what a budget adds, whatever it is needed for.
    share = SEARCH_SHARE if candidates else 1.0
    seconds = SLACK * seconds / share + 2 * END_S
    return Budget("time", 60.0 * math.ceil((state.clock() + seconds) / 60))


def _statistics_missing(state: SearchState, decision: Decision, first: int) -> str:
    search, comparison = state.search, decision.comparisons[first]
    count = int(state.confirmation.sum())
    able = resolvable_difference(count, confidence=search.confidence)
    wider = f"a --margin of {math.ceil(100 * able)}% in a new --study"
    if comparison is None or comparison.difference < -search.margin:
        shown = points(comparison.difference if comparison else None)
        return (
            f"a more accurate small network: the first that was tested has {shown} points, the "
            f"margin is {percent(search.margin)}; a larger --budget searches on, or {wider}"
        )
    if not search.margin:
        return (
            f"a margin: without one a network has to be proved the better one; {count:,} "
            f"confirmation images tell networks {100 * able:.1f} points apart: {wider}"
        )
    needed = images_to_resolve(search.margin, confidence=search.confidence)
    return (
        f"images: {count:,} confirmation images tell networks {100 * able:.1f} points apart, and "
        f"the margin is {percent(search.margin)}, which about {needed:,} do; more images for "
        f"validation, or {wider}"
    )


def few_images_note(count: int, margin: float, confidence: float) -> str:
    """What so few confirmation images cannot tell; empty where they suffice for the margin."""
    able = resolvable_difference(max(count, 2), confidence=confidence)
    if able <= max(margin, 0.02):
        return ""
    said = (
        f"with {counted(count, 'confirmation image')} the smallest difference that can be told is "
        f"about {100 * able:.1f} points: below that margin a network as accurate as the reference "
        "is seldom proved to be"
    )
    if margin:
        needed = images_to_resolve(margin, confidence=confidence)
        said += f"; {percent(margin)} takes about {needed:,} images"
    return said
