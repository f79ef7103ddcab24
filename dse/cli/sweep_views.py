"""What `dse sweep` prints before and after training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dse.cli.recall import validation_scores
from dse.cli.running import classes_text
from dse.cli.tables import note, print_facts, print_json, print_table
from dse.text import counted, percent, shape_text, values_text

if TYPE_CHECKING:
    from dse.data import DataDescription, Dataset
    from dse.execution.job import Job
    from dse.search import RunResult, Sweep


def note_refused(sweep: Sweep) -> None:
    """Say which candidates are left out and why, on standard error."""
    refused = sweep.survey.refused
    for candidate, reason in refused[:5]:
        note(f"left out: {values_text(candidate.metaparameters, sweep.space.varying)}: {reason}")
    if len(refused) > 5:
        note(f"left out: {len(refused) - 5} more; `dse check` lists them all")


def show_plan(
    sweep: Sweep,
    pending: Sequence[Job],
    description: DataDescription,
    workers_count: int,
    as_json: bool,
) -> None:
    """Print the candidates, their sizes and the expected time; nothing is trained.

    Args:
        sweep: what is planned.
        pending: those of its jobs that are not in the record yet.
        description: of the images.
        workers_count: worker processes.
        as_json: print one document.
    """
    from dse.search.estimate import sweep_s, train_s
    from dse.text import duration

    count = description.train_count
    seconds = sweep_s(
        pending, sweep.costs, sweep.recipe, train_count=count, workers_count=workers_count
    )
    if as_json:
        document = _plan_document(sweep, description, workers_count, seconds)
        print_json(document | {"recorded_count": len(sweep.jobs) - len(pending)})
        return
    note_refused(sweep)
    names = sweep.space.varying
    print_table(
        [*names, "parameters", "MACs", "seconds\na seed"],
        [
            [
                *(candidate.metaparameters[name] for name in names),
                cost.params_count,
                cost.macs,
                f"{train_s(cost.macs, sweep.recipe, count):.1f}",
            ]
            for candidate, cost in sweep.survey.feasible
        ],
        right=("parameters", "MACs", "seconds\na seed"),
    )
    print_facts(
        {
            "study": sweep.name,
            "data": f"{description.name}, {count:,} training images of "
            f"{shape_text(description.input_shape)}, {len(description.classes)} classes",
            "classes": classes_text(description),
            "recipe": ", ".join(f"{k} {v}" for k, v in asdict(sweep.recipe).items()),
            "runs": _runs_text(sweep, pending),
            "time": f"about {duration(seconds)} on {counted(workers_count, 'worker')} (a rough "
            "guess)",
        }
    )


def _runs_text(sweep: Sweep, pending: Sequence[Job]) -> str:
    candidates, seeds = counted(len(sweep.costs), "candidate"), counted(sweep.seeds, "seed")
    text = f"{len(sweep.jobs):,} ({candidates} x {seeds})"
    if recorded_count := len(sweep.jobs) - len(pending):
        text += f", {recorded_count:,} of them in the record already"
    return text


def _plan_document(
    sweep: Sweep, description: DataDescription, workers_count: int, seconds: float
) -> dict[str, Any]:
    from dse.search.estimate import train_s

    return {
        "study": sweep.name,
        "data": description.name,
        "input_shape": description.input_shape,
        "classes_count": len(description.classes),
        "classes": description.classes,
        "class_counts": description.class_counts,
        "train_count": description.train_count,
        "recipe": sweep.recipe.to_dict(),
        "seeds": sweep.seeds,
        "workers": workers_count,
        "estimated_s": seconds,
        "candidates": [
            {
                "candidate": candidate.key,
                "metaparameters": candidate.metaparameters,
                **cost.by_name,
                "estimated_train_s": train_s(cost.macs, sweep.recipe, description.train_count),
            }
            for candidate, cost in sweep.survey.feasible
        ],
        "refused": [
            {"metaparameters": candidate.metaparameters, "reason": reason}
            for candidate, reason in sweep.survey.refused
        ],
    }


def show_result(
    sweep: Sweep, result: RunResult, dataset: Dataset, plots: Path, as_json: bool
) -> None:
    """Draw the plot and print the table of a sweep; say how much of each class is found.

    Raises:
        StudyError: the plot cannot be written.
    """
    from dse.report import StudyTable, plot_accuracy_against_size, summarise
    from dse.study.description import find_description
    from dse.study.table import read_trials

    trials = read_trials(result.trials_path)
    study = StudyTable(sweep.name, trials, find_description(result.directory))
    paths = [plots / f"{sweep.name}.{suffix}" for suffix in ("png", "svg")]
    summary = summarise(trials).sort_values("params_count")
    finished = summary.dropna(subset=["validation_accuracy_mean"]).to_dict(orient="records")
    best = max(finished, key=lambda row: row["validation_accuracy_mean"], default=None)
    scores = best and validation_scores(result.trials.values(), best["candidate"], dataset)
    plot_accuracy_against_size([study], png_path=paths[0], svg_path=paths[1])
    if as_json:
        print_json(
            {
                "study": sweep.name,
                "trials": str(result.trials_path),
                "plots": [str(path) for path in paths],
                "finished_count": result.finished_count,
                "failed_count": result.failed_count,
                "trained_count": result.trained_count,
                "wall_s": result.wall_s,
                "largest_class_share": scores.largest[1] if scores else None,
                "recall": scores.recall if scores else None,
                "candidates": summary.to_dict(orient="records"),
            }
        )
    else:
        _print_summary(sweep, summary)
        if best and scores:
            accuracy = percent(best["validation_accuracy_mean"])
            note(f"highest validation accuracy {accuracy}: {scores.interval}; {scores}")
    if result.failed_count:
        note(
            f"{result.failed_count} failed; the reasons are in {result.trials_path}; "
            "--retry-failed trains them again"
        )
    for path in (result.trials_path, *paths):
        note(f"written: {path}")


def _print_summary(sweep: Sweep, summary: Any) -> None:
    varying = sweep.space.varying
    titles = [*varying, "parameters", "validation\naccuracy", "lowest\nseed", "highest\nseed"]
    titles += ["test\naccuracy", "seeds", "front"]
    print_table(
        titles,
        [
            [
                *(row[name] for name in varying),
                int(row["params_count"]),
                percent(row["validation_accuracy_mean"]),
                percent(row["validation_accuracy_min"]),
                percent(row["validation_accuracy_max"]),
                percent(row["test_accuracy_mean"]),
                int(row["seeds_count"]),
                "*" if row["on_front"] else "",
            ]
            for row in summary.to_dict(orient="records")
        ],
        right=titles[len(varying) : -1],
    )
