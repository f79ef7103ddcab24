"""The words on a plate: title, names in the legend, and the line below with data and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dse.report.style import DOT
from dse.report.tables.summary import StudyTable, varying
from dse.study.table import is_search
from dse.text import counted, listed

if TYPE_CHECKING:
    pass

_FINGERPRINT_SHOWN_COUNT = 8

PUBLISHED_CAPTION = (
    "published: other data and another measure (ImageNet, top-5, read from the paper); their "
    "sizes are counted here, at 227×227×3 and 1000 classes"
)


def title(studies: Sequence[StudyTable], size_name: str) -> str:
    """What the figure shows: "Accuracy against parameters as squeeze_ratio varies"."""
    varied = varying(studies[0].trials) if len(studies) == 1 else ()
    more = f" as {listed(varied)} {'varies' if len(varied) == 1 else 'vary'}" if varied else ""
    return f"Accuracy against {size_name}{more}"


def legend_name(study: StudyTable) -> str:
    """The study's name, with what the labels of its points mean."""
    varied = varying(study.trials)
    return f"{study.name} (labels: {DOT.join(varied)})" if varied else study.name


def captions(studies: Sequence[StudyTable]) -> list[str]:
    """One line for data, epochs, seeds and fingerprint; one per study where they differ."""
    lines = [DOT.join(study_facts(study)) for study in studies]
    if len(studies) == 1:
        varied = varying(studies[0].trials)
        order = [f"labels: {DOT.join(varied)}"] if len(varied) > 1 else []
        return [*order, f"study {studies[0].name}{DOT}{lines[0]}"]
    if len(set(lines)) == 1:
        return [lines[0]]
    return [f"{study.name}: {line}" for study, line in zip(studies, lines, strict=True)]


def search_title(study: StudyTable, what: str) -> str:
    """What a figure of a search shows, and on which data; epochs and seeds are in its caption."""
    name = study.description.data.name
    return f"{what}: {name}" if name else what


def search_captions(study: StudyTable, *notes: str) -> list[str]:
    """The lines below a figure of a search: what has to be known to read it, then its data."""
    return [*filter(None, notes), f"study {study.name}{DOT}{DOT.join(study_facts(study))}"]


def study_facts(study: StudyTable) -> list[str]:
    """Data, epochs and seeds of the finished trials, fingerprint, and how many did not finish."""
    data, trials = study.description.data, study.trials
    facts = [data.name] if data.name else []
    if data.input_shape:
        facts.append("×".join(map(str, data.input_shape)))
    if data.classes:
        facts.append(counted(len(data.classes), "class"))
    facts += _fidelity(study)
    if (count := study.scored_count) is not None:
        facts.append(f"accuracy on {count:,} validation images")
    if data.fingerprint:
        facts.append(f"data fingerprint {data.fingerprint[:_FINGERPRINT_SHOWN_COUNT]}")
    for status, words in (("stopped", "stopped early"), ("failed", "failed")):
        if count := int((trials["status"] == status).sum()):
            facts.append(f"{count:,} of {counted(len(trials), 'trial')} {words}")
    return facts


def _fidelity(study: StudyTable) -> list[str]:
    """Epochs and seeds of what finished."""
    trials = study.trials
    finished = trials[trials["status"] == "finished"]
    epochs = sorted({int(epochs) for epochs in finished["epochs"].dropna()})
    facts = []
    if epochs:
        last = counted(epochs[-1], "epoch")
        facts.append(last if len(epochs) == 1 else f"{epochs[0]} to {last}")
    if len(trials):
        seeds = counted(trials["seed"].nunique(), "seed")
        if is_search(trials) and not finished.empty:  # finalists have more than the others
            counts = finished.groupby("candidate").size()
            least, most = int(counts.min()), int(counts.max())
            seeds = f"{least} to {counted(most, 'seed')}" if least < most else counted(most, "seed")
        facts.append(seeds)
    return facts
