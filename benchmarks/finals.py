"""How often the finals claim too much, and how much they find: simulated searches.

    python benchmarks/finals.py            about 3 minutes on one core, no training

In each repetition 60 candidates are searched with one replicate on the selection half of the
validation images, finalists are chosen, raced and judged as `dse search` does it. The truth is
known: a replicate gets an image right where

    threshold of the network + its seed's effect + difficulty of the image
        + the network's own view of the image + chance of this training > 0,

all normal; 70%, 10% and 20% of the variance over images are the last three. Two replicates of a
network of 80% accuracy so disagree on 14% of the images, two networks on 17%. The seed's
effect moves the accuracy by 0.5 points (one standard deviation). A claim is false where the
network's accuracy over all images and seeds is below the reference's by more than the margin.

A second table is about single comparisons of two equally accurate networks: how often `compare`
claims, with the seeds' variance of these two or pooled with five more finalists, and its standard
error beside the one that would count the images' changes from seed to seed twice.

A third table is about searches that go on: 15, 30, 45 and 60 candidates are found, and each time
the finals are held on the same confirmation images, with what was claimed before standing, as
`dse search` does it, or all chosen and tested anew.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from dse.files import replacing
from dse.search.analyses import (
    Analysis,
    Terms,
    analyses_count,
    decision_of,
    open_candidates,
    outcomes_of,
    previous_analyses,
)
from dse.search.finals import (
    MOST_FINALISTS,
    Decision,
    Finalist,
    choose_finalists,
    decide,
    next_seeds,
    selection_noise,
)
from dse.stats.comparison import Correctness, churn, compare, pool_seed_variance
from dse.stats.intervals import wilson_interval

NORMAL = NormalDist()
COMMON, OWN, CHANCE = 0.7, 0.1, 0.2
CANDIDATES = 60
SEEDS = 5
CONFIDENCE = 0.95
PROCEDURES = ("race", "all seeds", "Holm", "uncorrected", "same images")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """A search with known truth.

    Attributes:
        name: as the table has it.
        truth: how the candidates' true accuracies lie about the reference's; see `truths`.
        images_count: of each half.
        reference_accuracy: the true one.
        is_number: the reference is that number, not a network that was trained.
        is_best: the reference is the candidate that is most accurate on the selection half.
        margin: of the claim.
        seed_sd: of a candidate's accuracy between seeds; the reference's is 0.005.
        inherited: of the variance over images, what all candidates have in common and the
            reference has not, as they start from the same weights; it is taken off the chance of
            a training.
    """

    name: str
    truth: str
    images_count: int
    reference_accuracy: float = 0.8
    is_number: bool = False
    is_best: bool = False
    margin: float = 0.0
    seed_sd: float = 0.005
    inherited: float = 0.0


SCENARIOS = (
    Scenario("all 0.01 points below", "at", 2500),
    Scenario("all 0.1 to 0.5 points below", "below", 2500),
    Scenario("all below, against a number", "at", 2500, is_number=True),
    Scenario("all below, seeds vary twice as much", "at", 2500, seed_sd=0.01),
    Scenario("all just beyond a margin of 1 point", "at", 2500, margin=0.01),
    Scenario("rising slowly through it", "slow", 2500),
    Scenario("rising steeply through it", "steep", 2500),
    Scenario("all 0.01 points below", "at", 135),
    Scenario("all 0.1 to 0.5 points below", "below", 135),
    Scenario("all below, at 97%", "at", 135, reference_accuracy=0.97),
    Scenario("all just beyond a margin of 2 points", "at", 135, margin=0.02),
    Scenario("rising steeply through it", "steep", 135),
    Scenario("rising steeply, margin of 2 points", "steep", 135, margin=0.02),
    Scenario("all below, from the same weights", "at", 2500, seed_sd=0.002, inherited=0.15),
    Scenario("rising steeply, from the same weights", "steep", 2500, seed_sd=0.002, inherited=0.15),
    Scenario("all below, from the same weights", "at", 135, seed_sd=0.002, inherited=0.15),
    Scenario("best: from the same weights", "top", 2500, is_best=True, margin=0.02, inherited=0.15),
    Scenario("best: others just beyond a margin of 2", "top", 2500, is_best=True, margin=0.02),
    Scenario("best: rising slowly, margin of 2", "slow", 2500, is_best=True, margin=0.02),
    Scenario("best: others just beyond a margin of 5", "top", 135, is_best=True, margin=0.05),
    Scenario("best: rising steeply, margin of 5", "steep", 135, is_best=True, margin=0.05),
)


def truths(scenario: Scenario, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Sizes and true accuracies of the candidates: float arrays (candidate,)."""
    place = np.sort(rng.uniform(size=CANDIDATES))
    sizes = np.round(5000 * 400**place)
    spread = rng.normal(size=CANDIDATES)
    level = scenario.reference_accuracy - scenario.margin
    accuracies = {
        "at": np.full(CANDIDATES, level - 1e-4),
        "below": level - rng.uniform(0.001, 0.005, CANDIDATES),
        "slow": level - 0.08 + 0.12 * place - np.abs(0.01 * spread),
        "steep": level - 0.3 + 0.36 * np.sqrt(place) - np.abs(0.02 * spread),
        "top": np.append(np.full(CANDIDATES - 1, level - 1e-4), scenario.reference_accuracy),
    }[scenario.truth]
    return sizes, accuracies


