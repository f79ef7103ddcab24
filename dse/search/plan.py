"""What is to be trained, decided before anything is: a sweep, or a search and its reference.

`plan_sweep` and `plan_search` take what a user says, as the command line has it, and the images
(or their description, where they are not decoded yet).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from dse.architecture import LATENCY, OBJECTIVES, Candidate, Cost, make_candidate
from dse.config import space_to_dict
from dse.data import DataDescription, Dataset, DataSpec
from dse.data.folds import FOLDS
from dse.data.spec import OWN
from dse.deployment.devices import find_devices
from dse.errors import ConfigError, StudyError, UsageError
from dse.execution.job import Job
from dse.search.budget import SEARCH_SHARE, Budget, parse_budget
from dse.search.device import pool_for_device
from dse.search.estimate import worthwhile
from dse.search.finals import LEAST_SEEDS, MOST_FINALISTS
from dse.search.forecast import DEFAULT_CANDIDATES, Forecast, forecast
from dse.search.reference import (
    BEST,
    BestReference,
    Reference,
    ReferencePlan,
    plan_reference,
)
from dse.search.rungs import Ladder, first_rung, make_ladder
from dse.search.samplers import SAMPLERS, default_sampler, make_sampler
from dse.space import SearchSpace
from dse.space.enumerate import Pool, Survey, make_pool, survey
from dse.stats.comparison import resolvable_difference
from dse.study.definition import Definition, data_facts
from dse.study.description import read_description
from dse.study.paths import DESCRIPTION_NAME, REFERENCES_FOLDER
from dse.text import nearest, percent
from dse.training import Recipe, default_recipe, finetuning_recipe, recipe_from_texts
from dse.training.recipe import DISTILL_SHARE
from dse.weights.given import GivenWeights

ENOUGH_SELECTION = 500
"""Images at which the standard error of an accuracy of 80% is 1.8 points: fewer choose badly."""

RUNGS = 2
"""At full fidelity and at a third of it; of `benchmarks/rungs.py --answers`."""

LONGEST_NAME_BYTES = 200
"""A name and what is put around it for temporary files has to fit in 255 bytes."""


@dataclass(frozen=True)
class Sweep:
    """Every feasible candidate of a finite space with every seed: a search with one rung.

    Attributes:
        name: of the study.
        space: a finite space.
        survey: its candidates for the images of the study.
        recipe: how each is trained.
        seeds: replicates of each candidate.
        study_seed: with the replicate, the source of all noise.
        skipped: replicates below `seeds` that are known from elsewhere.
        given: weights that every candidate starts from; None for initial weights.
        teacher: weights whose scores are learnt from; None for labels alone.
    """

    name: str
    space: SearchSpace
    survey: Survey
    recipe: Recipe
    seeds: int = 1
    study_seed: int = 0
    skipped: frozenset[int] = frozenset()
    given: GivenWeights | None = None
    teacher: GivenWeights | None = None

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """One job for each feasible candidate and seed, candidate by candidate."""
        return tuple(
            Job(candidate, replicate)
            for candidate, _ in self.survey.feasible
            for replicate in range(self.seeds)
            if replicate not in self.skipped
        )

    @cached_property
    def costs(self) -> Mapping[Candidate, Cost]:
        """The exact cost of each feasible candidate."""
        return dict(self.survey.feasible)

    def definition(self, data: Dataset | DataDescription) -> Definition:
        """What makes this study this study, as far as that is known of its images."""
        return Definition(
            self.name,
            space_to_dict(self.space),
            self.recipe.to_dict(),
            data_facts(data),
            self.study_seed,
            init=init_facts(self.given),
            teacher=init_facts(self.teacher),
        )


@dataclass(frozen=True)
class Search:
    """What is to be found, and how.

    Attributes:
        name: of the study.
        pool: the candidates.
        recipe: of every candidate; its epochs are the full fidelity.
        ladder: the rungs up to it.
        budget: what search and finals may spend.
        sampler: a name of `SAMPLERS`.
        objectives: costs that are to be small; the first one is what "smallest" means.
        study_seed: with the replicate, the source of all noise.
        margin: how far below the reference (a fraction) is still non-inferior.
        confidence: of the claim.
        finalists: candidates in the finals at most.
        seeds: fresh replicates of each of them.
        folds: of the training images' folds so many select candidates, by cross-validation, and
            all validation images confirm; 0: either half of the validation images does one.
        given: weights that every candidate starts from; None for initial weights.
        device: the chip and the precision that every candidate of the pool fits; empty for any.
    """

    name: str
    pool: Pool
    recipe: Recipe
    ladder: Ladder
    budget: Budget
    sampler: str = "tpe"
    objectives: tuple[str, ...] = ("params_count",)
    study_seed: int = 0
    margin: float = 0.0
    confidence: float = 0.95
    finalists: int = MOST_FINALISTS
    seeds: int = LEAST_SEEDS
    folds: int = 0
    given: GivenWeights | None = None
    device: str = ""

    @property
    def space(self) -> SearchSpace:
        """What is searched."""
        return self.pool.space

    def definition(self, data: Dataset | DataDescription) -> Definition:
        """What makes this study this study; budget and claim may change from run to run."""
        return Definition(
            self.name,
            space_to_dict(self.space),
            self.recipe.to_dict(),
            data_facts(data),
            self.study_seed,
            search={
                "rungs": list(self.ladder.epochs),
                "sampler": self.sampler,
                "objectives": list(self.objectives),
                **({"folds": self.folds} if self.folds else {}),
                **({"device": self.device} if self.device else {}),
            },
            objectives=self.objectives,
            init=init_facts(self.given),
        )

    def check_budget(self) -> None:
        """Refuse a budget of epochs that is less than one training to full fidelity.

        Raises:
            StudyError: the search's part is less than one candidate takes.
        """
        full, budget = self.recipe.epochs, self.budget
        if budget.kind == "epochs" and SEARCH_SHARE * budget.amount < full:
            raise StudyError(
                f"the budget of {budget} is too small: a candidate takes {full} epochs to full "
                f"fidelity, and the search has {SEARCH_SHARE:.0%} of the budget (the finals have "
                f"the rest): give --budget {math.ceil(full / SEARCH_SHARE)}epochs or more, or "
                "take fewer --epochs"
            )


@dataclass(frozen=True)
class SearchOptions:
    """A search as a user states it; the defaults are those of `dse search`.

    Attributes:
        reference: `best` (the most accurate network that the search finds), `alexnet`, another
            preset, or an accuracy such as `0.803`; None is `best` for a folder, else `alexnet`.
        budget: `90s`, `60m`, `500epochs` or `40trials`; None is a forecast in minutes.
        margin, confidence: of the claim, as fractions or percent (`0.5%`); a margin of None is
            0, or for the reference `best` what the confirmation images can resolve, from 1% to 5%.
        objectives: costs that are to be small; () is the number of parameters.
        sampler: a name of `SAMPLERS`; None chooses one that suits space and rungs.
        finalists: candidates in the finals at most.
        seeds: fresh replicates of each finalist.
        epochs: of a training to full fidelity; None is the recipe's.
        first_rung: fewest epochs after which a candidate may be paused; None measures it.
        folds: of the training images that select candidates, of five; 0 for half of the
            validation images; None for as many as few validation images call for and the budget
            has time for.
        recipe: changes of the candidates' recipe, `KEY=VALUE`.
        reference_recipe: changes of the reference's.
        reference_seeds: trainings of the reference.
        study: name of the study; None makes one from space and data.
        study_seed: source of all random draws.
        given: weights that every candidate starts from; None for initial weights.
        device: name of a chip that the network has to fit; None for any.
        precision: that it will have there: `int8`, `fp16` or `fp32`.
    """

    reference: str | None = None
    budget: str | None = None
    margin: str | None = None
    confidence: str = "0.95"
    objectives: Sequence[str] = ()
    sampler: str | None = None
    finalists: int = 3
    seeds: int = 3
    epochs: int | None = None
    first_rung: int | None = None
    folds: int | None = None
    recipe: Sequence[str] = ()
    reference_recipe: Sequence[str] = ()
    reference_seeds: int = 3
    study: str | None = None
    study_seed: int = 0
    given: GivenWeights | None = None
    device: str | None = None
    precision: str = "int8"


@dataclass(frozen=True)
class SearchPlan:
    """A search, what its answer is compared with (known, or to be trained), and what it takes."""

    search: Search
    reference: Reference | ReferencePlan | BestReference
    forecast: Forecast


def plan_sweep(
    space: SearchSpace,
    spec: DataSpec,
    data: Dataset | DataDescription,
    *,
    seeds: int = 1,
    recipe: Sequence[str] = (),
    epochs: int | None = None,
    study: str | None = None,
    study_seed: int = 0,
    given: GivenWeights | None = None,
    teacher: GivenWeights | None = None,
) -> Sweep:
    """Plan the training of every candidate of a finite space.

    Args:
        space: the space.
        spec: of the images; the recipe's defaults follow from their source.
        data: the images, or their description.
        seeds: replicates of each candidate.
        recipe: changes of the recipe, `KEY=VALUE`.
        epochs: passes over the training images; None is the recipe's.
        study: name of the study; None makes one from space and data.
        study_seed: source of all random draws.
        given: weights that every candidate starts from; None for initial weights.
        teacher: weights whose scores are learnt from; None for labels alone.

    Raises:
        WeightsError: the weights are of another family, or a teacher of other images or classes.
        SpaceError: the space is infinite, or no candidate is feasible.
        UsageError: a name that is none for a folder, or a recipe that distils without a teacher.
        ConfigError: a change that no recipe has.
    """
    _check_given(given, space)
    found = _recipe(spec, data, recipe, epochs, given)
    if teacher is not None:
        teacher.check_teaches(data.input_shape, data.classes)
        found = replace(found, distill_share=found.distill_share or DISTILL_SHARE)
    elif found.distill_share:
        raise UsageError(
            f"distill_share is {found.distill_share:g}, but there is no teacher to learn from: "
            "give one with dse train --teacher, or set it to 0"
        )
    return Sweep(
        name=check_study_name(f"{space.name}-{data.name}" if study is None else study),
        space=space,
        survey=survey(space, data.input_shape, len(data.classes)),
        recipe=found,
        seeds=seeds,
        study_seed=study_seed,
        given=given,
        teacher=teacher,
    )


def plan_search(
    space: SearchSpace,
    spec: DataSpec,
    data: Dataset | DataDescription,
    options: SearchOptions,
    *,
    pool: Pool | None = None,
    workers_count: int = 1,
    results: Path | None = None,
) -> SearchPlan:
    """Plan a search and its reference.

    Args:
        space: any space.
        spec: of the images; the recipes' defaults follow from their source.
        data: the images, or their description.
        options: as the user states them.
        pool: of the same space and images, where it is there already.
        workers_count: trainings side by side, for the forecast.
        results: folder of all studies: a study that is there keeps its folds and its sampler.

    Raises:
        UsageError: an option that is not possible.
        ConfigError: an unknown reference, budget or recipe.
        SamplerError: an unknown sampler, or one that the space does not suit.
        SpaceError: no candidate is feasible, or none fits the device.
    """
    objectives = tuple(dict.fromkeys(options.objectives or ("params_count",)))
    known = [*OBJECTIVES, LATENCY]
    for name in objectives:
        if name not in known:
            raise UsageError(f"--objective {name}: unknown cost{nearest(name, known)}")
    margin, confidence = _fraction(options.margin or "0"), _fraction(options.confidence)
    if not 0 <= margin < 1:
        raise UsageError(
            f"--margin {options.margin}: must be a fraction from 0 to below 1, or percent: 0.005 "
            "or 0.5%"
        )
    if not 0.5 <= confidence < 1:
        raise UsageError(
            f"--confidence {options.confidence}: must be a fraction from 0.5 to below 1, or "
            "percent: 0.95 or 95%"
        )
    reference = plan_reference(
        options.reference or (BEST if spec.source in OWN else "alexnet"),
        spec,
        data,
        changes=options.reference_recipe,
        seeds=options.reference_seeds,
        study_seed=options.study_seed,
    )
    if isinstance(reference, Reference):
        _check_above_largest_class(reference, data)
    budget = parse_budget(options.budget) if options.budget is not None else None
    device = None if options.device is None else find_devices([options.device])[0]
    if pool is None:
        shape, classes_count = data.input_shape, len(data.classes)
        pool = make_pool(space, shape, classes_count, seed=options.study_seed)
        if device is not None:
            pool = pool_for_device(pool, device, options.precision)
    if options.sampler is not None:
        make_sampler(options.sampler, pool)
    _check_given(options.given, space)
    recipe = _recipe(spec, data, options.recipe, options.epochs, options.given)
    folds = _folds(options, reference, data)

    def expected_with(count: int) -> Forecast:
        return forecast(
            pool,
            recipe,
            data,
            reference,
            seeds=options.seeds,
            folds=count,
            workers_count=workers_count,
        )

    name = f"{space.name}-{data.name}-search" if options.study is None else options.study
    name = check_study_name(name)
    held = {} if results is None else _recorded_search(results / name)
    is_held = bool(folds) and options.folds is None and isinstance(held.get("folds"), int)
    folds = held["folds"] if is_held else folds
    expected = expected_with(folds)
    if not is_held and options.folds is None and budget is not None and budget.kind == "time":
        # A short budget measures more candidates with fewer folds.
        while folds > 1 and expected.candidates_within(budget) < DEFAULT_CANDIDATES:
            folds -= 1
            expected = expected_with(folds)
    if options.margin is None and isinstance(reference, BestReference):
        count = max(2, _validation_count(data) // (1 if folds else 2))
        able = resolvable_difference(count, confidence=confidence)
        margin = min(max(math.ceil(100 * able), 1), 5) / 100
    ladder = (
        Ladder.of_epochs(recipe.epochs)
        if folds
        else _ladder(recipe, _train_count(data), options.first_rung, pool, held.get("rungs"))
    )
    sampler = options.sampler or default_sampler(pool)
    if options.sampler is None and held.get("sampler") in SAMPLERS:
        sampler = held["sampler"]
    search = Search(
        name=name,
        pool=pool,
        recipe=recipe,
        ladder=ladder,
        budget=budget or expected.default_budget(),
        sampler=sampler,
        objectives=objectives,
        study_seed=options.study_seed,
        margin=margin,
        confidence=confidence,
        finalists=options.finalists,
        seeds=options.seeds,
        folds=folds,
        given=options.given,
        device="" if device is None else f"{device.name} {options.precision}",
    )
    return SearchPlan(search, reference, expected)


def check_study_name(name: str) -> str:
    """The name, where it can be that of a folder.

    Raises:
        UsageError: it is hidden, too long or taken, or has a path or unprintable characters in
            it.
    """
    if name == REFERENCES_FOLDER:
        raise UsageError(
            f"the name of the study is {name!r}, but that is the folder of the references that "
            "searches are compared with; choose another --study name"
        )
    plain = name.isprintable() and name == name.strip() and not any(c in name for c in "/\\?{}")
    if not plain or not name or name[0] in ".-" or len(name.encode()) > LONGEST_NAME_BYTES:
        shown = name if len(name) <= 40 else f"{name[:40]}…"
        raise UsageError(
            f"the name of the study is {shown!r}, but must be a plain name of at most "
            f"{LONGEST_NAME_BYTES} bytes; choose one such as --study squeeze_ratio-a"
        )
    return name


def _folds(
    options: SearchOptions,
    reference: Reference | ReferencePlan | BestReference,
    data: Dataset | DataDescription,
) -> int:
    """Of the folds of the training images, those that are held out to select candidates.

    As many as hold `ENOUGH_SELECTION` images, where the validation images are fewer than twice
    that. None where a reference is trained first, whose accuracy on its own training images says
    nothing; none with rungs, or trials of others, which were not cross-validated.
    """
    if options.folds:
        problem = ""
        if isinstance(reference, ReferencePlan):
            problem = f"--reference {reference.name}, which is trained on all folds"
        elif options.first_rung is not None:
            problem = "--first-rung: a candidate is cross-validated to full fidelity"
        if problem:
            raise UsageError(f"--folds {options.folds} does not go with {problem}")
    if options.folds is not None:
        return options.folds
    if isinstance(reference, ReferencePlan) or options.first_rung is not None:
        return 0
    if not 0 < _validation_count(data) < 2 * ENOUGH_SELECTION:
        return 0
    return min(FOLDS, math.ceil(FOLDS * ENOUGH_SELECTION / max(_train_count(data), 1)))


def _recorded_search(directory: Path) -> Mapping[str, Any]:
    """How the search of a folder was begun; empty where there is none.

    How many folds suit follows from the budget too, and a search resumes with another budget;
    which sampler is chosen, from the version of dse.
    """
    try:
        return read_description(directory / DESCRIPTION_NAME).search
    except (StudyError, ConfigError):  # told where the record is opened
        return {}


def _check_above_largest_class(reference: Reference, data: Dataset | DataDescription) -> None:
    """Refuse an accuracy that needs no network."""
    counts = data.class_counts.get("validation", ())
    if not sum(counts) or reference.accuracy is None:
        return
    largest = max(range(len(counts)), key=counts.__getitem__)
    share = counts[largest] / sum(counts)
    if reference.accuracy <= share:
        raise ConfigError(
            f"--reference {reference.name}: always naming the largest class, "
            f"{data.classes[largest]}, has an accuracy of {percent(share)} on the validation "
            "images already; give a higher one, or --reference best"
        )


def _validation_count(data: Dataset | DataDescription) -> int:
    """0 where it is not known before the images are decoded."""
    if isinstance(data, DataDescription):
        return sum(data.class_counts.get("validation", ()))
    return len(data.validation)


def _train_count(data: Dataset | DataDescription) -> int:
    return data.train_count if isinstance(data, DataDescription) else len(data.train)


def _check_given(given: GivenWeights | None, space: SearchSpace) -> None:
    if given is not None:
        given.check_suits(make_candidate(space.family, {}))


def init_facts(given: GivenWeights | None) -> dict[str, str] | None:
    """What a definition says of weights that a study was given."""
    return None if given is None else {"file": given.path.name, "digest": given.digest}


def _recipe(
    spec: DataSpec,
    data: Dataset | DataDescription,
    changes: Sequence[str],
    epochs: int | None,
    given: GivenWeights | None,
) -> Recipe:
    """The default recipe of the data with what the user changes."""
    make = default_recipe if given is None else finetuning_recipe
    default = make(spec.source, data.input_shape, _train_count(data))
    return recipe_from_texts(default, [*([f"epochs={epochs}"] if epochs else []), *changes])


def _ladder(
    recipe: Recipe, train_count: int, first: int | None, pool: Pool, begun_with: Any
) -> Ladder:
    """The rungs that a search begins with, or has begun with where no others are asked for."""
    if first is not None and first > recipe.epochs:
        raise UsageError(
            f"--first-rung {first}: must be at most the epochs of a training to full fidelity, "
            f"which are {recipe.epochs}"
        )
    if first is not None:
        return make_ladder(recipe.epochs, first=first)
    if _are_rungs(begun_with, recipe.epochs):
        return Ladder.of_epochs(*begun_with)
    least = first_rung(recipe.epochs, train_count // recipe.batch_size)
    ladder = Ladder(make_ladder(recipe.epochs, first=least).fidelities[-RUNGS:])
    median_macs = float(np.median(pool.costs["macs"]))
    return worthwhile(ladder, median_macs, recipe, train_count)


def _are_rungs(found: Any, epochs: int) -> bool:
    """Whether a study's description holds rungs up to so many epochs."""
    rises = isinstance(found, list) and all(type(rung) is int for rung in found)
    return rises and found == sorted(set(found)) and found[-1:] == [epochs] and found[0] > 0


def _fraction(text: str) -> float:
    """The number that a fraction or a percentage says; -1 for none."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return -1.0
