"""The answer of a search as one document, `answer.json`: what was found, and what it rests on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors import SafetensorError, safe_open

from dse.compress.pipeline import fold_norms, share_by_bits
from dse.errors import DseError
from dse.execution.job import Job
from dse.files import replacing
from dse.search.analyses import analyses_count
from dse.search.finals import Decision
from dse.search.reference import Reference
from dse.search.stages import smallest_claim, terms_of
from dse.search.state import SearchState
from dse.space import scalar
from dse.stats.comparison import Comparison, Correctness, compare
from dse.study.measurement import unpack_bits
from dse.study.record import FINALS, REUSED, SearchTrial
from dse.study.storage import storage_errors
from dse.weights.dsz import Packed, pack
from dse.weights.metadata import metadata_from_dict

if TYPE_CHECKING:
    from dse.search.search import Search

SCHEMA = 1
ANSWER_NAME = "answer.json"
COMPRESSED_BITS = 6.0
_EACH_END = 0.975  # confidence of either end of a 95% interval


def answer_document(
    search: Search, known: SearchState, finalists: list[SearchTrial], decision: Decision
) -> dict[str, Any]:
    """What was decided, as plain data.

    `difference` and `difference_low` are the claim's: on the confirmation half of the validation
    images, with fresh replicates. Accuracies are over all validation images.

    Args:
        search: what was looked for.
        known: what is measured.
        finalists: trials of the search that went to the finals.
        decision: of the race between them.
    """
    counts = [len(known.finished(known.fresh(trial, search.seeds))) for trial in finalists]

    def of(index: int | None) -> dict[str, Any] | None:
        if index is None:
            return None
        return _found(search, known, finalists[index], decision.comparisons[index])

    return {
        "schema": SCHEMA,
        "study": search.name,
        "found": decision.answer is not None,
        "reference": _reference(known.reference),
        "margin": search.margin,
        "confidence": search.confidence,
        "objectives": list(search.objectives),
        "confirmation_images": int(known.confirmation.sum()),
        "answer": of(decision.answer),
        "nearest": of(decision.nearest),
        "finalists": [
            {
                "candidate": trial.candidate.key,
                "params_count": trial.costs["params_count"],
                "selection_accuracy": known.selection_accuracy(trial, search.recipe.epochs),
                **_difference(comparison),
                "seeds_count": count,
                "verdict": reason,
            }
            for trial, comparison, count, reason in zip(
                finalists, decision.comparisons, counts, decision.reasons, strict=True
            )
        ],
        "cost": _cost(known),
        "other_claims": _other_claims(search, known),
        "analyses_count": analyses_count(known.record.analyses),
        "tested_count": known.record.tested_count,
    }


def _other_claims(search: Search, known: SearchState) -> list[dict[str, Any]]:
    """The smallest claim on each other set of terms, the smallest first."""
    mine = terms_of(search, known)
    claims = []
    for terms in dict.fromkeys(look.terms for look in known.record.analyses):
        smallest = smallest_claim(known, terms)
        if terms != mine and smallest is not None:
            params_count = smallest.costs["params_count"]
            found = {"candidate": smallest.candidate.key, "params_count": params_count}
            claims.append(found | asdict(terms))
    return sorted(claims, key=lambda claim: claim["params_count"])


def write_answer(directory: Path, document: Mapping[str, Any]) -> Path:
    """Write `answer.json`.

    Raises:
        StudyError: the folder cannot be written.
    """
    path = directory / ANSWER_NAME
    text = json.dumps(document, indent=2, allow_nan=False)
    with storage_errors(directory), replacing(path) as file:
        file.write(f"{text}\n".encode())
    return path


def _found(
    search: Search, known: SearchState, trial: SearchTrial, comparison: Comparison | None
) -> dict[str, Any]:
    fresh = known.finished(known.fresh(trial, search.seeds))
    full = search.recipe.epochs
    reference = known.reference
    validation = np.stack([known.right(t.rungs[full]) for t in fresh or [trial]])
    params_count = trial.costs["params_count"]
    has_size = reference.costs is not None
    return {
        "candidate": trial.candidate.key,
        "metaparameters": {n: scalar(value) for n, value in trial.candidate.metaparameters.items()},
        **trial.costs,
        "times_fewer": reference.costs["params_count"] / params_count  # type: ignore[index]
        if has_size
        else None,
        **_difference(comparison),
        "p_value": comparison.p_value if comparison else None,
        "validation_accuracy": float(validation.mean()),
        **_ends("validation", validation),
        **_test(known, trial, search),
        "seeds_count": len(fresh),
        "compressed_bytes": compressed_bytes(known, fresh or [trial]),
        "seeds": [
            {
                "replicate": t.replicate,
                "validation_accuracy": t.rungs[full].validation_accuracy,
                "weights": _weights(known, t),
            }
            for t in fresh
        ],
    }


def _weights(known: SearchState, trial: SearchTrial) -> str | None:
    """Where the weights of a trial are; None where it came from another study without them."""
    name = f"weights/{Job(trial.candidate, trial.replicate).weights_name}"
    is_here = trial.stage != REUSED or (known.record.directory / name).is_file()
    return name if is_here else None


def compressed_bytes(known: SearchState, trials: list[SearchTrial]) -> int | None:
    """Bytes of a `.dsz` of the first of these weights: 64 values a layer, no training between.

    None where no weights are here.
    """
    for trial in trials:
        path = (
            known.record.directory / f"weights/{Job(trial.candidate, trial.replicate).weights_name}"
        )
        if not path.is_file():
            continue
        try:
            with safe_open(path, framework="numpy") as file:
                texts = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = metadata_from_dict({name: json.loads(t) for name, t in texts.items()})
            mixed = share_by_bits(fold_norms(arrays), COMPRESSED_BITS)
            return len(pack(Packed(metadata, mixed, 16)))
        except (OSError, SafetensorError, ValueError, KeyError, TypeError, DseError):
            continue  # a damaged file: `dse evaluate` says what is wrong with it
    return None


def _test(known: SearchState, trial: SearchTrial, search: Search) -> dict[str, Any]:
    """Accuracy on the test images and how it stands to the reference's; None where untouched."""
    count = len(known.dataset.test)
    by_replicate = known.record.tested(trial.candidate.key)
    tested = {n: text for n, text in by_replicate.items() if int(n) <= search.seeds}
    if not tested:
        return dict.fromkeys(("test_accuracy", "test_low", "test_high"))
    right = np.stack([unpack_bits(text, count) for text in tested.values()])
    plain: dict[str, Any] = {"test_accuracy": float(right.mean()), **_ends("test", right)}
    reference = known.reference.on_test()
    if reference is not None:
        held = compare(right, reference, margin=search.margin, confidence=search.confidence)
        plain |= {
            "test_difference": held.difference,
            "test_difference_low": _number(held.lower),
            "test_p_value": held.p_value,
        }
    return plain