class Images:
    """The two halves of the validation images, and networks that look at them."""

    def __init__(self, images_count: int, rng: np.random.Generator, inherited: float = 0.0) -> None:
        self.rng = rng
        self.shape = (2, images_count)
        self.chance = CHANCE - inherited
        self.common = self._normal(self.shape, COMMON)
        self.difficulty = self.common + (self._normal(self.shape, inherited) if inherited else 0)

    def _normal(self, shape: tuple[int, ...], variance: float) -> NDArray[np.float32]:
        return self.rng.standard_normal(shape, dtype=np.float32) * np.float32(math.sqrt(variance))

    def thresholds(self, accuracies: Floats, seed_sd: float, seeds: int) -> NDArray[np.float32]:
        """Of each (network, seed), so that each network's mean accuracy is the given one."""
        quantiles = np.array([NORMAL.inv_cdf(float(a)) for a in accuracies])
        sd = seed_sd / np.array([NORMAL.pdf(q) for q in quantiles])
        effects = sd[:, None] * self.rng.normal(size=(len(accuracies), seeds))
        return ((quantiles * np.sqrt(1 + sd**2))[:, None] + effects).astype(np.float32)

    def searched(self, thresholds: NDArray[np.float32]) -> NDArray[np.float32]:
        """What one training each makes of the selection images: > 0 is right."""
        views = self._normal((len(thresholds), self.shape[1]), OWN + self.chance)
        views += self.difficulty[0]
        views += thresholds[:, :1]
        return views

    def own(self, searched: NDArray[np.float32], threshold: np.float32) -> NDArray[np.float32]:
        """A network's own view of the selection images, given what its training made of them."""
        both = searched - threshold - self.difficulty[0]
        rest = self._normal(both.shape, OWN * self.chance / (OWN + self.chance))
        return both * np.float32(OWN / (OWN + self.chance)) + rest

    def trained(
        self,
        thresholds: NDArray[np.float32],
        half: int,
        own: NDArray[np.float32] | None = None,
        *,
        inherits: bool = True,
    ) -> Correctness:
        """Bool array (seed, image) for further trainings of one network."""
        view = self._normal(self.shape[1:], OWN) if own is None else own
        variance, images = self.chance, self.difficulty
        if not inherits:
            variance, images = CHANCE, self.common
        chance = self._normal((len(thresholds), self.shape[1]), variance)
        return chance + (images[half] + view) + thresholds[:, None] > 0


