"""`answer.json`: what a search found, and what it rests on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dse.study.fields import (
    Bound,
    Confidence,
    Count,
    InsidePath,
    Name,
    Positive,
    Seconds,
    Share,
    Words,
    check_schema,
    formerly,
    from_dict,
    read_object,
    repeated,
)
from dse.study.paths import ANSWER_NAME, write_file

SCHEMA = 2
_READ_SCHEMAS = (1, 2)


@dataclass(frozen=True, kw_only=True)
class ReferenceSummary:
    """What the search had to reach; accuracies are fractions.

    Attributes:
        name: a preset, or the number that was given.
        params_count: None for a number.
        validation_accuracy: mean over its seeds.
        seeds_count: 0 for a number.
        low, high: ends of the mean's 95% interval; None where one seed tells nothing of it.
        test_accuracy: None where it was not measured.
        seeds: validation accuracy of each.
        epochs: of its training; None for a number.
        train_s: seconds that its trainings took.
        candidate, metaparameters, recipe: the network and how it was trained; None for a number.
        chosen: how the search came to it; empty where the user named it.
    """

    name: Name
    params_count: Count | None
    validation_accuracy: Share
    seeds_count: Count
    low: Bound | None
    high: Bound | None
    test_accuracy: Share | None
    seeds: tuple[Share, ...] = ()
    epochs: Count | None = None
    train_s: Seconds = 0.0
    candidate: Name | None = None
    metaparameters: Words | None = None
    recipe: Mapping[str, Any] | None = None
    chosen: str = ""

    def __post_init__(self) -> None:
        if self.seeds and len(self.seeds) != self.seeds_count:
            raise ValueError(
                f"seeds has {len(self.seeds)} entries, but seeds_count is {self.seeds_count}"
            )

    @property
    def called(self) -> str:
        """The name, as a sentence has it."""
        return "the search's most accurate network" if self.name == "best" else self.name


@dataclass(frozen=True, kw_only=True)
class FoundSeed:
    """A fresh training of the candidate; `weights` is its file, None where that is elsewhere."""

    replicate: Count
    validation_accuracy: Share
    weights: InsidePath | None


@dataclass(frozen=True, kw_only=True)
class Found:
    """A candidate that was compared with the reference; accuracies are fractions.

    Attributes:
        candidate: its key.
        metaparameters: by name.
        params_count: and the other sizes: exact, of the candidate.
        latency_s: measured; None where it is no objective.
        times_fewer: the reference's parameters divided by its own; None for a number.
        difference: its accuracy less the reference's on the confirmation images; None where
            no fresh seed of it was trained.
        difference_low: lower bound of it at the stated confidence; None where one seed tells
            nothing of it.
        p_value: of the test that the difference is below the margin.
        validation_accuracy: mean over its seeds, with the ends of the 95% interval, which are
            None where one seed tells nothing of them.
        test_accuracy: measured once, with the ends of its interval; None where it was not.
        test_difference: its test accuracy less the reference's, with lower bound and p-value;
            None where either was not measured.
        compressed_bytes: of a `.dsz` file with 64 values per layer; None where no weights are.
        int8_accuracy: of its first seed in int8 integer arithmetic, on test images where they
            were used and else on validation images; None where it was not computed.
        int8_difference: that less the accuracy of the same seed in float32 on the same images.
        int8_images_count: how many they are.
        seeds: its fresh trainings.
    """

    candidate: Name
    metaparameters: Words
    params_count: Count
    macs: Count
    weight_bytes: Count
    peak_activation_bytes: Count
    latency_s: Seconds | None = None
    times_fewer: Positive | None
    difference: Bound | None
    difference_low: Bound | None
    p_value: Share | None = None
    validation_accuracy: Share
    validation_low: Bound | None
    validation_high: Bound | None
    test_accuracy: Share | None
    test_low: Bound | None
    test_high: Bound | None
    test_difference: Bound | None = None
    test_difference_low: Bound | None = None
    test_p_value: Share | None = None
    seeds_count: Count
    compressed_bytes: Count | None = None
    int8_accuracy: Share | None = None
    int8_difference: Bound | None = None
    int8_images_count: Count | None = None
    seeds: tuple[FoundSeed, ...] = ()

    def __post_init__(self) -> None:
        if problem := repeated([seed.replicate for seed in self.seeds]):
            raise ValueError(f"seeds: {problem}")


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A candidate of the finals, with the verdict on it at their end; None as in `Found`."""

    candidate: Name
    params_count: Count
    selection_accuracy: Share | None = field(default=None, metadata=formerly("steering_accuracy"))
    difference: Bound | None
    difference_low: Bound | None
    seeds_count: Count
    verdict: str


