r"""Which recipe is best without flags: data sets x sizes x recipes x seeds, ranked.

    python benchmarks/recipe.py --data digits=squeeze_ratio.yaml \
        --data folder:cifar10-jpeg=cifar10/squeeze_ratio.yaml --data folder:tiny20=squeezenet.yaml \
        --data folder:ants-bees=squeezenet.yaml --seeds 2 --out results/benchmarks/recipe.jsonl

Each data set comes with a space, of which the smallest, median and largest candidate are trained.
A recipe is the default with one part taken away or changed (`PARTS`), or the former default
(`former`); all of one data set train for as many epochs, and on as many images. One line of JSON
for each finished run: the same command resumes, and two side by side may write one file if their
data sets differ.
The table has the mean validation accuracy over seeds, and for each recipe its mean rank over data
sets and sizes (1: best).
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

PARTS: dict[str, list[str]] = {
    "default": [],
    "no whitening": ["whitens=false"],
    "no identities": ["passes_through=false"],
    "no alternating flip": ["alternates_flip=false"],
    "no label smoothing": ["label_smoothing=0"],
    "cosine": ["schedule=cosine", "warmup_share=0.3"],
    "half the rate": ["learning_rate={half}"],
    "twice the rate": ["learning_rate={twice}"],
    "batches of half": ["batch_size={half_batch}"],
    "averaged weights": ["averaged_share=0.1"],
    "biases 8 times faster": ["bias_rate=8"],
    "fast norm momentum": ["norm_momentum=0.6"],
    "no shifts": ["crop_px=0"],
    "rest twice as fast": ["rest_rate={rest_twice}"],
    "later peak": ["warmup_share=0.4"],
    "former": [],
}


def recipe_named(name: str, source: str, dataset: Any, epochs: int | None, extra: list[str]) -> Any:
    """The recipe of a row; `extra` are settings of the command line, not for `former`."""
    from benchmarks.sides import former_recipe
    from dse.training import default_recipe, recipe_from_texts

    facts = source, dataset.input_shape, len(dataset.train)
    default = default_recipe(*facts)
    if name == "former":
        recipe = former_recipe(*facts)
        return replace(recipe, epochs=epochs or recipe.epochs)
    values = {
        "half": default.learning_rate / 2,
        "twice": default.learning_rate * 2,
        "half_batch": max(1, default.batch_size // 2),
        "rest_twice": default.rest_rate * 2,
    }
    texts = [text.format(**values) for text in PARTS.get(name, [])]
    return recipe_from_texts(replace(default, epochs=epochs or default.epochs), [*texts, *extra])


def jobs(options: argparse.Namespace) -> Any:
    """(facts, function that trains) of every run, cheap to list: nothing is compiled yet."""
    from dse.architecture import build
    from dse.config import find_space, load_space
    from dse.data import parse_data, prepare_data
    from dse.space.enumerate import survey

    for text in options.data:
        data, _, space = text.rpartition("=")
        spec = parse_data(data, train_limit=options.train_images)
        dataset = prepare_data(spec, progress=lambda stage, done, total: None)
        classes = len(dataset.classes)
        found = survey(load_space(find_space(space)), dataset.input_shape, classes).feasible
        ordered = sorted(found, key=lambda pair: pair[1].params_count)
        sizes = {"smallest": 0, "median": len(ordered) // 2, "largest": len(ordered) - 1}
        for size in options.sizes:
            candidate, cost = ordered[sizes[size]]
            for name in options.recipes:
                recipe = recipe_named(name, spec.source, dataset, options.epochs, options.recipe)
                if name != "default" and recipe == recipe_named(
                    "default", spec.source, dataset, options.epochs, options.recipe
                ):
                    continue  # a part that this data has not, such as flips of gray images
                for seed in range(options.seeds):
                    facts = {
                        "data": dataset.name,
                        "fingerprint": dataset.fingerprint,
                        "size": size,
                        "params_count": cost.params_count,
                        "name": name,
                        "recipe": recipe.to_dict(),
                        "seed": seed,
                    }
                    yield facts, (build(candidate, dataset.input_shape, classes), dataset, recipe)


def read(path: Path) -> list[dict[str, Any]]:
    """The finished runs; a line that was cut off is one that did not finish."""
    rows = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except ValueError:
            continue
    return rows


def measured(facts: dict[str, Any], what: tuple[Any, Any, Any]) -> dict[str, Any]:
    """Train once; accuracies as fractions, processor seconds of compilation and training."""
    from dse.training.trainer import Seed, Trainer

    started = time.process_time()
    trainer = Trainer(*what)
    compiled = time.process_time()
    found = trainer.train(Seed(0, facts["seed"])).measurement
    return facts | {
        "validation": found.validation_accuracy,
        "test": found.test_accuracy,
        "compile_cpu_s": round(compiled - started, 1),
        "train_cpu_s": round(time.process_time() - compiled, 1),
    }


def table(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Mean rank of each recipe, and its mean validation accuracy for each data set and size."""
    found: dict[tuple[str, str, int], dict[str, list[float]]] = defaultdict(dict)
    for row in rows:
        case = row["data"], row["size"], row["params_count"]
        found[case].setdefault(row["name"], []).append(row["validation"])
    means = {case: {n: mean(v) for n, v in by.items()} for case, by in found.items()}
    cases = [case for case, by in means.items() if len(by) > 1]
    names = {name: None for case in cases for name in means[case]}

    def rank(name: str, case: Any) -> float:
        # A recipe that is the default there is as good as the default.
        by = {n: means[case].get(n, means[case].get("default", 0.0)) for n in names}
        others = [value for other, value in by.items() if other != name]
        better = sum(value > by[name] for value in others)
        return 1 + better + sum(value == by[name] for value in others) / 2

    ranks = {name: mean(rank(name, case) for case in cases) for name in names}
    heads = [f"{data}, {size} ({params:,})" for data, size, params in cases]
    lines = [["recipe", "mean rank", *heads]]
    for name in sorted(names, key=ranks.__getitem__):
        cells = [
            f"{means[case][name]:.2%}" if name in means[case] else "as default" for case in cases
        ]
        lines.append([name, f"{ranks[name]:.2f}", *cells])
    return lines


def main() -> None:
    """Measure what is missing and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", required=True, metavar="DATA=SPACE")
    parser.add_argument("--sizes", nargs="+", default=["smallest", "median", "largest"])
    parser.add_argument("--recipes", nargs="+", default=list(PARTS))
    parser.add_argument(
        "--recipe", action="append", default=[], help="KEY=VALUE, of all but former"
    )
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="the recipe's own unless given")
    parser.add_argument("--train-images", type=int)
    parser.add_argument("--out", type=Path, default=ROOT / "results/benchmarks/recipe.jsonl")
    parser.add_argument("--csv", type=Path, help="the table as a file")
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    for facts, what in jobs(options):
        if any(facts.items() <= row.items() for row in read(options.out)):
            continue
        row = measured(facts, what)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(f"{row['data']} {row['size']} {row['name']} {row['validation']:.2%}", flush=True)
    lines = table(read(options.out))
    if options.csv:
        with options.csv.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows(lines)
    for line in lines:
        print(" | ".join(line))


if __name__ == "__main__":
    main()
