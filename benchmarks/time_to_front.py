r"""Wall time to the front, beside Optuna's TPE with PyTorch on the same space, data and epochs.

    pip install -e '.[bench]'
    python benchmarks/time_to_front.py squeezenet.yaml --data folder:cifar10-jpeg \
        --json results/benchmarks/time_to_front.json

Ours is `dse search` as it is typed, with an empty compile cache: one single-thread process a core,
and the sampler and rungs that it chooses (for trainings as short as these: a Gaussian process over
the candidates of the space, and none). Theirs is one process that uses all threads:
Optuna's TPESampler with two objectives (accuracy up, parameters down), which may not stop a
trial early, a study in SQLite, the same recipe, augmentation and images (already decoded on
both sides). Both are stopped after a fixed time and looked at afterwards.

A side's front after t seconds, counted from the start of its process, imports included, is that
of the networks it had trained over all epochs by then: (log10 parameters, validation accuracy).
The volume is bounded by the largest candidate of the space and the accuracy of guessing. The best
known front is that of all networks that either side trained in any repetition. A side that does
not get there in its time is given as "more than" that time.

The repetitions have seeds of their own; which side begins changes. What is in the JSON already is
not measured again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

SHARES = (0.95, 0.99)

Network = tuple[float, int, float]
"""Seconds after the start, parameters, validation accuracy (a fraction)."""


def theirs(options: argparse.Namespace) -> None:
    """The plain script, in a process of its own: a line for each trained network."""
    import optuna
    import torch

    from benchmarks.sides import prepared
    from benchmarks.torch_training import TorchData, accuracy, train
    from dse.architecture import build, cost, make_candidate
    from dse.config import find_space, load_space

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    dataset, recipe = prepared(options.data, options.epochs, options.train_images)
    tensors = TorchData(dataset)
    space = load_space(find_space(options.space))
    grid: dict[str, list[Any]] = {n: list(space.domains[n].values()) for n in space.varying}
    fixed = {n: d.values()[0] for n, d in space.domains.items() if n not in space.varying}

    def objective(trial: optuna.Trial) -> tuple[float, int]:
        chosen = {name: trial.suggest_categorical(name, values) for name, values in grid.items()}
        candidate = make_candidate(space.family, fixed | chosen)
        architecture = build(candidate, dataset.input_shape, len(dataset.classes))
        params_count = cost(architecture).params_count
        network = train(architecture, tensors, recipe, seed=options.seed)
        reached = accuracy(network, tensors, tensors.validation)
        print(json.dumps([params_count, reached]), flush=True)
        return reached, params_count

    study = optuna.create_study(
        storage=f"sqlite:///{options.theirs}/study.db",
        directions=["maximize", "minimize"],
        sampler=optuna.samplers.TPESampler(seed=options.seed),
    )
    study.optimize(objective)


def their_networks(options: argparse.Namespace, seed: int) -> list[Network]:
    """What the script trains in its time."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, __file__, options.space, *options.words]
        began = time.perf_counter()
        process = subprocess.Popen(
            [*words, "--theirs", folder, "--seed", str(seed)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        networks: list[Network] = []
        os.set_blocking(process.stdout.fileno(), False)
        while (spent_s := time.perf_counter() - began) < options.their_time:
            if process.poll() is not None:
                raise SystemExit(f"the script ended with {process.returncode}")
            if line := process.stdout.readline():
                params_count, reached = json.loads(line)
                networks.append((spent_s, params_count, reached))
            time.sleep(0.2)
        process.kill()
        process.wait()
    return networks


def our_networks(options: argparse.Namespace, seed: int) -> list[Network]:
    """What `dse search` trains over all epochs in its time, by the times in its Optuna study."""
    import optuna

    from benchmarks.sides import our_command, recipe_words

    with tempfile.TemporaryDirectory() as folder:
        words = ["search", options.space, *options.words, "--study-seed", str(seed)]
        words += recipe_words(options.recipe)
        # No candidate reaches that, and the budget does not end: all of the time is for search.
        words += ["--reference", "0.999", "--budget", "1000000trials"]
        command = our_command([*words, "--study", "front"], folder)
        began = datetime.now()
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        process = subprocess.Popen(**command, **pipes, text=True)
        try:
            _, said = process.communicate(timeout=options.our_time)
            raise SystemExit(f"dse search ended with {process.returncode}:\n{said}")
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            process.communicate()
        storage = f"sqlite:///{folder}/results/front/study.db"
        study = optuna.load_study(study_name=None, storage=storage)
        trials = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    found = []
    for trial in trials:
        assert trial.datetime_complete is not None
        spent_s = (trial.datetime_complete - began).total_seconds()
        accuracy, params_count = trial.values
        found.append((spent_s, int(params_count), float(accuracy)))
    return sorted(found)


def volume(networks: list[Network], until_s: float, reference_point: tuple[float, float]) -> float:
    """What the networks trained within `until_s` dominate, in decades times points."""
    from dse.stats.pareto import hypervolume

    points = [[math.log10(p), -100 * accuracy] for s, p, accuracy in networks if s <= until_s]
    return hypervolume(points, reference_point) if points else 0.0


def time_to(
    networks: list[Network], wanted: float, reference_point: tuple[float, float]
) -> float | None:
    """Seconds until the volume is at least `wanted`; None where it never is."""
    for spent_s, _, _ in networks:
        if volume(networks, spent_s, reference_point) >= wanted:
            return spent_s
    return None


def summary(
    repetitions: list[dict[str, Any]], reference_point: tuple[float, float], times: dict[str, float]
) -> list[dict[str, Any]]:
    """For each repetition and share of the best known volume, the sides' seconds and ratio.

    `ratio` is theirs by ours; a lower bound (`is_bound`) where theirs did not get there.
    """
    everything = [n for r in repetitions for side in times for n in r[side]]
    best = volume(everything, math.inf, reference_point)
    rows = []
    for repetition in repetitions:
        for share in SHARES:
            found = {s: time_to(repetition[s], share * best, reference_point) for s in times}
            ours, others = found["dse"], found["optuna_torch"]
            ratio = None if ours is None else (others or times["optuna_torch"]) / ours
            rows.append(
                {
                    "seed": repetition["seed"],
                    "share": share,
                    "dse_s": ours,
                    "optuna_torch_s": others,
                    "ratio": ratio,
                    "is_bound": ours is not None and others is None,
                    "final_share": {
                        s: volume(repetition[s], math.inf, reference_point) / best for s in times
                    },
                }
            )
    return rows


def show(rows: list[dict[str, Any]], times: dict[str, float]) -> None:
    """A table of `summary`, and the median ratios."""

    def seconds(value: float | None, limit: float) -> str:
        return f"> {limit:.0f} s" if value is None else f"{value:.0f} s"

    print(f"{'seed':>4}{'front':>7}{'dse':>10}{'torch':>10}{'ratio':>9}   in the end")
    for row in rows:
        sign = ">" if row["is_bound"] else ""
        ratio = "-" if row["ratio"] is None else f"{sign}{row['ratio']:.1f}"
        ends = ", ".join(f"{side} {share:.1%}" for side, share in row["final_share"].items())
        print(
            f"{row['seed']:4}{row['share']:7.0%}{seconds(row['dse_s'], times['dse']):>10}"
            f"{seconds(row['optuna_torch_s'], times['optuna_torch']):>10}{ratio:>9}   {ends}"
        )
    for share in SHARES:
        ratios = [r["ratio"] for r in rows if r["share"] == share]
        # Where ours did not get there nothing is known of the ratio: it counts as none at all.
        least = median(ratio or 0.0 for ratio in ratios)
        if least:
            missed = f", not reached by dse in {ratios.count(None)} of {len(ratios)}"
            at_least = f"median of the ratios at {share:.0%}: at least {least:.1f}"
            print(at_least + (missed if None in ratios else ""), flush=True)


def main() -> None:
    """Measure what is missing, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("space")
    parser.add_argument("--data", required=True)
    parser.add_argument("--train-images", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--our-time", type=float, default=240.0, help="seconds")
    parser.add_argument("--their-time", type=float, default=960.0, help="seconds")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--theirs", metavar="FOLDER", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.words = ["--data", options.data, "--train-images", str(options.train_images)]
    options.words += ["--epochs", str(options.epochs)]
    if options.theirs:
        theirs(options)
        return
    # In the background a shell has SIGINT ignored, which the search would inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from benchmarks.machine import command_line, machine, write_json
    from benchmarks.sides import prepared
    from dse.config import find_space, load_space
    from dse.space.enumerate import make_pool

    dataset, recipe = prepared(options.data, options.epochs, options.train_images)
    options.recipe = recipe
    space = load_space(find_space(options.space))
    pool = make_pool(space, dataset.input_shape, len(dataset.classes))
    largest = int(pool.costs["params_count"].max())
    reference_point = (math.log10(largest), -100.0 / len(dataset.classes))
    times = {"dse": options.our_time, "optuna_torch": options.their_time}
    document: dict[str, Any] = {
        "command": command_line(),
        "machine": machine("jax", "torch", "optuna"),
        "space": options.space,
        "data": {"name": dataset.name, "fingerprint": dataset.fingerprint},
        "recipe": recipe.to_dict(),
        "time_s": times,
        "reference_point": {"params_count": largest, "accuracy": 1 / len(dataset.classes)},
        "repetitions": [],
    }
    if options.json and options.json.exists():
        before = json.loads(options.json.read_text())
        if any(before[k] != document[k] for k in ("space", "data", "recipe", "time_s")):
            raise SystemExit(f"{options.json} holds another measurement; remove it or name another")
        document["repetitions"] = before["repetitions"]
    for seed in range(len(document["repetitions"]), options.repetitions):
        sides = {"dse": our_networks, "optuna_torch": their_networks}
        order = list(sides) if seed % 2 == 0 else list(sides)[::-1]
        found = {side: sides[side](options, seed) for side in order}
        document["repetitions"].append({"seed": seed, "first": order[0]} | found)
        document["summary"] = summary(document["repetitions"], reference_point, times)
        show(document["summary"], times)
        if options.json:
            write_json(options.json, document)


if __name__ == "__main__":
    main()