@dataclass(frozen=True, kw_only=True)
class PassedOver:
    """A candidate that reached the level on the selection images, and why it was no finalist."""

    candidate: Name
    params_count: Count
    selection_accuracy: Share
    reason: str


@dataclass(frozen=True, kw_only=True)
class SearchCost:
    """What a search took: seconds of its own time, epochs trained, and trials by their end.

    `finals` of the trials were trained for the finals; `reused` ones of other studies come on top.
    `left_out` candidates of the pool were not sampled, as each takes too long for the budget.
    """

    wall_s: Seconds
    epochs: Count
    trained_epochs_stopped: Count
    trials: Count
    finished: Count
    stopped: Count
    failed: Count
    finals: Count = 0
    reused: Count = 0
    left_out: Count = 0


@dataclass(frozen=True, kw_only=True)
class OtherClaim:
    """The smallest candidate that was claimed on other terms, with those terms.

    Attributes:
        candidate: its key.
        params_count: of it.
        reference: name of the network it was compared with; empty for a number.
        reference_accuracy: on the confirmation images.
        reference_seeds: trainings of the reference; 0 for a number.
        margin, confidence: of the claim.
        seeds: fresh trainings of a finalist.
    """

    candidate: Name
    params_count: Count
    reference: str
    reference_accuracy: Share
    reference_seeds: Count
    margin: Share
    confidence: Confidence
    seeds: Count


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The end of a search.

    Attributes:
        study: its name.
        found: whether a candidate qualified; if none did, `answer` is None and `nearest`,
            if there were finalists, is the one that came nearest.
        margin: how far below the reference an answer may be (fraction).
        confidence: of the claim, in (0, 1).
        objectives: costs that were to be small, the first above all.
        confirmation_images: validation images that had no part in any choice; None where an
            older file does not say.
        other_claims: smallest claim on each other set of terms, the smallest first.
        analyses_count: series of tests on the same confirmation images, by all runs.
        tested_count: candidates that were ever scored on the test images.
        missing: what would give a claim; empty where there is one.
        passed_over: candidates at the level that were no finalists, the smallest first.
        selection: the images that the search's accuracies are of.
    """

    study: str
    found: bool
    reference: ReferenceSummary
    margin: Share
    confidence: Confidence
    objectives: tuple[str, ...] = ("params_count",)
    confirmation_images: Count | None = field(default=None, metadata=formerly("judging_pictures"))
    answer: Found | None
    nearest: Found | None
    finalists: tuple[Finalist, ...]
    cost: SearchCost
    other_claims: tuple[OtherClaim, ...] = ()
    analyses_count: Count = field(default=0, metadata=formerly("looks_count"))
    tested_count: Count = 0
    missing: str = ""
    passed_over: tuple[PassedOver, ...] = ()
    selection: str = ""

    def __post_init__(self) -> None:
        if self.found != (self.answer is not None):
            is_null = "not null" if self.answer else "null"
            raise ValueError(f"found is {str(self.found).lower()}, but answer is {is_null}")

    def to_dict(self) -> dict[str, Any]:
        """A dictionary for JSON, as it stands in the file."""
        return {"schema": SCHEMA, **asdict(self)}


def write_answer(directory: Path, answer: Answer) -> Path:
    """Write `answer.json` in a study's folder.

    Raises:
        StudyError: the folder cannot be written.
    """
    text = json.dumps(answer.to_dict(), indent=2, allow_nan=False)
    return write_file(directory / ANSWER_NAME, f"{text}\n".encode())


def read_answer(path: Path) -> Answer:
    """What a search found, from its `answer.json`.

    Raises:
        StudyError: the file cannot be read, or fields do not hold what they should; all of
            them are named with the file.
    """
    document = read_object(path, "the search's answer")
    check_schema(document, path, _READ_SCHEMAS)
    return from_dict(Answer, document, path)


def find_answer(directory: Path) -> Answer | None:
    """The answer in a study's folder; None where the search has not ended with one.

    Raises:
        StudyError: there is one, but it does not hold what it should.
    """
    path = directory / ANSWER_NAME
    return read_answer(path) if path.is_file() else None