class World:
    """Candidates of known truth after the search: what it has seen of them, and the reference.

    Attributes:
        searched: what one training of each makes of the selection images: > 0 is right.
        selection: float array (candidate,), the accuracies that the search knows.
        references: on the selection and on the confirmation half, as `compare` takes them.
        level: true accuracy that an answer must have.
        able: candidates that may be answers.
    """

    def __init__(self, scenario: Scenario, rng: np.random.Generator) -> None:
        self.scenario = scenario
        self.sizes, self.accuracies = truths(scenario, rng)
        self.images = Images(scenario.images_count, rng, scenario.inherited)
        self.thresholds = self.images.thresholds(self.accuracies, scenario.seed_sd, SEEDS + 1)
        self.searched = self.images.searched(self.thresholds)
        self.selection: Floats = (self.searched > 0).mean(axis=1)
        level = scenario.reference_accuracy
        of_reference = self.images.thresholds(np.array([level]), 0.005, SEEDS)[0]
        halves = [self.images.trained(of_reference, half, inherits=False) for half in (0, 1)]
        self.references: list[Correctness | float] = (
            [level, level] if scenario.is_number else [*halves]
        )
        self.level, self.able = level - scenario.margin, range(CANDIDATES)
        if scenario.is_best:
            best = int(np.argmax(self.selection))  # of equals the smallest: they rise in size
            fresh = self.images.trained(self.thresholds[best, 1:], 1)
            self.references = [self.searched[best : best + 1] > 0, fresh]
            self.level, self.able = float(self.accuracies[best]) - scenario.margin, range(best)
        self.reached = float(np.mean(self.references[0]))

    def chosen(self, among: Sequence[int]) -> list[int]:
        """The finalists among these candidates, the smallest first."""
        places = np.array(among, dtype=int)
        picked = choose_finalists(
            self.sizes[places][:, None],
            self.selection[places],
            self.reached,
            noise=selection_noise(self.scenario.reference_accuracy, self.scenario.images_count),
            margin=self.scenario.margin,
            is_best=self.scenario.is_best,
        )
        return [int(places[index]) for index in picked]

    def finalist(self, index: int) -> Finalist:
        """A candidate with all its fresh replicates, trained now."""
        correct = self.images.trained(self.thresholds[index, 1:], 1)
        size = (float(self.sizes[index]),)
        return Finalist(str(index), size, float(self.selection[index]), correct)


@dataclass(frozen=True)
class Search:
    """One simulated search, with all replicates that the finals could ask for."""

    sizes: Floats
    accuracies: Floats
    finalists: list[Finalist]
    chosen: list[int]
    reference: Correctness | float
    same_images: list[Correctness]
    same_reference: Correctness | float
    level: float


def simulate(scenario: Scenario, rng: np.random.Generator) -> Search:
    world = World(scenario, rng)
    images, thresholds, searched = world.images, world.thresholds, world.searched
    chosen = world.chosen(world.able)
    finalists, same_images = [], []
    for index in chosen:
        finalists.append(world.finalist(index))
        own = images.own(searched[index], thresholds[index, 0])
        again = images.trained(thresholds[index, 1:SEEDS], 0, own)
        same_images.append(np.vstack([searched[index] > 0, again]))
    steered, judged = world.references
    return Search(
        world.sizes,
        world.accuracies,
        finalists,
        chosen,
        judged,
        same_images,
        steered,
        world.level,
    )


def race(search: Search, margin: float) -> tuple[int | None, int]:
    """The answer (of the finalists) and the trainings, with one worker."""
    shown = [replace(finalist, correct=finalist.correct[:0]) for finalist in search.finalists]
    trainings = 0
    while wanted := next_seeds(shown, search.reference, margin=margin, seeds=SEEDS):
        index, replicate = wanted[0]
        shown[index] = replace(shown[index], correct=search.finalists[index].correct[:replicate])
        trainings += 1
    return decide(shown, search.reference, margin=margin, seeds=SEEDS).answer, trainings


