"""Training the reference: a sweep of one candidate, which may be interrupted like one."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from dse.architecture import build
from dse.data import Dataset
from dse.errors import ArchitectureError, ConfigError, StudyError
from dse.execution.executor import Executor
from dse.files import locked
from dse.search.engine import OnEvent, ReferenceAwaited, run
from dse.search.plan import Sweep
from dse.search.reference import (
    BestReference,
    Reference,
    ReferencePlan,
    Replicate,
    held_reference,
    measured_of,
    read_held,
)
from dse.space import Fixed, SearchSpace
from dse.space.enumerate import survey
from dse.stats.intervals import wilson_interval
from dse.study.measurement import unpack_bits
from dse.study.paths import REFERENCE_NAME
from dse.study.reference import write_reference
from dse.study.storage import storage_errors
from dse.study.trial import Trial


def find_reference(
    plan: Reference | ReferencePlan | BestReference,
    dataset: Dataset,
    executor: Executor,
    *,
    results: Path,
    storage_url: str = "",
    command: str = "",
    on_event: OnEvent = lambda event: None,
) -> Reference | BestReference:
    """The number, the network as it was measured before, or the network trained now.

    The best of the search stays what it is: the search trains it.

    Where another search trains it, that is waited for.

    Raises:
        StudyError: its file is damaged, or it does not train.
        ConfigError: it cannot be built for these images.
    """
    if not isinstance(plan, ReferencePlan):
        return plan
    if held := held_reference(plan, dataset, results):
        return held
    directory = plan.directory(results, dataset.name, dataset.fingerprint)
    with contextlib.ExitStack() as stack:
        with storage_errors(directory):
            directory.mkdir(parents=True, exist_ok=True)
            lock = directory / ".training.lock"
            stack.enter_context(locked(lock, lambda: on_event(ReferenceAwaited(directory))))
        # Another search may have trained it while this one waited.
        return held_reference(plan, dataset, results) or train_reference(
            plan,
            dataset,
            executor,
            results=results,
            storage_url=storage_url,
            command=command,
            on_event=on_event,
        )


def train_reference(
    plan: ReferencePlan,
    dataset: Dataset,
    executor: Executor,
    *,
    results: Path,
    storage_url: str = "",
    command: str = "",
    on_event: OnEvent = lambda event: None,
) -> Reference:
    """Train the reference, or resume its training; write its file.

    Replicates that the file holds already are not trained again, wherever they were trained.

    Raises:
        StudyError: it does not train (a run fails, or no better than chance).
        ConfigError: it cannot be built for these images.
    """
    directory = plan.directory(results, dataset.name, dataset.fingerprint)
    held = read_held(plan, dataset, results)
    known = held.replicates if held else ()
    values = {name: Fixed(value) for name, value in plan.candidate.values}
    space = SearchSpace(directory.name, plan.candidate.family, dict(values))
    try:
        build(plan.candidate, dataset.input_shape, len(dataset.classes))
    except ArchitectureError as error:
        raise ConfigError(f"--reference {plan.name} does not fit the images: {error}") from error
    sweep = Sweep(
        directory.name,
        space,
        survey(space, dataset.input_shape, len(dataset.classes)),
        plan.recipe,
        plan.seeds,
        plan.study_seed,
        frozenset(replicate.replicate for replicate in known),
    )
    result = run(
        sweep,
        dataset,
        executor,
        results=directory.parent,
        storage_url=storage_url,
        command=command,
        on_event=on_event,
    )
    trained = [_replicate(plan, result.trials[job.key], dataset) for job in sweep.jobs]
    reference = Reference(
        plan.name,
        candidate=plan.candidate,
        costs=sweep.costs[plan.candidate].by_name,
        recipe=plan.recipe,
        replicates=tuple(sorted((*known, *trained), key=lambda r: r.replicate)),
        path=directory / REFERENCE_NAME,
    )
    _check_learned(reference, dataset)
    write_reference(directory, measured_of(reference, dataset, plan))
    return reference


def _replicate(plan: ReferencePlan, trial: Trial, dataset: Dataset) -> Replicate:
    measured = trial.latest
    assert measured is not None
    if measured.status != "finished":
        raise StudyError(
            f"the reference {plan.name} does not train (seed {trial.replicate}): "
            f"{measured.reason}; without it there is nothing to compare with: change its recipe "
            "with --reference-recipe KEY=VALUE, or give an accuracy such as --reference 0.803"
        )
    return Replicate(
        trial.replicate,
        measured.epochs,
        measured.train_s,
        unpack_bits(measured.validation_correct, len(dataset.validation)),
        unpack_bits(measured.test_correct, len(dataset.test)),
    )


def _check_learned(reference: Reference, dataset: Dataset) -> None:
    """Refuse a reference that does no better than naming the most frequent class."""
    labels = np.asarray(dataset.validation.labels)
    chance = np.bincount(labels).max() / len(labels)
    for replicate in reference.replicates:
        correct = int(replicate.validation.sum())
        if wilson_interval(correct, len(labels)).low <= chance:
            raise StudyError(
                f"the reference {reference.name} does not train: seed {replicate.replicate} "
                f"has a validation accuracy of {correct / len(labels):.2%}, and always naming the "
                f"most frequent class {chance:.2%}; change its recipe with "
                "--reference-recipe KEY=VALUE (a lower learning_rate, more epochs), or give an "
                "accuracy such as --reference 0.803"
            )