def _reference(reference: Reference) -> dict[str, Any]:
    costs = reference.costs or {}
    seeds = [float(replicate.validation.mean()) for replicate in reference.replicates]
    ends: dict[str, float | None] = {"low": None, "high": None}
    if reference.replicates:
        whole = np.stack([replicate.validation for replicate in reference.replicates])
        low, high = _ends("", whole).values()
        ends = {"low": low, "high": high}
    return {
        "name": reference.name,
        "params_count": costs.get("params_count"),
        "validation_accuracy": reference.validation_accuracy,
        "seeds_count": len(reference.replicates),
        **ends,
        "test_accuracy": reference.test_accuracy,
        "seeds": seeds,
        "epochs": reference.recipe.epochs if reference.recipe else None,
        "train_s": sum(replicate.train_s for replicate in reference.replicates),
    }


def _cost(known: SearchState) -> dict[str, Any]:
    record = known.record
    own = [trial for trial in record.trials.values() if trial.stage != REUSED]
    full = record.full_epochs
    stopped = [t for t in own if t.rungs and not t.is_failed and t.epochs < full]
    return {
        "wall_s": record.spent_s,
        "epochs": record.spent_epochs,
        "trained_epochs_stopped": sum(trial.epochs for trial in stopped),
        "trials": len(own),
        "finished": sum(t.epochs >= full and not t.is_failed for t in own),
        "stopped": len(stopped),
        "failed": sum(trial.is_failed for trial in own),
        "finals": sum(trial.stage == FINALS for trial in own),
        "reused": len(record.trials) - len(own),
    }


def _difference(comparison: Comparison | None) -> dict[str, Any]:
    return {
        "difference": comparison.difference if comparison else None,
        "difference_low": _number(comparison.lower) if comparison else None,
    }


def _ends(name: str, right: Correctness) -> dict[str, float | None]:
    """The ends of an accuracy's 95% interval, over images and seeds; None where unknown."""
    held = compare(right, 0.0, confidence=_EACH_END)
    low, high = _number(held.lower), _number(held.upper)
    return {
        f"{name}_low": None if low is None else max(0.0, low),
        f"{name}_high": None if high is None else min(1.0, high),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