def with_all_seeds(search: Search, margin: float) -> dict[str, int | None]:
    """The answers of the alternatives."""
    answers = {"all seeds": decide(search.finalists, search.reference, margin=margin).answer}
    networks = [finalist.correct for finalist in search.finalists]
    others = [] if isinstance(search.reference, float) else [search.reference]
    pooled = pool_seed_variance([*networks, *others])
    p_values = [
        compare(n, search.reference, margin=margin, seed_variance=pooled).p_value for n in networks
    ]
    alpha = 1 - CONFIDENCE
    ranked = sorted(range(len(p_values)), key=p_values.__getitem__)
    holm: list[int] = []
    for place, index in enumerate(ranked):
        if p_values[index] > alpha / (len(ranked) - place):
            break
        holm.append(index)
    # Finalists stand in ascending order of size.
    answers["Holm"] = min(holm, default=None)
    passed = (index for index, p in enumerate(p_values) if p <= alpha)
    answers["uncorrected"] = next(passed, None)
    same = [
        replace(finalist, correct=correct)
        for finalist, correct in zip(search.finalists, search.same_images, strict=True)
    ]
    answers["same images"] = decide(same, search.same_reference, margin=margin).answer
    return answers


def run(scenario: Scenario, repetitions: int, seed: int) -> list[dict[str, object]]:
    """One row for each procedure."""
    counts = {name: [0, 0, 0] for name in PROCEDURES}  # answers, false ones, trainings
    ratios: dict[str, list[float]] = {name: [] for name in PROCEDURES}
    for repetition in range(repetitions):
        search = simulate(scenario, np.random.default_rng([seed, repetition]))
        answer, trainings = race(search, scenario.margin)
        answers = {"race": answer, **with_all_seeds(search, scenario.margin)}
        smallest = min(search.sizes[search.accuracies >= search.level], default=math.nan)
        for name in PROCEDURES:
            all_trainings = SEEDS * len(search.finalists) - (name == "same images") * len(
                search.finalists
            )
            counts[name][2] += trainings if name == "race" else all_trainings
            if (index := answers[name]) is None:
                continue
            candidate = search.chosen[index]
            counts[name][0] += 1
            counts[name][1] += bool(search.accuracies[candidate] < search.level)
            ratios[name].append(float(np.log(search.sizes[candidate] / smallest)))
    return [_row(scenario, name, repetitions, counts[name], ratios[name]) for name in PROCEDURES]


def _row(
    scenario: Scenario, name: str, repetitions: int, counts: Sequence[int], ratios: list[float]
) -> dict[str, object]:
    answered, false_claims, trainings = counts
    interval = wilson_interval(false_claims, repetitions)
    rises = scenario.truth in ("slow", "steep")
    return {
        "scenario": scenario.name,
        "images": scenario.images_count,
        "procedure": name,
        "answered": answered / repetitions,
        "false_claims": interval.estimate,
        "false_claims_low": round(interval.low, 4),
        "false_claims_high": round(interval.high, 4),
        "size_over_smallest": round(math.exp(float(np.mean(ratios))), 3)
        if ratios and rises
        else None,
        "trainings": trainings / repetitions,
    }


def single_tests(repetitions: int, seed: int) -> list[dict[str, object]]:
    """Claims of comparisons of equally accurate networks, 80% on 2,500 images."""
    rows: list[dict[str, object]] = []
    for seeds in (3, SEEDS):
        for seed_sd, candidate_sd in ((0.0, 0.0), (0.005, 0.005), (0.02, 0.02), (0.005, 0.01)):
            claims, errors, twice = np.zeros(2), np.zeros(2), np.zeros(2)
            for repetition in range(repetitions):
                images = Images(2500, np.random.default_rng([seed, repetition]))
                level = np.full(7, 0.8)
                thresholds = images.thresholds(level, seed_sd, seeds)
                thresholds[0] = images.thresholds(level[:1], candidate_sd, seeds)[0]
                networks = [images.trained(row, 1) for row in thresholds]
                changes = sum(churn(n) / n.size for n in networks[:2])
                for place, known in enumerate((networks[:2], networks)):
                    pooled = pool_seed_variance(known)
                    comparison = compare(networks[0], networks[1], seed_variance=pooled)
                    claims[place] += comparison.is_non_inferior
                    errors[place] += comparison.standard_error
                    twice[place] += math.hypot(comparison.standard_error, math.sqrt(changes))
            for place, count in enumerate((2, 7)):
                rows.append(
                    {
                        "seeds": seeds,
                        "seed_sd": seed_sd,
                        "candidate_seed_sd": candidate_sd,
                        "networks_pooled": count,
                        "claims": claims[place] / repetitions,
                        "standard_error": round(errors[place] / repetitions, 5),
                        "standard_error_counted_twice": round(twice[place] / repetitions, 5),
                    }
                )
    return rows


