r"""A whole sweep beside a plain script of Optuna and PyTorch that trains the same candidates.

    pip install -e '.[bench]'
    python benchmarks/sweep.py cifar10/squeeze_ratio.yaml --data folder:cifar10-jpeg --epochs 2 \
        --json results/benchmarks/sweep.json

Ours is `dse sweep` as it is typed: one single-thread process a core, an empty compile cache, its
record and plots. Theirs is one process that uses all threads: Optuna's GridSampler with a study
in SQLite over the same space, the same recipe, augmentation and images (already decoded on
both sides), and the same scoring of validation and test images. Seconds from start to end of
the process, imports included; the sides take turns.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))


def theirs(space_name: str, data: str, epochs: int, folder: str) -> None:
    """The plain script, in a process of its own."""
    import optuna
    import torch

    from benchmarks.sides import prepared
    from benchmarks.torch_training import TorchData, accuracy, train
    from dse.architecture import build, make_candidate
    from dse.config import find_space, load_space

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    dataset, recipe = prepared(data, epochs)
    tensors = TorchData(dataset)
    space = load_space(find_space(space_name))
    grid = {name: list(space.domains[name].values()) for name in space.varying}
    fixed = {n: d.values()[0] for n, d in space.domains.items() if n not in space.varying}

    def objective(trial: optuna.Trial) -> float:
        chosen = {name: trial.suggest_categorical(name, values) for name, values in grid.items()}
        candidate = make_candidate(space.family, fixed | chosen)
        architecture = build(candidate, dataset.input_shape, len(dataset.classes))
        network = train(architecture, tensors, recipe)
        trial.set_user_attr("test_accuracy", accuracy(network, tensors, tensors.test))
        reached = accuracy(network, tensors, tensors.validation)
        print(json.dumps(chosen | {"validation_accuracy": reached}), flush=True)
        return reached

    study = optuna.create_study(
        storage=f"sqlite:///{folder}/study.db",
        direction="maximize",
        sampler=optuna.samplers.GridSampler(grid, seed=0),
    )
    study.optimize(objective, n_trials=int(space.size or 0))


def ours_s(options: argparse.Namespace, folder: str) -> tuple[float, list[float]]:
    """Seconds of `dse sweep`, and the accuracies in the order of the space."""
    import pandas as pd

    from benchmarks.sides import our_command, recipe_words

    words = ["sweep", options.space, "--data", options.data, *recipe_words(options.recipe)]
    command = our_command([*words, "--study", "sweep"], folder)
    began = time.perf_counter()
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    subprocess.run(**command, **silent, check=True)
    spent_s = time.perf_counter() - began
    table = pd.read_csv(f"{folder}/results/sweep/trials.csv")
    return spent_s, table.sort_values("params_count")["validation_accuracy"].tolist()


def theirs_s(options: argparse.Namespace, folder: str) -> tuple[float, list[float]]:
    """Seconds of the script, and the accuracies in the order of sizes."""
    words = [__file__, options.space, "--data", options.data, "--epochs", str(options.epochs)]
    began = time.perf_counter()
    run = subprocess.run(
        [sys.executable, *words, "--theirs", folder], check=True, capture_output=True, text=True
    )
    spent_s = time.perf_counter() - began
    rows = [json.loads(line) for line in run.stdout.splitlines()]
    rows.sort(key=lambda row: [v for k, v in row.items() if k != "validation_accuracy"])
    return spent_s, [row["validation_accuracy"] for row in rows]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("space")
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--theirs", metavar="FOLDER", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.theirs:
        theirs(options.space, options.data, options.epochs, options.theirs)
        return
    from benchmarks.machine import command_line, machine, write_json
    from benchmarks.sides import prepared

    dataset, recipe = prepared(options.data, options.epochs)
    options.recipe = recipe
    rounds = []
    for number in range(options.rounds):
        with tempfile.TemporaryDirectory() as first, tempfile.TemporaryDirectory() as second:
            ours, our_accuracies = ours_s(options, first)
            others, their_accuracies = theirs_s(options, second)
        rounds.append(
            {
                "dse_s": ours,
                "optuna_torch_s": others,
                "dse_validation": our_accuracies,
                "optuna_torch_validation": their_accuracies,
            }
        )
        times = others / ours
        print(f"round {number + 1}: dse {ours:.0f} s, torch {others:.0f} s: {times:.2f} times")
        print(f"  validation, dse:   {' '.join(f'{a:.2%}' for a in our_accuracies)}")
        print(f"  validation, torch: {' '.join(f'{a:.2%}' for a in their_accuracies)}", flush=True)
    ratio = median(r["optuna_torch_s"] for r in rounds) / median(r["dse_s"] for r in rounds)
    print(f"ratio of the medians: {ratio:.2f}")
    if options.json:
        document = {
            "command": command_line(),
            "machine": machine("jax", "torch", "optuna"),
            "data": {"name": dataset.name, "fingerprint": dataset.fingerprint},
            "recipe": recipe.to_dict(),
            "rounds": rounds,
            "ratio": ratio,
        }
        write_json(options.json, document)


if __name__ == "__main__":
    main()