RUNS = (15, 30, 45, 60)
"""Candidates that a search has found when its finals are held."""

ENDINGS = ("claims stand", "anew")


def go_on(scenario: Scenario, rng: np.random.Generator) -> dict[str, list[tuple[float, float]]]:
    """Size and true accuracy of the answer after each of `RUNS`, NaN for none; and the looks."""
    world = World(scenario, rng)
    sizes, accuracies, judge = world.sizes, world.accuracies, world.references[1]
    order = rng.permutation(CANDIDATES)
    finalist = cache(world.finalist)  # a candidate keeps its replicates from run to run

    def judged(finalists: list[Finalist], kept: Sequence[Finalist] = ()) -> Decision:
        others = [finalist.correct for finalist in kept]
        return decide(finalists, judge, margin=scenario.margin, seeds=SEEDS, others=others)

    terms = Terms("reference", world.reached, SEEDS, scenario.margin, CONFIDENCE, SEEDS)
    looks: list[Analysis] = []
    answers: dict[str, list[tuple[float, float]]] = {name: [] for name in (*ENDINGS, "looks")}
    for count in RUNS:
        found = sorted(int(index) for index in order[:count])
        past = previous_analyses(looks, terms, count, MOST_FINALISTS)
        places = open_candidates(
            past,
            [str(index) for index in found],
            [(float(sizes[index]),) for index in found],
            [float(world.selection[index]) for index in found],
            world.reached - scenario.margin,
        )
        new = [finalist(index) for index in world.chosen([found[place] for place in places])]
        kept = past.kept
        earlier = [finalist(int(key)) for key in kept]
        outcomes = outcomes_of(new, judged(new, earlier))
        looks = past.with_analysis(Analysis(terms, count, MOST_FINALISTS, outcomes))
        every = [*earlier, *new]
        anew = [finalist(index) for index in world.chosen(found)]
        by_key = kept | {outcome.candidate_key: outcome for outcome in outcomes}
        for name, finalists, decision in (
            ("claims stand", every, decision_of(every, by_key)),
            ("anew", anew, judged(anew)),
        ):
            place = decision.answer
            index = None if place is None else int(finalists[place].candidate_key)
            answers[name].append(
                (math.nan, math.nan) if index is None else (sizes[index], accuracies[index])
            )
        answers["looks"].append((analyses_count(looks), math.nan))
    return answers


def continued(scenario: Scenario, repetitions: int, seed: int) -> list[dict[str, object]]:
    """One row for each way to go on."""
    level = scenario.reference_accuracy - scenario.margin
    every = [
        go_on(scenario, np.random.default_rng([seed, repetition]))
        for repetition in range(repetitions)
    ]
    looks = float(np.mean([answers["looks"][-1][0] for answers in every]))
    rows: list[dict[str, object]] = []
    for name in ENDINGS:
        found = np.array([answers[name] for answers in every])  # (repetition, run, size and truth)
        is_there, is_false = ~np.isnan(found[:, :, 1]), found[:, :, 1] < level
        taken_back = (is_there[:, :-1] & ~is_there[:, 1:]).any(axis=1)
        grown = (found[:, 1:, 0] > found[:, :-1, 0]).any(axis=1)
        interval = wilson_interval(int(is_false.any(axis=1).sum()), repetitions)
        rows.append(
            {
                "scenario": scenario.name,
                "images": scenario.images_count,
                "going_on": name,
                "answered": float(is_there[:, -1].mean()),
                "false_in_any_run": interval.estimate,
                "false_low": round(interval.low, 4),
                "false_high": round(interval.high, 4),
                "taken_back": float(taken_back.mean()),
                "larger_than_before": float(grown.mean()),
                "looks": round(looks, 2) if name == ENDINGS[0] else len(RUNS),
            }
        )
    return rows


def _continued_line(row: dict[str, object]) -> str:
    return (
        f"{row['scenario']!s:<38} {row['images']:>5} {row['going_on']!s:<14}"
        f"{row['answered']:>9.1%}{row['false_in_any_run']:>8.1%}"
        f" ({row['false_low']:.1%} to {row['false_high']:.1%})"
        f"{row['taken_back']:>9.1%}{row['larger_than_before']:>9.1%}{row['looks']:>7.2f}"
    )


def _single_line(row: dict[str, object]) -> str:
    return (
        f"{row['seeds']:>5}{row['seed_sd']:>12.1%}{row['candidate_seed_sd']:>11.1%}"
        f"{row['networks_pooled']:>8}{row['claims']:>9.1%}{row['standard_error']:>12.2%}"
        f"{row['standard_error_counted_twice']:>14.2%}"
    )


def _line(row: dict[str, object]) -> str:
    ratio = row["size_over_smallest"]
    return (
        f"{row['scenario']!s:<38} {row['images']:>5} {row['procedure']!s:<14}"
        f"{row['answered']:>9.1%}{row['false_claims']:>8.1%}"
        f" ({row['false_claims_low']:.1%} to {row['false_claims_high']:.1%})"
        f"{'–' if ratio is None else format(ratio, '.2f'):>7}{row['trainings']:>7.1f}"
    )


def _as_json(head: dict[str, object], tables: dict[str, list[dict[str, object]]]) -> str:
    """One line for each row, so that two versions can be compared line by line."""
    parts = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for name, rows in tables.items():
        lines = ",\n".join(f"  {json.dumps(row)}" for row in rows)
        parts.append(f" {json.dumps(name)}: [\n{lines}\n ]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    default = Path(__file__).parents[1] / "results" / "benchmarks" / "finals.json"
    parser.add_argument("--out", type=Path, default=default)
    options = parser.parse_args()
    started = time.perf_counter()
    rows: list[dict[str, object]] = []
    print(
        f"{'scenario':<38} {'pict.':>5} {'procedure':<14}{'answered':>9}{'false':>8}"
        f"{'95% interval':>17}{'size':>7}{'seeds':>7}"
    )
    for scenario in SCENARIOS:
        for row in run(scenario, options.repetitions, options.seed):
            rows.append(row)
            print(_line(row), flush=True)
    singles = single_tests(options.repetitions, options.seed)
    print(
        f"\n{'seeds':>5}{'sd of seeds':>12}{'candidate':>11}{'pooled':>8}{'claims':>9}"
        f"{'std. error':>12}{'counted twice':>14}"
    )
    print("\n".join(map(_single_line, singles)))
    print(
        f"\n{'scenario':<38} {'pict.':>5} {'going on':<14}{'answered':>9}{'false':>8}"
        f"{'95% interval':>17}{'lost':>9}{'larger':>9}{'looks':>7}"
    )
    going_on: list[dict[str, object]] = []
    for scenario in (one for one in SCENARIOS if not one.is_best):  # its reference may change
        for row in continued(scenario, options.repetitions, options.seed):
            going_on.append(row)
            print(_continued_line(row), flush=True)
    result = {
        "command": f"python benchmarks/finals.py --repetitions {options.repetitions} "
        f"--seed {options.seed}",
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "seconds": round(time.perf_counter() - started),
    }
    tables = {"searches": rows, "single_tests": singles, "continued": going_on}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(options.out) as file:
        file.write(_as_json(result, tables).encode())


if __name__ == "__main__":
    main()
